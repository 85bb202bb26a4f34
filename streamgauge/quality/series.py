"""Series of many stations in one set of arrays, sorted by (station, time), and how much of them a row's verdict needs."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

SECONDS_PER_HOUR = 3600.0

NEIGHBOUR_MAX_S = SECONDS_PER_HOUR
"""Readings further apart than this are not compared with each other: in an hour a small stream rises and falls."""

CONTEXT_ROWS = 48
"""How many earlier readings *with a level* of the same station decide a row's flag, features and score, at most."""

CONTEXT_S = CONTEXT_ROWS * NEIGHBOUR_MAX_S
"""No reading older than this before a row matters to it: beyond, some step must have been longer than neighbours may be."""


def sorted_order(station: IntArray, time_us: IntArray) -> IntArray:
    """The order that sorts rows by (station, time); rows that are equal keep theirs."""
    return np.lexsort((time_us, station))


def starts_of_stations(station: IntArray, time_us: IntArray) -> NDArray[np.bool_]:
    """Where each station's rows begin, bool[n].

    Raises:
        ValueError: the rows are not sorted by (station, time).
    """
    begins = np.ones(len(station), dtype=np.bool_)
    same = station[1:] == station[:-1]
    begins[1:] = ~same
    if (station[1:] < station[:-1]).any() or (same & (time_us[1:] < time_us[:-1])).any():
        raise ValueError("Rows must be sorted by (station, time); sorted_order() gives the order")
    return begins
