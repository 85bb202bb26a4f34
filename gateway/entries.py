"""What travels inside the gateway: readings on their way into the buffer, and what must be committed together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamgauge.reading import Reading


@dataclass(frozen=True, slots=True)
class Entry:
    """One reading on its way into the buffer.

    Attributes:
        reading: as it will go over the wire.
        gateway_time_us: our own clock when it was heard, microseconds since 1970.
        precious: a rule or the score marks it: it goes last when the buffer is full.
    """

    reading: Reading
    gateway_time_us: int
    precious: bool = False


@dataclass(frozen=True, slots=True)
class CounterState:
    """Which frame counters of a session were accepted: the newest one, and those behind it as bits.

    Attributes:
        session: which session.
        newest: the highest accepted 32-bit counter.
        window: bit n set: ``newest - n`` was accepted (``streamgauge.lorawan.counters``).
    """

    session: str
    newest: int
    window: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """What must be committed together or not at all: a frame's readings and its counter.

    Attributes:
        entries: readings; there may be none.
        counters: the sessions' new counters.
        done: called from the keeper's thread once all of it is committed.
    """

    entries: Sequence[Entry] = ()
    counters: Sequence[CounterState] = ()
    done: Callable[[], None] | None = None
