"""What the model knows before a reading: one row of numbers per reading, made only of earlier readings of its station.

Everything is relative to the last level and in physical time, so that one model serves stations with another datum and
another sampling step. At most ``LAGS`` earlier readings are used, none older than ``WINDOW_S``.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.series import CONTEXT_ROWS, SECONDS_PER_HOUR, IntArray
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
FeatureMatrix = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

LAGS = 36
"""How many earlier readings are looked at: three hours of a sensor that reports every 5 minutes."""

WINDOW_S = 6 * SECONDS_PER_HOUR
"""Earlier readings that are older than this are not looked at."""

HISTORY_MIN = 3
"""With fewer usable earlier readings nothing is expected."""

STILL_STEP_M = 0.0005
"""A step up to this is no movement: half the finest step, 1 mm, in which level sensors commonly report."""

# A row's oldest lag needs one more reading for its spike test; both must fit into what the worker reads.
assert LAGS + 2 <= CONTEXT_ROWS

_RATE_SPANS_MIN = (1, 5, 10, 15, 30, 60, 120)
_EXTRAPOLATED_SPANS_MIN = (5, 15, 30)
_EXTREME_SPANS_MIN = (30, 60, 180)

FEATURES: tuple[str, ...] = (
    "step_s",
    "step_before_s",
    *(f"rate_{span}min_m_per_h" for span in _RATE_SPANS_MIN),
    *(f"extrapolated_{span}min_m" for span in _EXTRAPOLATED_SPANS_MIN),
    *(f"above_lowest_{span}min_m" for span in _EXTREME_SPANS_MIN),
    *(f"below_highest_{span}min_m" for span in _EXTREME_SPANS_MIN),
    "still_s",
    "moving_share",
    "mean_step_m",
    "finest_step_m",
)
"""The columns of the matrix, in order."""

_RULES_VERSION = 1  # Raise it when a feature keeps its name and changes its meaning.


def features_sha256() -> str:
    """The hash of everything that gives the columns their meaning; a model is good for one of them."""
    specification = {"features": FEATURES, "lags": LAGS, "window_s": WINDOW_S, "rules": _RULES_VERSION}
    return hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Features:
    """What is known before each target.

    Attributes:
        values: float32[m, len(FEATURES)]; NaN where the history does not reach.
        baseline_m: the last usable level before the target, float64[m]; NaN with less than ``HISTORY_MIN`` usable
            earlier readings: then nothing is expected.
    """

    values: FeatureMatrix
    baseline_m: FloatArray


def build(station: IntArray, time_us: IntArray, level_m: FloatArray, checked: Checked, targets: IntArray) -> Features:
    """The features of some rows.

    The targets' own levels are never looked at and may be NaN, as for a time that is still to come.

    Args:
        station: the station of each row, int64[n]; rows are sorted by (station, time), as ``check_levels`` demands.
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        checked: the verdict of ``check_levels`` on these rows; what failed is no history.
        targets: the rows whose features are wanted, int64[m].
    """
    values = np.full((len(targets), len(FEATURES)), np.nan, dtype=np.float32)
    if len(targets) == 0:
        return Features(values, np.empty(0))
    past = _look_back(station, time_us, level_m, checked, targets)
    columns = [*_steps(past), *_rates(past), *_extremes(past), *_restlessness(past)]
    for place, column in enumerate(columns):
        values[:, place] = column
    enough = np.count_nonzero(past.usable, axis=0) >= HISTORY_MIN
    values[~enough] = np.nan
    return Features(values, np.where(enough, past.newest_m, np.nan))


@dataclass(frozen=True, slots=True)
class _Past:
    """The earlier readings of each target, newest first.

    Attributes:
        usable: whether there is one to use, bool[LAGS, m].
        drop_m: by how much the newest usable level is above each, float64[LAGS, m]; NaN where unusable.
        age_s: how much older than the newest usable one each is, float64[LAGS, m]; -1 where unusable.
        newest_m: the newest usable level, float64[m]; NaN without any.
        step_s: from the newest usable reading to the target, float64[m]; NaN without any.
    """

    usable: BoolArray
    drop_m: FloatArray
    age_s: FloatArray
    newest_m: FloatArray
    step_s: FloatArray


def _look_back(station: IntArray, time_us: IntArray, level_m: FloatArray, checked: Checked, targets: IntArray) -> _Past:
    there = np.flatnonzero(~np.isnan(level_m))
    if len(there) == 0:
        there = np.zeros(1, dtype=np.int64)  # Its level is NaN and thus not usable.
    place = np.searchsorted(there, targets) - np.arange(1, LAGS + 1)[:, np.newaxis]
    rows = there[np.maximum(place, 0)]
    before_us = time_us[targets] - time_us[rows]
    usable = checked.usable[rows]
    # The verdict on the reading just before the target may rest on the target (spike); this one does not.
    usable[0] = checked.usable_as_newest[rows[0]]
    usable &= (place >= 0) & (station[rows] == station[targets])
    usable &= (before_us > 0) & (before_us <= WINDOW_S * MICROSECONDS_PER_SECOND)

    newest, column = np.argmax(usable, axis=0), np.arange(len(targets))
    some = usable[newest, column]
    level = np.where(usable, level_m[rows], np.nan)
    newest_m = level[newest, column]
    newest_us = before_us[newest, column]
    age_s = np.where(usable, (before_us - newest_us) / MICROSECONDS_PER_SECOND, -1.0)
    step_s = np.where(some, newest_us / MICROSECONDS_PER_SECOND, np.nan)
    return _Past(usable, newest_m - level, age_s, newest_m, step_s)


def _first(found: BoolArray, values: FloatArray) -> FloatArray:
    """Per target the value at the newest reading of which something was found; NaN where of none."""
    newest, column = np.argmax(found, axis=0), np.arange(found.shape[1])
    return np.where(found[newest, column], values[newest, column], np.nan)


def _steps(past: _Past) -> list[FloatArray]:
    return [past.step_s, _first(past.age_s > 0.0, past.age_s)]


_SAMPLING_JITTER_S = 30.0
"""A reading that comes this much early still stands for its time."""


def _rates(past: _Past) -> list[FloatArray]:
    """Metres per hour over each span, and where they lead at the target's time (metres above the last level)."""
    rates: dict[int, FloatArray] = {}
    for span_min in _RATE_SPANS_MIN:
        reached = past.age_s >= span_min * 60.0 - _SAMPLING_JITTER_S
        drop_m, age_s = _first(reached, past.drop_m), _first(reached, past.age_s)
        rates[span_min] = drop_m / age_s * SECONDS_PER_HOUR
    step_h = past.step_s / SECONDS_PER_HOUR
    return [*rates.values(), *(rates[span_min] * step_h for span_min in _EXTRAPOLATED_SPANS_MIN)]


