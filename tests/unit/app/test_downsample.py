"""Fewer points, the same peaks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.stations.downsample import choose_extremes, choose_marks, find_gaps

MINUTE_US = 60_000_000


def test_few_points_are_all_kept() -> None:
    times = np.arange(100) * MINUTE_US
    value = np.where(np.arange(100) % 7 == 0, np.nan, 1.0)
    assert choose_extremes(times, value).tolist() == np.flatnonzero(np.isfinite(value)).tolist()


@given(
    values=st.lists(st.floats(-5, 50) | st.just(float("nan")), min_size=1, max_size=400),
    bins=st.integers(1, 40),
    jitter=st.integers(0, 50),
)
def test_no_peak_of_any_bin_is_lost(values: list[float], bins: int, jitter: int) -> None:
    value = np.array(values)
    times = np.cumsum(1 + (np.arange(len(values)) * 7919 + jitter) % 50).astype(np.int64) * MINUTE_US
    rows = choose_extremes(times, value, bins)
    finite = np.flatnonzero(np.isfinite(value))
    assert len(rows) <= max(2 * bins + 2, 0)
    assert np.all(np.diff(rows) > 0)
    assert np.isfinite(value[rows]).all()
    if not len(finite):
        return
    assert {finite[0], finite[-1]} <= set(rows.tolist())
    assert value[rows].min() == value[finite].min()
    assert value[rows].max() == value[finite].max()
    span = max(1, int(times[finite[-1]] - times[finite[0]]))
    bin_of = np.minimum(bins - 1, (times - times[finite[0]]) * bins // span)
    for number in np.unique(bin_of[finite]):
        here, chosen = finite[bin_of[finite] == number], rows[bin_of[rows] == number]
        assert value[chosen].max() == value[here].max()
        assert value[chosen].min() == value[here].min()


def test_the_most_severe_mark_of_each_bin_stays() -> None:
    times = np.arange(10_000) * MINUTE_US
    severity = np.zeros(10_000)
    severity[::3] = 0.95
    severity[5_001] = 4.0
    rows = choose_marks(times, severity, bins=100)
    assert len(rows) <= 100
    assert 5_001 in rows


def test_gaps_are_steps_of_more_than_three_usual_ones() -> None:
    times = np.array([0, 5, 10, 15, 31, 36, 41, 55, 60]) * MINUTE_US
    assert find_gaps(times, np.ones(9), np.arange(9)).tolist() == [3]


def test_a_change_of_pace_is_no_gap() -> None:
    """A demo's hours at five minutes, then ten minutes and more at two seconds."""
    history = np.arange(288) * 5 * MINUTE_US
    for live in (1, 2, 3, 20, 300, 1_000, 5_000):
        times = np.r_[history, history[-1] + 1_000_000 + np.arange(live) * 2_000_000]
        value = np.ones(len(times))
        assert find_gaps(times, value, choose_extremes(times, value)).tolist() == []
        back = (times[-1] - times)[::-1]
        assert find_gaps(back, value, choose_extremes(back, value)).tolist() == []


def test_a_gap_at_either_pace_is_one() -> None:
    slow, fast = np.arange(288) * 5 * MINUTE_US, np.arange(400) * 2_000_000
    slow, fast = slow + (slow > slow[100]) * 30 * MINUTE_US, fast + (fast > fast[200]) * MINUTE_US
    times = np.r_[slow, slow[-1] + 1_000_000 + fast]
    assert find_gaps(times, np.ones(len(times)), np.arange(len(times))).tolist() == [100, 288 + 200]


def test_failed_readings_in_a_row_are_a_gap_and_a_single_one_is_not() -> None:
    times, value = np.arange(40) * MINUTE_US, np.ones(40)
    value[10], value[20:24] = np.nan, np.nan
    rows = choose_extremes(times, value)
    assert rows[find_gaps(times, value, rows)].tolist() == [19]


def test_where_not_all_is_drawn_gaps_of_less_than_a_bin_are_not_drawn_either() -> None:
    times = np.arange(20_000) * MINUTE_US
    times = times + np.arange(20_000) // 50 * 9 * MINUTE_US + (np.arange(20_000) >= 10_000) * 600 * MINUTE_US
    value = np.sin(np.arange(20_000) / 50)
    rows = choose_extremes(times, value)
    gaps = find_gaps(times, value, rows)
    assert len(gaps) == 1
    assert times[rows[gaps[0] + 1]] - times[rows[gaps[0]]] > 600 * MINUTE_US


def test_ten_years_take_a_moment_and_few_points() -> None:
    count = 350_000
    times = np.arange(count) * 15 * MINUTE_US
    value = np.sin(np.arange(count) / 500)
    value[200_001] = 9.0
    rows = choose_extremes(times, value)
    assert len(rows) <= 1_702
    assert 200_001 in rows
