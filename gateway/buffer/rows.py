"""What is done to the buffer's rows inside a transaction that somebody else begins and ends."""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from gateway.buffer.faults import FileDamaged
from gateway.buffer.schema import checksum
from gateway.entries import CounterState, Entry, Parcel
from gateway.seldom import Seldom
from streamgauge.gateway_metrics import READINGS_REFUSED
from streamgauge.reading import QUANTITIES, Reading, from_microseconds, to_microseconds
from streamgauge.wire import encode_reading

log = logging.getLogger("streamgauge.gateway.buffer")
_conflicts = Seldom(log, logging.WARNING, "readings with the time of another one and other values are kept beside it")

_MAX_BUMPS = 1_000
_INSERT = """INSERT INTO readings (seq, device, time_us, gateway_time_us, precious, checksum, body)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
_SAME_TIME = "SELECT seq, body FROM readings WHERE time_us = ? AND device = ?"
_PENDING = """SELECT seq, gateway_time_us, body, checksum FROM readings WHERE seq > ? AND seq <= ?
ORDER BY seq LIMIT ?"""

SeqRange = tuple[int, int]
"""First and last sequence number, both included."""


class Buffered(NamedTuple):
    """A reading in the buffer: its place in the order of acceptance, when it was heard, and its JSON for the wire."""

    seq: int
    gateway_time_us: int
    body: bytes


class Improvement(NamedTuple):
    """A frame was heard better by another forwarder: radio values for a reading that may still be in the buffer."""

    device: str
    time_us: int
    rssi_dbm: float | None
    snr_db: float | None


class Context(NamedTuple):
    """What the local model remembers of a device, and when it was saved (microseconds since 1970)."""

    device: str
    body: bytes
    saved_us: int


@dataclass(slots=True, kw_only=True)
class Changes:
    """What is to be committed in one transaction.

    Attributes:
        parcels: new readings and counters, in the order of acceptance.
        deletions: ranges of sequence numbers.
        improvements: better radio values.
        contexts: the local model's memory.
    """

    parcels: Sequence[Parcel] = ()
    deletions: Sequence[SeqRange] = ()
    improvements: Sequence[Improvement] = ()
    contexts: Sequence[Context] = ()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a transaction changed; it is true only once the transaction is committed.

    Attributes:
        added: the readings that are in the buffer now, as they are there, and their sequence numbers.
        duplicates: readings that were there already.
        refused: readings that cannot be written as JSON.
        deleted: how many were deleted, and how many of those were precious.
        dropped: how many were given up to make room: ordinary ones, precious ones.
    """

    added: list[tuple[int, Entry]] = field(default_factory=list)
    duplicates: int = 0
    refused: int = 0
    deleted: int = 0
    deleted_precious: int = 0
    dropped_ordinary: int = 0
    dropped_precious: int = 0
    dropped_unwritten: int = 0


def apply(connection: sqlite3.Connection, changes: Changes, next_seq: int, to_drop: int) -> Outcome:
    """Carry out all changes.

    Args:
        connection: in a transaction.
        changes: what is to be done.
        next_seq: the first sequence number that was never used.
        to_drop: how many readings to give up first. Ordinary ones go oldest first, those that are just coming among
            them; precious ones, oldest first, only when no ordinary ones are left.
    """
    outcome = Outcome()
    for first, last in changes.deletions:
        _delete(connection, first, last, outcome)
    entries = [entry for parcel in changes.parcels for entry in parcel.entries]
    if to_drop:
        entries = _drop(connection, to_drop, entries, outcome)
    for entry in entries:
        _insert(connection, entry, next_seq + len(outcome.added), outcome)
    for parcel in changes.parcels:
        _put_counters(connection, parcel.counters)
    for improvement in changes.improvements:
        _improve(connection, improvement)
    connection.executemany(
        "INSERT OR REPLACE INTO contexts (device, body, saved_us) VALUES (?, ?, ?)", changes.contexts
    )
    return outcome


def pending(connection: sqlite3.Connection, after_seq: int, until_seq: int, limit: int) -> list[Buffered]:
    """The first readings behind a place in the order of acceptance.

    Raises:
        FileDamaged: a row is not what was written.
    """
    rows = []
    for seq, gateway_time_us, body, check in connection.execute(_PENDING, (after_seq, until_seq, limit)):
        if type(body) is not bytes or checksum(seq, body) != check:
            raise FileDamaged(f"the checksum of row {seq} is wrong")
        if seq <= after_seq:
            raise FileDamaged(f"row {seq} stands behind row {after_seq}")
        after_seq = seq
        rows.append(Buffered(seq, gateway_time_us, body))
    return rows


def read_counters(rows: Iterable[tuple[object, object, object]]) -> dict[str, CounterState]:
    """Rows of ``counters`` as states, by session; rows that make no sense are logged and left out."""
    states = {}
    for session, newest, window in rows:
        try:
            if not isinstance(session, str) or not isinstance(newest, int) or not isinstance(window, str):
                raise ValueError("a value of another type")  # noqa: TRY004 - one kind of error for every damaged row
            states[session] = CounterState(session, newest, int(window, 16))
        except ValueError as error:
            log.warning(
                "a frame counter in the buffer cannot be read", extra={"session": session, "reason": str(error)}
            )
    return states


