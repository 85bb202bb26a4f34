"""The flat-line check: still, by time, although this station otherwise moves.

Real water stands still. The gauge of Plumtree Run, which shows 0.01 ft, spends 60 % of two years in stretches of more than
three hours without a change and 18 % in stretches of more than a day; the longest is ten days. A plain "unchanged for N
hours" would flag that stream all the time, or a stuck sensor only days later. What tells them apart is the reading's own
restlessness: a probe whose last digit changes on most readings, and then does not change for an hour, is stuck. So a still
stretch is suspect when it lasts ``flat_line_s`` and, in what is left of the context before it, at least
``flat_restless_share`` of the steps moved. Figures: docs/quality.md.

As the context is bounded, the flag marks the beginning of a stuck stretch, for as long as ``RESTLESS_STEPS`` steps from
before it are in the context; ``flat_moving_share``, set for a station, makes it last.

How restless a station must be is a parameter, ``flat_restless_share``: what is safe for any station (0.7) misses most of what
is stuck on a coarse display, and how low it may be for *this* station can be learnt from its history (``learn.py``).
"""

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.parameters import FloatArray, StationParameters
from streamgauge.quality.series import CONTEXT_ROWS, IntArray
from streamgauge.units import MICROSECONDS_PER_SECOND

STILL_STEPS = 12
"""So many steps without movement make a still stretch; fewer happen to noisy sensors by chance …"""

FEWEST_STILL_STEPS = 6
STILL_CHANCE = 1e-6
"""… unless the steps before moved so often that chance gives as many still ones less than once in a million: a sensor that
reports every 15 minutes is otherwise known to be stuck after three hours only."""

STILL_STEPS_ENOUGH = 24
"""So many are enough, however short their time: more would leave too little of the context to compare with."""

RESTLESS_STEPS = 12
"""At least so many steps before the stretch are needed to know how the station usually moves."""


def still_stretches(
    time_us: IntArray, change_m: FloatArray, apart: NDArray[np.bool_], limits: StationParameters
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which rows end a suspicious still stretch, and for how many seconds each row's level has stood still.

    Args:
        time_us: microseconds since 1970, int64[n], sorted within stations.
        change_m: step from the row before; NaN where there is none or either level is out of range, float64[n].
        apart: the row before is of another station or too long ago, bool[n].
        limits: ``flat_line_s``, ``flat_tolerance_m``, ``flat_moving_share`` and ``flat_restless_share`` are used.
    """
    row = np.arange(len(time_us))
    step_m = np.abs(change_m)
    moved = ~(step_m <= limits.flat_tolerance_m)  # An unknown step ends a still stretch.
    segment = np.maximum.accumulate(np.where(apart, row, 0))
    oldest = np.maximum(segment, row - CONTEXT_ROWS)
    since = np.maximum(np.maximum.accumulate(np.where(moved | apart, row, 0)), oldest)

    still_s = (time_us - time_us[since]) / MICROSECONDS_PER_SECOND
    still_steps = row - since
    lasts = (still_steps >= FEWEST_STILL_STEPS) & (
        (still_s >= limits.flat_line_s) | (still_steps >= STILL_STEPS_ENOUGH)
    )
    if not lasts.any():
        return lasts, still_s

    moves = np.cumsum(step_m > limits.flat_tolerance_m)
    steps_before = since - oldest
    moves_before: IntArray = moves[since] - moves[oldest]
    share_seen = np.where(steps_before >= RESTLESS_STEPS, moves_before / np.maximum(steps_before, 1), 0.0)
    share = np.where(np.isnan(limits.flat_moving_share), share_seen, limits.flat_moving_share)
    # The share that is known of a few steps only is not yet believed to be as high as it looks.
    chance = (1.0 - moves_before / (steps_before + 2.0)) ** still_steps
    no_chance = (still_steps >= STILL_STEPS) | ((steps_before >= RESTLESS_STEPS) & (chance <= STILL_CHANCE))
    no_chance |= ~np.isnan(limits.flat_moving_share)
    return lasts & no_chance & (share >= limits.flat_restless_share), still_s
