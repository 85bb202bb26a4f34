"""A row's flag depends on its documented context only: however the series is cut or mixed, the flags are the same."""

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.quality.check import check_levels
from streamgauge.quality.parameters import StationParameters
from streamgauge.quality.series import sorted_order
from tests.support.level_series import LEVELS, context_of, one_station, same

PARAMETERS = st.sampled_from(
    [
        StationParameters(),
        StationParameters(flat_moving_share=1.0, flat_line_s=900.0),
        StationParameters(gross_min_m=1.001, gross_max_m=1.5, flat_tolerance_m=0.004),
    ]
)


@settings(max_examples=150, deadline=None)
@given(series=one_station(), parameters=PARAMETERS, cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_slice_with_its_context_has_the_flags_of_the_whole(series, parameters, cuts):
    time_us, level_m = series
    first, last = sorted(int(cut * (len(time_us) - 1)) for cut in cuts)
    begin = context_of(time_us, level_m, first)
    there = np.flatnonzero(~np.isnan(level_m[last + 1 :]))
    end = last + 2 + int(there[0]) if len(there) else len(time_us)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = check_levels(np.zeros(len(time_us), dtype=np.int64), time_us, level_m, parameters)
        part = check_levels(np.zeros(end - begin, dtype=np.int64), time_us[begin:end], level_m[begin:end], parameters)
    same(part.take(np.arange(first - begin, last - begin + 1)), whole.take(np.arange(first, last + 1)))


@settings(max_examples=60, deadline=None)
@given(stations=st.lists(one_station(max_size=60), min_size=1, max_size=4), random=st.randoms(use_true_random=False))
def test_mixing_and_shuffling_stations_changes_no_flag(stations, random):
    numbers = np.concatenate([np.full(len(times), place) for place, (times, _) in enumerate(stations)]).astype(np.int64)
    time_us = np.concatenate([times for times, _ in stations])
    level_m = np.concatenate([levels for _, levels in stations])
    # Rows of one instant have no order of their own: keep theirs by a stable sort of shuffled stations.
    renamed = np.array(random.sample(range(100), len(stations)))[numbers]
    order = sorted_order(renamed, time_us)
    mixed = check_levels(renamed[order], time_us[order], level_m[order])
    for place, (times, levels) in enumerate(stations):
        alone = check_levels(np.zeros(len(times), dtype=np.int64), times, levels)
        same(mixed.take(np.flatnonzero(numbers[order] == place)), alone)


@settings(max_examples=100, deadline=None)
@given(series=one_station(min_size=2), later=LEVELS)
def test_what_comes_later_changes_only_whether_a_reading_is_a_spike(series, later):
    time_us, level_m = series
    changed = level_m.copy()
    changed[-1] = later
    zero = np.zeros(len(time_us), dtype=np.int64)
    before, after = check_levels(zero, time_us, level_m), check_levels(zero, time_us, changed)
    present = np.flatnonzero(~np.isnan(level_m[:-1]))
    untouched = np.setdiff1d(np.arange(len(time_us) - 1), present[-1:])
    same(before.take(untouched), after.take(untouched))
    np.testing.assert_array_equal(before.usable_as_newest[:-1], after.usable_as_newest[:-1])


def test_flat_lines_at_the_edge_of_the_context_are_found_alike_row_by_row():
    """A probe that moves on about seven of ten readings and is stuck now and then: each verdict is close to its limit."""
    random = np.random.default_rng(20_260_711)
    moves = random.random(1500) < 0.75
    for begin in range(40, 1500, 70):
        moves[begin : begin + int(random.integers(10, 40))] = False
    level_m = 1.0 + 0.001 * (np.cumsum(moves) % 2)
    time_us = np.cumsum(random.choice([60, 300, 300, 900], size=1500)) * 1_000_000
    whole = check_levels(np.zeros(1500, dtype=np.int64), time_us, level_m)
    assert 50 < np.count_nonzero(whole.reason_check) < 400
    for row in range(1500):
        begin = context_of(time_us, level_m, row)
        rows = slice(begin, row + 2)
        alone = check_levels(np.zeros(len(time_us[rows]), dtype=np.int64), time_us[rows], level_m[rows])
        same(alone.take(np.array([row - begin])), whole.take(np.array([row])))
