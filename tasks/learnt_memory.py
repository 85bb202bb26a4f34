"""What was learnt of stations, as a worker process remembers it; asked for again every few minutes, like calibrations.

What was learnt counts from half an hour after it was made (``tasks.learn``), which is longer than anything here is remembered.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection

from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.scoring.learnt import NOTHING_LEARNT, LearntByTime
from streamgauge.storage.learnt import StoredLearnt, by_time, read_learnt, read_learnt_within
from streamgauge.storage.sensors import REACH_US
from tasks.calibration_memory import RECENT, REMEMBERED_S


class LearntMemory:
    """What was learnt, by station. One task at a time uses it.

    Args:
        now: the clock of readings.
        monotonic_s: the clock of remembering.
    """

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._monotonic_s = monotonic_s
        self._kept: dict[int, tuple[StoredLearnt, ...]] = {}
        self._since_us = 0
        self._forget_at_s = 0.0

    def read(self, connection: Connection, spans: Mapping[int, tuple[int, int]]) -> LearntByTime:
        """What was learnt of some stations.

        Args:
            connection: an open connection.
            spans: by device, the times of the earliest and the latest row that matter, microseconds since 1970. What is
                remembered does not go so far back: only the stations with old rows are asked for anew.
        """
        self._age()
        old = {device: span for device, span in spans.items() if span[0] < self._since_us}
        unknown = [device for device in spans if device not in old and device not in self._kept]
        if unknown:
            found: dict[int, list[StoredLearnt]] = {device: [] for device in unknown}
            for row in read_learnt(connection, unknown, from_microseconds(self._since_us)):
                found[row.device_id].append(row)
            self._kept |= {device: tuple(rows) for device, rows in found.items()}
        rows = [row for device in spans if device not in old for row in self._kept[device]]
        if old:
            asked = {
                device: (from_microseconds(first), from_microseconds(last + REACH_US))
                for device, (first, last) in old.items()
            }
            rows += read_learnt_within(connection, asked)
        return by_time(rows) if rows else NOTHING_LEARNT

    def forget(self) -> None:
        """What is remembered may be wrong: ask again."""
        self._kept.clear()
        self._forget_at_s = 0.0

    def _age(self) -> None:
        now_s = self._monotonic_s()
        if now_s >= self._forget_at_s:
            self._kept.clear()
            self._forget_at_s = now_s + REMEMBERED_S
            self._since_us = to_microseconds(self._now() - RECENT)
