"""A forwarder's datagrams that no PUSH_ACK has answered yet: which leave again, when, and which are given up. Pure.

The packet forwarder's protocol knows no repetition. Here a datagram leaves again until it is answered, because the gateway
acknowledges only what it has kept; it is bounded in time and number, as a forwarder's memory is.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Frame = TypeVar("Frame")

NO_ANSWER_S = 2.0
"""A forwarder that does not repeat gives a datagram up when no answer has come for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatOptions:
    """How a forwarder repeats.

    Args:
        repeats: whether it does at all.
        window: most datagrams that may be unanswered.
        first_wait_s: the first wait for a PUSH_ACK; doubles each time,
        longest_wait_s: up to this, each with a jitter of a tenth.
        patience_s: what was heard so long ago is dropped.
    """

    repeats: bool = True
    window: int = 64
    first_wait_s: float = 1.0
    longest_wait_s: float = 4.0
    patience_s: float = 300.0


@dataclass(slots=True)
class Datagram(Generic[Frame]):
    """One datagram that has left, or leaves at once.

    Args:
        token: its token, unique among the unanswered.
        payload: its bytes.
        frames: what it carries.
        born_s: when its first frame was heard.
        due_s: when it is to leave (again).
        tries: how often it left.
    """

    token: int
    payload: bytes
    frames: tuple[Frame, ...]
    born_s: float
    due_s: float
    tries: int = 0


class Unanswered(Generic[Frame]):
    """Unanswered datagrams, oldest first.

    Args:
        options: how they are repeated.
        chance: numbers in [0, 1), for the jitter.
    """

    def __init__(self, options: RepeatOptions, chance: Callable[[], float]) -> None:
        self._options = options
        self._chance = chance
        self._held: OrderedDict[int, Datagram[Frame]] = OrderedDict()
        self._answered_s = float("-inf")

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, token: int) -> bool:
        return token in self._held

    @property
    def has_room(self) -> bool:
        """Whether another datagram may leave; a forwarder that does not repeat never waits."""
        return not self._options.repeats or len(self._held) < self._options.window

    @property
    def oldest_born_s(self) -> float | None:
        """When the oldest one's first frame was heard."""
        return next(iter(self._held.values())).born_s if self._held else None

    def next_due_s(self) -> float | None:
        """When the next one is to leave again, or to be given up."""
        if not self._held:
            return None
        if self._options.repeats:
            return min(datagram.due_s for datagram in self._held.values())
        return next(iter(self._held.values())).born_s + NO_ANSWER_S

    def add(self, token: int, payload: bytes, frames: tuple[Frame, ...], born_s: float, now_s: float) -> None:
        """Keep a datagram, which is due at once."""
        self._held[token] = Datagram(token, payload, frames, born_s, now_s)

    def due(self, now_s: float) -> Iterator[Datagram[Frame]]:
        """Those that should leave now, oldest first; each is then expected to leave."""
        for datagram in self._held.values():
            if datagram.due_s > now_s:
                continue
            datagram.tries += 1
            wait_s = min(self._options.first_wait_s * 2.0 ** (datagram.tries - 1), self._options.longest_wait_s)
            jitter = 0.9 + 0.2 * self._chance()
            datagram.due_s = now_s + wait_s * jitter if self._options.repeats else float("inf")
            yield datagram

    def answered(self, token: int, now_s: float) -> Datagram[Frame] | None:
        """Take a PUSH_ACK. The first one after an outage lets all the others leave at once, in their order."""
        datagram = self._held.pop(token, None)
        if datagram is None:
            return None
        was_away = datagram.tries > 1 and now_s - self._answered_s > self._options.longest_wait_s / 2
        self._answered_s = now_s
        for waiting in self._held.values() if was_away else ():
            waiting.due_s, waiting.tries = now_s, 1
        return datagram

    def give_up(self, now_s: float) -> Iterator[Datagram[Frame]]:
        """Those that have become too old; they are forgotten here."""
        patience_s = self._options.patience_s if self._options.repeats else NO_ANSWER_S
        while self._held:
            oldest = next(iter(self._held.values()))
            if oldest.born_s + patience_s > now_s:
                return
            yield self._held.pop(oldest.token)
