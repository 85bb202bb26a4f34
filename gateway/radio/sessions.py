"""LoRaWAN sessions that joins have made, in ``sessions.db``: keys sealed, nonces remembered, downlink counters reserved.

What a device is told is on the disk before: a join-accept leaves after its session's commit, and a downlink counter is used
after the block it lies in has been reserved. Uplink counters are not here; they are committed with the readings
(``gateway.buffer``).

The file may be damaged or deleted while the gateway runs. That is noticed at the next use, and what is held in memory goes into
a new file: no device has to join again for it.
"""

import hmac
import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from gateway.radio.sessions_file import (
    ALL_OTHERS,
    COLUMNS,
    DOWN_COUNTERS_RESERVED,
    FILE_NAME,
    SessionsTooNew,
    SessionsUnavailable,
    is_sound,
    open_file,
    replace_file,
    trace,
    trouble,
)
from streamgauge.errors import PermanentError
from streamgauge.lorawan.crypto import F_CNT_MAX, SessionKeys
from streamgauge.sealing import SealBroken, seal, unseal

__all__ = ["FILE_NAME", "NonceUsed", "Session", "SessionStore", "SessionsTooNew", "SessionsUnavailable"]

log = logging.getLogger("streamgauge.gateway.sessions")

_Found = TypeVar("_Found")

