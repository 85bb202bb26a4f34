"""The last days of the stations that are looked at: read once, and gone on with by every reading that is heard of."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.overview.entries import Entry
from app.overview.sparkline import Sparkline, draw
from streamgauge.quality.flags import Flag
from streamgauge.storage.read_overview import SPARKLINE_BIN_S, SPARKLINE_WINDOW_S, SparklineBin

MAX_AGE_S = 600.0
"""A line is read again after so long: what was stored without being told of is in it then."""
MAX_LINES = 20_000
ReadLines = Callable[[Sequence[int]], Mapping[int, Sequence[SparklineBin]]]


class Line:
    """One station's bins: lowest and highest level by the bin's begin in seconds since 1970."""

    __slots__ = ("bins", "drawn", "drawn_for", "read_at_s")

    def __init__(self, bins: Iterable[SparklineBin], read_at_s: float) -> None:
        self.bins = {item.start_s: (item.low_m, item.high_m) for item in bins}
        self.read_at_s = read_at_s
        self.drawn: Sparkline | None = None
        self.drawn_for: Entry | None = None

    def add(self, time_s: float, level_m: float) -> None:
        """Put a level into its bin."""
        start_s = time_s // SPARKLINE_BIN_S * SPARKLINE_BIN_S
        low_m, high_m = self.bins.get(start_s, (level_m, level_m))
        self.bins[start_s] = (min(low_m, level_m), max(high_m, level_m))
        self.drawn_for = None

    def draw(self, entry: Entry) -> Sparkline | None:
        """The day up to the station's newest reading; None where there is no level."""
        if self.drawn_for is not entry:
            newest = entry.station.time
            first_s = 0.0 if newest is None else newest.timestamp() - SPARKLINE_WINDOW_S
            self.bins = {start_s: found for start_s, found in self.bins.items() if start_s >= first_s}
            bins = [
                SparklineBin(start_s=start_s - first_s, low_m=low_m, high_m=high_m)
                for start_s, (low_m, high_m) in sorted(self.bins.items())
            ]
            self.drawn, self.drawn_for = draw(bins, entry.station.stages), entry
        return self.drawn


class Lines:
    """The lines of a process, by device. ``read`` reads those that are missing."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._lock = threading.Lock()

    def hear(self, device_id: int, reading: Mapping[str, Any]) -> None:
        """Go on with a line by a reading that counts as it is; one that cannot be read is read from the database later."""
        with self._lock:
            line = self._lines.get(device_id)
            if line is None:
                return
            try:
                level_m, flag = reading.get("level_m"), (reading.get("flags") or {}).get("level_m")
                if level_m is not None and flag != Flag.FAIL:
                    line.add(datetime.fromisoformat(reading["time"]).timestamp(), float(level_m))
            except (KeyError, TypeError, ValueError, AttributeError):
                del self._lines[device_id]

    def forget(self, device_ids: Iterable[int] | None = None) -> None:
        """Something may have been missed: read these lines again, or all, each when it is looked at."""
        with self._lock:
            if device_ids is None:
                self._lines.clear()
            else:
                for device_id in device_ids:
                    self._lines.pop(device_id, None)

    def of(self, entries: Sequence[Entry], read: ReadLines) -> dict[int, Sparkline]:
        """The pictures of these stations, by device."""
        now_s = time.monotonic()
        with self._lock:
            missing = [entry.station.device_id for entry in entries if self._is_wanted(entry.station.device_id, now_s)]
        # Read without the lock: a reading that comes meanwhile and is in neither is in the next reading of the line.
        found = read(missing) if missing else {}
        with self._lock:
            if len(self._lines) > MAX_LINES:
                self._lines.clear()
            self._lines |= {device_id: Line(found.get(device_id, ()), now_s) for device_id in missing}
            drawn = {
                entry.station.device_id: line.draw(entry)
                for entry in entries
                if (line := self._lines.get(entry.station.device_id)) is not None
            }
        return {device_id: line for device_id, line in drawn.items() if line is not None}

    def _is_wanted(self, device_id: int, now_s: float) -> bool:
        line = self._lines.get(device_id)
        return line is None or now_s - line.read_at_s > MAX_AGE_S
