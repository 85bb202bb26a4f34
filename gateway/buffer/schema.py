"""The buffer's tables, and how its file is opened.

``seq`` is the order of acceptance and is never used twice. A row's ``body`` is the reading as the wire's JSON, made once;
``checksum`` is the CRC-32 of body, begun with seq, so that a damaged row never gets into a batch. The index on ``time_us``
finds duplicates; times come almost in order, so it costs a fraction of one on (device, time).

Tables are created in this order on an empty file: their root pages are then always the same, which salvage relies on.
"""

import sqlite3
import zlib
from pathlib import Path

from gateway.buffer.faults import DATABASE_ERRORS, BufferTooNew, FileDamaged

APPLICATION_ID = 0x53474231
"""Marks the file as ours ("SGB1"), in its header (https://sqlite.org/fileformat2.html, 1.2)."""

VERSION = 1
PAGE_BYTES = 4096
_CACHE_KIB = 2_000
_BUSY_S = 5.0

TABLES = (
    """CREATE TABLE readings (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, time_us INTEGER NOT NULL,
        gateway_time_us INTEGER NOT NULL, precious INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL)""",
    "CREATE INDEX readings_time ON readings (time_us)",
    "CREATE INDEX readings_precious ON readings (seq) WHERE precious",
    # A window has more bits than SQLite's integers: it is kept as hexadecimal digits.
    "CREATE TABLE counters (session TEXT PRIMARY KEY, newest INTEGER NOT NULL, window TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE contexts (device TEXT PRIMARY KEY, body BLOB NOT NULL, saved_us INTEGER NOT NULL)",
)

LAST_SEQ = (
    "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence), (SELECT coalesce(max(seq), 0) FROM readings))"
)


def checksum(seq: int, body: bytes) -> int:
    """The CRC-32 that stands beside a row's body."""
    return zlib.crc32(body, seq & 0xFFFFFFFF)


def connect(path: Path, *, log_pages: int, log_bytes: int, max_pages: int) -> sqlite3.Connection:
    """Open the file for writing and make its tables if it has none. Every commit is on the disk when it returns.

    Args:
        path: the file.
        log_pages: length of the write-ahead log, in pages, from which it is carried over into the file.
        log_bytes: what a write-ahead log that has grown beyond is cut back to.
        max_pages: the file's greatest length.

    Raises:
        sqlite3.Error: as it comes from SQLite; see ``fault_of``.
        FileDamaged: it is a database, but not a buffer.
        BufferTooNew: a newer program's.
    """
    connection = open_plain(path)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {log_pages}")
        connection.execute(f"PRAGMA journal_size_limit = {log_bytes}")
        connection.execute(f"PRAGMA max_page_count = {max_pages}")
        # The log is written by COMMIT alone: what fails before it is for the file's own bound, never for a full disk.
        connection.execute("PRAGMA cache_spill = OFF")
        ensure_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a file that exists for reading beside the writer."""
    connection = open_plain(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def open_plain(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions, which several threads may use in turn."""
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=uri)
    # Damaged text must not end a query before its checksum was looked at.
    connection.text_factory = _text
    try:
        for pragma in (
            f"cache_size = -{_CACHE_KIB}",
            "temp_store = MEMORY",
            "secure_delete = OFF",
            "cell_size_check = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except DATABASE_ERRORS:
        connection.close()
        raise
    return connection


def ensure_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, or see that they are there.

    Raises:
        FileDamaged: it is a database, but not a buffer.
        BufferTooNew: a newer program's.
    """
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        return
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID or version < 1:
        raise FileDamaged(f"a database, but no buffer: application id {application_id:#x}, version {version}")
    if version > VERSION:
        raise BufferTooNew(f"the buffer has version {version}; this program reads {VERSION}: use the newer program")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
