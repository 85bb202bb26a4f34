"""What each horizon's change might be, from the models and from simple rules, for the mixing to choose from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import IntArray
from streamgauge.scoring.forecast.horizons import HORIZONS_S, ISSUE_STEP_S
from streamgauge.scoring.forecast.mixing import states_of
from streamgauge.scoring.forecast.window_features import FEATURES, Known

FloatArray = NDArray[np.float64]

_SHARES = (0.5, 1.0, 1.25)

PROPOSALS: tuple[str, ...] = (
    "persistence",
    *(f"{name}_{share:g}" for name in ("relative", "varied", "metres") for share in _SHARES),
    "line_60min",
    "line_180min",
    "tide_before",
    "day_before",
    "lunar_day_before",
    "average",
    "average_half",
)
"""What is proposed; the models' answers also damped and stretched, as other sites react less or more."""

_HORIZONS_H = np.array(HORIZONS_S) / 3600.0
_STEP = FEATURES.index("step_s")
_LINES = tuple(FEATURES.index(f"rate_{span}min_m_per_h") for span in (60, 180))


@dataclass(frozen=True, slots=True)
class Proposed:
    """Everything a station's track needs to issue, per issue.

    Attributes:
        baseline_m: the level at issue, float64[m]; NaN: nothing is forecast.
        change_m: what each proposal says, float32[m, horizons, proposals].
        tails_m: the bounds of the change, float64[m, horizons, 2].
        scale_m: how lively the water is, float64[m].
        state: of the water, int64[m].
        hour_mean_m: float64[m].
        pace: for how many outcomes of a station that reports every ``ISSUE_STEP_S`` one of this station counts, float64[m].
        grid_m: the display's step where there is one, float64[m]; NaN where none shows.
    """

    baseline_m: FloatArray
    change_m: NDArray[np.float32]
    tails_m: FloatArray
    scale_m: FloatArray
    state: IntArray
    hour_mean_m: FloatArray
    pace: FloatArray
    grid_m: FloatArray


_PACE_MAX = 3.0
GRID_MIN_M, GRID_MAX_M = 0.0009, 0.02


def proposed(known: Known, members_m: FloatArray, tails_m: FloatArray) -> Proposed:
    """Put the models' answers and the simple rules together.

    Args:
        known: of some issues.
        members_m: the medians' changes in metres, float64[members, m, horizons], in the order of ``MEMBERS``.
        tails_m: float64[m, horizons, 2].
    """
    relative = members_m[:2].mean(axis=0)
    models = [answer * share for answer in (relative, members_m[2], members_m[3]) for share in _SHARES]
    lines = [
        np.nan_to_num(known.values[:, column]).astype(np.float64)[:, np.newaxis] * _HORIZONS_H for column in _LINES
    ]
    patterns = np.moveaxis(np.nan_to_num(known.pattern_m), 2, 0)
    back_m = np.broadcast_to((known.hour_mean_m - known.baseline_m)[:, np.newaxis], relative.shape)
    every = (np.zeros_like(relative), *models, *lines, *patterns, back_m, 0.5 * back_m)
    change_m = np.nan_to_num(np.stack(every, axis=2)).astype(np.float32)
    grid = (known.finest_m >= GRID_MIN_M) & (known.finest_m <= GRID_MAX_M)
    return Proposed(
        baseline_m=known.baseline_m,
        change_m=change_m,
        tails_m=tails_m,
        scale_m=known.scale_m[:, 0],
        state=states_of(known.rate_m_per_h, known.rising),
        hour_mean_m=known.hour_mean_m,
        pace=(np.nan_to_num(known.values[:, _STEP]) / ISSUE_STEP_S).clip(1.0, _PACE_MAX).astype(np.float64),
        grid_m=np.where(grid, known.finest_m, np.nan),
    )
