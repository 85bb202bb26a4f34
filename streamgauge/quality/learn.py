"""What a station's own history says of its checks' parameters: how still its water stands, how little it moves, its seasons.

Three rules, each with the history that it needs; what cannot be learnt is not in the answer, and the default stands.

* ``flat_restless_share``: the lowest share at which at most ``FLAT_BUDGET`` of this history would have been called flat-lined,
  and ``SHARE_MARGIN`` more. A coarse display on a lively stream gets a lower one, and a stuck sensor is found there.
* ``attenuated_range_m`` (and ``attenuated_s``, which the context must hold at the station's pace): half the range that only
  ``STILLEST_SHARE`` of its windows stayed below. Nothing where water stands still: there the range is 0 by nature.
* ``climatology``: per month the lowest and highest level of that month and the two beside it, widened by ``SEASON_MARGIN`` of
  all that was seen; needs a year, as what was seen in one month says nothing of another.

Only rows whose flag is good are learnt from. Figures: docs/quality.md.
"""

from typing import Any

import numpy as np

from streamgauge.quality.climatology import MONTHS
from streamgauge.quality.flags import Flag, FlagArray
from streamgauge.quality.flat_line import still_stretches
from streamgauge.quality.parameters import LEVEL_BOUND_M, FloatArray, StationParameters
from streamgauge.quality.series import CONTEXT_ROWS, NEIGHBOUR_MAX_S, IntArray
from streamgauge.quality.window import BoolArray, Window, range_of
from streamgauge.units import MICROSECONDS_PER_SECOND

HISTORY_ROWS, HISTORY_S = 2_000, 28 * 86_400.0
"""With less history than both nothing is learnt."""

YEAR_S = 365 * 86_400.0
MONTH_ROWS = 100
"""A month (with those beside it) that has fewer readings has no climatology."""

FLAT_BUDGET = 0.0005
"""So much of ordinary water may be called flat-lined: half of what docs/quality.md promises for the defaults."""

SHARE_MARGIN = 0.05
_SHARES = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

ATTENUATED_LONGEST_S = 7_200.0
ATTENUATED_STEPS = 40
"""The window holds at most so many readings: fewer than the context, so that a reading that comes late leaves it whole."""

STILLEST_SHARE = 0.001
ATTENUATED_FACTOR = 0.5
_WINDOWS_MAX = 50_000

SEASON_MARGIN = 0.5
_DIGITS = 4


def learn_parameters(time_us: IntArray, level_m: FloatArray, flags: FlagArray) -> dict[str, Any]:
    """Parameters of one station's checks, as ``parameters_per_row`` takes them and JSON can hold them.

    Args:
        time_us: microseconds since 1970, int64[n], sorted.
        level_m: metres, float64[n]; NaN where there is none.
        flags: what the checks say of the levels now, uint8[n].

    Returns:
        What could be learnt; empty for a history that is too short.

    Raises:
        ValueError: the times are not sorted.
    """
    if (time_us[1:] < time_us[:-1]).any():
        raise ValueError("A history must be sorted by time")
    rows = np.flatnonzero(
        (flags == Flag.GOOD) & (np.abs(np.where(np.isnan(level_m), np.inf, level_m)) <= LEVEL_BOUND_M)
    )
    times, levels = time_us[rows], level_m[rows]
    if len(rows) < HISTORY_ROWS or _seconds(times) < HISTORY_S:
        return {}
    apart = np.diff(times, prepend=times[0] - 2**50) > NEIGHBOUR_MAX_S * MICROSECONDS_PER_SECOND
    return _flat(times, levels, apart) | _attenuated(times, levels, apart) | _climatology(times, levels)


def _flat(times: IntArray, levels: FloatArray, apart: BoolArray) -> dict[str, Any]:
    change_m = np.diff(levels, prepend=np.nan)
    change_m[apart] = np.nan
    for share in _SHARES:
        found, _ = still_stretches(times, change_m, apart, StationParameters(flat_restless_share=share))
        if found.mean() <= FLAT_BUDGET:
            return {"flat_restless_share": round(min(share + SHARE_MARGIN, 1.0), _DIGITS)}
    return {"flat_restless_share": 1.0}


def _attenuated(times: IntArray, levels: FloatArray, apart: BoolArray) -> dict[str, Any]:
    step_s = float(np.median(np.diff(times))) / MICROSECONDS_PER_SECOND
    span_s = min(ATTENUATED_LONGEST_S, ATTENUATED_STEPS * step_s)
    rows = np.arange(CONTEXT_ROWS, len(times), max(1, len(times) // _WINDOWS_MAX))
    window = Window.before(rows, times, apart)
    chosen = window.within & (window.age_s <= span_s)
    whole = np.where(chosen, window.age_s, 0.0).max(axis=0) >= 0.8 * span_s
    if span_s < 600.0 or np.count_nonzero(whole) < HISTORY_ROWS // 2:
        return {}
    ranges_m = range_of(levels[window.row[:, whole]], chosen[:, whole])
    least_m = ATTENUATED_FACTOR * float(np.quantile(ranges_m, STILLEST_SHARE))
    if least_m <= float(StationParameters().flat_tolerance_m):
        return {}
    return {"attenuated_s": round(span_s, 1), "attenuated_range_m": round(least_m, 6)}


def _climatology(times: IntArray, levels: FloatArray) -> dict[str, Any]:
    if _seconds(times) < YEAR_S:
        return {}
    month = times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % MONTHS
    margin_m = SEASON_MARGIN * float(levels.max() - levels.min())
    table = {}
    for number in range(MONTHS):
        near = np.isin(month, [(number - 1) % MONTHS, number, (number + 1) % MONTHS])
        if np.count_nonzero(near) >= MONTH_ROWS and margin_m > 0.0:
            low_m, high_m = float(levels[near].min()) - margin_m, float(levels[near].max()) + margin_m
            table[str(number + 1)] = [
                max(round(low_m, _DIGITS), -LEVEL_BOUND_M),
                min(round(high_m, _DIGITS), LEVEL_BOUND_M),
            ]
    return {"climatology": table} if table else {}


def _seconds(times: IntArray) -> float:
    return float(times[-1] - times[0]) / MICROSECONDS_PER_SECOND if len(times) else 0.0
