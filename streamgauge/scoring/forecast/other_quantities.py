"""Columns of the other quantities that a station may have; NaN, as such, where it has none.

The shipped model has been trained with levels alone and never asks for these; a model that is retrained on a station's own
history may.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import IntArray
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

_RAIN_H = (1, 3, 6, 24)
_UPSTREAM_MIN = (30, 60, 180)

OTHER_FEATURES: tuple[str, ...] = (
    *(f"rainfall_{span}h_mm" for span in _RAIN_H),
    "temperature_c",
    "temperature_change_3h_c",
    "flow_change_60min_share",
    *(f"upstream_change_{span}min_m" for span in _UPSTREAM_MIN),
)

_UM = 1_000_000


@dataclass(frozen=True, slots=True)
class Others:
    """Other quantities on the same rows as the levels, float64[n] each; ``None`` or NaN where there is none.

    Attributes:
        rainfall_mm: fallen since the reading before.
        temperature_c: of the water.
        flow_m3_s: discharge.
        upstream_m: the newest level of the station upstream that was known at the row's time (``known_at``).
    """

    rainfall_mm: FloatArray | None = None
    temperature_c: FloatArray | None = None
    flow_m3_s: FloatArray | None = None
    upstream_m: FloatArray | None = None


def known_at(time_us: IntArray, other_time_us: IntArray, other: FloatArray, age_max_s: float = 3600.0) -> FloatArray:
    """Another station's newest value at each time, float64[n]; NaN where it has none that is not too old.

    Args:
        time_us: microseconds since 1970, int64[n].
        other_time_us: of the other station's readings, ascending, int64[k].
        other: its values, float64[k].
        age_max_s: how old a value may be.
    """
    if len(other) == 0:
        return np.full(len(time_us), np.nan)
    place = np.searchsorted(other_time_us, time_us, side="right") - 1
    row = np.maximum(place, 0)
    fresh = (place >= 0) & (time_us - other_time_us[row] <= age_max_s * MICROSECONDS_PER_SECOND)
    return np.where(fresh, other[row], np.nan)


def other_columns(
    others: Others | None, key: IntArray, issue_key: IntArray, first_row: IntArray, issues: IntArray
) -> list[FloatArray]:
    """The columns of ``OTHER_FEATURES``, float64[m] each.

    Args:
        others: the quantities, or ``None``.
        key: orders the rows of all stations, microseconds within one, int64[n].
        issue_key: of the issues, int64[m].
        first_row: the first row of each issue's station, int64[m].
        issues: their rows, int64[m].
    """
    nothing = np.full(len(issues), np.nan)
    if others is None:
        return [nothing] * len(OTHER_FEATURES)

    def row_at(minutes: float) -> IntArray:
        wanted = issue_key - int(minutes * 60) * MICROSECONDS_PER_SECOND
        return np.maximum(np.searchsorted(key, wanted, side="right") - 1, first_row)

    def change(values: FloatArray | None, minutes: float) -> FloatArray:
        return nothing if values is None else values[issues] - values[row_at(minutes)]

    columns = [
        nothing if others.rainfall_mm is None else _sum(others.rainfall_mm, row_at(60.0 * h), issues) for h in _RAIN_H
    ]
    columns.append(nothing if others.temperature_c is None else others.temperature_c[issues])
    columns.append(change(others.temperature_c, 180.0))
    flow = others.flow_m3_s
    columns.append(nothing if flow is None else change(flow, 60.0) / np.maximum(np.abs(flow[issues]), 1e-3))
    columns += [change(others.upstream_m, span) for span in _UPSTREAM_MIN]
    return columns


def _sum(rainfall_mm: FloatArray, after: IntArray, until: IntArray) -> FloatArray:
    """The rain after one row until another; NaN where no row between has any. Whole micrometres, so that sums are exact."""
    there = np.isfinite(rainfall_mm)
    fallen = np.rint(np.where(there, rainfall_mm, 0.0) * 1000.0).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(fallen)])
    count = np.concatenate([[0], np.cumsum(there)])
    some = count[until + 1] > count[after + 1]
    return np.where(some, (total[until + 1] - total[after + 1]) / 1000.0, np.nan)
