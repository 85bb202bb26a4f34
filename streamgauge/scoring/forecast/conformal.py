"""How wide the band must be so that it holds nine outcomes of ten, learnt from where outcomes fell.

Each side has a factor on the model's half-width, per horizon and state of the water. An outcome beyond the side raises the
factor's logarithm by 0.95 steps, one within lowers it by 0.05 steps; so the share beyond tends to 5 % whatever the errors'
distribution, also where outcomes are drawn to a display's steps (adaptive conformal inference; Gibbs and Candès, 2021,
arXiv:2106.00170; with quantile tracking on the scale of scores as in Angelopoulos, Candès and Tibshirani, 2023,
arXiv:2307.16895). States have their own factors (Mondrian), as still water is the majority and would decide for floods.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BEYOND = 0.05
"""The share of outcomes that may lie beyond each side."""

STEP: Final = np.array([0.02, 0.03, 0.05, 0.05])
"""Per state: by how much one outcome moves a factor's logarithm."""

LOG_FACTOR_MIN = -4.0
LOG_FACTOR_MAX: Final = np.array([4.0, 3.0, 2.0, 2.0])
"""Per state: factors stay between exp of these. Where water moves the model knows how far it may go, and a run of misses in one
flood must not make the next one's band as high as the banks; still water needs room for a step of the display."""

_FLOOR_SHARE = 0.1
"""Half of the band, before its factor, is at least this share of how lively the water is."""

_HASTE, _HASTE_ROWS = 3.0, 100.0


def half_widths(
    tails_m: FloatArray, change_m: FloatArray, scale_m: FloatArray | float, log_factor: FloatArray
) -> FloatArray:
    """The distances from the expected level to the band's ends, float64[h, 2], both 0 or more.

    Args:
        tails_m: the model's bounds of the change, lower first, float64[h, 2].
        change_m: the expected change, float64[h].
        scale_m: how lively the water is.
        log_factor: float64[h, 2].
    """
    low, high = tails_m.min(axis=1), tails_m.max(axis=1)
    floor = np.maximum(_FLOOR_SHARE * scale_m, 0.25 * (high - low))
    raw = np.stack((change_m - low, high - change_m), axis=1)
    return np.asarray(np.maximum(raw, floor[:, np.newaxis]) * np.exp(log_factor))


def learnt(log_factor: FloatArray, beyond: NDArray[np.bool_], state: NDArray[np.int64], rows: FloatArray) -> FloatArray:
    """The factors' logarithms after an outcome each, float64[d, 2].

    Args:
        log_factor: before, float64[d, 2].
        beyond: whether the outcome was beyond the lower and the upper end, bool[d, 2].
        state: of the water at issue, int64[d].
        rows: how many outcomes of that state there were before, float64[d]: the first ones count more.
    """
    step = STEP[state] * (1.0 + _HASTE / (1.0 + rows / _HASTE_ROWS))
    moved = log_factor + step[:, np.newaxis] * (beyond - BEYOND)
    return np.asarray(np.clip(moved, LOG_FACTOR_MIN, LOG_FACTOR_MAX[state][:, np.newaxis]))