def _extremes(past: _Past) -> list[FloatArray]:
    """How far the last level is above the lowest and below the highest of each span (metres, 0 or more)."""
    above: list[FloatArray] = []
    below: list[FloatArray] = []
    for span_min in _EXTREME_SPANS_MIN:
        within = past.usable & (past.age_s <= span_min * 60.0 + _SAMPLING_JITTER_S)
        drop_m = np.where(within, past.drop_m, 0.0)
        above.append(drop_m.max(axis=0))
        below.append(-drop_m.min(axis=0))
    return [*above, *below]


def _restlessness(past: _Past) -> list[FloatArray]:
    """For how long the level has not moved, how often and how far it moves, and in what steps."""
    differs = np.abs(past.drop_m) > STILL_STEP_M
    oldest_s = past.age_s.max(axis=0)
    still_s = np.where(differs.any(axis=0), _first(differs, past.age_s), oldest_s)
    step_m = np.abs(past.drop_m[1:] - past.drop_m[:-1])
    known = ~np.isnan(step_m)
    moving = step_m > STILL_STEP_M
    steps = np.count_nonzero(known, axis=0)
    counted = np.where(steps > 0, steps, np.nan)
    finest_m = np.where(moving, step_m, np.inf).min(axis=0)
    return [
        still_s,
        np.count_nonzero(moving, axis=0) / counted,
        np.where(known, step_m, 0.0).sum(axis=0) / counted,
        np.where(np.isfinite(finest_m), finest_m, np.nan),
    ]
