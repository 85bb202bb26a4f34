"""Every check in use, on any numbers: a flag and never an exception; the same however rows are cut, mixed or shuffled."""

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streamgauge.quality.by_check import flags_by_check
from streamgauge.quality.check import check_levels
from streamgauge.quality.companions import Companions
from streamgauge.quality.flags import Flag, worst
from streamgauge.quality.parameters import StationParameters, parameters_per_row
from streamgauge.quality.series import sorted_order
from tests.support.level_series import context_of, one_station, same

ANY_NUMBER = st.one_of(
    st.floats(),
    st.sampled_from([np.nan, np.inf, -np.inf, 1.797e308, -1.797e308, 5e-324, 1.0, 1.0, 1.001, 100.0, 101.3, 103.0]),
)
EVERYTHING = {
    "attenuated_s": 1800.0,
    "attenuated_range_m": 0.004,
    "climatology": {"DJF": [0.5, 1.5], "7": [0.0, 1.1]},
    "gross_max_m": 8.0,
    "flat_restless_share": 0.4,
    "neighbour_m": 0.1,
    "pressure_disagree_m": 0.05,
    "barometer_range_kpa": 0.02,
}


def everything(rows: int) -> StationParameters:
    return parameters_per_row(np.zeros(rows, dtype=np.int64), {0: EVERYTHING})


def beside(rows: int, seed: int) -> Companions:
    """Companions that are smooth here, odd there and missing elsewhere."""
    chance = np.random.default_rng(seed)
    columns = [100.0 + 0.05 * np.cumsum(chance.normal(0, 1, rows)) for _ in range(2)] + [chance.random(rows) * 0.2]
    for column in columns:
        odd = chance.random(rows)
        column[odd < 0.1] = np.nan
        column[odd > 0.97] = chance.choice([np.inf, -1e308, 0.0])
    return Companions(pressure_kpa=columns[0], barometer_kpa=columns[1], neighbour_range_m=columns[2])


@settings(max_examples=120, deadline=None)
@given(
    level_m=arrays.arrays(np.float64, st.integers(0, 80), elements=ANY_NUMBER),
    others=st.tuples(*(arrays.arrays(np.float64, 80, elements=ANY_NUMBER) for _ in range(3))),
    steps=arrays.arrays(np.int64, 80, elements=st.sampled_from([0, 1, 60_000_000, 300_000_000, 10**13, 10**15])),
    start=st.sampled_from([0, -(10**15), 10**15, 2**62 - 10**17]),
)
def test_any_numbers_at_any_times_get_a_flag_each(level_m, others, steps, start) -> None:
    rows = len(level_m)
    time_us = start + np.cumsum(steps[:rows])
    companions = Companions(**dict(zip(Companions.__slots__, (other[:rows] for other in others), strict=True)))
    zero = np.zeros(rows, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = check_levels(zero, time_us, level_m, everything(rows), companions)
    assert set(checked.flags.tolist()) <= {Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING}
    np.testing.assert_array_equal(checked.flags == Flag.MISSING, np.isnan(level_m))
    assert (checked.flags[np.isinf(level_m)] == Flag.FAIL).all()
    flagged = np.isin(checked.flags, [Flag.SUSPECT, Flag.FAIL])
    np.testing.assert_array_equal(checked.reason_check > 0, flagged)


@settings(max_examples=80, deadline=None)
@given(series=one_station(), seed=st.integers(0, 1_000), cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_slice_with_its_context_has_the_flags_of_the_whole_with_every_check_in_use(series, seed, cuts) -> None:
    time_us, level_m = series
    rows = len(level_m)
    companions = beside(rows, seed)
    first, last = sorted(int(cut * (rows - 1)) for cut in cuts)
    begin = context_of(time_us, level_m, first)
    there = np.flatnonzero(~np.isnan(level_m[last + 1 :]))
    end = last + 2 + int(there[0]) if len(there) else rows
    part_rows = np.arange(begin, end)

    whole = check_levels(np.zeros(rows, dtype=np.int64), time_us, level_m, everything(rows), companions)
    part = check_levels(
        np.zeros(len(part_rows), dtype=np.int64),
        time_us[begin:end],
        level_m[begin:end],
        everything(len(part_rows)),
        companions.take(part_rows),
    )
    same(part.take(np.arange(first - begin, last - begin + 1)), whole.take(np.arange(first, last + 1)))


@settings(max_examples=60, deadline=None)
@given(stations=st.lists(one_station(max_size=60), min_size=1, max_size=4), random=st.randoms(use_true_random=False))
def test_a_shuffled_batch_has_the_same_flags(stations, random) -> None:
    station = np.repeat(np.arange(len(stations)), [len(times) for times, _ in stations])
    time_us, level_m = (np.concatenate([each[part] for each in stations]) for part in (0, 1))
    _, first = np.unique(np.stack([station, time_us]), axis=1, return_index=True)  # Each instant once, as stored.
    station, time_us, level_m = station[np.sort(first)], time_us[np.sort(first)], level_m[np.sort(first)]
    limits = dict.fromkeys(range(0, len(stations), 2), EVERYTHING)
    in_order = check_levels(station, time_us, level_m, parameters_per_row(station, limits))

    shuffled = np.array(random.sample(range(len(station)), len(station)), dtype=np.int64)
    order = sorted_order(station[shuffled], time_us[shuffled])
    rows = shuffled[order]
    again = check_levels(station[rows], time_us[rows], level_m[rows], parameters_per_row(station[rows], limits))
    np.testing.assert_array_equal(rows, np.arange(len(rows)))
    same(again, in_order)


@settings(max_examples=80, deadline=None)
@given(series=one_station(), seed=st.integers(0, 1_000), with_everything=st.booleans())
def test_the_flag_is_the_worst_of_the_checks_that_were_made(series, seed, with_everything) -> None:
    time_us, level_m = series
    zero = np.zeros(len(level_m), dtype=np.int64)
    parameters = everything(len(level_m)) if with_everything else StationParameters()
    companions = beside(len(level_m), seed) if with_everything else None
    rolled = worst(*flags_by_check(zero, time_us, level_m, parameters, companions).values())
    np.testing.assert_array_equal(rolled, check_levels(zero, time_us, level_m, parameters, companions).flags)


@settings(max_examples=40, deadline=None)
@given(level=ANY_NUMBER, rows=st.integers(1, 120), step_s=st.sampled_from([0, 60, 900, 3_600, 8_000_000]))
def test_constant_series_and_single_values_are_never_suspect_by_default(level, rows, step_s) -> None:
    time_us = np.arange(rows, dtype=np.int64) * step_s * 1_000_000
    flags = check_levels(np.zeros(rows, dtype=np.int64), time_us, np.full(rows, level)).flags
    assert len(set(flags.tolist())) == 1
    assert flags[0] != Flag.SUSPECT
