"""Drift: whether a station's week is unlike its weeks before, in what its sensor says and in how good its model is.

One measure is one number a week. Two kinds:

* **distances** compare a week's distribution of something with that of the reference weeks together (the largest difference of
  the two cumulative distributions, as in the test of Kolmogorov and Smirnov; for the low level, metres beyond their range). What
  is usual is the largest such distance of any reference week from the others: water changes from week to week, and a station's
  own weeks say by how much.
* **shares and ratios** are compared with the largest of the reference weeks.

A measure says *changed* when it is beyond ``factor`` times what is usual and beyond a floor. How often weeks of a real stream
are called changed, and what is found: docs/drift.md. Pure, numpy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.flags import Flag
from streamgauge.quality.series import NEIGHBOUR_MAX_S, SECONDS_PER_HOUR, IntArray
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

REFERENCE_WEEKS = 8
"""A week is compared with so many weeks before it: a season's change is slower."""
REFERENCE_WEEKS_MIN = 3
"""With fewer of them that hold enough readings nothing is said."""
READINGS_MIN = 100
"""A week with fewer readings with a level says nothing."""
OUTCOMES_MIN = 24
"""With fewer forecasts whose outcome is known, their error says nothing."""
MOVED_MIN_M = 0.05
"""Where the water moved by less than this in all, the error beside persistence says nothing: both are rounding."""

STEADY, CHANGED, UNKNOWN = "steady", "changed", "unknown"
_QUANTILES = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True, slots=True)
class Limit:
    """When a measure says changed: above ``factor`` times what is usual, and above ``floor``."""

    factor: float
    floor: float


LIMITS: Mapping[str, Limit] = {
    "low_level": Limit(factor=2.0, floor=0.05),
    "step": Limit(factor=1.5, floor=0.20),
    "rate": Limit(factor=1.5, floor=0.20),
    "spread": Limit(factor=1.5, floor=0.40),
    "interval": Limit(factor=1.5, floor=0.30),
    "flagged_share": Limit(factor=2.0, floor=0.02),
    "marked_share": Limit(factor=2.0, floor=0.01),
    "next_error": Limit(factor=1.25, floor=1.10),
    "forecast_error": Limit(factor=1.25, floor=1.10),
}
"""The measures in the order in which they are shown; chosen on the shared record, see docs/drift.md."""

