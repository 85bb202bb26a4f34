"""Checks of a level against what else was measured: its probe's pressure, the air's pressure, the neighbours' levels.

Source: QARTOD water level v2.1, tests 9 (multi-variate) and 10 (neighbour). All are suspect at most, and are made only where a
station names its companions. Which other causes each has, and why the limits are what they are: docs/quality.md.
"""

import numpy as np

from streamgauge.quality.companions import Companions
from streamgauge.quality.parameters import FloatArray, StationParameters
from streamgauge.quality.series import SECONDS_PER_HOUR, IntArray
from streamgauge.quality.window import BoolArray, Window, median_of, range_of

M_PER_KPA = 1.0 / 9.80665
"""Metres of fresh water (1,000 kg/m³) per kilopascal, at standard gravity (ISO 80000-4:2019)."""

BAROMETER_ROWS = 24
"""With fewer readings a slope is chance."""

FOLLOWS_LEAST, FOLLOWS_MOST = 0.5, 1.5
"""A level follows the barometer when it moves by 50–150 % of what an unvented probe would show …"""

FOLLOWS_CORRELATION = 0.95
"""… and so much of a straight line."""

DENSITY_SHARE = 0.05
"""Salt water is up to 3 % heavier than fresh, gravity and calibration differ by less: so much of a movement is no fault."""

PRESSURE_ROWS = 3
"""So many readings before are needed to know how level and pressure stand to each other."""