WAITING_PER_DEVICE: Final = 4
"""Sessions of one device of which no frame has been heard yet; the oldest beyond go."""


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
        self._held: dict[str, Session] = {}
        self._next_down: dict[str, tuple[int, int]] = {}
        self._is_closed = self._must_be_made_anew = False
        with trouble(path):
            self._database = replace_file(path) if path.exists() and not is_sound(path) else open_file(path)
            self._seen = trace(path)

    def close(self) -> None:
        """Close the file; from then on it is unavailable."""
        self._is_closed = True
        self._database.close()

    def _do(self, action: Callable[[sqlite3.Connection], _Found]) -> _Found:
        """Use the file, made anew before if it is damaged or gone."""
        if self._is_closed:
            raise SessionsUnavailable(f"{self._path} has been closed: the gateway stops")
        with trouble(self._path):
            if self._must_be_made_anew or trace(self._path) != self._seen:
                self._make_anew()
            try:
                return action(self._database)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:
                    raise  # Full, locked, or a constraint; damage has no class of its own.
                self._make_anew()
                return action(self._database)
            finally:
                self._seen = trace(self._path)

    def _make_anew(self) -> None:
        """Begin a new file, even if the old one looks sound: pages that SQLite remembers hide what is under them."""
        self._must_be_made_anew = True  # … until that has been done to the end
        self._database.close()
        self._database = replace_file(self._path)
        self._put_back()
        self._must_be_made_anew = False

    def _put_back(self) -> None:
        """Write what is held in memory."""
        with self._database:
            for session in self._held.values():
                self._write(session)
            self._database.executemany(
                "INSERT INTO down_counters VALUES (?1, ?2) "
                "ON CONFLICT (session) DO UPDATE SET reserved = max(reserved, excluded.reserved)",
                [(session_id, reserved) for session_id, (_, reserved) in self._next_down.items()],
            )

    def load(self) -> list[Session]:
        """Every session whose keys open, oldest first. Others are logged and left alone: their key may come back."""
        rows = self._do(
            lambda database: database.execute(
                f"SELECT {COLUMNS['sessions']} FROM sessions ORDER BY created_us, id"  # noqa: S608 - our columns
            ).fetchall()
        )
        loaded = [session for session in map(self._session_of, rows) if session is not None]
        self._held = {session.id: session for session in loaded}
        return loaded

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

    def newest_app_nonce(self, dev_eui: bytes) -> int | None:
        """The last AppNonce that the device was given.

        Raises:
            SessionsUnavailable: the file cannot be read.
        """
        query = "SELECT newest FROM app_nonces WHERE dev_eui = ?"
        found = self._do(lambda database: database.execute(query, (dev_eui,)).fetchone())
        return None if found is None else int(found[0])

    def add(self, session: Session, dev_nonce: int, app_key: bytes) -> list[str]:
        """Commit a new session and its nonces together.

        Args:
            session: the session.
            dev_nonce: the device's, 16 bits; taken once under each AppKey.
            app_key: under which the device has joined. What is kept of it does not tell it.

        Returns:
            The ids of sessions that gave way: older ones of the device of which no frame was ever heard.

        Raises:
            NonceUsed: the DevNonce was used before; nothing was changed.
            SessionsUnavailable: nothing was changed.
        """
        superfluous = self._do(
            lambda database: self._add(database, session, dev_nonce, key_print(session.dev_eui, app_key))
        )
        self._held[session.id] = session
        self._forget(superfluous)
        return superfluous

    def _add(self, database: sqlite3.Connection, session: Session, dev_nonce: int, under: str) -> list[str]:
        with database:
            used = database.execute(
                "SELECT 1 FROM key_nonces WHERE dev_eui = ?1 AND key_print = ?3 AND dev_nonce = ?2 "
                "UNION ALL SELECT 1 FROM dev_nonces WHERE dev_eui = ?1 AND dev_nonce = ?2",
                (session.dev_eui, dev_nonce, under),
            ).fetchone()
            if used is not None:
                raise NonceUsed(
                    f"DevNonce {dev_nonce:04X} of {session.dev_eui.hex().upper()} was used before: a replay, or the device "
                    "has lost its memory; a new AppKey, or python -m gateway forget-nonces, lets it begin anew"
                )
            database.execute("INSERT INTO key_nonces VALUES (?, ?, ?)", (session.dev_eui, under, dev_nonce))
            self._write(session)
            database.execute("INSERT INTO down_counters VALUES (?, 0)", (session.id,))
            superfluous = [
                row[0]
                for row in database.execute(
                    "SELECT id FROM sessions WHERE dev_eui = ? AND NOT proven ORDER BY rowid DESC LIMIT -1 OFFSET ?",
                    (session.dev_eui, WAITING_PER_DEVICE),
                )
            ]
            self._delete(superfluous)
        return superfluous

    def _write(self, session: Session) -> None:
        self._database.execute(
            "INSERT INTO app_nonces VALUES (?, ?) "
            "ON CONFLICT (dev_eui) DO UPDATE SET newest = max(newest, excluded.newest)",
            (session.dev_eui, session.app_nonce),
        )
        self._database.execute(
            f"INSERT OR REPLACE INTO sessions ({COLUMNS['sessions']}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            self._row_of(session),
        )

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
        over = self._do(lambda database: self._prove(database, session_id))
        if (session := self._held.get(session_id)) is not None:
            self._held[session_id] = replace(session, proven=True)
        self._forget(over)

    def _prove(self, database: sqlite3.Connection, session_id: str) -> list[str]:
        with database:
            database.execute("UPDATE sessions SET proven = 1 WHERE id = ?", (session_id,))
            over = [
                row[0]
                for row in database.execute(
                    "SELECT id FROM sessions WHERE id <> ?1 AND dev_eui = (SELECT dev_eui FROM sessions WHERE id = ?1)",
                    (session_id,),
                )
            ]
            self._delete(over)
        return over

    def _forget(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            self._held.pop(session_id, None)
            self._next_down.pop(session_id, None)

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
            following, reserved = self._do(lambda database: self._reserve(database, session_id, following))
        if following > F_CNT_MAX:
            raise SessionsUnavailable(
                f"session {session_id} has used up its 32-bit downlink counter; its device must join"
            )
        self._next_down[session_id] = (following + 1, reserved)
        return following

    def _reserve(self, database: sqlite3.Connection, session_id: str, following: int) -> tuple[int, int]:
        with database:
            found = database.execute(
                "SELECT reserved FROM down_counters WHERE session IN (?, ?) ORDER BY session DESC",
                (session_id, ALL_OTHERS),
            ).fetchone()
            # What this process has given out counts, whatever became of the file.
            following = max(following, 0 if found is None else int(found[0]))
            reserved = following + DOWN_COUNTERS_RESERVED
            database.execute("INSERT OR REPLACE INTO down_counters VALUES (?, ?)", (session_id, reserved))
        return following, reserved


def key_print(dev_eui: bytes, app_key: bytes) -> str:
    """Tells a device's AppKeys apart without telling them."""
    return hmac.digest(app_key, b"streamgauge used DevNonces " + dev_eui, "sha256")[:8].hex()


def _place(dev_eui: bytes, dev_addr: bytes, session_id: str, app_nonce: int, created_us: int) -> str:
    """What a session's sealed keys are bound to: its whole row, which SQLite itself would not notice to be altered."""
    return f"{dev_eui.hex().upper()}:{dev_addr.hex().upper()}:{session_id}:{app_nonce}:{created_us}"
