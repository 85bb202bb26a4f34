"""The file ``sessions.db``: its tables, whether it is sound, and what is done if it is not.

A damaged file is set aside under another name, never deleted, and what can be read of it is taken over.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamgauge.errors import PermanentError, TransientError

log = logging.getLogger("streamgauge.gateway.sessions")

FILE_NAME: Final = "sessions.db"
SCHEMA_VERSION: Final = 2
"""2: used DevNonces belong to an AppKey. Those of version 1, whose key nobody knows, count for every key."""

DOWN_COUNTERS_RESERVED: Final = 100
"""Downlink counters reserved at once; a restart skips what was left of them, which devices take for lost frames."""

DOWN_COUNTERS_SKIPPED: Final = 10_000
"""Where downlink counters go on whose reservation was lost with a damaged file; below MAX_FCNT_GAP (16,384), which devices of
LoRaWAN 1.0.3 take for lost frames (§4.3.1.5)."""

ALL_OTHERS: Final = ""
"""The reservation of every session that has none of its own; it is there only after damage."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, dev_eui BLOB NOT NULL, dev_addr BLOB NOT NULL, nwk_s_key TEXT NOT NULL, app_s_key TEXT NOT NULL,
    app_nonce INTEGER NOT NULL, created_us INTEGER NOT NULL, proven INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_of_device ON sessions (dev_eui);
CREATE TABLE IF NOT EXISTS dev_nonces (
    dev_eui BLOB NOT NULL, dev_nonce INTEGER NOT NULL, PRIMARY KEY (dev_eui, dev_nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key_nonces (
    dev_eui BLOB NOT NULL, key_print TEXT NOT NULL, dev_nonce INTEGER NOT NULL, PRIMARY KEY (dev_eui, key_print, dev_nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS app_nonces (dev_eui BLOB PRIMARY KEY, newest INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS down_counters (session TEXT PRIMARY KEY, reserved INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
COLUMNS: Final = {
    "sessions": "id, dev_eui, dev_addr, nwk_s_key, app_s_key, app_nonce, created_us, proven",
    "dev_nonces": "dev_eui, dev_nonce",
    "key_nonces": "dev_eui, key_print, dev_nonce",
    "app_nonces": "dev_eui, newest",
    "down_counters": "session, reserved",
}


class SessionsUnavailable(TransientError):
    """``sessions.db`` could not be read or written just now (disk full, file locked); nothing was promised to a device."""


class SessionsTooNew(PermanentError):
    """``sessions.db`` was made by a later version of this program."""


@contextmanager
def trouble(path: Path) -> Iterator[None]:
    """Whatever SQLite or the disk says against it is ``SessionsUnavailable``."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise SessionsUnavailable(f"{path} cannot be used just now: {error}") from error


def _text(content: bytes) -> str:
    """Damaged text is no error of its own: what was sealed with it does not open."""
    return content.decode(errors="replace")


def open_file(path: Path) -> sqlite3.Connection:
    """Open the file, or make it.

    Raises:
        SessionsTooNew: a later version has made it.
        sqlite3.Error: it cannot be opened.
    """
    database = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    database.text_factory = _text
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise SessionsTooNew(
                f"{path} has schema {version}, this program knows {SCHEMA_VERSION}: run the newer program"
            )
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        if version != SCHEMA_VERSION:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        database.close()
        raise
    path.chmod(0o600)
    return database


def is_sound(path: Path) -> bool:
    """Whether SQLite finds no damage, read from the disk by a connection of its own.

    Raises:
        sqlite3.OperationalError: it cannot be read just now.
    """
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            database.text_factory = _text
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        raise  # locked, or no right to read: not damaged
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False  # SQLite's own messages quote what it has found


def trace(path: Path) -> tuple[tuple[int, ...] | None, ...]:
    """What the file system says of the file and its companions: if it is another than after our last use, others were at it."""
    return tuple(_stat(path.with_name(path.name + suffix), suffix != "-shm") for suffix in ("", "-wal", "-shm"))


def _stat(path: Path, with_content: bool) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    where = (found.st_dev, found.st_ino)
    return (*where, found.st_size, found.st_mtime_ns) if with_content else where


def replace_file(path: Path) -> sqlite3.Connection:
    """Set a damaged file aside and begin a new one with what can still be read of it, if it is there at all."""
    aside = _set_aside(path)
    database = open_file(path)
    try:
        taken_over = {table: _take_over(aside, database, table) for table in COLUMNS if aside.exists()}
        with database:
            # The newest reservations may not have been readable.
            database.execute("UPDATE down_counters SET reserved = reserved + ?", (DOWN_COUNTERS_RESERVED,))
            database.execute(
                "INSERT INTO down_counters VALUES (?1, ?2) ON CONFLICT (session) DO UPDATE SET reserved = reserved + ?2",
                (ALL_OTHERS, DOWN_COUNTERS_SKIPPED),
            )
    except BaseException:
        database.close()
        raise
    log.error(
        "sessions.db was damaged, changed by another or gone, and has been made anew",
        extra={"aside": str(aside), "taken_over": taken_over},
    )
    return database


def forget_nonces(path: Path, dev_eui: bytes) -> int:
    """Forget which DevNonces a device has used, in the file of a gateway that does not run.

    Returns:
        How many there were.

    Raises:
        SessionsUnavailable: the file is not there, or cannot be written.
        SessionsTooNew: a later version has made it.
    """
    if not path.exists():
        raise SessionsUnavailable(f"{path} is not there: has this gateway ever run?")
    with trouble(path), closing(open_file(path)) as database, database:
        return sum(
            database.execute(f"DELETE FROM {table} WHERE dev_eui = ?", (dev_eui,)).rowcount  # noqa: S608 - our tables
            for table in ("dev_nonces", "key_nonces")
        )


def _set_aside(path: Path) -> Path:
    stem = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    aside = path.with_name(stem)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    for suffix in ("-wal", "-shm", ""):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside


def _take_over(aside: Path, database: sqlite3.Connection, table: str) -> int:
    taken = 0
    places = ", ".join("?" * (COLUMNS[table].count(",") + 1))
    read = f"SELECT {COLUMNS[table]} FROM {table}"  # noqa: S608 - tables and columns are constants
    write = f"INSERT OR IGNORE INTO {table} ({COLUMNS[table]}) VALUES ({places})"  # noqa: S608
    with closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)) as source, database:
        source.text_factory = _text
        try:
            for row in source.execute(read):
                taken += _insert(database, write, row)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            log.warning("a damaged table ends early", extra={"table": table, "taken_over": taken, "detail": str(error)})
    return taken


def _insert(database: sqlite3.Connection, write: str, row: tuple[object, ...]) -> int:
    try:
        return database.execute(write, row).rowcount
    except sqlite3.IntegrityError:
        return 0  # a value of the wrong kind, which the table refuses
