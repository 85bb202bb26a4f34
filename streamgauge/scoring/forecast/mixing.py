"""Which proposals to believe at a station: those that have been right there lately, in water like this.

Each proposal's absolute errors are summed per horizon and state of the water, older ones fading. Proposals are weighted by how
their error compares with the best one's (exponentially weighted experts; Cesa-Bianchi and Lugosi, "Prediction, Learning, and
Games", 2006, chapter 2); persistence is among them, so that a station that no model understands gets persistence. A new station
begins with what the training record said, worth ``PRIOR_ROWS`` outcomes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STATES: tuple[str, ...] = ("still", "slow", "falling", "rising")
"""How the water is at issue, by its change in the hour before: up to 4 mm, up to 20 mm, more."""

_SLOW_M_PER_H = 0.004
MOVING_M_PER_H = 0.02
"""Water moves where the level changed by more than this in the hour before."""

MEMORY_ROWS: Final = np.array([4000.0, 2000.0, 1000.0, 1000.0])
"""After so many outcomes of a state an error counts 1/e."""

PRIOR_ROWS = 300.0
_SHARPNESS = 40.0
"""A proposal whose error is larger than the best one's by the share x has exp(−40 x) of its weight."""
_TINY_M = 1e-9


def states_of(rate_m_per_h: FloatArray, rising: NDArray[np.bool_]) -> IntArray:
    """The state of the water at each issue, as an index of ``STATES``, int64[m].

    Args:
        rate_m_per_h: change over the last hour, float64[m].
        rising: whether the last 20 minutes rose, bool[m].
    """
    speed = np.abs(rate_m_per_h)
    moving = np.where(rising, 3, 2)
    return np.where(speed > MOVING_M_PER_H, moving, np.where(speed > _SLOW_M_PER_H, 1, 0)).astype(np.int64)


def weights(error_m: FloatArray, rows: FloatArray, prior: FloatArray) -> FloatArray:
    """How much each proposal counts, float64[h, k]; each row sums to 1.

    Args:
        error_m: faded sums of absolute errors, float64[h, k]; column 0 is persistence.
        rows: faded numbers of outcomes, float64[h].
        prior: errors relative to persistence on the training record, float64[h, k]; column 0 is 1.
    """
    persistence = error_m[:, :1]
    lent = PRIOR_ROWS / np.maximum(rows, 1.0)[:, np.newaxis] * np.maximum(persistence, _TINY_M)
    relative = (prior * lent + error_m) / (lent + np.maximum(persistence, _TINY_M))
    best = relative.min(axis=1, keepdims=True)
    found = np.exp(-_SHARPNESS * (relative / np.maximum(best, 1e-3) - 1.0).clip(0.0, 15.0))
    return np.asarray(found / found.sum(axis=1, keepdims=True))
