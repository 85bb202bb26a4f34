"""Which reading a frame of the last seconds became, so that a better copy of the frame can improve it."""

from collections import OrderedDict
from collections.abc import Sequence

from gateway.radio.heard import Uplink
from streamgauge.reading import Reading, to_microseconds

REMEMBERED_MAX = 20_000

Key = tuple[str, int]


class RecentReadings:
    """The live readings of the last frames, by session and counter. Used by one thread."""

    def __init__(self, most: int = REMEMBERED_MAX) -> None:
        self._by_frame: OrderedDict[Key, tuple[str, int]] = OrderedDict()
        self._most = most

    def remember(self, uplink: Uplink, readings: Sequence[Reading]) -> None:
        """Remember what a frame became; history in it has the signal of no reading of its own."""
        for reading in readings:
            if reading.seq == uplink.f_cnt:
                self._by_frame[uplink.session, uplink.f_cnt] = (reading.device, to_microseconds(reading.time))
        while len(self._by_frame) > self._most:
            self._by_frame.popitem(last=False)

    def live_reading_of(self, uplink: Uplink) -> list[tuple[str, int]]:
        """Device and time (microseconds since 1970) of the frame's live reading, if it is remembered."""
        found = self._by_frame.get((uplink.session, uplink.f_cnt))
        return [] if found is None else [found]
