"""Monthly partitions of ``readings``, made ahead of time and, for old or replayed data, when they are first needed."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, text

PARTITION_LOCK = 0x5347_0002  # "SG", 2: one key of ours among Postgres's advisory locks
LOCK_TIMEOUT_S = 10

_EXISTING = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'readings'::regclass")


def month_of(moment: datetime) -> datetime:
    """The first instant of a moment's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first instant of the month after this one."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def partition_name(month: datetime) -> str:
    """The partition's table name, for example ``readings_2026_11``."""
    return f"readings_{month:%Y_%m}"


def existing_partitions(connection: Connection) -> set[str]:
    """The names of all partitions."""
    return set(connection.execute(_EXISTING).scalars())


def make_partitions(connection: Connection, months: Iterable[datetime]) -> list[str]:
    """Make the partitions of these months that are missing; returns their names.

    Attaching a finished table locks ``readings`` against schema changes only: readers and writers go on.
    """
    wanted = {partition_name(month): month for month in months}
    if not wanted.keys() - existing_partitions(connection):
        return []
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PARTITION_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    made = sorted(wanted.keys() - existing_partitions(connection))
    for name in made:
        month = wanted[name]
        connection.execute(text(f"CREATE TABLE {name} (LIKE readings INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        bounds = f"FROM ('{month.isoformat()}') TO ('{next_month(month).isoformat()}')"
        connection.execute(text(f"ALTER TABLE readings ATTACH PARTITION {name} FOR VALUES {bounds}"))
    return made
