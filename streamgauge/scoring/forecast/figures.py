"""How good a station's forecasts were, as they would have been issued live, beside persistence and the moving average."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.series import IntArray
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.issue import Replayed, replay
from streamgauge.scoring.forecast.model import ForecastModel
from streamgauge.scoring.forecast.outcomes import outcomes
from streamgauge.scoring.forecast.track import ROUNDING_M
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MOVING_M = 0.02
"""Water moves where the level changed by more than this in the hour before."""

_HOUR_US = 3600 * MICROSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class ForecastFigures:
    """One horizon over some issues; lengths in metres, ``None`` without any outcome.

    Attributes:
        rows: how many forecasts had an outcome.
        model_mae_m: mean absolute error of what the model expected.
        persistence_mae_m: of the level at issue.
        moving_average_mae_m: of the mean level of the hour before the issue, the issue's included.
        skill: by which share the model's error is lower than persistence's; ``None`` if that was never wrong.
        coverage: share of outcomes inside the 90 % band, its ends included.
        band_mean_m: the band's mean width.
        shown_mae_m: of what was shown: the model, or persistence where that had lately been better.
        shown_skill: likewise.
        persistence_shown: the share of forecasts at which persistence was shown.
    """

    rows: int
    model_mae_m: float | None = None
    persistence_mae_m: float | None = None
    moving_average_mae_m: float | None = None
    skill: float | None = None
    coverage: float | None = None
    band_mean_m: float | None = None
    shown_mae_m: float | None = None
    shown_skill: float | None = None
    persistence_shown: float | None = None


@dataclass(frozen=True, slots=True)
class HorizonFigures:
    """One horizon: over all forecasts, and over those issued where water moves."""

    horizon_s: int
    overall: ForecastFigures
    moving: ForecastFigures


@dataclass(frozen=True, slots=True)
class ForecastEvaluation:
    """All horizons.

    Attributes:
        issues: how many forecasts were issued, each for all horizons.
        horizons: in the order of ``HORIZONS_S``.
    """

    issues: int
    horizons: tuple[HorizonFigures, ...]


def judge_forecasts(
    model: ForecastModel,
    time_us: IntArray,
    level_m: FloatArray,
    checked: Checked,
    from_us: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ForecastEvaluation:
    """Replay one station's history and hold each forecast against its outcome.

    Args:
        model: ``Model.forecast``.
        time_us: microseconds since 1970, ascending, int64[n].
        level_m: metres, float64[n].
        checked: what ``check_levels`` says of the rows.
        from_us: forecasts issued from this time on count; earlier ones let the station's calibration settle.
        progress: told from time to time how many of how many issues are done.
    """
    replayed = replay(model, time_us, level_m, checked, progress=progress)
    issued_us = time_us[replayed.rows]
    counted = np.ones(len(issued_us), dtype=np.bool_) if from_us is None else issued_us >= from_us
    known = np.flatnonzero(checked.usable)
    known_us, known_m = time_us[known], level_m[known]
    before_m = outcomes(known_us, known_m, issued_us - _HOUR_US)
    moving = counted & (np.abs(replayed.baseline_m - before_m) > MOVING_M)
    found = []
    for place, horizon_s in enumerate(HORIZONS_S):
        came_m = outcomes(known_us, known_m, issued_us + horizon_s * MICROSECONDS_PER_SECOND)
        there = np.isfinite(came_m)
        overall, moved = (_figures(replayed, place, came_m, rows & there) for rows in (counted, moving))
        found.append(HorizonFigures(horizon_s, overall, moved))
    return ForecastEvaluation(int(np.count_nonzero(counted)), tuple(found))


def _figures(replayed: Replayed, place: int, came_m: FloatArray, rows: BoolArray) -> ForecastFigures:
    count = int(np.count_nonzero(rows))
    if count == 0:
        return ForecastFigures(rows=0)
    came = came_m[rows]
    low, high = replayed.low_m[rows, place], replayed.high_m[rows, place]
    model, persistence, average, shown = (
        float(np.abs(came - expected[rows]).mean())
        for expected in (
            replayed.model_m[:, place],
            replayed.baseline_m,
            replayed.average_m,
            replayed.expected_m[:, place],
        )
    )
    return ForecastFigures(
        rows=count,
        model_mae_m=round(model, 6),
        persistence_mae_m=round(persistence, 6),
        moving_average_mae_m=round(average, 6),
        skill=_skill(model, persistence),
        coverage=round(float(((came >= low - ROUNDING_M) & (came <= high + ROUNDING_M)).mean()), 4),
        band_mean_m=round(float((high - low).mean()), 6),
        shown_mae_m=round(shown, 6),
        shown_skill=_skill(shown, persistence),
        persistence_shown=round(float(replayed.persistence_shown[rows, place].mean()), 4),
    )


def _skill(model: float, persistence: float) -> float | None:
    return round(1.0 - model / persistence, 4) if persistence > 0.0 else None