def _delete(connection: sqlite3.Connection, first: int, last: int, outcome: Outcome) -> None:
    precious = connection.execute("SELECT count(*) FROM readings WHERE precious AND seq BETWEEN ? AND ?", (first, last))
    outcome.deleted_precious += precious.fetchone()[0]
    outcome.deleted += connection.execute("DELETE FROM readings WHERE seq BETWEEN ? AND ?", (first, last)).rowcount


def _drop(connection: sqlite3.Connection, wanted: int, entries: Sequence[Entry], outcome: Outcome) -> list[Entry]:
    """Make room by the rule; returns what of ``entries`` is still to be inserted."""
    outcome.dropped_ordinary = _drop_stored(connection, "precious = 0", wanted)
    still = wanted - outcome.dropped_ordinary
    kept = []
    for entry in entries:
        if still > 0 and not entry.precious:
            still -= 1
            outcome.dropped_unwritten += 1
        else:
            kept.append(entry)
    if still > 0 and kept:
        outcome.dropped_precious = _drop_stored(connection, "precious", still)
    return kept


def _drop_stored(connection: sqlite3.Connection, which: str, wanted: int) -> int:
    last = connection.execute(
        f"SELECT max(seq) FROM (SELECT seq FROM readings WHERE {which} ORDER BY seq LIMIT ?)",  # noqa: S608 - ours
        (wanted,),
    ).fetchone()[0]
    if last is None:
        return 0
    return connection.execute(f"DELETE FROM readings WHERE {which} AND seq <= ?", (last,)).rowcount  # noqa: S608 - ours


def _insert(connection: sqlite3.Connection, entry: Entry, seq: int, outcome: Outcome) -> None:
    placed = _place(connection, entry)
    if placed is None:
        outcome.duplicates += 1
        return
    reading, time_us = placed.reading, to_microseconds(placed.reading.time)
    try:
        body = orjson.dumps(encode_reading(reading))
    except TypeError as error:
        outcome.refused += 1
        READINGS_REFUSED.labels("not_encodable").inc()
        log.warning("a reading cannot be written as JSON", extra={"device": reading.device, "reason": str(error)})
        return
    row = (seq, reading.device, time_us, placed.gateway_time_us, placed.precious, checksum(seq, body), body)
    connection.execute(_INSERT, row)
    outcome.added.append((seq, placed))


def _place(connection: sqlite3.Connection, entry: Entry) -> Entry | None:
    """The entry as it is to be inserted, or None if it is there already.

    The cloud keeps one reading per device and time. Where the time is our own clock's, a second reading therefore
    moves on by a microsecond; where it is the device's, both are sent and the cloud says which it keeps.
    """
    reading = entry.reading
    begin_us = to_microseconds(reading.time)
    for time_us in range(begin_us, begin_us + _MAX_BUMPS):
        others = connection.execute(_SAME_TIME, (time_us, reading.device)).fetchall()
        if any(_is_same(body, reading) for _, body in others):
            return None
        if not others:
            return entry if time_us == begin_us else replace(entry, reading=_at(reading, time_us))
        if begin_us != entry.gateway_time_us:
            break
    _conflicts.note(device=reading.device)
    return entry


def _at(reading: Reading, time_us: int) -> Reading:
    return replace(reading, time=from_microseconds(time_us))


def _is_same(body: bytes, reading: Reading) -> bool:
    """Whether the quantities are equal; that is how the cloud tells a repetition from a contradiction."""
    stored = _parsed(body)
    return all(stored.get(name) == getattr(reading, name) for name in QUANTITIES)


def _put_counters(connection: sqlite3.Connection, counters: Sequence[CounterState]) -> None:
    rows = [(state.session, state.newest, f"{state.window:x}") for state in counters]
    connection.executemany("INSERT OR REPLACE INTO counters (session, newest, window) VALUES (?, ?, ?)", rows)


def _improve(connection: sqlite3.Connection, better: Improvement) -> None:
    """Take over radio values if they are better than those of the row, by RSSI."""
    found = connection.execute(_SAME_TIME, (better.time_us, better.device)).fetchone()
    if found is None or better.rssi_dbm is None:
        return
    seq, stored = found[0], _parsed(found[1])
    if stored.get("rssi_dbm", float("-inf")) >= better.rssi_dbm:
        return
    stored["rssi_dbm"] = better.rssi_dbm
    if better.snr_db is None:
        stored.pop("snr_db", None)
    else:
        stored["snr_db"] = better.snr_db
    body = orjson.dumps(stored)
    connection.execute("UPDATE readings SET body = ?, checksum = ? WHERE seq = ?", (body, checksum(seq, body), seq))


def _parsed(body: object) -> dict[str, float]:
    try:
        parsed = orjson.loads(body)  # type: ignore[arg-type]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise FileDamaged(f"a row's body is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise FileDamaged("a row's body is no JSON object")
    return parsed
