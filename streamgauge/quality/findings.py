"""What each level check finds in series of many stations: the parts that ``check.py`` rolls up into one flag per row.

Source of the tests: IOOS QARTOD, "Manual for Real-Time Quality Control of Water Level Data", version 2.1 (2021), tests 2
(syntax), 3 (gross range), 4 (climatology), 5 (spike), 6 (rate of change), 7 (flat line), 8 (attenuated signal), 9
(multi-variate), 10 (neighbour). Test 1 (gap) makes no reading suspect; see ``by_check.py``. Differences, each on purpose:

* A spike must stand out from *both* neighbours, on the same side. Against the neighbours' mean, as the manual has it, the
  good readings beside a spike, and every steep rise, would be flagged too.
* The rate of change is measured against the reading before, or, if that one is a spike, against the one before it.
* A station that simply stands still is not flat-lined; see ``flat_line.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from streamgauge.quality.attenuated import ranges_within
from streamgauge.quality.companions import Companions
from streamgauge.quality.flags import Flag
from streamgauge.quality.flat_line import still_stretches
from streamgauge.quality.multivariate import multivariate_findings
from streamgauge.quality.parameters import FloatArray, StationParameters
from streamgauge.quality.series import NEIGHBOUR_MAX_S, SECONDS_PER_HOUR, IntArray
from streamgauge.quality.window import BoolArray
from streamgauge.units import MICROSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check, at one severity, finds in n rows.

    Attributes:
        check: its name in ``reasons.CHECKS``.
        flag: what a row that is found gets.
        found: bool[n].
        measured: in the check's unit; NaN where it could not be made, float64[n].
        limit: what it allows; NaN where nothing is set.
    """

    check: str
    flag: Flag
    found: BoolArray
    measured: FloatArray
    limit: float | FloatArray


class Rows:
    """Rows that all have a level, and what the checks share.

    Args:
        begins: where each station's rows begin, bool[n].
        time_us: microseconds since 1970, int64[n], sorted within stations.
        level_m: metres, float64[n].
        limits: the parameters.

    Attributes:
        level: the levels with those out of the sensor's range taken out (NaN), so that no arithmetic meets them.
        step_s: seconds since the row before; infinite at a station's first.
        apart: the row before is of another station or too long ago.
        change_m: metres since the row before; NaN where it is apart.
        rise_m: by how much each stands out from both neighbours, signed; 0 inside a rise or fall, NaN not known.
    """

    def __init__(self, begins: BoolArray, time_us: IntArray, level_m: FloatArray, limits: StationParameters) -> None:
        self.time_us, self.level_m, self.limits = time_us, level_m, limits
        self.below, self.above = level_m < limits.sensor_min_m, level_m > limits.sensor_max_m
        self.level: FloatArray = np.where(self.below | self.above, np.nan, level_m)
        self.step_s = np.empty(len(level_m))
        self.step_s[:1] = np.inf
        self.step_s[1:] = (time_us[1:] - time_us[:-1]) / MICROSECONDS_PER_SECOND
        self.step_s[begins] = np.inf
        self.apart = self.step_s > NEIGHBOUR_MAX_S
        self.change_m = np.full(len(level_m), np.nan)
        self.change_m[1:] = self.level[1:] - self.level[:-1]
        self.change_m[self.apart] = np.nan
        self.rise_m = _prominence(self.change_m)

    @cached_property
    def rate_m_per_h(self) -> FloatArray:
        """Metres per hour since the row before, or since the one before that where that one is a spike; NaN not known."""
        change, span = self.change_m.copy(), self.step_s.copy()
        spikes = np.abs(self.rise_m) > self.limits.spike_suspect_m
        # A spike has both its neighbours at hand, so the row two before is of the same station and near.
        after_spike = np.flatnonzero(spikes) + 1
        change[after_spike] = self.level[after_spike] - self.level[after_spike - 2]
        span[after_spike] += self.step_s[after_spike - 1]
        span[span <= 0.0] = np.nan  # Two readings of one instant have no rate.
        return change / span * SECONDS_PER_HOUR

    @cached_property
    def too_fast(self) -> BoolArray:
        """Faster than water moves."""
        return np.abs(self.rate_m_per_h) > self.limits.rate_suspect_m_per_h


def findings(rows: Rows, companions: Companions | None) -> Iterator[Finding]:
    """What the checks find, in the order in which a later one replaces an earlier one as a row's reason.

    Args:
        rows: the rows.
        companions: what was measured beside them; ``None`` for nothing.
    """
    limits, level_m = rows.limits, rows.level_m
    yield Finding("site_range", Flag.SUSPECT, level_m < limits.gross_min_m, level_m, limits.gross_min_m)
    yield Finding("site_range", Flag.SUSPECT, level_m > limits.gross_max_m, level_m, limits.gross_max_m)
    if limits.climatology is not None:
        low_m, high_m = limits.climatology.at(rows.time_us)
        yield Finding("climatology", Flag.SUSPECT, level_m < low_m, level_m, low_m)
        yield Finding("climatology", Flag.SUSPECT, level_m > high_m, level_m, high_m)
    yield Finding("syntax", Flag.FAIL, np.isinf(level_m), level_m, np.inf)
    yield Finding("gross_range", Flag.FAIL, rows.below, level_m, limits.sensor_min_m)
    yield Finding("gross_range", Flag.FAIL, rows.above, level_m, limits.sensor_max_m)

    range_m = ranges_within(rows.time_us, rows.level, rows.apart, limits)
    least_m = limits.attenuated_range_m
    yield Finding("attenuated_signal", Flag.SUSPECT, range_m < least_m, range_m, least_m)
    flat, still_s = still_stretches(rows.time_us, rows.change_m, rows.apart, limits)
    yield Finding("flat_line", Flag.SUSPECT, flat, still_s, np.minimum(limits.flat_line_s, still_s))
    if companions is not None:
        beside = multivariate_findings(rows.time_us, rows.level, rows.apart, limits, companions)
        for check, (found, measured, limit) in beside.items():
            yield Finding(check, Flag.SUSPECT, found, measured, limit)

    rate, fastest = rows.rate_m_per_h, limits.rate_suspect_m_per_h
    yield Finding("rate_of_change", Flag.SUSPECT, rows.too_fast, rate, fastest)
    rise_m, height_m = rows.rise_m, np.abs(rows.rise_m)
    yield Finding("spike", Flag.SUSPECT, height_m > limits.spike_suspect_m, rise_m, limits.spike_suspect_m)
    yield Finding("spike", Flag.FAIL, height_m > limits.spike_fail_m, rise_m, limits.spike_fail_m)


def _prominence(change_m: FloatArray) -> FloatArray:
    """By how much each reading stands out from both neighbours (signed, metres); 0 inside a rise or fall, NaN unknown."""
    after = np.full(len(change_m), np.nan)
    after[:-1] = -change_m[1:]
    smaller = np.where(np.abs(change_m) < np.abs(after), change_m, after)
    same_side = np.sign(change_m) == np.sign(after)
    return np.where(same_side, smaller, np.where(np.isnan(change_m) | np.isnan(after), np.nan, 0.0))
