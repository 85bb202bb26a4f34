"""Fewer points for the same picture: per bin of time the lowest and the highest value, so that no peak is ever lost."""

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Values = NDArray[np.float64]
Rows = NDArray[np.int64]

LINE_BINS = 850
MARK_BINS = 280
"""Two points per line bin and one per bin of marks: at most 1,980 points a chart."""
GAP_STEPS = 3.0
GAP_AROUND = 8
GAP_AROUND_LEAST = 2
"""How many steps on either side of one say what is usual there, at most and at least."""
MICROSECONDS = 1_000_000


def choose_extremes(time_us: Times, value: Values, bins: int = LINE_BINS) -> Rows:
    """Indices of the rows to draw as a line, ascending: all finite ones if they are few, else each bin's lowest and highest.

    Args:
        time_us: ascending.
        value: NaN where nothing is to be drawn.
        bins: equal parts of the time that the values span.
    """
    rows = np.flatnonzero(np.isfinite(value))
    if len(rows) <= 2 * bins:
        return rows
    bin_of = _bins(time_us[rows], bins)
    by_value = np.lexsort((value[rows], bin_of))
    sorted_bins = bin_of[by_value]
    first = np.flatnonzero(np.r_[True, sorted_bins[1:] != sorted_bins[:-1]])
    last = np.r_[first[1:] - 1, len(sorted_bins) - 1]
    # The ends stay, so that the line begins and ends where the record does.
    chosen = np.concatenate((rows[by_value[first]], rows[by_value[last]], rows[[0, -1]]))
    return np.unique(chosen)


def choose_marks(time_us: Times, severity: Values, bins: int = MARK_BINS) -> Rows:
    """Indices of the rows to mark, ascending: all with a severity above 0 if they are few, else the most severe of each bin."""
    rows = np.flatnonzero(severity > 0)
    if len(rows) <= bins:
        return rows
    bin_of = _bins(time_us[rows], bins)
    by_severity = np.lexsort((severity[rows], bin_of))
    sorted_bins = bin_of[by_severity]
    last = np.flatnonzero(np.r_[sorted_bins[1:] != sorted_bins[:-1], True])
    return np.sort(rows[by_severity[last]])


def find_gaps(time_us: Times, value: Values, rows_drawn: Rows, bins: int = LINE_BINS) -> Rows:
    """Positions in ``rows_drawn`` after which the line must be broken.

    A gap is a step of more than three usual ones, and of more than one bin where not every value is drawn. What is usual is
    judged where the step is: a record may have hours of one reading every five minutes and minutes of one every two seconds.
    ``static/js/gaps.js`` judges live readings the same way.

    Args:
        time_us: ascending.
        value: NaN where nothing is to be drawn.
        rows_drawn: rows with a value, ascending.
        bins: as for ``choose_extremes``.
    """
    rows = np.flatnonzero(np.isfinite(value))
    if len(rows) < 3:
        return np.empty(0, dtype=np.int64)
    steps = np.diff(time_us[rows])
    # At most as many as there are bins can be longer than one: what follows is short, however long the record is.
    widest_us = int(steps.sum()) // bins if len(rows_drawn) < len(rows) else 0
    gaps = [step for step in np.flatnonzero(steps > widest_us) if steps[step] > GAP_STEPS * _usual_us(steps, int(step))]
    found: Rows = np.unique(np.searchsorted(rows_drawn, rows[gaps], side="right") - 1)
    return found


def _usual_us(steps: Times, step: int) -> float:
    """The usual step around one: the median of those before it or of those after it, whichever is longer.

    Thus a change of pace is no gap. A side with very few steps says nothing, unless there is no other.
    """
    sides = (steps[max(0, step - GAP_AROUND) : step], steps[step + 1 : step + 1 + GAP_AROUND])
    medians = [float(np.median(side)) for side in sides if len(side) >= GAP_AROUND_LEAST]
    return max(medians) if medians else float(np.median(steps))


def _bins(time_us: Times, bins: int) -> Rows:
    span = max(1, int(time_us[-1] - time_us[0]))
    numbers: Rows = np.minimum(bins - 1, (time_us - time_us[0]) * bins // span)
    return numbers
