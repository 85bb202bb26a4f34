"""The level checks as one kernel on arrays: gross range, site range, spike, rate of change, flat line.

Source of the tests: IOOS QARTOD, "Manual for Real-Time Quality Control of Water Level Data", version 2.1 (2021), tests 3
(gross range), 5 (spike), 6 (rate of change), 7 (flat line). Differences, each on purpose:

* A spike must stand out from *both* neighbours, on the same side. Against the neighbours' mean, as the manual has it, the
  good readings beside a spike, and every steep rise, would be flagged too.
* The rate of change is measured against the reading before, or, if that one is a spike, against the one before it.
* A station that simply stands still is not flat-lined; see ``flat_line.py``.

**What a row's flag depends on**: readings with a level (rows without one are passed over) of the same station, namely at
most ``CONTEXT_ROWS`` before it, none older than ``CONTEXT_S``, and the one after it. Neighbours further than
``NEIGHBOUR_MAX_S`` apart are no neighbours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.flags import Flag, FlagArray
from streamgauge.quality.flat_line import still_stretches
from streamgauge.quality.parameters import DEFAULTS, FloatArray, StationParameters
from streamgauge.quality.reasons import CHECKS
from streamgauge.quality.series import (
    CONTEXT_ROWS,
    CONTEXT_S,
    NEIGHBOUR_MAX_S,
    SECONDS_PER_HOUR,
    IntArray,
    starts_of_stations,
)
from streamgauge.units import MICROSECONDS_PER_SECOND

__all__ = ["CONTEXT_ROWS", "CONTEXT_S", "Checked", "check_levels", "check_ranges"]

BoolArray = NDArray[np.bool_]

_GROSS_RANGE, _SITE_RANGE, _SPIKE, _RATE, _FLAT = (
    CHECKS.index(name) for name in ("gross_range", "site_range", "spike", "rate_of_change", "flat_line")
)

SENSOR_RANGES: dict[str, tuple[float, float]] = {
    "pressure_kpa": (0.0, 2_000.0),  # full vacuum to a 200 m column of water above a surface at 1 atm
    "temperature_c": (-40.0, 85.0),  # the industrial range in which the supported probes are specified
    "flow_m3_s": (-100_000.0, 400_000.0),  # tides run backwards; the Amazon's highest flow is about 370,000
    "rainfall_mm": (0.0, 400.0),  # per reading; the record for one hour is 305 mm (Holt, Missouri, 1947; WMO archive)
}
"""What a working sensor can say, lowest and highest, per quantity other than level."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on each row, in the order of the arrays that were checked.

    Attributes:
        flags: ``Flag`` values, uint8[n].
        reason_check: what decided the flag, as an index of ``CHECKS``; 0 where nothing was wrong, int8[n].
        measured: what that check measured, in its own unit (see ``reasons.describe``); NaN where nothing was wrong.
        limit: what it allowed, likewise.
        usable: the row may serve as history for later ones: it has a level that did not fail, bool[n].
        usable_as_newest: the same judged *without the row after it*, so that what is expected of a row can never know
            that row: neither failed by range nor faster than water moves, bool[n].
    """

    flags: FlagArray
    reason_check: NDArray[np.int8]
    measured: FloatArray
    limit: FloatArray
    usable: BoolArray
    usable_as_newest: BoolArray

    def take(self, rows: IntArray) -> "Checked":
        """The verdicts on some rows only."""
        return Checked(*(getattr(self, name)[rows] for name in self.__slots__))


def check_levels(
    station: IntArray, time_us: IntArray, level_m: FloatArray, parameters: StationParameters = DEFAULTS
) -> Checked:
    """Flag every level of many stations at once.

    Args:
        station: the station of each row, int64[n].
        time_us: microseconds since 1970 (UTC), int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        parameters: the limits, one for all rows or one per row.

    Returns:
        The flags in the rows' order. The newest row of a station has not been through the spike test, as that needs its
        successor: its flag rests on the other checks until then.

    Raises:
        ValueError: the rows are not sorted by (station, time).
    """
    begins = starts_of_stations(station, time_us)
    there = ~np.isnan(level_m)
    if there.all():
        return _check_present(begins, time_us, level_m, parameters)
    rows = np.flatnonzero(there)
    chosen = StationParameters(*(_rows_of(getattr(parameters, name), rows) for name in StationParameters.__slots__))
    found = _check_present(starts_of_stations(station[rows], time_us[rows]), time_us[rows], level_m[rows], chosen)
    return _spread(found, rows, len(station))


def check_ranges(quantity: str, values: FloatArray) -> FlagArray:
    """Flag another quantity than level by what its sensors can say (gross range only).

    Args:
        quantity: ``pressure_kpa``, ``temperature_c``, ``flow_m3_s`` or ``rainfall_mm``.
        values: in the unit of the quantity's name; NaN where there is none.

    Raises:
        KeyError: the quantity has no range (``level_m`` is judged by ``check_levels``).
    """
    low, high = SENSOR_RANGES[quantity]
    flags = np.where((values >= low) & (values <= high), Flag.GOOD, Flag.FAIL).astype(np.uint8)
    flags[np.isnan(values)] = Flag.MISSING
    return flags


def _check_present(begins: BoolArray, time_us: IntArray, level_m: FloatArray, limits: StationParameters) -> Checked:
    """The checks on rows that all have a level."""
    verdict = _Verdict(len(level_m))
    level = _check_range(level_m, limits, verdict)
    step_s = np.empty(len(level))
    step_s[:1] = np.inf
    step_s[1:] = (time_us[1:] - time_us[:-1]) / MICROSECONDS_PER_SECOND
    step_s[begins] = np.inf
    apart = step_s > NEIGHBOUR_MAX_S
    change_m = np.full(len(level), np.nan)
    change_m[1:] = level[1:] - level[:-1]
    change_m[apart] = np.nan

    rise_m = _prominence(change_m)
    spikes = np.abs(rise_m) > limits.spike_suspect_m
    rate = _rate(level, step_s, change_m, spikes)
    too_fast = np.abs(rate) > limits.rate_suspect_m_per_h
    flat, still_s = still_stretches(time_us, change_m, apart, limits)

    limit_s = np.minimum(limits.flat_line_s, still_s)
    verdict.add(flat, Flag.SUSPECT, _FLAT, still_s, limit_s)
    verdict.add(too_fast, Flag.SUSPECT, _RATE, rate, limits.rate_suspect_m_per_h)
    verdict.add(spikes, Flag.SUSPECT, _SPIKE, rise_m, limits.spike_suspect_m)
    verdict.add(np.abs(rise_m) > limits.spike_fail_m, Flag.FAIL, _SPIKE, rise_m, limits.spike_fail_m)
    in_range = np.isfinite(level)
    return verdict.checked(usable=in_range, usable_as_newest=in_range & ~too_fast)


def _check_range(level_m: FloatArray, limits: StationParameters, verdict: "_Verdict") -> FloatArray:
    """Judge the ranges; returns the levels with those that failed taken out (NaN), so that no arithmetic meets them."""
    below, above = level_m < limits.sensor_min_m, level_m > limits.sensor_max_m
    site_below, site_above = level_m < limits.gross_min_m, level_m > limits.gross_max_m
    verdict.add(site_below, Flag.SUSPECT, _SITE_RANGE, level_m, limits.gross_min_m)
    verdict.add(site_above, Flag.SUSPECT, _SITE_RANGE, level_m, limits.gross_max_m)
    verdict.add(below, Flag.FAIL, _GROSS_RANGE, level_m, limits.sensor_min_m)
    verdict.add(above, Flag.FAIL, _GROSS_RANGE, level_m, limits.sensor_max_m)
    return np.where(below | above, np.nan, level_m)


def _prominence(change_m: FloatArray) -> FloatArray:
    """By how much each reading stands out from both neighbours (signed, metres); 0 inside a rise or fall, NaN unknown."""
    after = np.full(len(change_m), np.nan)
    after[:-1] = -change_m[1:]
    smaller = np.where(np.abs(change_m) < np.abs(after), change_m, after)
    same_side = np.sign(change_m) == np.sign(after)
    return np.where(same_side, smaller, np.where(np.isnan(change_m) | np.isnan(after), np.nan, 0.0))


def _rate(level: FloatArray, step_s: FloatArray, change_m: FloatArray, spikes: BoolArray) -> FloatArray:
    """Metres per hour since the reading before, or since the one before that where that one is a spike; NaN unknown."""
    change, span = change_m.copy(), step_s.copy()
    # A spike has both its neighbours at hand, so the row two before is of the same station and near.
    after_spike = np.flatnonzero(spikes) + 1
    change[after_spike] = level[after_spike] - level[after_spike - 2]
    span[after_spike] += step_s[after_spike - 1]
    span[span <= 0.0] = np.nan  # Two readings of one instant have no rate.
    return change / span * SECONDS_PER_HOUR


class _Verdict:
    """Collects what the checks find; a later finding replaces an earlier one unless that one failed the row."""

    def __init__(self, rows: int) -> None:
        self.flags: FlagArray = np.full(rows, Flag.GOOD, dtype=np.uint8)
        self.reason_check: NDArray[np.int8] = np.zeros(rows, dtype=np.int8)
        self.measured: FloatArray = np.full(rows, np.nan)
        self.limit: FloatArray = np.full(rows, np.nan)

    def add(self, found: BoolArray, flag: Flag, check: int, measured: FloatArray, limit: float | FloatArray) -> None:
        if not found.any():
            return
        rows = np.flatnonzero(found & (self.flags != Flag.FAIL))
        self.flags[rows] = flag
        self.reason_check[rows] = check
        self.measured[rows] = measured[rows]
        self.limit[rows] = _rows_of(limit, rows)

    def checked(self, usable: BoolArray, usable_as_newest: BoolArray) -> Checked:
        usable = usable & (self.flags != Flag.FAIL)
        return Checked(self.flags, self.reason_check, self.measured, self.limit, usable, usable_as_newest)


def _rows_of(value: float | FloatArray, rows: IntArray) -> float | FloatArray:
    """The chosen rows of a limit that is either one number for all or one per row."""
    return value[rows] if isinstance(value, np.ndarray) and value.ndim else value


def _spread(found: Checked, rows: IntArray, total: int) -> Checked:
    """The verdicts on ``rows`` among ``total`` rows of which the others have no level."""
    spread = Checked(
        flags=np.full(total, Flag.MISSING, dtype=np.uint8),
        reason_check=np.zeros(total, dtype=np.int8),
        measured=np.full(total, np.nan),
        limit=np.full(total, np.nan),
        usable=np.zeros(total, dtype=np.bool_),
        usable_as_newest=np.zeros(total, dtype=np.bool_),
    )
    for name in Checked.__slots__:
        getattr(spread, name)[rows] = getattr(found, name)
    return spread
