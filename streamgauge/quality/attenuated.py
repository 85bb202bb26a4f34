"""The attenuated signal: the level still moves, and less than this station's does even in its stillest hours.

Source: QARTOD water level v2.1, test 8 (attenuated signal), with the range as measure. A silted stilling well or a fouled probe
looks like this. Water that stands still looks like it as well: there is no default that fits every stream, so that a
station's limit is set, or learnt from its own history (``learn.py``).
"""

import numpy as np

from streamgauge.quality.parameters import FloatArray, StationParameters
from streamgauge.quality.series import IntArray
from streamgauge.quality.window import BoolArray, Window, range_of

ATTENUATED_ROWS = 12
"""With fewer readings in the window there is no telling."""

COVERED_SHARE = 0.8
"""So much of the window must lie between its first and last reading."""


def ranges_within(time_us: IntArray, level: FloatArray, apart: BoolArray, limits: StationParameters) -> FloatArray:
    """The level's range within ``attenuated_s`` up to each row, metres; NaN where it is not checked or not known.

    Args:
        time_us: microseconds since 1970, int64[n], sorted within stations.
        level: metres, NaN where it is out of range, float64[n].
        apart: the row before is of another station or too long ago, bool[n].
        limits: ``attenuated_s`` and ``attenuated_range_m`` are used.
    """
    found = np.full(len(level), np.nan)
    rows = np.flatnonzero(np.broadcast_to(~np.isnan(limits.attenuated_range_m), level.shape))
    if not len(rows):
        return found
    window = Window.before(rows, time_us, apart)
    span_s = np.broadcast_to(np.asarray(limits.attenuated_s), level.shape)[rows]
    values = level[window.row]
    chosen = window.within & (window.age_s <= span_s) & ~np.isnan(values)
    covered_s = np.where(chosen, window.age_s, 0.0).max(axis=0)
    known = (np.count_nonzero(chosen, axis=0) >= ATTENUATED_ROWS) & (covered_s >= COVERED_SHARE * span_s)
    known &= chosen[0]
    found[rows[known]] = range_of(values[:, known], chosen[:, known])
    return found