_DISTANCES = ("step", "rate", "spread", "interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekRows:
    """One station's readings with a level in one week, in order of time, and its forecasts' outcomes.

    Attributes:
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n].
        flag: the level's quality flag, int16[n].
        expected_m: what the model expected of each, float64[n]; NaN where nothing.
        score: float64[n]; NaN where none.
        forecast_error_m: per forecast whose outcome is known, what it was off by, float64[k].
        persistence_error_m: what persistence was off by, float64[k].
    """

    time_us: IntArray
    level_m: FloatArray
    flag: NDArray[np.int16]
    expected_m: FloatArray
    score: FloatArray
    forecast_error_m: FloatArray = field(default_factory=lambda: np.empty(0))
    persistence_error_m: FloatArray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekSummary:
    """What is kept of a week for comparing.

    Attributes:
        readings: how many there were.
        distributions: by measure, 201 quantiles; empty where there was nothing to measure.
        values: by measure, a share or ratio, or the low level in metres; NaN where it could not be had.
    """

    readings: int
    distributions: Mapping[str, FloatArray]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The verdict on a week.

    Attributes:
        verdict: ``steady``, ``changed`` or ``unknown``.
        reasons: the measures that changed, or why nothing can be said: ``no_readings``, ``few_readings``, ``short_history``.
        readings: the week's readings with a level.
        reference_weeks: how many weeks it was compared with.
        measures: by measure ``value``, ``usual`` (the largest of the reference), ``limit`` and ``changed``; None for unknown.
    """

    verdict: str
    reasons: tuple[str, ...]
    readings: int
    reference_weeks: int
    measures: Mapping[str, Mapping[str, float | bool | None]]

    def figures(self) -> dict[str, Any]:
        """All but the verdict, JSON-able."""
        return {
            "readings": self.readings,
            "reference_weeks": self.reference_weeks,
            "reasons": list(self.reasons),
            "measures": {name: dict(measure) for name, measure in self.measures.items()},
        }


def summarise(rows: WeekRows) -> WeekSummary:
    """One week in the numbers that weeks are compared by."""
    usable = np.isfinite(rows.level_m) & (rows.flag != Flag.FAIL)
    time_us, level_m = rows.time_us[usable], rows.level_m[usable]
    step_s = np.diff(time_us) / MICROSECONDS_PER_SECOND
    change_m = _changes(level_m)
    near = (step_s > 0) & (step_s <= NEIGHBOUR_MAX_S)
    samples = {
        "step": change_m[near],
        "rate": change_m[near] / step_s[near] * SECONDS_PER_HOUR,
        "spread": _hourly_spread(time_us, level_m),
        "interval": step_s[step_s > 0],
    }
    there = np.isfinite(rows.level_m)
    values = {
        "low_level": float(np.quantile(level_m, 0.1)) if len(level_m) else np.nan,
        "flagged_share": _share(rows.flag[there] >= Flag.SUSPECT),
        "marked_share": _share((rows.score >= ANOMALY_SCORE)[there & np.isfinite(rows.score)]),
        "next_error": _next_error(rows),
        "forecast_error": _ratio(rows.forecast_error_m, rows.persistence_error_m),
    }
    distributions = {name: _quantiles(sample) for name, sample in samples.items()}
    return WeekSummary(readings=int(np.count_nonzero(there)), distributions=distributions, values=values)


def assess(week: WeekSummary, reference: Sequence[WeekSummary]) -> Drift:
    """Compare a week with the weeks before it.

    Args:
        week: the week in question.
        reference: up to ``REFERENCE_WEEKS`` weeks before it, in any order; those with too few readings are passed over.
    """
    sound = [earlier for earlier in reference if earlier.readings >= READINGS_MIN]
    missing = None
    if week.readings < READINGS_MIN:
        missing = "few_readings" if week.readings else "no_readings"
    elif len(sound) < REFERENCE_WEEKS_MIN:
        missing = "short_history"
    if missing:
        return Drift(
            verdict=UNKNOWN, reasons=(missing,), readings=week.readings, reference_weeks=len(sound), measures={}
        )
    measures = {name: _judge(name, *_measure(name, week, sound)) for name in LIMITS}
    changed = tuple(name for name, measure in measures.items() if measure["changed"])
    return Drift(
        verdict=CHANGED if changed else STEADY,
        reasons=changed,
        readings=week.readings,
        reference_weeks=len(sound),
        measures=measures,
    )


def _measure(name: str, week: WeekSummary, reference: Sequence[WeekSummary]) -> tuple[float, float]:
    """A measure's value for the week, and the largest that is usual; NaN where either cannot be had."""
    if name in _DISTANCES:
        samples = [earlier.distributions[name] for earlier in reference]
        distance, ours = _largest_gap, week.distributions[name]
    elif name == "low_level":
        samples = [np.array([earlier.values[name]]) for earlier in reference]
        distance, ours = _beyond, np.array([week.values[name]])
    else:
        known = [earlier.values[name] for earlier in reference if np.isfinite(earlier.values[name])]
        return week.values[name], max(known, default=np.nan)
    samples = [sample for sample in samples if len(sample) and np.isfinite(sample).all()]
    if len(samples) < REFERENCE_WEEKS_MIN or not len(ours):
        return np.nan, np.nan
    usual = max(distance(sample, samples[:place] + samples[place + 1 :]) for place, sample in enumerate(samples))
    return distance(ours, samples), usual


def _judge(name: str, value: float, usual: float) -> dict[str, float | bool | None]:
    limit = max(LIMITS[name].floor, LIMITS[name].factor * usual) if np.isfinite(usual) else np.nan
    return {
        "value": _or_none(value),
        "usual": _or_none(usual),
        "limit": _or_none(limit),
        "changed": bool(value > limit),
    }


def _largest_gap(sample: FloatArray, others: Sequence[FloatArray]) -> float:
    """The largest difference of two cumulative distributions, 0 the same … 1 nothing in common."""
    ours, theirs = np.sort(sample), np.sort(np.concatenate(others))
    points = np.concatenate([ours, theirs])
    share = np.searchsorted(ours, points, side="right") / len(ours)
    return float(np.abs(share - np.searchsorted(theirs, points, side="right") / len(theirs)).max())


def _beyond(sample: FloatArray, others: Sequence[FloatArray]) -> float:
    """How far a number lies outside the range of the others."""
    theirs = np.concatenate(others)
    return float(max(0.0, sample[0] - theirs.max(), theirs.min() - sample[0]))


def _changes(level_m: FloatArray) -> FloatArray:
    """How far apart levels that follow each other are; infinite for values at the edge of float, which are no level."""
    with np.errstate(over="ignore", invalid="ignore"):
        change_m: FloatArray = np.abs(np.diff(level_m))
    return change_m


def _quantiles(sample: FloatArray) -> FloatArray:
    finite = sample[np.isfinite(sample)]
    return np.quantile(finite, _QUANTILES) if len(finite) else np.empty(0)


def _hourly_spread(time_us: IntArray, level_m: FloatArray) -> FloatArray:
    """Highest less lowest level of each hour of the clock that has at least two readings, metres."""
    if len(time_us) == 0:
        return np.empty(0)
    hour = time_us // int(SECONDS_PER_HOUR * MICROSECONDS_PER_SECOND)
    starts = np.flatnonzero(np.append(True, hour[1:] != hour[:-1]))
    with np.errstate(over="ignore"):
        spread: FloatArray = np.maximum.reduceat(level_m, starts) - np.minimum.reduceat(level_m, starts)
    return spread[np.diff(np.append(starts, len(hour))) >= 2]


def _next_error(rows: WeekRows) -> float:
    """The error of what was expected of each reading beside that of the reading before it."""
    known = np.isfinite(rows.expected_m) & np.isfinite(rows.level_m)
    change_m = np.append(np.nan, _changes(rows.level_m))[: len(rows.level_m)]
    known &= np.isfinite(change_m) & (rows.flag != Flag.FAIL)
    return _ratio(np.abs(rows.level_m - rows.expected_m)[known], change_m[known])


def _ratio(error_m: FloatArray, persistence_m: FloatArray) -> float:
    if len(error_m) < OUTCOMES_MIN or persistence_m.sum() < MOVED_MIN_M:
        return np.nan
    return float(error_m.sum() / persistence_m.sum())


def _share(hits: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(hits) / len(hits)) if len(hits) else np.nan


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
