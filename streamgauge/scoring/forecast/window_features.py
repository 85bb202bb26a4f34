"""What is known of a station's water when a forecast is issued: one row of numbers per issue, of earlier readings only.

Levels count in whole micrometres, so that sums do not depend on where the series begins: a forecast issued live from two days
of readings and the same one replayed from two years are equal to the bit. Row number and elapsed time are no columns.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import IntArray, starts_of_stations
from streamgauge.scoring.forecast.horizons import BUCKET_S, HORIZONS_S, WINDOW_S
from streamgauge.scoring.forecast.other_quantities import OTHER_FEATURES, Others, other_columns
from streamgauge.scoring.forecast.ranges import Highest
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
FeatureMatrix = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

HISTORY_MIN = 3
"""With fewer earlier readings in the last ``WINDOW_S`` there is no forecast."""

_LAGS_MIN = (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 540, 720, 1080, 1440, 2160, 2880)
_EXTREMES_MIN = (30, 60, 120, 180, 360, 720, 1440, 2880)
_PATHS_MIN = (30, 60, 180, 360, 1440)
_BENDS_MIN = ((10, 20), (15, 30), (30, 60), (60, 120), (180, 360))
_FINEST_MIN = 1440

_JITTER_S = 30
_STILL_UM = 500
"""A step up to half a millimetre is no movement."""
_LEVEL_MAX_M = 1e5
_NONE_UM = np.int64(10**15)
_UM = 1_000_000

LENGTHS: tuple[str, ...] = (
    *(f"rate_{span}min_m_per_h" for span in _LAGS_MIN),
    *(f"above_lowest_{span}min_m" for span in _EXTREMES_MIN),
    *(f"below_highest_{span}min_m" for span in _EXTREMES_MIN),
    *(f"path_{span}min_m" for span in _PATHS_MIN),
    "finest_step_m",
    *(f"bend_{near}min_m_per_h" for near, _ in _BENDS_MIN),
)
"""Columns in metres or metres per hour: they grow with the water, and scale-free models divide them."""

RATIOS: tuple[str, ...] = (*(f"moving_share_{span}min" for span in _PATHS_MIN), "still_s", "step_s")

FEATURES: tuple[str, ...] = (*LENGTHS, *RATIOS, *OTHER_FEATURES)
"""The columns of the matrix, in order."""

SCALES: tuple[str, ...] = ("range", "rate", "root")
"""Measures of how lively the water is (metres); models are trained relative to one each. The last one grows with the root of the
first: half of the way between metres as they are and no metres at all."""

PATTERN_LAGS_S: tuple[int, ...] = (44_714, 86_400, 89_428)
"""What happened one tide, one day and one lunar day ago may happen again (12 h 25 min, 24 h, 24 h 50 min)."""

_SCALE_FLOOR_M = 0.003
_ROOT_M = 0.05
_RULES_VERSION = 1  # Raise it when a column keeps its name and changes its meaning.


def window_features_sha256() -> str:
    """The hash of everything that gives the columns their meaning."""
    specification = {
        "features": FEATURES,
        "scales": SCALES,
        "horizons_s": HORIZONS_S,
        "window_s": WINDOW_S,
        "bucket_s": BUCKET_S,
        "pattern_lags_s": PATTERN_LAGS_S,
        "rules": _RULES_VERSION,
    }
    return hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at each issue.

    Attributes:
        values: float32[m, len(FEATURES)]; NaN where the history does not reach.
        baseline_m: the level at the issue, float64[m]; NaN with less than ``HISTORY_MIN`` earlier readings.
        scale_m: float64[m, len(SCALES)], greater than 0.
        rate_m_per_h: over the last hour, float64[m]; 0 where unknown.
        rising: whether the last 20 minutes rose, bool[m].
        hour_mean_m: mean level of the last hour, the issue's included, float64[m].
        finest_m: the smallest step of the last day, float64[m]; NaN where nothing moved.
        pattern_m: the change over each horizon, one tide, day and lunar day ago, float64[m, horizons, lags]; NaN unknown.
    """

    values: FeatureMatrix
    baseline_m: FloatArray
    scale_m: FloatArray
    rate_m_per_h: FloatArray
    rising: BoolArray
    hour_mean_m: FloatArray
    finest_m: FloatArray
    pattern_m: FloatArray


