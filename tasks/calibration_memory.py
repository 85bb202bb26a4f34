"""The calibrations that a worker process remembers, asked for again every few minutes.

A calibration counts from half an hour after it was made (``tasks.calibrate.LEAD``), which is longer than anything here is
remembered: so the first judgement of a reading rests on the calibration that re-scoring will find for its time.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.scoring.calibration import Calibrations
from streamgauge.storage.calibrations import Key, StoredCalibration, by_model, read_calibrations

REMEMBERED_S = 300.0
RECENT = timedelta(days=3)
"""Readings that are older than this are judged with calibrations that are read for them and not remembered."""


class CalibrationMemory:
    """Calibrations by station and model. One task at a time uses it.

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
        self._kept: dict[Key, tuple[StoredCalibration, ...]] = {}
        self._since_us = 0
        self._forget_at_s = 0.0

    def read(self, connection: Connection, spans: Mapping[Key, tuple[int, int]]) -> dict[int, Calibrations]:
        """The calibrations of some stations, by the model that judges them; a model is absent where no station has any.

        Args:
            connection: an open connection.
            spans: by device and model, the times of the earliest and the latest reading to be judged, microseconds since
                1970. What is remembered does not go so far back: only the stations with old readings are asked for anew.
        """
        self._age()
        old = {key: span for key, span in spans.items() if span[0] < self._since_us}
        unknown = [key for key in spans if key not in old and key not in self._kept]
        if unknown:
            found: dict[Key, list[StoredCalibration]] = {key: [] for key in unknown}
            since = from_microseconds(self._since_us)
            for row in read_calibrations(connection, dict.fromkeys(unknown, (since, None))):
                found[row.device_id, row.model_id].append(row)
            self._kept |= {key: tuple(rows) for key, rows in found.items()}
        rows = [row for key in spans if key not in old for row in self._kept[key]]
        if old:
            asked = {key: (from_microseconds(first), from_microseconds(last)) for key, (first, last) in old.items()}
            rows += read_calibrations(connection, asked)
        return by_model(rows)

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
