"""What the water did: the level at a forecast's target time, once that has passed."""

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import IntArray
from streamgauge.scoring.forecast.horizons import OUTCOME_GAP_S
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

_GAP_US = OUTCOME_GAP_S * MICROSECONDS_PER_SECOND


def between(
    before_us: IntArray, before_m: FloatArray, after_us: IntArray, after_m: FloatArray, target_us: IntArray
) -> FloatArray:
    """The level at a time between two readings, on the straight line; NaN if they are too far apart. Shapes broadcast.

    A reading exactly at the target is the outcome whatever lies before it.
    """
    gap_us = after_us - before_us
    share = (target_us - before_us) / np.maximum(gap_us, 1)
    level_m = np.where(gap_us <= _GAP_US, before_m + (after_m - before_m) * share, np.nan)
    return np.where(target_us == after_us, after_m, level_m)


def outcomes(time_us: IntArray, level_m: FloatArray, target_us: IntArray) -> FloatArray:
    """The levels at some times, float64[m]; NaN where no two readings around it are near enough.

    Args:
        time_us: of one station's usable readings, ascending, microseconds since 1970, int64[n].
        level_m: metres, float64[n].
        target_us: int64[m].
    """
    if len(time_us) == 0:
        return np.full(len(target_us), np.nan)
    after = np.searchsorted(time_us, target_us)
    row = np.minimum(after, len(time_us) - 1)
    before = np.maximum(row - 1, 0)
    found = between(time_us[before], level_m[before], time_us[row], level_m[row], target_us)
    return np.where((after < len(time_us)) & ((after > 0) | (time_us[row] == target_us)), found, np.nan)
