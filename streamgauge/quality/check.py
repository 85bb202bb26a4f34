"""The level checks as one kernel on arrays: what ``findings.py`` finds, rolled up into one flag and reason per row.

**What a row's flag depends on**: readings with a level (rows without one are passed over) of the same station, namely at
most ``CONTEXT_ROWS`` before it, none older than ``CONTEXT_S``, and the one after it; and its companions, where there are any.
Neighbours further than ``NEIGHBOUR_MAX_S`` apart are no neighbours.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.companions import Companions
from streamgauge.quality.findings import Finding, Rows, findings
from streamgauge.quality.flags import Flag, FlagArray
from streamgauge.quality.parameters import DEFAULTS, FloatArray, StationParameters
from streamgauge.quality.reasons import CHECKS
from streamgauge.quality.series import CONTEXT_ROWS, CONTEXT_S, IntArray, starts_of_stations
from streamgauge.quality.window import BoolArray

__all__ = ["CONTEXT_ROWS", "CONTEXT_S", "Checked", "check_forecast", "check_levels", "check_ranges"]

SENSOR_RANGES: dict[str, tuple[float, float]] = {
    "pressure_kpa": (0.0, 2_000.0),  # full vacuum to a 200 m column of water above a surface at 1 atm
    "temperature_c": (-40.0, 85.0),  # the industrial range in which the supported probes are specified
    "flow_m3_s": (-100_000.0, 400_000.0),  # tides run backwards; the Amazon's highest flow is about 370,000
    "rainfall_mm": (0.0, 400.0),  # per reading; the record for one hour is 305 mm (Holt, Missouri, 1947; WMO archive)
}
"""What a working sensor can say, lowest and highest, per quantity other than level."""

_INDEX = {name: index for index, name in enumerate(CHECKS)}


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
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    parameters: StationParameters = DEFAULTS,
    companions: Companions | None = None,
) -> Checked:
    """Flag every level of many stations at once.

    Args:
        station: the station of each row, int64[n].
        time_us: microseconds since 1970 (UTC), int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        parameters: the limits, one for all rows or one per row.
        companions: what was measured beside the rows; ``None`` where no station has any.

    Returns:
        The flags in the rows' order. The newest row of a station has not been through the spike test, as that needs its
        successor: its flag rests on the other checks until then (``by_check.flags_by_check`` says which were made).

    Raises:
        ValueError: the rows are not sorted by (station, time).
    """
    begins = starts_of_stations(station, time_us)
    there = ~np.isnan(level_m)
    if there.all():
        return _check_present(Rows(begins, time_us, level_m, parameters), companions)
    places = np.flatnonzero(there)
    rows = present_rows(station, time_us, level_m, parameters, places)
    return _spread(_check_present(rows, companions and companions.take(places)), places, len(station))


def check_forecast(
    checked: Checked,
    level_m: FloatArray,
    low_m: FloatArray,
    high_m: FloatArray,
    parameters: StationParameters = DEFAULTS,
) -> Checked:
    """The forecast as a virtual neighbour: a good level far outside the band that was expected becomes suspect.

    Only where ``forecast_widths`` is set: a flood is surprising too, and the score says so without touching the flag.

    Args:
        checked: the verdicts so far; only good ones change, never to more than suspect.
        level_m: metres, float64[n].
        low_m: the band's lower edge, float64[n]; NaN where nothing was expected.
        high_m: its upper edge.
        parameters: ``forecast_widths`` is used.
    """
    widths = np.asarray(parameters.forecast_widths, dtype=np.float64)
    if np.isnan(widths).all():
        return checked
    half_m, middle_m = (high_m - low_m) / 2.0, (high_m + low_m) / 2.0
    off_m = np.where(np.isfinite(level_m), level_m, np.nan) - middle_m
    allowed_m = widths * half_m
    rows = np.flatnonzero((np.abs(off_m) > allowed_m) & (checked.flags == Flag.GOOD))
    if not len(rows):
        return checked
    columns = {name: getattr(checked, name).copy() for name in ("flags", "reason_check", "measured", "limit")}
    columns["flags"][rows], columns["reason_check"][rows] = Flag.SUSPECT, _INDEX["forecast"]
    columns["measured"][rows], columns["limit"][rows] = off_m[rows], allowed_m[rows]
    return replace(checked, **columns)


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


def present_rows(
    station: IntArray, time_us: IntArray, level_m: FloatArray, parameters: StationParameters, places: IntArray
) -> Rows:
    """The chosen rows, which must have a level, as the checks take them."""
    begins = starts_of_stations(station[places], time_us[places])
    return Rows(begins, time_us[places], level_m[places], parameters.take(places))


def _check_present(rows: Rows, companions: Companions | None) -> Checked:
    """The checks on rows that all have a level."""
    verdict = _Verdict(len(rows.level_m))
    for finding in findings(rows, companions and companions.sound()):
        verdict.add(finding)
    in_range = np.isfinite(rows.level)
    return verdict.checked(usable=in_range, usable_as_newest=in_range & ~rows.too_fast)


class _Verdict:
    """Collects what the checks find; a later finding replaces an earlier one unless that one failed the row."""

    def __init__(self, rows: int) -> None:
        self.flags: FlagArray = np.full(rows, Flag.GOOD, dtype=np.uint8)
        self.reason_check: NDArray[np.int8] = np.zeros(rows, dtype=np.int8)
        self.measured: FloatArray = np.full(rows, np.nan)
        self.limit: FloatArray = np.full(rows, np.nan)

    def add(self, finding: Finding) -> None:
        if not finding.found.any():
            return
        rows = np.flatnonzero(finding.found & (self.flags != Flag.FAIL))
        self.flags[rows] = finding.flag
        self.reason_check[rows] = _INDEX[finding.check]
        self.measured[rows] = finding.measured[rows]
        self.limit[rows] = finding.limit[rows] if isinstance(finding.limit, np.ndarray) else finding.limit

    def checked(self, usable: BoolArray, usable_as_newest: BoolArray) -> Checked:
        usable = usable & (self.flags != Flag.FAIL)
        return Checked(self.flags, self.reason_check, self.measured, self.limit, usable, usable_as_newest)


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
