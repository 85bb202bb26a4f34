"""LoRaWAN sessions that joins have made, in ``sessions.db``: keys sealed, nonces remembered, downlink counters reserved.

What a device is told is on the disk before: a join-accept leaves after its session's commit, and a downlink counter is used
after the block it lies in has been reserved. Uplink counters are not here; they are committed with the readings
(``gateway.buffer``).
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamgauge.errors import PermanentError, TransientError
from streamgauge.lorawan.crypto import F_CNT_MAX, SessionKeys
from streamgauge.sealing import SealBroken, seal, unseal

log = logging.getLogger("streamgauge.gateway.sessions")

FILE_NAME: Final = "sessions.db"
SCHEMA_VERSION: Final = 1

DOWN_COUNTERS_RESERVED: Final = 100
"""Downlink counters reserved at once; a restart skips what was left of them, which devices take for lost frames."""

DOWN_COUNTERS_SKIPPED: Final = 10_000
"""Where downlink counters go on whose reservation was lost with a damaged file; below MAX_FCNT_GAP (16,384), which devices of
LoRaWAN 1.0.3 take for lost frames (§4.3.1.5)."""

_ALL_OTHERS: Final = ""
"""The reservation of every session that has none of its own; it is there only after damage."""

WAITING_PER_DEVICE: Final = 4
"""Sessions of one device of which no frame has been heard yet; the oldest beyond go."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, dev_eui BLOB NOT NULL, dev_addr BLOB NOT NULL, nwk_s_key TEXT NOT NULL, app_s_key TEXT NOT NULL,
    app_nonce INTEGER NOT NULL, created_us INTEGER NOT NULL, proven INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_of_device ON sessions (dev_eui);