def build(
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    usable: BoolArray,
    issues: IntArray,
    others: Others | None = None,
) -> Known:
    """What is known at some rows, of themselves and the rows before them.

    Args:
        station: the station of each row, int64[n]; rows are sorted by (station, time).
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        usable: which rows may serve as history for later ones (``Checked.usable``), bool[n]. The issues' own entries are not
            looked at, as they may rest on what follows.
        issues: the rows at which forecasts are issued, int64[m]; each has a finite level.
        others: other quantities, where the station has them.

    Raises:
        ValueError: the rows are not sorted.
    """
    past = _Past(station, time_us, level_m, usable, issues)
    lags = {span: past.drop_since(span * 60) for span in _LAGS_MIN}
    rates = {span: _per_hour(drop, age) for span, (drop, age) in lags.items()}
    extremes = {span: past.extremes(span) for span in _EXTREMES_MIN}
    paths = {span: past.path(span) for span in _PATHS_MIN}
    finest_m = past.finest_m()
    bends = [_bend(lags[near], lags[far]) for near, far in _BENDS_MIN]
    lengths = [*rates.values(), *_transposed(extremes), *_firsts(paths), finest_m, *bends]
    ratios = [*(share for _, share in paths.values()), past.still_s(), past.step_s()]
    beside = other_columns(others, past.key, past.key[issues], past.first_row[issues], issues)
    enough = past.rows_within(WINDOW_S) >= HISTORY_MIN
    return Known(
        values=_matrix([*lengths, *ratios, *beside], len(issues)),
        baseline_m=np.where(enough, level_m[issues], np.nan),
        scale_m=_scales(rates, extremes, paths),
        rate_m_per_h=np.nan_to_num(rates[60]),
        rising=np.nan_to_num(rates[20]) > 0.0,
        hour_mean_m=past.mean_m(3600),
        finest_m=finest_m,
        pattern_m=past.patterns(),
    )


_Pairs = dict[int, tuple[FloatArray, FloatArray]]


def _firsts(pairs: _Pairs) -> list[FloatArray]:
    return [first for first, _ in pairs.values()]


def _transposed(pairs: _Pairs) -> list[FloatArray]:
    """All first ones, then all second ones."""
    return _firsts(pairs) + [second for _, second in pairs.values()]


def _matrix(columns: list[FloatArray], rows: int) -> FeatureMatrix:
    values = np.empty((rows, len(FEATURES)), dtype=np.float32)
    for place, column in enumerate(columns):
        values[:, place] = column
    return values


def _scales(rates: dict[int, FloatArray], extremes: _Pairs, paths: _Pairs) -> FloatArray:
    reach = {span: np.maximum(*extremes[span]) for span in (360, 1440)}
    hour, third = (np.abs(np.nan_to_num(rates[span])) for span in (60, 20))
    range_m = 0.3 * reach[360] + 0.5 * paths[60][0] + 0.1 * reach[1440] + _SCALE_FLOOR_M
    rate_m = hour + 0.5 * third + 0.1 * reach[360] + _SCALE_FLOOR_M
    return np.stack((range_m, rate_m, np.sqrt(range_m * _ROOT_M)), axis=1)


def _per_hour(drop_m: FloatArray, age_s: FloatArray) -> FloatArray:
    return drop_m / age_s * 3600.0


def _bend(near: tuple[FloatArray, FloatArray], far: tuple[FloatArray, FloatArray]) -> FloatArray:
    """By how much the water moves faster (m/h) since ``near`` than between ``far`` and ``near``; NaN where those are one."""
    between_s = far[1] - near[1]
    earlier = _per_hour(far[0] - near[0], np.where(between_s > 0.0, between_s, np.nan))
    return _per_hour(*near) - earlier


