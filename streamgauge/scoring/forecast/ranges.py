"""Highest and lowest of arbitrary stretches of a series, exactly, for many stretches at once."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Highest:
    """Answers "the highest of rows lo … hi − 1" in constant time (a sparse table: the highest of each 2**k rows).

    Integers only: the answer does not depend on where the series begins.
    """

    def __init__(self, values: IntArray) -> None:
        self._tables = [values]
        width = 1
        while 2 * width <= len(values):
            shorter = self._tables[-1]
            self._tables.append(np.maximum(shorter[:-width], shorter[width:]))
            width *= 2

    def of(self, lo: IntArray, hi: IntArray, empty: IntArray) -> IntArray:
        """The highest of each stretch, int64[m]; ``empty`` where a stretch has no row.

        Args:
            lo: first row of each stretch, int64[m].
            hi: one past its last, int64[m].
            empty: int64[m].
        """
        found = empty.copy()
        rows = hi - lo
        # frexp is exact: the exponent of n is floor(log2 n) + 1.
        power = np.frexp(np.maximum(rows, 1).astype(np.float64))[1] - 1
        for exponent, table in enumerate(self._tables):
            chosen = np.flatnonzero((rows > 0) & (power == exponent))
            if len(chosen):
                left, right = lo[chosen], hi[chosen] - (1 << exponent)
                found[chosen] = np.maximum(table[left], table[right])
        return found