CREATE TABLE IF NOT EXISTS dev_nonces (
    dev_eui BLOB NOT NULL, dev_nonce INTEGER NOT NULL, PRIMARY KEY (dev_eui, dev_nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS app_nonces (dev_eui BLOB PRIMARY KEY, newest INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS down_counters (session TEXT PRIMARY KEY, reserved INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_COLUMNS: Final = {
    "sessions": "id, dev_eui, dev_addr, nwk_s_key, app_s_key, app_nonce, created_us, proven",
    "dev_nonces": "dev_eui, dev_nonce",
    "app_nonces": "dev_eui, newest",
    "down_counters": "session, reserved",
}


class SessionsUnavailable(TransientError):
    """``sessions.db`` could not be read or written just now (disk full, file locked); nothing was promised to a device."""


class SessionsTooNew(PermanentError):
    """``sessions.db`` was made by a later version of this program."""


class NonceUsed(PermanentError):
    """A device's DevNonce has been used before: the join-request is a replay, or the device begins its nonces anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one join agreed upon.

    Attributes:
        id: never used before; frame counters are kept under it.
        dev_eui: 8 bytes as printed.
        dev_addr: 4 bytes as printed.
        keys: the session's keys.
        app_nonce: the network's nonce of the join.
        created: when.
        proven: a frame has been heard under it, so that the device has it and earlier sessions are over.
    """

    id: str
    dev_eui: bytes
    dev_addr: bytes
    keys: SessionKeys = field(repr=False)
    app_nonce: int
    created: datetime
    proven: bool = False


class SessionStore:
    """``sessions.db``. Not for several threads at once: its caller takes turns (``gateway.radio.network``).

    Args:
        path: the file; made if it is not there, set aside as ``….damaged-<time>`` if it is damaged.
        key: the gateway's key, under which session keys are sealed.

    Raises:
        SessionsUnavailable: the file cannot be opened.
        SessionsTooNew: a later version has made it.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        with _trouble(path):
            if path.exists() and not _is_sound(path):
                self._database = _replace(path)
            else:
                self._database = _open(path)
        self._next_down: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def load(self) -> list[Session]:
        """Every session whose keys open, oldest first. Others are logged and left alone: their key may come back."""
        with _trouble(self._path):
            rows = self._database.execute(
                f"SELECT {_COLUMNS['sessions']} FROM sessions ORDER BY created_us, id"  # noqa: S608 - our columns
            ).fetchall()
        return [session for session in map(self._session_of, rows) if session is not None]

    def _session_of(self, row: tuple[str, bytes, bytes, str, str, int, int, int]) -> Session | None:
        session_id, dev_eui, dev_addr, nwk_s_key, app_s_key, app_nonce, created_us, proven = row
        place = _place(dev_eui, dev_addr, session_id, app_nonce, created_us)
        try:
            keys = SessionKeys(
                unseal(nwk_s_key, self._key, f"{place}:nwk_s_key"), unseal(app_s_key, self._key, f"{place}:app_s_key")
            )
            created = datetime.fromtimestamp(created_us / 1e6, UTC)
        except (SealBroken, ValueError, OverflowError, OSError) as error:
            log.warning("a session cannot be used", extra={"dev_eui": dev_eui.hex().upper(), "detail": str(error)})
            return None
        return Session(
            id=session_id,
            dev_eui=dev_eui,
            dev_addr=dev_addr,
            keys=keys,
            app_nonce=app_nonce,
            created=created,
            proven=bool(proven),
        )

    def is_nonce_used(self, dev_eui: bytes, dev_nonce: int) -> bool:
        """Whether the device has joined with this DevNonce before.

        Raises:
            SessionsUnavailable: the file cannot be read.
        """
        with _trouble(self._path):
            found = self._database.execute(
                "SELECT 1 FROM dev_nonces WHERE dev_eui = ? AND dev_nonce = ?", (dev_eui, dev_nonce)
            ).fetchone()
        return found is not None

    def newest_app_nonce(self, dev_eui: bytes) -> int | None:
        """The last AppNonce that the device was given.

        Raises:
            SessionsUnavailable: the file cannot be read.
        """
        with _trouble(self._path):
            found = self._database.execute("SELECT newest FROM app_nonces WHERE dev_eui = ?", (dev_eui,)).fetchone()
        return None if found is None else int(found[0])

    def add(self, session: Session, dev_nonce: int) -> list[str]:
        """Commit a new session and its nonces together.

        Returns:
            The ids of sessions that gave way: older ones of the device of which no frame was ever heard.

        Raises:
            NonceUsed: the DevNonce was used before; nothing was changed.
            SessionsUnavailable: nothing was changed.
        """
        with _trouble(self._path), self._database:
            try:
                self._database.execute("INSERT INTO dev_nonces VALUES (?, ?)", (session.dev_eui, dev_nonce))
            except sqlite3.IntegrityError as error:
                raise NonceUsed(
                    f"DevNonce {dev_nonce:04X} of {session.dev_eui.hex().upper()} was used before"
                ) from error
            self._database.execute(
                "INSERT INTO app_nonces VALUES (?, ?) ON CONFLICT (dev_eui) DO UPDATE SET newest = excluded.newest",
                (session.dev_eui, session.app_nonce),
            )
            self._database.execute(
                f"INSERT INTO sessions ({_COLUMNS['sessions']}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - likewise
                self._row_of(session),
            )
            self._database.execute("INSERT INTO down_counters VALUES (?, 0)", (session.id,))
            superfluous = [
                row[0]
                for row in self._database.execute(
                    "SELECT id FROM sessions WHERE dev_eui = ? AND NOT proven ORDER BY rowid DESC LIMIT -1 OFFSET ?",
                    (session.dev_eui, WAITING_PER_DEVICE),
                )
            ]
            self._delete(superfluous)
        return superfluous

    def _row_of(self, session: Session) -> tuple[str, bytes, bytes, str, str, int, int, int]:
        created_us = round(session.created.timestamp() * 1e6)
        place = _place(session.dev_eui, session.dev_addr, session.id, session.app_nonce, created_us)
        return (
            session.id,
            session.dev_eui,
            session.dev_addr,
            seal(session.keys.nwk_s_key, self._key, f"{place}:nwk_s_key"),
            seal(session.keys.app_s_key, self._key, f"{place}:app_s_key"),
            session.app_nonce,
            created_us,
            int(session.proven),
        )

    def prove(self, session_id: str) -> None:
        """The device has been heard under this session: all others of it are over.

        Raises:
            SessionsUnavailable: nothing was changed.
        """
        with _trouble(self._path), self._database:
            self._database.execute("UPDATE sessions SET proven = 1 WHERE id = ?", (session_id,))
            self._delete(
                row[0]
                for row in self._database.execute(
                    "SELECT id FROM sessions WHERE id <> ?1 AND dev_eui = (SELECT dev_eui FROM sessions WHERE id = ?1)",
                    (session_id,),
                ).fetchall()
            )

    def _delete(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            self._database.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            self._database.execute("DELETE FROM down_counters WHERE session = ?", (session_id,))

    def next_down_counter(self, session_id: str) -> int:
        """A downlink counter that was never given out before, not even before a crash.

        Raises:
            SessionsUnavailable: no block could be reserved, or the 32 bits are used up.
        """
        following, reserved = self._next_down.get(session_id, (0, 0))
        if following >= reserved:
            with _trouble(self._path), self._database:
                found = self._database.execute(
                    "SELECT reserved FROM down_counters WHERE session IN (?, ?) ORDER BY session DESC",
                    (session_id, _ALL_OTHERS),
                ).fetchone()
                following = 0 if found is None else int(found[0])
                reserved = following + DOWN_COUNTERS_RESERVED
                self._database.execute("INSERT OR REPLACE INTO down_counters VALUES (?, ?)", (session_id, reserved))
        if following > F_CNT_MAX:
            raise SessionsUnavailable(
                f"session {session_id} has used up its 32-bit downlink counter; its device must join"
            )
        self._next_down[session_id] = (following + 1, reserved)
        return following


def _place(dev_eui: bytes, dev_addr: bytes, session_id: str, app_nonce: int, created_us: int) -> str:
    """What a session's sealed keys are bound to: its whole row, which SQLite itself would not notice to be altered."""
    return f"{dev_eui.hex().upper()}:{dev_addr.hex().upper()}:{session_id}:{app_nonce}:{created_us}"


@contextmanager
def _trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SessionsUnavailable(f"{path} cannot be used just now: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
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


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        raise  # locked, or no right to read: not damaged
    except sqlite3.DatabaseError:
        return False


def _replace(path: Path) -> sqlite3.Connection:
    """Set a damaged file aside and begin a new one with what can still be read of it."""
    aside = _set_aside(path)
    database = _open(path)
    taken_over = {table: _take_over(aside, database, table) for table in _COLUMNS}
    with database:
        # The newest reservations may not have been readable.
        database.execute("UPDATE down_counters SET reserved = reserved + ?", (DOWN_COUNTERS_RESERVED,))
        database.execute(
            "INSERT INTO down_counters VALUES (?1, ?2) ON CONFLICT (session) DO UPDATE SET reserved = reserved + ?2",
            (_ALL_OTHERS, DOWN_COUNTERS_SKIPPED),
        )
    log.error("sessions.db was damaged and has been set aside", extra={"aside": str(aside), "taken_over": taken_over})
    return database


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
    places = ", ".join("?" * (_COLUMNS[table].count(",") + 1))
    read = f"SELECT {_COLUMNS[table]} FROM {table}"  # noqa: S608 - tables and columns are constants
    write = f"INSERT OR IGNORE INTO {table} ({_COLUMNS[table]}) VALUES ({places})"  # noqa: S608
    with closing(sqlite3.connect(f"{aside.absolute().as_uri()}?mode=ro", uri=True)) as source, database:
        try:
            for row in source.execute(read):
                taken += _insert(database, write, row)
        except sqlite3.DatabaseError as error:
            log.warning("a damaged table ends early", extra={"table": table, "taken_over": taken, "detail": str(error)})
    return taken


def _insert(database: sqlite3.Connection, write: str, row: tuple[object, ...]) -> int:
    try:
        return database.execute(write, row).rowcount
    except sqlite3.IntegrityError:
        return 0  # a value of the wrong kind, which the table refuses
