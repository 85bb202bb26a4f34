"""The last readings of each row, as the control chart and the search for faults look at them.

Unlike ``features``, this looks at the row itself too: it serves to judge a level, not to expect one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.series import CONTEXT_ROWS, SECONDS_PER_HOUR, IntArray
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

RECENT_ROWS = 40
"""At most so many earlier usable readings are looked at."""

REACH_ROWS = CONTEXT_ROWS - 4
"""… among so many with a level: whether the oldest is usable rests on its own neighbours, which must be in the context too."""

REACH_S = 24 * SECONDS_PER_HOUR
"""None is older than this."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Each row's level, and below it the usable ones before, newest first.

    Attributes:
        level_m: metres, float64[RECENT_ROWS + 1, m]; NaN where there is none.
        age_s: how much older than the row each is, float64 likewise; NaN where there is none.
    """

    level_m: FloatArray
    age_s: FloatArray

    def take(self, columns: IntArray) -> "Recent":
        """Those of some rows only."""
        return Recent(self.level_m[:, columns], self.age_s[:, columns])


def look_back(station: IntArray, time_us: IntArray, level_m: FloatArray, checked: Checked, targets: IntArray) -> Recent:
    """The last readings of some rows.

    Args:
        station: the station of each row, int64[n], sorted by (station, time).
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n].
        checked: the verdict on these rows; what failed is left out, the row itself too if it failed.
        targets: the rows in question, int64[m].
    """
    history = np.flatnonzero(checked.usable)
    if len(history) == 0:
        nothing = np.full((RECENT_ROWS + 1, len(targets)), np.nan)
        return Recent(nothing, nothing)
    place = np.searchsorted(history, targets) - np.arange(1, RECENT_ROWS + 1)[:, np.newaxis]
    rows = history[np.maximum(place, 0)]
    number = np.cumsum(~np.isnan(level_m))
    age_us = time_us[targets] - time_us[rows]
    there = (
        (place >= 0)
        & (station[rows] == station[targets])
        & (age_us <= REACH_S * MICROSECONDS_PER_SECOND)
        & (age_us > 0)
    )
    there &= number[targets] - number[rows] <= REACH_ROWS

    level = np.empty((RECENT_ROWS + 1, len(targets)))
    age_s = np.zeros_like(level)
    level[0] = np.where(checked.usable[targets], level_m[targets], np.nan)
    level[1:] = np.where(there, level_m[rows], np.nan)
    age_s[1:] = np.where(there, age_us / MICROSECONDS_PER_SECOND, np.nan)
    return Recent(level, age_s)
