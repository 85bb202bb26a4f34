"""The gateway's clock, and whether it can be trusted: a board without a battery wakes in the past, and is set right later.

What the system's clock says is taken as it is, for nothing better is known; but a jump is noticed, counted and shown. Order
and ages never rest on it: the buffer numbers readings as they are accepted, and waiting is measured by the monotonic clock.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamgauge.gateway_metrics import CLOCK_STEPS

log = logging.getLogger("streamgauge.gateway.clock")

STEP_S = 2.0
"""A change of the difference between both clocks that is no adjustment any more: NTP slews what is smaller than a second."""

NANOSECONDS_PER_MICROSECOND = 1_000


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A jump of the system's clock.

    Attributes:
        at_us: what it said after the jump, microseconds since 1970.
        by_s: by how much it jumped; negative: back.
    """

    at_us: int
    by_s: float


class Clock:
    """The system's clock in microseconds since 1970, with an eye on jumps. Threads may share it."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._ahead_ns = wall_ns() - monotonic_ns()
        self.last_step: ClockStep | None = None

    def now_us(self) -> int:
        """What the clock says."""
        wall_ns = self._wall_ns()
        ahead_ns = wall_ns - self._monotonic_ns()
        with self._lock:
            by_s = (ahead_ns - self._ahead_ns) / 1e9
            self._ahead_ns = ahead_ns
            if abs(by_s) >= STEP_S:
                self._notice(ClockStep(wall_ns // NANOSECONDS_PER_MICROSECOND, by_s))
        return wall_ns // NANOSECONDS_PER_MICROSECOND

    def _notice(self, step: ClockStep) -> None:
        self.last_step = step
        CLOCK_STEPS.labels("back" if step.by_s < 0 else "forward").inc()
        log.warning("system clock jumped", extra={"by_s": round(step.by_s, 3)})
