"""The batches that are under way: sent, and not yet answered with ``stored``. Pure: no clock, no socket, no file.

Two lanes: *live* readings and the *backlog*. Each has its own window, so that a long backlog delays live readings by no more
than what its window holds. A batch leaves the outbox through the answer that names it and counts all its readings.
"""

import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.buffer.rows import SeqRange
from streamgauge.wire import StoredAnswer

LONGEST_WAIT_S = 120.0
RECONNECT_SPREAD_S = 1.0
"""After a reconnection unanswered batches leave again within this time, at random: a fleet must not speak all at once."""

STUCK_TIMES_SENT = 3
STUCK_OVERTAKEN = 3
PROBE_TIMES_SENT = 5
_MAX_PROBING = 64


class Lane(StrEnum):
    """Which readings a batch holds; a metric's label too."""

    LIVE = "live"
    BACKLOG = "backlog"


class Ignored(StrEnum):
    """Why an answer changes nothing; a metric's label too."""

    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"
    REPEATED = "repeated"
    WRONG_COUNT = "wrong_count"


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch under way.

    Attributes:
        name: its id.
        lane: whose window it takes up.
        ranges: its readings' sequence numbers.
        readings: how many they are.
        payload: the message.
        times_sent: how often it left.
        sent_s: when it left last, on the caller's clock.
        due_s: when it is to leave (again).
        overtaken: how many batches that left later were answered before it.
        answers_before: how many answers had come when it was made.
    """

    name: str
    lane: Lane
    ranges: Sequence[SeqRange]
    readings: int
    payload: bytes
    times_sent: int = 0
    sent_s: float = 0.0
    due_s: float = 0.0
    overtaken: int = 0
    answers_before: int = 0


class Outbox:
    """Batches under way, in the order in which they were made.

    Args:
        resend_after_s: how long the first answer is waited for before a batch leaves again; doubles each time,
        longest_wait_s: up to this, each with a jitter of a quarter.
        chance: numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        resend_after_s: float,
        longest_wait_s: float = LONGEST_WAIT_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._resend_after_s = resend_after_s
        self._longest_wait_s = max(longest_wait_s, resend_after_s)
        self._chance = chance
        # Chance makes the ids of two starts differ: an answer to a batch of the last one must not delete another's readings.
        self._start = secrets.token_hex(4)
        self._made = 0
        self._answers = 0
        self._batches: dict[str, Batch] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(tuple(self._batches.values()))

    def in_lane(self, lane: Lane) -> int:
        """How many batches take up a lane's window."""
        return sum(batch.lane is lane for batch in self._batches.values())

    def readings(self) -> int:
        """How many readings are under way."""
        return sum(batch.readings for batch in self._batches.values())

    def next_name(self) -> str:
        """An id that no batch of this gateway had before, in this start or another."""
        self._made += 1
        return f"{self._start}-{self._made}"

    def add(self, batch: Batch) -> None:
        """Keep a batch until it is answered."""
        batch.answers_before = self._answers
        self._batches[batch.name] = batch

    def forget(self, batch: Batch) -> None:
        """Take a batch out whose readings go on in others."""
        self._batches.pop(batch.name, None)

    def due(self, now_s: float) -> list[Batch]:
        """What should leave now, live ones first, otherwise oldest first."""
        due = [batch for batch in self._batches.values() if batch.due_s <= now_s]
        return sorted(due, key=lambda batch: batch.lane is Lane.BACKLOG)

    def next_due_s(self) -> float | None:
        """When the next batch becomes due, if there is one."""
        return min((batch.due_s for batch in self._batches.values()), default=None)

    def sent(self, batch: Batch, now_s: float) -> None:
        """Note that a batch has left, and when it is to leave again if it is not answered."""
        doublings = min(batch.times_sent, 30)
        wait_s = min(self._longest_wait_s, self._resend_after_s * 2.0**doublings)
        batch.times_sent += 1
        batch.sent_s = now_s
        batch.due_s = now_s + wait_s * (0.75 + 0.5 * self._chance())

    def reconnected(self, now_s: float) -> None:
        """Answers may be lost with the connection: everything leaves again soon, and counts as backlog."""
        for batch in self._batches.values():
            batch.lane = Lane.BACKLOG
            batch.times_sent = min(batch.times_sent, 1)
            batch.due_s = now_s + RECONNECT_SPREAD_S * self._chance()

    def answered(self, answer: StoredAnswer) -> Batch | Ignored:
        """Take an answer; returns the batch whose readings may be deleted, or why the answer is ignored."""
        batch = self._batches.get(answer.batch)
        if batch is None:
            return Ignored.REPEATED if self._is_ours(answer.batch) else Ignored.UNKNOWN
        if answer.stored < 0 or answer.dead < 0 or answer.stored + answer.dead != batch.readings:
            return Ignored.WRONG_COUNT
        del self._batches[answer.batch]
        self._answers += 1
        for other in self._batches.values():
            other.overtaken += other.times_sent > 0 and other.sent_s < batch.sent_s
        return batch

    def is_stuck(self, batch: Batch) -> bool:
        """Whether this batch should go on in parts, as something in it seems to keep it from being answered: those that
        left later are answered and it is not; or nothing is answered, and then that with the oldest readings alone, to find out.

        A broker may drop what is too long for it without a word, and the cloud cannot answer what it cannot read.
        """
        if batch.readings < 2 or batch.times_sent < STUCK_TIMES_SENT:
            return False
        if batch.overtaken >= STUCK_OVERTAKEN:
            return True
        is_silent = batch.times_sent >= PROBE_TIMES_SENT and batch.answers_before == self._answers
        if not is_silent or len(self) >= _MAX_PROBING:
            return False
        return batch is min(self._batches.values(), key=lambda other: other.ranges[0])

    def gap(self, after_seq: int, until_seq: int) -> SeqRange | None:
        """The first stretch of (``after_seq``, ``until_seq``] of which nothing is under way, as (after, until)."""
        under_way = sorted(bounds for batch in self._batches.values() for bounds in batch.ranges)
        for first, last in under_way:
            if last <= after_seq:
                continue
            if first > until_seq:
                break
            if first > after_seq + 1:
                return after_seq, first - 1
            after_seq = last
        return (after_seq, until_seq) if after_seq < until_seq else None

    def _is_ours(self, name: str) -> bool:
        start, _, number = name.rpartition("-")
        return (
            start == self._start
            and number.isdecimal()
            and number.isascii()
            and len(number) < 20
            and int(number) <= self._made
        )
