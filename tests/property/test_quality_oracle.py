"""``ioos_qc``, the reference programs' Python form, on the same series: the same flags, save differences that stand here.

Each difference is a test of its own, named for it; the reasons stand in docs/quality.md. Not in ``ioos_qc`` 2.3: gap, syntax,
multi-variate and neighbour tests.
"""

import warnings
from functools import cache

import numpy as np
import pytest

from streamgauge.quality.by_check import flags_by_check
from streamgauge.quality.flags import Flag, worst
from streamgauge.quality.parameters import StationParameters, parameters_per_row
from streamgauge.scoring.records import Record, read_record
from streamgauge.scoring.train import RECORD, UNSEEN

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ioos_qc import qartod

SUSPECT_OR_WORSE = (Flag.SUSPECT, Flag.FAIL)


class Series:
    """An hour or more of even readings, as both programs take them."""

    def __init__(self, level_m, step_s: int = 300) -> None:
        self.level_m = np.array(level_m, dtype=np.float64)
        self.time_us = 1_500_000_000_000_000 + np.arange(len(self.level_m)) * step_s * 1_000_000
        self.times = self.time_us.astype("datetime64[us]").astype("datetime64[ns]")

    def ours(self, check: str, **parameters) -> np.ndarray:
        zero = np.zeros(len(self.level_m), dtype=np.int64)
        return flags_by_check(zero, self.time_us, self.level_m, StationParameters(**parameters))[check]


def theirs(flags) -> np.ndarray:
    return np.ma.filled(flags, Flag.MISSING).astype(np.uint8)


