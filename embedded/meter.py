"""How many readings are stored, and how fast, read from Postgres at next to no cost."""

import contextlib
import time
from dataclasses import dataclass

import psycopg2
from psycopg2 import extensions

INSERTED = """SELECT coalesce(sum(pg_stat_get_tuples_inserted(inhrelid)), 0)::bigint
FROM pg_inherits WHERE inhparent = 'readings'::regclass"""
"""Postgres counts the rows inserted into each partition; asking it touches no row."""
COUNTED = "SELECT count(*) FROM readings"
ESTIMATED = """SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'readings'::regclass"""


@dataclass(frozen=True)
class Flow:
    """Readings stored in all, and per second since the last look (``None`` at the first one)."""

    stored: int
    per_second: float | None


class Meter:
    """Looks at the database now and then.

    Args:
        database_url: of the application's role.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: extensions.connection | None = None
        self._stored_before = 0
        self._last: tuple[float, int] | None = None

    def look(self) -> Flow | None:
        """The flow since the last look; ``None`` while the database does not answer."""
        try:
            if self._connection is None:
                self._connect()
            inserted = self._number(INSERTED)
        except psycopg2.Error:
            self.close()
            return None
        now = time.monotonic()
        last, self._last = self._last, (now, inserted)
        per_second = max(0.0, (inserted - last[1]) / (now - last[0])) if last else None
        return Flow(self._stored_before + inserted, per_second)

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
        self._connection, self._last = None, None

    def _connect(self) -> None:
        self._connection = psycopg2.connect(
            self._url, connect_timeout=2, options="-c statement_timeout=3000", application_name="make up"
        )
        self._connection.autocommit = True
        inserted = self._number(INSERTED)
        try:
            self._stored_before = self._number(COUNTED) - inserted
        except psycopg2.errors.QueryCanceled:
            self._stored_before = self._number(ESTIMATED) - inserted  # too many rows to count

    def _number(self, query: str) -> int:
        if self._connection is None:
            raise psycopg2.OperationalError("not connected")
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
        return int(row[0]) if row else 0
