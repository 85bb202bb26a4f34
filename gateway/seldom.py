"""Log lines about what may happen a thousand times a second."""

import logging
import time
from collections.abc import Callable
from typing import Any


class Seldom:
    """Logs at most once in a while, and says how often it happened since the last line.

    Args:
        log: where to.
        level: ``logging.WARNING`` and the like.
        message: the line; the number goes into its field ``times``.
        every_s: the shortest time between two lines, seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        log: logging.Logger,
        level: int,
        message: str,
        *,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._level = level
        self._message = message
        self._every_s = every_s
        self._clock = clock
        self._times = 0
        self._next_s = float("-inf")

    def note(self, times: int = 1, **fields: Any) -> None:
        """It happened; ``fields`` go with the line if one is due."""
        self._times += times
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._log.log(self._level, self._message, extra={"times": self._times, **fields})
        self._times = 0
        self._next_s = now_s + self._every_s
