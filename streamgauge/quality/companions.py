"""What else was measured at and near a station, beside each of its rows: only for stations that configure it.

Everything here is of the row's own time or before it. A companion's reading that arrives later is counted when the row is
judged again, which happens once its successor is there, and in re-scoring.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import SECONDS_PER_HOUR, IntArray
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

COMPANION_AGE_S = SECONDS_PER_HOUR
"""A barometer's reading that is older than this before a row says nothing about it."""

NEIGHBOUR_WINDOW_S = 3 * SECONDS_PER_HOUR
"""A neighbour has moved if it did in so much time up to the row: a flood needs its time from station to station."""

AIR_PRESSURE_KPA = (50.0, 110.0)
"""What a barometer can say between 5,500 m above the sea and the deepest valleys (WMO-No. 8, 2021, part I, chapter 3)."""

PROBE_PRESSURE_MAX_KPA = 2_000.0
"""As in ``check.SENSOR_RANGES``."""

LEVEL_RANGE_MAX_M = 200_000.0
"""Twice what a level may be at most (``parameters.LEVEL_BOUND_M``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """Arrays in the order of the rows that are checked, float64[n], NaN where there is nothing; ``None`` for nothing at all.

    Attributes:
        pressure_kpa: what the probe that the level is made of measured at the same instant.
        barometer_kpa: the air's pressure.
        neighbour_range_m: by how much the neighbour that moved most did so within ``NEIGHBOUR_WINDOW_S`` up to the row.
    """

    pressure_kpa: FloatArray | None = None
    barometer_kpa: FloatArray | None = None
    neighbour_range_m: FloatArray | None = None

    def take(self, rows: IntArray) -> "Companions":
        """The same beside some of the rows."""
        arrays = {name: getattr(self, name) for name in self.__slots__}
        return Companions(**{name: None if array is None else array[rows] for name, array in arrays.items()})

    def sound(self) -> "Companions":
        """The same without values that no sensor of its kind can say."""
        lowest, highest = AIR_PRESSURE_KPA
        return Companions(
            pressure_kpa=_within(self.pressure_kpa, 0.0, PROBE_PRESSURE_MAX_KPA),
            barometer_kpa=_within(self.barometer_kpa, lowest, highest),
            neighbour_range_m=_within(self.neighbour_range_m, 0.0, LEVEL_RANGE_MAX_M),
        )


def interpolate_air(time_us: IntArray, barometer_us: IntArray, barometer_kpa: FloatArray) -> FloatArray:
    """The air's pressure at each time, kPa: on the line between the barometer's readings, and at most ``COMPANION_AGE_S`` held.

    Args:
        time_us: microseconds since 1970, int64[n].
        barometer_us: the barometer's times, ascending, int64[k].
        barometer_kpa: what it measured, float64[k]; values that no air has are passed over.
    """
    low, high = AIR_PRESSURE_KPA
    air = (barometer_kpa >= low) & (barometer_kpa <= high)
    times, values = barometer_us[air], barometer_kpa[air]
    if not len(times):
        return np.full(len(time_us), np.nan)
    before = np.searchsorted(times, time_us, side="right") - 1
    after = np.minimum(before + 1, len(times) - 1)
    held = np.maximum(before, 0)
    age_us = time_us - times[held]
    span_us = times[after] - times[held]
    near = (span_us > 0) & (span_us <= COMPANION_AGE_S * MICROSECONDS_PER_SECOND)
    share = np.where(near, age_us / np.maximum(span_us, 1), 0.0)
    kpa = values[held] + share * (values[after] - values[held])
    known = (before >= 0) & (age_us <= COMPANION_AGE_S * MICROSECONDS_PER_SECOND)
    return np.where(known, kpa, np.nan)


def range_before(time_us: IntArray, neighbour_us: IntArray, neighbour_m: FloatArray) -> FloatArray:
    """By how much a neighbour moved within ``NEIGHBOUR_WINDOW_S`` up to each time, metres; NaN with less than two readings.

    Args:
        time_us: microseconds since 1970, int64[n].
        neighbour_us: the neighbour's times, ascending, int64[k].
        neighbour_m: its levels, float64[k]; what is not finite is passed over.
    """
    sound = np.isfinite(neighbour_m)
    times, levels = neighbour_us[sound], neighbour_m[sound]
    window_us = int(NEIGHBOUR_WINDOW_S * MICROSECONDS_PER_SECOND)
    first = np.searchsorted(times, time_us - window_us, side="left")
    end = np.searchsorted(times, time_us, side="right")
    rows = np.flatnonzero(end - first >= 2)
    found = np.full(len(time_us), np.nan)
    if len(rows):
        # Every second stretch of reduceat is one of the windows; the value at the end keeps the last window in bounds.
        edges = np.stack([first[rows], end[rows]], axis=1).ravel()
        padded = np.append(levels, levels[-1])
        found[rows] = np.maximum.reduceat(padded, edges)[::2] - np.minimum.reduceat(padded, edges)[::2]
    return found


def _within(values: FloatArray | None, lowest: float, highest: float) -> FloatArray | None:
    return None if values is None else np.where((values >= lowest) & (values <= highest), values, np.nan)