def rolled(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return worst(left, right)


@cache
def record(path) -> Record:
    return read_record(path)


def water(path, first: int, rows: int) -> np.ndarray:
    return record(path).level_m[first : first + rows]


def troubled(seed: int) -> Series:
    """Recorded water with what goes wrong: single spikes, leaps that stay, stuck stretches, missing levels. All in range."""
    chance = np.random.default_rng(seed)
    path = (RECORD, UNSEEN)[seed % 2]
    level_m = water(path, int(chance.integers(0, 5_000)), 2_000) + chance.normal(0.0, 0.0015, 2_000).round(3)
    places = np.arange(50, 1_900, 60) + chance.integers(0, 30, 31)
    for number, place in enumerate(places.tolist()):
        if number % 4 == 0:
            level_m[place] += chance.choice([-1.0, 1.0]) * chance.choice([0.2, 0.7])
        elif number % 4 == 1:
            level_m[place:] += chance.choice([-0.3, 0.6])
        elif number % 4 == 2:
            level_m[place : place + 30] = level_m[place]
        else:
            level_m[place] = np.nan
    return Series(level_m)


@pytest.fixture(params=range(2))
def series(request) -> Series:
    return troubled(request.param)


def present(series: Series) -> Series:
    return Series(series.level_m[~np.isnan(series.level_m)])


def test_gross_range_and_site_range(series) -> None:
    level_m = np.concatenate([series.level_m, [-10.0, -10.001, 100.0, 100.001, 0.3, 0.299]])
    both = Series(level_m)
    found = rolled(both.ours("gross_range"), both.ours("site_range", gross_min_m=0.3, gross_max_m=1.5))
    wanted = theirs(qartod.gross_range_test(level_m, fail_span=(-10.0, 100.0), suspect_span=(0.3, 1.5)))
    np.testing.assert_array_equal(found, wanted)
    assert {Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING} == set(found.tolist())


def test_infinite_levels_fail_by_syntax_as_well() -> None:
    level_m = np.array([1.0, np.inf, -np.inf, np.nan])
    wanted = theirs(qartod.gross_range_test(level_m, (-10, 100)))
    for check in ("syntax", "gross_range"):
        np.testing.assert_array_equal(Series(level_m).ours(check), wanted)


@pytest.mark.parametrize("path", [RECORD, UNSEEN])
def test_climatology(path) -> None:
    thin = record(path).thinned(50)
    limits = {str(month): [0.2 + month * 0.02, 0.8 + month * 0.01] for month in range(1, 13)}
    settings = parameters_per_row(thin.station, {0: {"climatology": limits}})
    found = flags_by_check(thin.station, thin.time_us, thin.level_m, settings)["climatology"]
    config = [
        {"tspan": (int(month), int(month)), "period": "month", "vspan": tuple(span)} for month, span in limits.items()
    ]
    times = thin.time_us.astype("datetime64[us]").astype("datetime64[ns]")
    wanted = theirs(qartod.climatology_test(config, thin.level_m, times, np.full(len(times), np.nan)))
    np.testing.assert_array_equal(found, wanted)
    assert {Flag.GOOD, Flag.SUSPECT} <= set(found.tolist())


def test_spikes_by_the_differential_method(series) -> None:
    whole = present(series)
    wanted = theirs(qartod.spike_test(whole.level_m, 0.15, 0.50, method="differential"))
    found = whole.ours("spike")
    np.testing.assert_array_equal(found, wanted)
    assert {Flag.SUSPECT, Flag.FAIL} <= set(found.tolist())
    assert found[-1] == Flag.NOT_EVALUATED  # Until its successor is there.


def test_spikes_beside_a_missing_level_are_judged_by_the_readings_that_are_there(series) -> None:
    found = series.ours("spike")
    wanted = theirs(qartod.spike_test(series.level_m, 0.15, 0.50, method="differential"))
    differing = np.flatnonzero(found != wanted)
    beside = np.flatnonzero(np.isnan(series.level_m))
    assert set(differing.tolist()) <= set((beside - 1).tolist()) | set((beside + 1).tolist())
    assert (wanted[differing] == Flag.NOT_EVALUATED).all()


def test_its_average_method_also_fails_the_good_neighbours(series) -> None:
    whole = present(series)
    found = whole.ours("spike")
    average = theirs(qartod.spike_test(whole.level_m, 0.15, 0.50, method="average"))
    ours, others = (np.isin(flags, SUSPECT_OR_WORSE) for flags in (found, average))
    assert (others | ~ours).all()  # What is a spike here is one there.
    surplus = np.flatnonzero(others & ~ours)
    leaps = np.abs(np.diff(whole.level_m)) > 0.15
    assert len(surplus) > 0
    # And what is one there only stands beside a spike or a leap that stays.
    assert all(leaps[max(0, row - 1) : row + 1].any() for row in surplus.tolist())


def test_rate_of_change_where_nothing_spikes() -> None:
    level_m = np.concatenate([water(UNSEEN, 0, 2_000), water(UNSEEN, 0, 2_000) + 0.7, water(RECORD, 0, 500)])
    steps = Series(level_m)
    wanted = theirs(qartod.rate_of_change_test(level_m, steps.times, 6.0 / 3600.0))
    found = steps.ours("rate_of_change")
    assert found[0] == Flag.NOT_EVALUATED  # Theirs calls the first one good, though there is nothing before it.
    np.testing.assert_array_equal(found[1:], wanted[1:])
    assert np.count_nonzero(found == Flag.SUSPECT) == 2


def test_rate_of_change_after_a_spike_is_measured_from_before_it(series) -> None:
    whole = present(series)
    found, spikes = whole.ours("rate_of_change"), np.isin(whole.ours("spike"), SUSPECT_OR_WORSE)
    wanted = theirs(qartod.rate_of_change_test(whole.level_m, whole.times, 6.0 / 3600.0))
    differing = np.flatnonzero(found[1:] != wanted[1:]) + 1
    assert len(differing) > 0
    assert spikes[differing - 1].all()
    assert (wanted[differing] == Flag.SUSPECT).all()
    assert (found[differing] == Flag.GOOD).all()


@pytest.mark.parametrize("hours", [1, 2])
def test_flat_line_with_a_tolerance_on_a_station_said_to_move(series, hours) -> None:
    whole = present(series)
    found = whole.ours("flat_line", flat_moving_share=1.0, flat_line_s=hours * 3600.0)
    wanted = theirs(qartod.flat_line_test(whole.level_m, whole.times, hours * 3600, 10**7, tolerance=0.0009))
    assert {Flag.GOOD, Flag.SUSPECT} == set(found[1:].tolist())
    # In 1 mm steps a range below 0.9 mm and steps of at most 0.5 mm are the same: no movement.
    np.testing.assert_array_equal(found, wanted)


def test_its_flat_line_with_the_default_tolerance_never_flags() -> None:
    stuck = Series(np.full(500, 1.0))
    assert (theirs(qartod.flat_line_test(stuck.level_m, stuck.times, 3600, 7200)) == Flag.GOOD).all()
    assert (stuck.ours("flat_line", flat_moving_share=1.0)[12:] == Flag.SUSPECT).all()
    with pytest.raises(ValueError, match="flat_tolerance_m"):
        StationParameters(flat_tolerance_m=0.0)


def test_its_flat_line_calls_still_water_stuck() -> None:
    still = Series(water(RECORD, 60_000, 3_000))
    wanted = theirs(qartod.flat_line_test(still.level_m, still.times, 3600, 10**7, tolerance=0.0009))
    assert (wanted == Flag.SUSPECT).mean() > 0.3
    assert (still.ours("flat_line") != Flag.SUSPECT).mean() > 0.999


def test_attenuated_signal_by_range(series) -> None:
    whole = present(series)
    # Its windows are open at their older end, ours are closed: 7,100 s holds the same readings for both.
    wanted = theirs(
        qartod.attenuated_signal_test(
            whole.level_m, whole.times, 0.004, 0.0, test_period=7_100, min_obs=20, check_type="range"
        )
    )
    found = whole.ours("attenuated_signal", attenuated_s=7_100.0, attenuated_range_m=0.004)
    np.testing.assert_array_equal(found, wanted)
    assert {Flag.GOOD, Flag.SUSPECT, Flag.NOT_EVALUATED} == set(found.tolist())


def test_the_roll_up_of_several_tests() -> None:
    chance = np.random.default_rng(4)
    columns = [chance.choice([1, 2, 3, 4, 9], 2_000).astype(np.uint8) for _ in range(4)]
    np.testing.assert_array_equal(worst(*columns), theirs(qartod.qartod_compare(columns)))


def test_it_compares_readings_across_a_gap_of_days() -> None:
    level_m = np.array([*[1.0] * 20, 9.0, *[9.0] * 20])
    minutes = np.arange(41) * 5 + np.where(np.arange(41) >= 20, 3 * 1_440, 0)
    time_us = minutes * 60_000_000
    times = time_us.astype("datetime64[us]").astype("datetime64[ns]")
    parameters = StationParameters(flat_moving_share=1.0)
    found = flags_by_check(np.zeros(41, dtype=np.int64), time_us, level_m, parameters)
    # Where the level repeats on both sides, its flat line counts on by rows; ours begins anew after the gap.
    level_m[20:] = 1.0
    still = flags_by_check(np.zeros(41, dtype=np.int64), time_us, level_m, parameters)["flat_line"]
    wanted = theirs(qartod.flat_line_test(level_m, times, 3600, 10**7, tolerance=0.0009))
    assert (wanted[20:32] == Flag.SUSPECT).all()
    assert (still[20:32] != Flag.SUSPECT).all()
    assert (still[32:] == Flag.SUSPECT).all()
    assert found["rate_of_change"][20] == Flag.NOT_EVALUATED
    assert found["gap"][20] == Flag.MISSING
