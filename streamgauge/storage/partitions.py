"""Monthly partitions of ``readings`` and ``scores``: made ahead of time and, for old data, when they are first needed."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, text

PARTITION_LOCK = 0x5347_0002  # "SG", 2: one key of ours among Postgres's advisory locks
LOCK_TIMEOUT_S = 10

READINGS, SCORES = "readings", "scores"
"""The tables that are partitioned, each by month on its ``time``."""

_EXISTING = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST(:parent AS regclass)")


def month_of(moment: datetime) -> datetime:
    """The first instant of a moment's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first instant of the month after this one."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def partition_name(month: datetime, table: str = READINGS) -> str:
    """The partition's table name, for example ``readings_2026_11``."""
    return f"{table}_{month:%Y_%m}"


def existing_partitions(connection: Connection, table: str = READINGS) -> set[str]:
    """The names of all partitions of a table."""
    return set(connection.execute(_EXISTING, {"parent": table}).scalars())


def existing_months(connection: Connection, table: str = READINGS) -> list[datetime]:
    """The first instants of the months that have a partition, the oldest first."""
    endings = {name.removeprefix(f"{table}_") for name in existing_partitions(connection, table)}
    return sorted(datetime.strptime(ending, "%Y_%m").replace(tzinfo=UTC) for ending in endings)


def make_partitions(connection: Connection, months: Iterable[datetime], table: str = READINGS) -> list[str]:
    """Make the partitions of these months that are missing; returns their names.

    Attaching a finished table locks its parent against schema changes only: readers and writers go on.

    Args:
        connection: a connection in a transaction.
        months: first instants of months.
        table: ``READINGS`` or ``SCORES``.
    """
    assert table in {READINGS, SCORES}
    wanted = {partition_name(month, table): month for month in months}
    if not wanted.keys() - existing_partitions(connection, table):
        return []
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PARTITION_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    made = sorted(wanted.keys() - existing_partitions(connection, table))
    for name in made:
        month = wanted[name]
        connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        bounds = f"FROM ('{month.isoformat()}') TO ('{next_month(month).isoformat()}')"
        connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))
    return made
