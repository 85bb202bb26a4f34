"""One thread per process reads the live stream and hands what is new to the writer.

It outlives Redis: when Redis is away it tries again with backoff, and says afterwards that something may be missing.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import Protocol

from redis import Redis

from app.live.events import Encoded, encode, position
from streamgauge.live.stream import START_ID, newest_id, oldest_id, read_after, read_tail

log = logging.getLogger(__name__)
BLOCK_MS = 1_000
READ_COUNT = 100
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 3.0
SOCKET_TIMEOUT_S = 5.0


class Sink(Protocol):
    """Whom the reader tells."""

    def load(self, events: list[Encoded], newest_id: str, *, is_whole: bool) -> None:
        """The stream's end as it was found at first."""

    def append(self, events: list[Encoded]) -> None:
        """What came after."""

    def restart(self, newest_id: str) -> None:
        """Something may be missing up to this id."""

    def feed(self, is_fed: bool) -> None:
        """Whether Redis answers."""


class Reader:
    """Reads until nobody wants it any more.

    Args:
        connect: makes a Redis client with the given socket timeout in seconds.
        sink: whom to tell.
        most_events: of the stream's past that are worth knowing.
        is_wanted: asked about once a second.
    """

    def __init__(
        self, connect: Callable[[float], Redis], sink: Sink, most_events: int, is_wanted: Callable[[], bool]
    ) -> None:
        self._connect, self._sink, self._is_wanted = connect, sink, is_wanted
        self._most_events = most_events
        self.is_fed = True
        """Whether Redis answered when it was last asked."""

    def run(self) -> None:
        """The thread."""
        redis = self._connect(SOCKET_TIMEOUT_S)
        last_id: str | None = None
        retry_s = FIRST_RETRY_S
        while self._is_wanted():
            try:
                last_id = self._begin(redis) if last_id is None else self._read_once(redis, last_id)
                retry_s = FIRST_RETRY_S
            except Exception as error:  # noqa: BLE001
                # Mostly Redis; but whatever it is, pages must not stand still for the life of the process.
                last_id = None
                self._lose(error)
                time.sleep(retry_s * random.uniform(0.5, 1.0))
                retry_s = min(LONGEST_RETRY_S, retry_s * 2)
        redis.close()

    def _lose(self, error: Exception) -> None:
        if self.is_fed:
            log.warning("live stream unavailable", exc_info=error)
            self.is_fed = False
            self._sink.feed(False)

    def _begin(self, redis: Redis) -> str:
        if self.is_fed:
            tail = read_tail(redis, self._most_events)
            last_id = tail.events[-1].id if tail.events else START_ID
            self._sink.load([encode(event) for event in tail.events], last_id, is_whole=tail.is_whole)
            return last_id
        # What was stored while Redis was away never came into the stream.
        last_id = newest_id(redis)
        log.info("live stream available again")
        self.is_fed = True
        self._break(last_id)
        self._sink.feed(True)
        return last_id

    def _read_once(self, redis: Redis, last_id: str) -> str:
        found = read_after(redis, last_id, block_ms=BLOCK_MS, count=READ_COUNT)
        if not found:
            # An emptied Redis whose clock went back would otherwise never reach our id again.
            if position(newest_id(redis)) < position(last_id):
                self._break(START_ID)
                return START_ID
            return last_id
        if last_id != START_ID and position(oldest_id(redis)) > position(last_id):
            # The stream was cut beyond where we were: what it cut may be more than what we knew.
            self._break(last_id)
        events = [encode(event) for event in found]
        self._sink.append(events)
        return found[-1].id

    def _break(self, newest: str) -> None:
        self._sink.restart(newest)