def following_barometer(
    window: Window, level: FloatArray, air_kpa: FloatArray, least_range_kpa: FloatArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Whether a level goes with the air's pressure as that of an unvented (or blocked) probe does.

    Both are looked at without their straight line in time, which a recession and a change of weather have without a
    cause in common. Only a level that rises with the pressure is suspect: the sea's falls (inverse barometer).

    Args:
        window: of the rows in question.
        level: metres, NaN where out of range, float64[n].
        air_kpa: float64[n], NaN where not known.
        least_range_kpa: of each row in question, float64[m].

    Returns:
        By how much the level moved with the pressure (metres), by how much an unvented one would have moved at least,
        and whether it is suspect; NaN where it could not be told.
    """
    air, levels = air_kpa[window.row], level[window.row]
    chosen = window.within & ~np.isnan(air) & ~np.isnan(levels)
    hours = -window.age_s / SECONDS_PER_HOUR
    air, levels = _without_line(hours, air, chosen), _without_line(hours, levels, chosen)
    count = np.count_nonzero(chosen, axis=0)
    range_kpa = np.where(count > 0, range_of(air, chosen), 0.0)
    known = (count >= BAROMETER_ROWS) & chosen[0] & (range_kpa >= least_range_kpa)
    square, product = (air * air).sum(axis=0), (air * levels).sum(axis=0)
    slope = product / np.where(square > 0.0, square, np.inf) / M_PER_KPA
    spread = np.sqrt(square * (levels * levels).sum(axis=0))
    correlation = product / np.where(spread > 0.0, spread, np.inf)
    suspect = known & (slope >= FOLLOWS_LEAST) & (slope <= FOLLOWS_MOST) & (correlation >= FOLLOWS_CORRELATION)
    whole_m = range_kpa * M_PER_KPA
    return np.where(known, slope * whole_m, np.nan), np.where(known, FOLLOWS_LEAST * whole_m, np.nan), suspect


def apart_from_pressure(
    window: Window, level: FloatArray, probe_kpa: FloatArray, allowed_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """By how much a level has left its usual distance to its own probe's pressure, and by how much it may; metres.

    Args:
        window: of the rows in question.
        level: metres, NaN where out of range, float64[n].
        probe_kpa: float64[n], NaN where there is none.
        allowed_m: of each row in question, float64[m].
    """
    column_m = probe_kpa[window.row] * M_PER_KPA
    between_m = level[window.row] - column_m
    chosen = window.within & ~np.isnan(between_m)
    earlier = chosen.copy()
    earlier[0] = False
    known = chosen[0] & (np.count_nonzero(earlier, axis=0) >= PRESSURE_ROWS)
    moved_m = np.where(known, range_of(column_m, chosen), np.nan)
    apart_m = np.where(known, between_m[0] - median_of(between_m, earlier), np.nan)
    return apart_m, np.maximum(allowed_m, DENSITY_SHARE * moved_m)


def apart_from_neighbours(window: Window, level: FloatArray) -> FloatArray:
    """By how much a level left the median of the hour before it, metres; NaN where it is not known."""
    levels: FloatArray = level[window.row]
    earlier = window.within & ~np.isnan(levels) & (window.age_s <= SECONDS_PER_HOUR)
    earlier[0] = False
    newest: FloatArray = levels[0]
    return newest - median_of(levels, earlier)


def multivariate_findings(
    time_us: IntArray, level: FloatArray, apart: BoolArray, limits: StationParameters, companions: Companions
) -> dict[str, tuple[BoolArray, FloatArray, FloatArray]]:
    """Per check whether each row is suspect, what was measured and what is allowed; bool[n], float64[n], float64[n].

    Args:
        time_us: microseconds since 1970, int64[n], sorted within stations.
        level: metres, NaN where out of range, float64[n].
        apart: the row before is of another station or too long ago, bool[n].
        limits: the parameters.
        companions: what was measured beside.
    """
    findings: dict[str, tuple[BoolArray, FloatArray, FloatArray]] = {}
    size = len(level)

    def spread(rows: IntArray, suspect: BoolArray, *columns: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray]:
        found, numbers = np.zeros(size, dtype=np.bool_), np.full((2, size), np.nan)
        found[rows] = suspect
        numbers[:, rows] = columns
        return found, numbers[0], numbers[1]

    def of(rows: IntArray, limit: float | FloatArray) -> FloatArray:
        return np.broadcast_to(np.asarray(limit, dtype=np.float64), (size,))[rows]

    if companions.barometer_kpa is not None:
        rows = np.flatnonzero(~np.isnan(companions.barometer_kpa))
        window = Window.before(rows, time_us, apart)
        least_kpa = of(rows, limits.barometer_range_kpa)
        follows_m, limit_m, suspect = following_barometer(window, level, companions.barometer_kpa, least_kpa)
        findings["follows_barometer"] = spread(rows, suspect, follows_m, limit_m)
    if companions.neighbour_range_m is not None:
        rows = np.flatnonzero(~np.isnan(companions.neighbour_range_m))
        moved_m = apart_from_neighbours(Window.before(rows, time_us, apart), level)
        limit_m = of(rows, limits.neighbour_m)
        alone = companions.neighbour_range_m[rows] < of(rows, limits.neighbour_share) * np.abs(moved_m)
        findings["neighbour"] = spread(rows, alone & (np.abs(moved_m) > limit_m), moved_m, limit_m)
    if companions.pressure_kpa is not None:
        rows = np.flatnonzero(~np.isnan(companions.pressure_kpa))
        window = Window.before(rows, time_us, apart)
        apart_m, limit_m = apart_from_pressure(
            window, level, companions.pressure_kpa, of(rows, limits.pressure_disagree_m)
        )
        findings["pressure"] = spread(rows, np.abs(apart_m) > limit_m, apart_m, limit_m)
    return findings


def _without_line(hours: FloatArray, values: FloatArray, chosen: BoolArray) -> FloatArray:
    """Each column's chosen values less their least-squares line over time; 0 where not chosen."""
    count = np.maximum(np.count_nonzero(chosen, axis=0), 1)
    time = np.where(chosen, hours, 0.0)
    time = np.where(chosen, time - time.sum(axis=0) / count, 0.0)
    # Relative to the newest first: a sum of large levels would lose the small movement in its rounding.
    column = np.where(chosen, values - np.where(np.isnan(values[0]), 0.0, values[0]), 0.0)
    column = np.where(chosen, column - column.sum(axis=0) / count, 0.0)
    square = (time * time).sum(axis=0)
    slope = (time * column).sum(axis=0) / np.where(square > 0.0, square, np.inf)
    return np.where(chosen, column - slope * time, 0.0)
