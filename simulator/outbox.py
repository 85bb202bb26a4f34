"""The batches that a gateway has handed over and of which it has not yet heard ``stored``. Pure: no clock, no socket.

A batch leaves the outbox in one way only: through the answer that names it.
"""

import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from streamgauge.wire import StoredAnswer

RECONNECT_SPREAD_S = 0.5
"""After a reconnection batches go out again within this time, at random, so that a fleet does not speak all at once."""


class Verdict(Enum):
    """What an answer turned out to be."""

    FIRST = auto()
    REPEATED = auto()
    UNKNOWN = auto()


@dataclass(slots=True)
class Batch:
    """One batch on its way.

    Args:
        name: its id.
        payload: the message.
        readings: how many it holds.
        times_sent: how often it left.
        due_s: when it is to leave (again), on the caller's clock.
    """

    name: str
    payload: bytes
    readings: int
    times_sent: int
    due_s: float


class Outbox:
    """Unanswered batches, in the order in which they were made.

    Args:
        answer_wait_s: how long the first answer is waited for before the batch leaves again; doubles each time,
        longest_wait_s: up to this, each with a jitter of a quarter.
        chance: a source of numbers in [0, 1), for the jitter.
    """

    def __init__(
        self, *, answer_wait_s: float, longest_wait_s: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._answer_wait_s = answer_wait_s
        self._longest_wait_s = longest_wait_s
        self._chance = chance
        # Start and chance together: no second run, not even on another machine with the same clock, makes the same id.
        self._run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
        self._made = 0
        self._unanswered: dict[str, Batch] = {}

    def __len__(self) -> int:
        return len(self._unanswered)

    def __iter__(self) -> Iterator[Batch]:
        return iter(tuple(self._unanswered.values()))

    def next_name(self) -> str:
        """An id that no batch of this gateway had before, in this run or another."""
        self._made += 1
        return f"{self._run}-{self._made:06d}"

    def add(self, name: str, payload: bytes, readings: int, now_s: float) -> None:
        """Keep a batch; it is due at once."""
        self._unanswered[name] = Batch(name=name, payload=payload, readings=readings, times_sent=0, due_s=now_s)

    def due(self, now_s: float) -> list[Batch]:
        """The batches that should leave now, oldest first."""
        return [batch for batch in self._unanswered.values() if batch.due_s <= now_s]

    def next_due_s(self) -> float | None:
        """When the next batch becomes due, if there is one."""
        return min((batch.due_s for batch in self._unanswered.values()), default=None)

    def sent(self, batch: Batch, now_s: float) -> None:
        """Note that a batch has left, and when it is to leave again if nothing is heard."""
        batch.times_sent += 1
        self.postpone(batch, now_s)

    def postpone(self, batch: Batch, now_s: float) -> None:
        """Wait once more for an answer, as long as the number of attempts so far asks for."""
        doublings = min(max(batch.times_sent, 1) - 1, 30)
        wait_s = min(self._longest_wait_s, self._answer_wait_s * 2.0**doublings)
        batch.due_s = now_s + wait_s * (0.75 + 0.5 * self._chance())

    def answered(self, answer: StoredAnswer) -> tuple[Verdict, int]:
        """Take an answer: the named batch leaves the outbox. Returns the verdict, and how many readings are now
        settled.
        """
        batch = self._unanswered.pop(answer.batch, None)
        if batch is not None:
            return Verdict.FIRST, batch.readings
        is_ours = answer.batch.startswith(f"{self._run}-")
        return (Verdict.REPEATED if is_ours else Verdict.UNKNOWN), 0

    def reconnected(self, now_s: float) -> None:
        """Answers may have been lost with the connection: everything is due again, soon."""
        for batch in self._unanswered.values():
            batch.times_sent = min(batch.times_sent, 1)
            batch.due_s = min(batch.due_s, now_s + RECONNECT_SPREAD_S * self._chance())
