"""The verdict on one level, as the gateway's rules, its page and its alarms use it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.flags import Flag
from streamgauge.quality.reasons import CHECKS
from streamgauge.quality.series import NEIGHBOUR_MAX_S, SECONDS_PER_HOUR, IntArray
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.features import FloatArray
from streamgauge.units import MICROSECONDS_PER_SECOND

TREND_WINDOW_S = 1_800
"""The rate of change is a straight line through the good readings of so much time before the newest one …"""
SPARSE_TREND_WINDOW_S = 10_800
"""… or through so much, where there are less than ``DENSE_ROWS`` of them. The cloud's overview reckons the same way."""
DENSE_ROWS = 3

GOOD_FLAGS = (Flag.GOOD, Flag.NOT_EVALUATED)

_SPIKE = CHECKS.index("spike")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is thought of one reading's level; lengths in metres, rates in metres per hour, ``None`` where not known.

    Attributes:
        device: whose it is.
        time: when it was measured, aware UTC.
        level_m: the level, above the station's datum.
        flag: QARTOD's value.
        reason: why it is not good (``streamgauge.quality.reasons``).
        expected_m: what was expected of it, between ``low_m`` and ``high_m``.
        score: 0 ordinary … 1 certainly anomalous.
        newest: no later reading of the device is known. The rest is said of the newest reading only:
        rise_m_per_h: the trend of the good readings up to it.
        step_s: how long after the one before it was measured.
        sudden: it stands apart from the reading before by more than a spike may, or has none to be compared with, and it
            was not expected: only the next reading will tell whether it was a spike.
        next_time: when the next reading is due if the sensor keeps its step; expected then: ``next_m``.
    """

    device: str
    time: datetime
    level_m: float
    flag: Flag
    reason: Mapping[str, str | float] | None = None
    expected_m: float | None = None
    low_m: float | None = None
    high_m: float | None = None
    score: float | None = None
    newest: bool = False
    rise_m_per_h: float | None = None
    step_s: float | None = None
    sudden: bool = True
    next_time: datetime | None = None
    next_m: float | None = None
    next_low_m: float | None = None
    next_high_m: float | None = None

    @property
    def is_good(self) -> bool:
        """Nothing speaks against it."""
        return self.flag in GOOD_FLAGS

    @property
    def is_anomalous(self) -> bool:
        """It was clearly not expected."""
        return self.score is not None and self.score >= ANOMALY_SCORE


def known(value: float) -> float | None:
    """A number that may be NaN as one that may be None."""
    return None if np.isnan(value) else float(value)


def rise_m_per_h(time_us: IntArray, level_m: FloatArray, flags: NDArray[np.uint8]) -> float | None:
    """The trend up to the newest of some levels: the slope through the good ones of the last half hour, or three hours.

    Args:
        time_us: microseconds since 1970, ascending, int64[n], n > 0.
        level_m: metres, float64[n].
        flags: of the levels, uint8[n].
    """
    age_s = (time_us[-1] - time_us) / MICROSECONDS_PER_SECOND
    good = np.isin(flags, GOOD_FLAGS)
    rows = good & (age_s < TREND_WINDOW_S)
    if np.count_nonzero(rows) < DENSE_ROWS:
        rows = good & (age_s < SPARSE_TREND_WINDOW_S)
    if np.count_nonzero(rows) < 2:
        return None
    hours = -age_s[rows] / SECONDS_PER_HOUR
    hours -= hours.mean()
    spread = float(hours @ hours)
    return float(hours @ level_m[rows]) / spread if spread > 0.0 else None


def is_sudden(time_us: IntArray, level_m: FloatArray, checked: Checked, score: float | None, spike_m: float) -> bool:
    """Whether the newest of some levels could be a spike for all that is known (see ``Verdict.sudden``).

    Args:
        time_us: microseconds since 1970, ascending, int64[n], n > 0.
        level_m: metres, float64[n].
        checked: the verdicts on them.
        score: of the newest.
        spike_m: what a spike stands out by.
    """
    if score is not None and score < ANOMALY_SCORE:
        return False
    settled = (checked.flags[:-1] != Flag.FAIL) & (checked.reason_check[:-1] != _SPIKE)
    before = np.flatnonzero(settled)
    if len(before) == 0 or time_us[-1] - time_us[before[-1]] > NEIGHBOUR_MAX_S * MICROSECONDS_PER_SECOND:
        return True
    return bool(abs(level_m[-1] - level_m[before[-1]]) > spike_m)
