"""Level series for property tests, and how a worker cuts them: with the documented context and no more."""

import numpy as np
from hypothesis import strategies as st

from streamgauge.quality.check import Checked
from streamgauge.quality.series import CONTEXT_ROWS, CONTEXT_S

LEVELS = st.sampled_from([1.0, 1.0, 1.0, 1.003, 1.006, 1.2, 1.8, 9.0, 150.0, np.nan, np.inf, -1e308])
STEPS_S = st.sampled_from([0, 60, 60, 300, 300, 300, 900, 3600, 3601, 90_000])


@st.composite
def one_station(draw, min_size=1, max_size=130):
    """Times and levels; long still and restless stretches are as likely as single oddities."""
    time_us, level_m = [], []
    now = draw(st.integers(0, 10**15))
    while len(level_m) < max_size and (len(level_m) < min_size or draw(st.integers(0, 9))):
        step = draw(STEPS_S)
        rows = draw(st.sampled_from([1, 1, 3, 14, 30]))
        pattern = draw(st.lists(LEVELS, min_size=1, max_size=3))
        for row in range(rows):
            now += step * 1_000_000
            time_us.append(now)
            level_m.append(pattern[row % len(pattern)])
    return np.array(time_us, dtype=np.int64), np.array(level_m, dtype=np.float64)


def same(left: Checked, right: Checked) -> None:
    for name in Checked.__slots__:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


def context_of(time_us, level_m, first: int) -> int:
    """The row at which the documented context of ``first`` begins."""
    earlier = np.flatnonzero(~np.isnan(level_m[:first]) & (time_us[:first] >= time_us[first] - CONTEXT_S * 1_000_000))
    return int(earlier[-CONTEXT_ROWS:][0]) if len(earlier) else first
