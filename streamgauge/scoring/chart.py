"""The moving-average control chart: what to expect of the next level without any training.

The centre is an exponentially weighted moving average of the last usable levels, the limits are multiples of the mean moving
range. Source: S. W. Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1 (1959); NIST/SEMATECH
e-Handbook of Statistical Methods, 6.3.2.4 (EWMA charts) and 6.3.2.2 (d2 for ranges of two).

It is the baseline that the trained model has to beat, per station (``streamgauge.scoring.calibrating``), and it stands in where
the model cannot say: after a gap, at a station's first readings, or without any model. With a weight of 1 its centre is the
last level: persistence.
"""

import numpy as np
from numpy.typing import NDArray

from streamgauge.scoring.model import Expected
from streamgauge.scoring.recent import Recent
from streamgauge.units import GAGE_RESOLUTION_M

FloatArray = NDArray[np.float64]

CHART_ROWS = 24
"""The centre and the range rest on at most so many readings; a weight of 0.2 leaves older ones 0.5 % together."""

HISTORY_MIN = 2
"""Fewer earlier readings have no range: nothing is expected."""

WEIGHTS = (0.2, 0.4, 0.7, 1.0)
"""The weights of the newest level that a calibration chooses from."""

_D2 = 1.128
"""The mean range of two values is so many standard deviations (normal distribution)."""

_BOUND = 1.645
"""The 5 % and 95 % quantiles of a normal distribution, in standard deviations."""

_SIGMA_MIN_M = GAGE_RESOLUTION_M / 2
"""A level that never moved may still move by a step of its display."""

_GAP_MOST = 12.0
"""A gap widens the limits as if the level wandered, up to so many usual steps."""


def expect_by_chart(recent: Recent, weight: FloatArray) -> Expected:
    """What the chart expects of each row; the rows' own levels are not looked at.

    Args:
        recent: the last readings of the rows.
        weight: how much of the centre the newest level makes, 0 < weight ≤ 1, float64[m].
    """
    level, age_s = recent.level_m[1 : CHART_ROWS + 1], recent.age_s[1 : CHART_ROWS + 1]
    known = ~np.isnan(level)
    number = np.arange(CHART_ROWS)[:, np.newaxis]
    share = np.where(known, (1.0 - weight) ** number, 0.0)
    # Relative to the newest level, so that a constant series is expected exactly and no digits are lost far above a datum.
    newest_m = level[0]
    apart_m = np.where(known, level - newest_m, 0.0)
    enough = known[HISTORY_MIN - 1]
    centre_m = newest_m + (share * apart_m).sum(axis=0) / np.where(enough, share.sum(axis=0), 1.0)
    sigma_m = _sigma(apart_m, known) * _gap(age_s, known)
    centre_m = np.where(enough, centre_m, np.nan)
    return Expected(centre_m, centre_m - _BOUND * sigma_m, centre_m + _BOUND * sigma_m)


def _sigma(apart_m: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """The standard deviation of a step, from the mean of the steps' sizes."""
    both = known[1:] & known[:-1]
    ranges = np.where(both, np.abs(apart_m[1:] - apart_m[:-1]), 0.0)
    mean_m = ranges.sum(axis=0) / np.maximum(np.count_nonzero(both, axis=0), 1)
    sigma_m: FloatArray = np.maximum(mean_m / _D2, _SIGMA_MIN_M)
    return sigma_m


def _gap(age_s: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """By how much a step that is longer than usual widens the limits."""
    steps = np.maximum(np.count_nonzero(known, axis=0) - 1, 1)
    usual_s = np.nanmax(np.where(known, age_s - age_s[0], 0.0), axis=0, initial=0.0) / steps
    longer = age_s[0] / np.where(usual_s > 0.0, usual_s, np.inf)
    wider: FloatArray = np.sqrt(np.clip(np.nan_to_num(longer, nan=1.0), 1.0, _GAP_MOST))
    return wider
