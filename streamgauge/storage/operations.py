"""What the operations page asks Postgres: how much it holds, how fresh it is, what is left to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from streamgauge.storage.rollup import count_pending

MOST_PENDING = 100_000

_FACTS = text("""
SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes,
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
    current_setting('max_connections')::int AS connections_max,
    (SELECT through FROM rollup_state) AS rolled_up
""")
# Estimates of the planner's: counting years of readings would take minutes.
_PARTS = text("""
SELECT child.relname AS name, greatest(child.reltuples, 0)::bigint AS readings, pg_total_relation_size(child.oid) AS bytes
FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid WHERE inhparent = 'readings'::regclass ORDER BY child.relname DESC
""")
_NEWEST = text("""
SELECT max(n.time) AS time, max(n.stored_at) AS stored_at FROM devices d
CROSS JOIN LATERAL (
    SELECT time, stored_at FROM readings r WHERE r.device_id = d.id ORDER BY r.time DESC LIMIT 1
) n WHERE d.decommissioned_at IS NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One month of readings; how many is the planner's estimate."""

    name: str
    readings: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """How the database is.

    Attributes:
        version: of the server.
        bytes: of the whole database, indexes too.
        connections: how many there are now.
        connections_max: how many the server takes.
        parts: the months of readings, the newest first.
        rolled_up: every hour before this one is rolled up; None before the first roll-up.
        pending: marked hours that are to be rolled up again, counted up to ``MOST_PENDING``.
    """

    version: str
    bytes: int
    connections: int
    connections_max: int
    parts: Sequence[Part]
    rolled_up: datetime | None
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The newest reading of any station, and when the reading that was stored last was stored; None for none."""

    time: datetime | None
    stored_at: datetime | None


def read_database(connection: Connection) -> Database:
    """How the database is."""
    facts = connection.execute(_FACTS).mappings().one()
    parts = [Part(**row) for row in connection.execute(_PARTS).mappings()]
    return Database(**facts, parts=parts, pending=count_pending(connection, MOST_PENDING))


def read_freshness(connection: Connection) -> Freshness:
    """How fresh it is: one probe of an index for each device."""
    return Freshness(**connection.execute(_NEWEST).mappings().one())
