"""Whether the cloud can be counted on just now: it is connected, and it confirms what it is given."""

import time
from collections.abc import Callable

from gateway.page.state import LinkState

SILENT_S = 300.0
"""A cloud that is connected, has readings to confirm and confirms none for so long counts as away: its alarms would not come."""


class UplinkWatch:
    """Tells whether the uplink is down; used by one thread. Rests on the monotonic clock alone.

    Args:
        link_state: the publisher's.
        waiting: how many readings wait to be confirmed.
        monotonic_s: a clock that only grows.
    """

    def __init__(
        self,
        link_state: Callable[[], LinkState],
        waiting: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link_state = link_state
        self._waiting = waiting
        self._monotonic_s = monotonic_s
        self._seen = link_state()
        self._well_s = monotonic_s()

    def is_down(self) -> bool:
        """Whether it is."""
        seen, now_s = self._link_state(), self._monotonic_s()
        if seen.last_stored_at != self._seen.last_stored_at or not self._waiting():
            self._well_s = now_s
        self._seen = seen
        return not seen.connected or now_s - self._well_s >= SILENT_S
