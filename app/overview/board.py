"""What every process keeps of all stations, so that the overview costs a request nothing but choosing and writing.

The board knows up to which entry of the live stream it has heard everything (``Snapshot.position``). A request first hears what
came since, which is little, and a page goes on from that position: nothing can fall between the two. A thread does the same
every second while anybody looks, and reads all stations again every minute: what was committed and not told of is found then.
Rows of ``devices`` that changed are found by their stamps, within the request; whoever corrects readings stamps the device's row.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from redis import Redis, RedisError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.connections import Connections
from app.live.events import position
from app.overview.entries import Entry, make_entry
from app.overview.lines import Lines
from app.overview.sparkline import Sparkline
from streamgauge.live.stream import START_ID, Event, newest_id, oldest_id, read_after
from streamgauge.reading import format_time
from streamgauge.storage.read_overview import (
    Registered,
    SparklineBin,
    StationNow,
    read_device_rows,
    read_registered,
    read_sparklines,
    read_stations_now,
)

T = TypeVar("T")
log = logging.getLogger(__name__)
HEAR_EVERY_S = 1.0
RELOAD_EVERY_S = 60.0
RELOAD_WITHOUT_STREAM_S = 10.0
"""While Redis is away nothing is heard; then all is read so often."""
IDLE_S = 900.0
"""The thread ends when nobody has looked for so long; the next request hears what came meanwhile, or reads all."""
READ_EVENTS = 200
MAX_EVENTS = 2_000
MAX_INLINE_STATIONS = 500
"""A request reads at most so many stations again; more are the thread's, and the request shows what was known."""
CHUNK_STATIONS = 500
LOCK_WAIT_S = 0.05
STREAM_PAUSE_S = 2.0
"""After Redis did not answer, requests do not ask it again for so long."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All stations at one moment; never changed once it is made.

    Attributes:
        position: up to this entry of the live stream everything is in it.
        entries: every device in use, by name.
        registered: the devices' rows that it rests on.
        rows: name and stamp of each row, by the device's id.
    """

    position: str
    entries: Mapping[str, Entry]
    registered: Registered
    rows: Mapping[int, tuple[str, str]] = field(repr=False)

    @cached_property
    def rivers(self) -> tuple[str, ...]:
        """Every river that a station stands at, sorted."""
        found = {entry.station.river for entry in self.entries.values() if entry.station.river}
        return tuple(sorted(found, key=str.casefold))


