"""Readings in units of their own ordinary spread, and their trailing means: a few rows for blows, more for slow shifts."""

from dataclasses import dataclass

import numpy as np

from streamgauge.scoring.features import FloatArray


@dataclass(frozen=True, slots=True)
class Window:
    """A trailing mean.

    Attributes:
        rows: how many rows it spans; the row itself is the last.
        clip: what one row may add at most, in ordinary spreads. A long window looks for shifts that last, so that a
            single wild row hardly moves it; a short one is there for such rows.
    """

    rows: int
    clip: float


WINDOWS = (Window(rows=4, clip=4.0), Window(rows=16, clip=3.0))

CONTEXT_ROWS = max(window.rows for window in WINDOWS) - 1
"""How many earlier rows of the device decide a row's verdict."""


def standardise(values: FloatArray, centre: FloatArray, scale: FloatArray, clip: float) -> FloatArray:
    """Each channel's distance from its centre in ordinary spreads, float64[n, k], within ±clip.

    What is not there is 0, thus as ordinary as can be: that a value is missing is for the quality checks to say. An
    infinite value, or a difference that leaves the range of float, is as far off as can be.

    Args:
        values: float64[n, k], any units, NaN where there is none.
        centre: the channels' ordinary values, float64[k].
        scale: their ordinary spreads, above 0, float64[k]; infinite for a channel that takes no part.
        clip: the bound.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.clip((values - centre) / scale, -clip, clip)
    away[~np.isfinite(away)] = 0.0
    return away


def trailing_mean(away: FloatArray, rows: int) -> FloatArray:
    """The mean of each row and the ``rows - 1`` before it, float64[n, k]; before the first row all was ordinary (0).

    It is summed in the same order wherever the row stands, so that cutting a series differently changes no bit.
    """
    total = np.zeros_like(away)
    for lag in range(min(rows, len(away))):
        total[lag:] += away[: len(away) - lag]
    return total / rows
