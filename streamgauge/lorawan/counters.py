"""Uplink frame counters: from the air's 16 bits to the full 32, and each counter taken once.

The air carries the low half of a counter, its MIC covers all of it. So a full counter is recovered by trying the candidates
that have this low half until one's MIC fits, and what fits is proven.

Two decisions depart from LoRaWAN 1.0.x (§4.3.1.5 of 1.0.3):

- It refuses every counter at or below the newest. Here a frame up to ``REORDER_MAX`` behind is taken if its counter has never
  been taken: two packet forwarders over one network hand frames over out of order, and the older of two would be lost. A
  sliding window (RFC 4303, section 3.4.3) remembers which were taken, so that nothing is taken twice.
- It discards frames after a gap of more than MAX_FCNT_GAP (16,384). Version 1.0.4 dropped that rule, and so does this: the MIC
  over the full counter proves a jump. A jump beyond 65,535 is found up to ``ROLL_OVERS_TRIED`` roll-overs ahead.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

REORDER_MAX: Final = 32
"""How far behind the newest counter a frame is still taken."""

WINDOW_BITS: Final = 63
"""Counters that the window remembers; one less than 64, so that it fits a database's signed integer."""

ROLL_OVERS_TRIED: Final = 4
"""Roll-overs of the low half that may have gone unheard in between: at a frame a minute, half a year."""

HIGH_HALVES_TRIED: Final = 16
"""Upper halves tried for a session of which no counter is known: at a frame a minute, two years."""

COUNTER_MAX: Final = 0xFFFF_FFFF
_LOW: Final = 0xFFFF
_ROLL_OVER: Final = 0x1_0000
_WINDOW_MASK: Final = (1 << WINDOW_BITS) - 1


class Verdict(Enum):
    """What a proven counter means for its frame."""

    NEW = "new"
    LATE = "late"
    REPEATED = "repeated"
    OLD = "old"

    @property
    def is_taken(self) -> bool:
        """Whether the frame is taken."""
        return self in (Verdict.NEW, Verdict.LATE)


@dataclass(frozen=True, slots=True)
class Window:
    """The newest counter taken, and which of those just before it were: bit *i* stands for ``newest - i``."""

    newest: int
    bits: int

    def __post_init__(self) -> None:
        if not (0 <= self.newest <= COUNTER_MAX and 0 <= self.bits <= _WINDOW_MASK):
            raise ValueError(f"no counter window: newest {self.newest}, bits {self.bits:#x}")


def candidates(window: Window | None, f_cnt_low: int) -> Iterator[int]:
    """Full counters with this low half, the likeliest first: ahead of the newest, behind it, further ahead, and last the
    counter of a device that has begun anew.

    Args:
        window: what has been taken; None if nothing is known (a fresh device, or its state was lost).
        f_cnt_low: the counter's 16 bits of the air.
    """
    if window is None:
        yield from range(f_cnt_low, HIGH_HALVES_TRIED * _ROLL_OVER, _ROLL_OVER)
        return
    ahead = window.newest + ((f_cnt_low - window.newest) & _LOW)
    behind = ahead - _ROLL_OVER
    nearest_first = (behind, ahead) if window.newest - behind <= REORDER_MAX else (ahead, behind)
    further = range(ahead + _ROLL_OVER, ahead + (ROLL_OVERS_TRIED + 1) * _ROLL_OVER, _ROLL_OVER)
    for counter in (*nearest_first, *further):
        if 0 <= counter <= COUNTER_MAX:
            yield counter
    if f_cnt_low < min(behind, ahead):
        yield f_cnt_low


def judge(window: Window | None, counter: int) -> Verdict:
    """Whether a frame with this proven counter is taken, and if not, why."""
    if window is None or counter > window.newest:
        return Verdict.NEW
    behind = window.newest - counter
    if behind < WINDOW_BITS and window.bits >> behind & 1:
        return Verdict.REPEATED
    return Verdict.LATE if behind <= REORDER_MAX else Verdict.OLD


def take(window: Window | None, counter: int) -> Window:
    """The window after this counter has been taken.

    Raises:
        ValueError: it must not be taken (``judge``).
    """
    verdict = judge(window, counter)
    if not verdict.is_taken:
        raise ValueError(f"counter {counter} is {verdict.value} and cannot be taken")
    if window is None:
        return Window(counter, 1)
    if verdict is Verdict.LATE:
        return Window(window.newest, window.bits | 1 << (window.newest - counter))
    ahead = counter - window.newest
    return Window(counter, (window.bits << ahead | 1) & _WINDOW_MASK if ahead < WINDOW_BITS else 1)