class Board:
    """The stations of one process. ``current`` is what a request calls."""

    def __init__(self, linked: Connections) -> None:
        self._linked = linked
        self._lines = Lines()
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._owner_pid = os.getpid()
        self._wake = threading.Event()
        self._asked_at_s = self._loaded_at_s = self._stream_failed_at_s = float("-inf")
        self._is_behind = False

    def current(self) -> Snapshot:
        """All stations, with everything that was told of before the call, unless that is much: then up to ``position``.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database did not answer.
        """
        self.keep_warm()
        if self._snapshot is None:
            with self._lock:
                if self._snapshot is None:
                    self._load()
        elif self._lock.acquire(timeout=LOCK_WAIT_S):
            try:
                self._hear(MAX_INLINE_STATIONS)
            finally:
                self._lock.release()
        assert self._snapshot is not None
        return self._snapshot

    def sparklines(self, entries: Sequence[Entry]) -> dict[int, Sparkline]:
        """The last day of these stations, by device."""
        return self._lines.of(entries, self._read_lines)

    def keep_warm(self) -> None:
        """Have the thread running from now on, for as long as somebody looks."""
        self._asked_at_s = time.monotonic()
        if self._owner_pid != os.getpid():
            # A child of a fork: the thread, and whoever held a lock, stayed with the parent.
            self._owner_pid, self._lock, self._starting = os.getpid(), threading.Lock(), threading.Lock()
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._keep, name="overview-board", daemon=True)
                self._thread.start()

    def _keep(self) -> None:
        is_well = True
        while time.monotonic() - self._asked_at_s < IDLE_S and not self._linked.is_closed:
            try:
                self._keep_once()
                is_well = True
            except (SQLAlchemyError, OSError):
                if is_well and not self._linked.is_closed:
                    log.warning("the overview's board could not be brought up to date", exc_info=True)
                is_well = False
            self._wake.wait(HEAR_EVERY_S)
            self._wake.clear()

    def _keep_once(self) -> None:
        with self._lock:
            if self._snapshot is None:
                self._load()
            else:
                self._hear(None)
        has_stream = time.monotonic() - self._stream_failed_at_s > STREAM_PAUSE_S
        every_s = RELOAD_EVERY_S if has_stream else RELOAD_WITHOUT_STREAM_S
        if self._is_behind or time.monotonic() - self._loaded_at_s > every_s:
            self._reload()

    def _load(self) -> None:
        """Read everything at once; under the lock."""
        reached = self._newest_id()
        with self._linked.engine.connect() as connection:
            registered, rows = read_registered(connection), read_device_rows(connection)
            stations = read_stations_now(connection)
        entries = {station.name: make_entry(station) for station in stations}
        self._snapshot = Snapshot(position=reached, entries=entries, registered=registered, rows=rows)
        self._loaded_at_s = time.monotonic()

    def _reload(self) -> None:
        """Read everything again, some hundred stations at a time, so that no request waits for all of it."""
        assert self._snapshot is not None
        reached, was_behind = self._newest_id(), self._is_behind
        if was_behind:
            self._lines.forget()
        ids = list(self._snapshot.rows)
        for first in range(0, len(ids), CHUNK_STATIONS):
            if self._linked.is_closed:
                return
            with self._lock, self._linked.engine.connect() as connection:
                self._read(connection, ids[first : first + CHUNK_STATIONS], is_told=was_behind)
        with self._lock:
            self._loaded_at_s = time.monotonic()
            if was_behind:
                self._snapshot = replace(self._snapshot, position=reached)
                self._is_behind = False

    def _hear(self, most: int | None) -> None:
        """Bring in what was told of since, and changed rows of devices, ``most`` stations at most; under the lock."""
        assert self._snapshot is not None
        events = [] if self._is_behind else self._new_events(self._snapshot.position)
        if events is None and len(self._snapshot.rows) <= MAX_INLINE_STATIONS:
            self._lines.forget()
            self._load()
            return
        if events is None:
            self._is_behind, events = True, []
            self._wake.set()
        entries = self._snapshot.entries
        names = {str(reading.get("device")) for event in events for reading in event.readings}
        told = {entries[name].station.device_id for name in names if name in entries}
        with self._linked.engine.connect() as connection:
            registered = read_registered(connection)
            rows = self._snapshot.rows if registered == self._snapshot.registered else read_device_rows(connection)
            changed = {device_id for device_id, row in rows.items() if self._snapshot.rows.get(device_id) != row}
            if most is not None and len(told) + len(changed) > most:
                self._wake.set()
                return
            if rows is not self._snapshot.rows:
                kept = {name for name, _ in rows.values()}
                left = {name: entry for name, entry in entries.items() if name in kept}
                self._snapshot = replace(self._snapshot, entries=left, registered=registered, rows=rows)
            self._read(connection, told | changed, is_told=True)
        self._lines.forget(changed)
        self._hear_lines(events)
        if events:
            self._snapshot = replace(self._snapshot, position=events[-1].id)

    def _hear_lines(self, events: Sequence[Event]) -> None:
        assert self._snapshot is not None
        for event in events:
            for reading in event.readings:
                if entry := self._snapshot.entries.get(str(reading.get("device"))):
                    self._hear_line(entry.station, reading)

    def _hear_line(self, station: StationNow, reading: Mapping[str, Any]) -> None:
        if not station.is_corrected:
            self._lines.hear(station.device_id, reading)
        elif station.time is not None and reading.get("time") == format_time(station.time):
            # The stream tells what came; what counts of it has just been read.
            counting = {"level_m": station.level_m, "flags": {"level_m": station.level_flag}}
            self._lines.hear(station.device_id, {**reading, **counting})
        else:
            self._lines.forget([station.device_id])

    def _read(self, connection: Connection, device_ids: Collection[int], *, is_told: bool) -> None:
        """Read these stations again; one that is as it was keeps its entry, unless something was told of it."""
        if not device_ids:
            return
        assert self._snapshot is not None
        entries = dict(self._snapshot.entries)
        for station in read_stations_now(connection, device_ids=list(device_ids)):
            known = entries.get(station.name)
            if is_told or known is None or known.station != station:
                entries[station.name] = make_entry(station)
        self._snapshot = replace(self._snapshot, entries=entries)

    def _new_events(self, after: str) -> list[Event] | None:
        """What was told of since; None if that cannot be had, or is so much that all is better read again."""
        nothing: list[Event] | None = []
        return self._ask(lambda redis: _events_after(redis, after), nothing)

    def _newest_id(self) -> str:
        return self._ask(newest_id, START_ID)

    def _ask(self, question: Callable[[Redis], T], otherwise: T) -> T:
        """What Redis answers; ``otherwise`` while it does not, which is no error here."""
        if time.monotonic() - self._stream_failed_at_s > STREAM_PAUSE_S:
            try:
                return question(self._linked.redis)
            except RedisError:
                self._stream_failed_at_s = time.monotonic()
        return otherwise

    def _read_lines(self, device_ids: Sequence[int]) -> dict[int, list[SparklineBin]]:
        with self._linked.engine.connect() as connection:
            return read_sparklines(connection, device_ids)


def _events_after(redis: Redis, after: str) -> list[Event] | None:
    newest = position(newest_id(redis))
    if newest == position(after):
        return []
    if not position(oldest_id(redis)) <= position(after) <= newest:
        return None
    events: list[Event] = []
    while len(events) < MAX_EVENTS:
        found = read_after(redis, events[-1].id if events else after, count=READ_EVENTS)
        events += found
        if len(found) < READ_EVENTS:
            return events
    return None
