"""One thread per process reads the live stream and hands each event to every browser's queue.

It outlives Redis: when Redis is away it tries again with backoff, and afterwards tells every browser that something may be
missing (a *gap*), upon which a page asks the database anew. A browser that does not keep up loses its queue, not our memory.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property, partial

import orjson
from redis import Redis, RedisError

from streamgauge.live.stream import START_ID, Event, newest_id, oldest_id, read_after
from streamgauge.metrics import LIVE_CLIENTS, LIVE_DROPPED

log = logging.getLogger(__name__)
BLOCK_MS = 1_000
READ_COUNT = 100
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 3.0
HEARTBEAT_S = 10.0
READER_SOCKET_TIMEOUT_S = 5.0


def position(event_id: str) -> tuple[int, int]:
    """A stream id as numbers that compare; ``(0, 0)`` for text that is none."""
    milliseconds, _, sequence = event_id.partition("-")
    if milliseconds.isdecimal() and (sequence.isdecimal() or not sequence) and len(event_id) <= 40:
        return int(milliseconds), int(sequence or 0)
    return 0, 0


Listener = Callable[[set[str] | None], None]
"""Told of stations that something new was stored for; None: of any, as something may have been missed."""


@dataclass(frozen=True)
class Frames:
    """One event as text frames; the one for browsers that look at everything is made once for all of them."""

    event: Event

    @cached_property
    def everything(self) -> str:
        """The frame with all readings and forecasts."""
        return _frame(self.event.id, self.event.readings, self.event.forecasts)

    def about(self, devices: Collection[str]) -> str | None:
        """The frame with these devices' readings and forecasts (all, for no devices); None if there are none."""
        if not devices:
            return self.everything
        readings = [reading for reading in self.event.readings if reading.get("device") in devices]
        forecasts = [forecast for forecast in self.event.forecasts if forecast.get("device") in devices]
        return _frame(self.event.id, readings, forecasts) if readings or forecasts else None


def _frame(event_id: str, readings: list[dict[str, object]], forecasts: list[dict[str, object]]) -> str:
    frame: dict[str, object] = {"type": "readings", "id": event_id, "readings": readings}
    if forecasts:
        frame["forecasts"] = forecasts
    return orjson.dumps(frame).decode()


@dataclass(eq=False)
class Subscription:
    """One browser's queue. ``take`` is its only reader; the hub is its only writer."""

    devices: frozenset[str]
    limit: int
    _waiting: deque[Frames] = field(default_factory=deque)
    _missed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, frames: Frames) -> None:
        """Queue an event; if the browser is too slow, drop its queue instead and remember that it missed something."""
        with self._changed:
            if len(self._waiting) >= self.limit:
                self._waiting.clear()
                self._missed = True
                LIVE_DROPPED.inc()
            self._waiting.append(frames)
            self._changed.notify()

    def put_gap(self) -> None:
        """Remember that events may be missing."""
        with self._changed:
            self._missed = True
            self._changed.notify()

    def take(self, timeout_s: float) -> tuple[bool, list[Frames]]:
        """Whether something was missed, and the events since; waits if there is neither."""
        with self._changed:
            if not self._waiting and not self._missed:
                self._changed.wait(timeout_s)
            missed, frames = self._missed, list(self._waiting)
            self._missed = False
            self._waiting.clear()
            return missed, frames


class Hub:
    """The process's reader and its subscriptions.

    Args:
        connect: makes a Redis client with the given socket timeout in seconds.
        backlog_events: most events kept for one browser.
    """

    def __init__(self, connect: Callable[[float], Redis], backlog_events: int) -> None:
        self._connect = connect
        self._backlog_events = backlog_events
        self._subscriptions: set[Subscription] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._listeners: list[Listener] = []
        self.is_wanted: Callable[[], bool] = lambda: True
        """Becomes false when the process is asked to stop; browsers are then let go."""
        self.is_fed = True
        """Whether Redis answered when it was last asked."""

    def subscribe(self, devices: frozenset[str]) -> Subscription:
        """Begin to collect events for one browser; the first one starts the reader."""
        subscription = Subscription(devices, self._backlog_events)
        with self._lock:
            self._subscriptions.add(subscription)
            LIVE_CLIENTS.set(len(self._subscriptions))
            self._ensure_reader()
        return subscription

    def listen(self, callback: Listener) -> None:
        """Have a callback told, on the reader's thread, which stations have something new; it must return quickly."""
        with self._lock:
            self._listeners.append(callback)
            self._ensure_reader()

    def _ensure_reader(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            start = threading.Event()
            self._thread = threading.Thread(target=self._read, args=(start,), name="live-reader", daemon=True)
            self._thread.start()
            # Until the reader knows where the stream ends, an event could slip between the page and the socket.
            start.wait(READER_SOCKET_TIMEOUT_S)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a browser."""
        with self._lock:
            self._subscriptions.discard(subscription)
            LIVE_CLIENTS.set(len(self._subscriptions))

    def missed_since(self, redis: Redis, after_id: str) -> list[Frames] | None:
        """Events after an id, or None if they cannot all be had: it is not in the stream, or there are too many.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        first, last = position(oldest_id(redis)), position(newest_id(redis))
        if after_id != START_ID and not first <= position(after_id) <= last:
            return None
        events = read_after(redis, after_id, count=self._backlog_events + 1)
        return None if len(events) > self._backlog_events else [Frames(event) for event in events]

    def _read(self, started: threading.Event) -> None:
        redis = self._connect(READER_SOCKET_TIMEOUT_S)
        last_id: str | None = None
        retry_s = FIRST_RETRY_S
        while self.is_wanted():
            try:
                if last_id is None:
                    last_id = newest_id(redis)
                    started.set()
                    self._recover()
                last_id = self._read_once(redis, last_id)
                retry_s = FIRST_RETRY_S
            except (RedisError, OSError):
                if self.is_fed:
                    log.warning("live stream unavailable", exc_info=True)
                self.is_fed, last_id = False, None
                started.set()
                time.sleep(retry_s * random.uniform(0.5, 1.0))
                retry_s = min(LONGEST_RETRY_S, retry_s * 2)
        redis.close()

    def _recover(self) -> None:
        if not self.is_fed:
            log.info("live stream available again")
            self.is_fed = True
            self._tell_gap()

    def _read_once(self, redis: Redis, last_id: str) -> str:
        events = read_after(redis, last_id, block_ms=BLOCK_MS, count=READ_COUNT)
        if not events:
            # An emptied Redis whose clock went back would otherwise never reach our id again.
            if position(newest_id(redis)) < position(last_id):
                self._tell_gap()
                return START_ID
            return last_id
        if len(events) == READ_COUNT and position(oldest_id(redis)) > position(events[0].id):
            self._tell_gap()
        for event in events:
            frames = Frames(event)
            self._tell(partial(Subscription.put, frames=frames))
        self._tell_listeners({str(item["device"]) for event in events for item in event.readings + event.forecasts})
        return events[-1].id

    def _tell_gap(self) -> None:
        self._tell(Subscription.put_gap)
        self._tell_listeners(None)

    def _tell_listeners(self, devices: set[str] | None) -> None:
        for listener in list(self._listeners):
            try:
                listener(devices)
            except Exception:
                log.exception("a listener of the live stream failed")

    def _tell(self, tell: Callable[[Subscription], None]) -> None:
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            tell(subscription)