class _Past:
    """The history of each issue: the last usable reading of each earlier ``BUCKET_S`` of the clock."""

    def __init__(
        self, station: IntArray, time_us: IntArray, level_m: FloatArray, usable: BoolArray, issues: IntArray
    ) -> None:
        begins = starts_of_stations(station, time_us)
        first_row = np.maximum.accumulate(np.where(begins, np.arange(len(station)), 0))
        since_us = time_us - time_us[first_row] if len(station) else time_us
        apart_us = (int(since_us.max()) if len(station) else 0) + 2 * WINDOW_S * MICROSECONDS_PER_SECOND
        # One key that orders all stations' rows: stations lie further apart in it than any window is long.
        self.key = (np.cumsum(begins) - 1) * apart_us + since_us
        self.first_row = first_row
        bucket = time_us // (BUCKET_S * MICROSECONDS_PER_SECOND)
        levels_there = usable & (np.abs(level_m) < _LEVEL_MAX_M)
        rows = np.flatnonzero(levels_there)
        last = np.ones(len(rows), dtype=np.bool_)
        last[:-1] = (bucket[rows[1:]] != bucket[rows[:-1]]) | (first_row[rows[1:]] != first_row[rows[:-1]])
        rows = rows[last]
        self._history_key = self.key[rows]
        self._level_um = np.rint(level_m[rows] * _UM).astype(np.int64)
        self._issue_key = self.key[issues]
        self._issue_um = np.rint(np.clip(level_m[issues], -_LEVEL_MAX_M, _LEVEL_MAX_M) * _UM).astype(np.int64)
        self._begin = np.searchsorted(rows, first_row[issues])
        # History ends before the bucket of the issue: its own bucket is not complete.
        bucket_begin_us = bucket[issues] * BUCKET_S * MICROSECONDS_PER_SECOND
        begin_key = self._issue_key - (time_us[issues] - bucket_begin_us)
        self._end = np.maximum(np.searchsorted(self._history_key, begin_key), self._begin)
        self._newest = np.maximum(self._end - 1, 0)
        self._some = self._end > self._begin
        self._prepare()

    def _prepare(self) -> None:
        if len(self._level_um) == 0:  # Nothing is within, and nothing may be asked of an empty table.
            self._level_um, self._history_key = np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int64)
        step = np.abs(np.diff(self._level_um, prepend=self._level_um[0]))
        self._level_sum = np.concatenate([[0], np.cumsum(self._level_um)])
        self._step_sum = np.concatenate([[0], np.cumsum(step)])
        self._moved_sum = np.concatenate([[0], np.cumsum(step > _STILL_UM)])
        self._highest, self._lowest = Highest(self._level_um), Highest(-self._level_um)
        self._finest = Highest(-np.where(step > _STILL_UM, step, _NONE_UM))
        moved_at = np.where(step > _STILL_UM, np.arange(len(step)), -1)
        self._moved_last = np.maximum.accumulate(moved_at)
        self._last_step_um = np.where(self._some, np.abs(self._issue_um - self._level_um[self._newest]), 0)

    def _from(self, seconds: int) -> IntArray:
        """The first history row no older than so many seconds."""
        oldest = self._issue_key - (seconds + _JITTER_S) * MICROSECONDS_PER_SECOND
        return np.clip(np.searchsorted(self._history_key, oldest), self._begin, self._end)

    def rows_within(self, seconds: int) -> IntArray:
        return np.asarray(self._end - self._from(seconds))

    def drop_since(self, seconds: int) -> tuple[FloatArray, FloatArray]:
        """By how much the issue's level is above that of so long ago (metres), and the age of that reading (seconds)."""
        wanted = self._issue_key - (seconds - _JITTER_S) * MICROSECONDS_PER_SECOND
        place = np.minimum(np.searchsorted(self._history_key, wanted, side="right"), self._end) - 1
        row = np.maximum(place, 0)
        age_s = (self._issue_key - self._history_key[row]) / MICROSECONDS_PER_SECOND
        near = (place >= self._begin) & (age_s <= 1.25 * seconds + 900.0)
        drop_m = (self._issue_um - self._level_um[row]) / _UM
        return np.where(near, drop_m, np.nan), np.where(near, age_s, np.nan)

    def extremes(self, minutes: int) -> tuple[FloatArray, FloatArray]:
        """How far the issue is above the lowest and below the highest (metres, 0 or more)."""
        begin = self._from(minutes * 60)
        highest = np.maximum(self._highest.of(begin, self._end, self._issue_um), self._issue_um)
        lowest = np.minimum(-self._lowest.of(begin, self._end, -self._issue_um), self._issue_um)
        return (self._issue_um - lowest) / _UM, (highest - self._issue_um) / _UM

    def path(self, minutes: int) -> tuple[FloatArray, FloatArray]:
        """The length of the water's way up and down (metres), and the share of steps that moved."""
        begin = np.minimum(self._from(minutes * 60) + 1, self._end)
        way_um = self._step_sum[self._end] - self._step_sum[begin] + self._last_step_um
        moved = self._moved_sum[self._end] - self._moved_sum[begin] + (self._last_step_um > _STILL_UM)
        return way_um / _UM, moved / (self._end - begin + 1)

    def finest_m(self) -> FloatArray:
        """The smallest step that moved; NaN where none did."""
        begin = np.minimum(self._from(_FINEST_MIN * 60) + 1, self._end)
        none = np.full(len(self._end), -_NONE_UM)
        finest_um = -self._finest.of(begin, self._end, none)
        return np.where(finest_um < _NONE_UM, finest_um / _UM, np.nan)

    def still_s(self) -> FloatArray:
        """For how long the level has been as it is; at most the window."""
        before_move = np.maximum(self._moved_last[self._newest] - 1, self._begin)
        before_move = np.where(self._last_step_um > _STILL_UM, self._newest, before_move)
        still_s = (self._issue_key - self._history_key[np.minimum(before_move, self._newest)]) / MICROSECONDS_PER_SECOND
        return np.where(self._some, np.minimum(still_s, 48 * 3600.0), np.nan)

    def step_s(self) -> FloatArray:
        """From the newest earlier reading to the issue."""
        step_s = (self._issue_key - self._history_key[self._newest]) / MICROSECONDS_PER_SECOND
        return np.where(self._some, step_s, np.nan)

    def mean_m(self, seconds: int) -> FloatArray:
        """The mean of the issue's level and those no older than so many seconds."""
        begin = self._from(seconds)
        total_um = self._level_sum[self._end] - self._level_sum[begin] + self._issue_um
        return np.asarray(total_um / (self._end - begin + 1) / _UM)

    def patterns(self) -> FloatArray:
        """The change over each horizon as it was one pattern lag ago, float64[m, horizons, lags]; NaN unknown."""
        found = np.empty((len(self._end), len(HORIZONS_S), len(PATTERN_LAGS_S)))
        for lag_place, lag_s in enumerate(PATTERN_LAGS_S):
            before_m, _ = self.drop_since(lag_s)
            for place, horizon_s in enumerate(HORIZONS_S):
                after_m, _ = self.drop_since(lag_s - horizon_s)
                found[:, place, lag_place] = before_m - after_m
        return found
