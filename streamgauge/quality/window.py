"""The rows before each of some rows, side by side.

So every row's numbers are summed in the same order, wherever its series was cut: to the bit the same live and in one pass.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import CONTEXT_ROWS, IntArray
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """Some rows (first) and the ``CONTEXT_ROWS`` rows before each, newest first.

    Attributes:
        row: which rows they are, int64[CONTEXT_ROWS + 1, m].
        within: whether there is such a row, in the same station and without a gap between, bool[CONTEXT_ROWS + 1, m].
        age_s: how much older than the first each is, float64[CONTEXT_ROWS + 1, m].
    """

    row: IntArray
    within: BoolArray
    age_s: FloatArray

    @classmethod
    def before(cls, rows: IntArray, time_us: IntArray, apart: BoolArray) -> "Window":
        """The windows of some rows.

        Args:
            rows: whose, int64[m].
            time_us: microseconds since 1970 of all rows, int64[n].
            apart: the row before is of another station or too long ago, bool[n].
        """
        begin = np.maximum.accumulate(np.where(apart, np.arange(len(time_us)), 0))
        row = rows - np.arange(CONTEXT_ROWS + 1)[:, np.newaxis]
        within = row >= begin[rows]
        row = np.maximum(row, 0)
        return cls(row, within, (time_us[rows] - time_us[row]) / MICROSECONDS_PER_SECOND)


def range_of(values: FloatArray, chosen: BoolArray) -> FloatArray:
    """Highest less lowest of the chosen values of each column; negative infinity where none is chosen."""
    highest: FloatArray = np.where(chosen, values, -np.inf).max(axis=0)
    lowest: FloatArray = np.where(chosen, values, np.inf).min(axis=0)
    return highest - lowest


def median_of(values: FloatArray, chosen: BoolArray) -> FloatArray:
    """The (lower) median of the chosen values of each column; NaN where none is chosen."""
    count = np.count_nonzero(chosen, axis=0)
    ordered = np.sort(np.where(chosen, values, np.inf), axis=0)
    middle = ordered[np.maximum(count - 1, 0) // 2, np.arange(values.shape[1])]
    return np.where(count > 0, middle, np.nan)
