"""Every flag and reason of the level checks, on series small enough to read."""

import warnings

import numpy as np
import pytest

from streamgauge.quality.check import Checked, check_levels, check_ranges
from streamgauge.quality.flags import Flag, worst
from streamgauge.quality.parameters import DEFAULTS, StationParameters, parameters_per_row
from streamgauge.quality.reasons import CHECKS, describe
from streamgauge.quality.series import sorted_order

MINUTE_US = 60_000_000


@pytest.fixture(autouse=True)
def _no_numeric_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def check(levels, step_min=5.0, parameters=DEFAULTS, times=None) -> Checked:
    level_m = np.array(levels, dtype=np.float64)
    minutes = np.arange(len(level_m)) * step_min if times is None else np.array(times)
    time_us = (minutes * MINUTE_US).astype(np.int64)
    return check_levels(np.ones(len(level_m), dtype=np.int64), time_us, level_m, parameters)


def reason(checked: Checked, row: int):
    return describe(int(checked.reason_check[row]), float(checked.measured[row]), float(checked.limit[row]))


def restless(rows: int, mean_m: float = 1.0) -> list[float]:
    """Readings of a probe whose last digit changes each time."""
    return [mean_m + 0.001 * (row % 3) for row in range(rows)]


def test_ordinary_water_is_good_and_has_no_reason():
    checked = check([1.0, 1.01, 1.02, 1.02])
    assert checked.flags.tolist() == [Flag.GOOD] * 4
    assert reason(checked, 0) is None
    assert checked.usable.all()
    assert checked.usable_as_newest.all()


@pytest.mark.parametrize("level", [-10.1, 100.1, 1e308, -1e308, np.inf, -np.inf, np.finfo(float).max])
def test_outside_what_a_sensor_can_say_fails(level):
    checked = check([1.0, level, 1.0])
    assert checked.flags.tolist() == [Flag.GOOD, Flag.FAIL, Flag.GOOD]
    assert not checked.usable[1]
    assert not checked.usable_as_newest[1]
    found = reason(checked, 1)
    if np.isinf(level):
        assert found == {"check": "syntax"}
    else:
        limit = 100.0 if level > 0 else -10.0
        assert found == {"check": "gross_range", "measured_m": pytest.approx(level), "limit_m": limit}


def test_outside_what_a_site_can_have_is_suspect_and_still_history():
    checked = check([0.5, 2.1, 2.1, -0.2], step_min=30, parameters=StationParameters(gross_min_m=0.0, gross_max_m=2.0))
    assert checked.flags.tolist() == [Flag.GOOD, Flag.SUSPECT, Flag.SUSPECT, Flag.SUSPECT]
    assert reason(checked, 1) == {"check": "site_range", "measured_m": 2.1, "limit_m": 2.0}
    assert reason(checked, 3) == {"check": "site_range", "measured_m": -0.2, "limit_m": 0.0}
    assert checked.usable.all()


def test_no_level_is_missing_and_passed_over():
    checked = check([1.0, np.nan, 1.6, np.nan, 1.0])
    assert checked.flags.tolist() == [Flag.GOOD, Flag.MISSING, Flag.FAIL, Flag.MISSING, Flag.GOOD]
    assert not checked.usable[1]


@pytest.mark.parametrize(
    ("height", "flag"), [(0.1, Flag.GOOD), (0.2, Flag.SUSPECT), (-0.2, Flag.SUSPECT), (0.6, Flag.FAIL)]
)
def test_a_spike_is_judged_by_how_far_it_stands_out(height, flag):
    checked = check([1.0, 1.0, 1.0 + height, 1.0, 1.0])
    assert checked.flags.tolist() == [Flag.GOOD, Flag.GOOD, flag, Flag.GOOD, Flag.GOOD]
    if flag != Flag.GOOD:
        limit = DEFAULTS.spike_fail_m if flag == Flag.FAIL else DEFAULTS.spike_suspect_m
        assert reason(checked, 2) == {"check": "spike", "measured_m": pytest.approx(height), "limit_m": limit}


def test_a_spike_does_not_spoil_its_good_neighbours():
    """Though the way back from it is faster than water falls."""
    assert check([1.0, 1.0, 6.0, 1.0, 1.0]).flags.tolist() == [1, 1, 4, 1, 1]


def test_the_newest_reading_is_no_spike_before_its_successor_is_there():
    newest = check([1.0, 1.0, 1.3])
    assert newest.flags[2] == Flag.GOOD
    assert check([1.0, 1.0, 1.3, 1.0]).flags[2] == Flag.SUSPECT
    assert check([1.0, 1.0, 1.3, 1.3]).flags[2] == Flag.GOOD


def test_a_step_that_stays_is_no_spike():
    assert check([1.0, 1.0, 1.4, 1.4, 1.4]).flags.tolist() == [Flag.GOOD] * 5


def test_faster_than_water_moves_is_suspect_once():
    checked = check([1.0, 1.0, 1.6, 1.6, 1.6])
    assert checked.flags.tolist() == [1, 1, 3, 1, 1]
    assert reason(checked, 2) == {
        "check": "rate_of_change",
        "measured_m_per_h": pytest.approx(7.2),
        "limit_m_per_h": 6.0,
    }
    assert not checked.usable_as_newest[2]
    assert checked.usable[2]


def test_readings_more_than_an_hour_apart_are_not_compared():
    assert (check([1.0, 9.0, 1.0], step_min=61).flags == Flag.GOOD).all()


def test_two_readings_of_one_instant_have_no_rate():
    checked = check([1.0, 1.4, 1.4], times=[0, 0, 5])
    assert checked.flags.tolist() == [Flag.GOOD] * 3


def test_a_restless_probe_that_stands_still_for_an_hour_is_flat_lined():
    checked = check(restless(20) + [1.005] * 14)
    still = checked.flags[20:]
    assert still.tolist() == [Flag.GOOD] * 12 + [Flag.SUSPECT] * 2
    assert reason(checked, 32) == {"check": "flat_line", "measured_s": 3600.0, "limit_s": 3600.0}


def test_water_that_usually_stands_still_is_not_flat_lined():
    levels = np.repeat([1.0, 1.003, 1.0, 1.003], 30)
    assert (check(levels).flags == Flag.GOOD).all()
    assert (check([1.0] * 500).flags == Flag.GOOD).all()


def test_a_station_known_to_move_is_flat_lined_for_as_long_as_it_stands_still():
    checked = check([1.0] * 500, parameters=StationParameters(flat_moving_share=1.0))
    assert checked.flags.tolist() == [Flag.GOOD] * 12 + [Flag.SUSPECT] * 488


def test_a_station_known_to_stand_still_is_never_flat_lined():
    checked = check(restless(20) + [1.005] * 30, parameters=StationParameters(flat_moving_share=0.0))
    assert (checked.flags == Flag.GOOD).all()


def test_a_flat_line_of_readings_each_minute_is_found_by_their_number():
    """The context holds no hour of them."""
    checked = check(restless(30) + [1.005] * 30, step_min=1)
    assert checked.flags[30:].tolist() == [Flag.GOOD] * 24 + [Flag.SUSPECT] * 6
    assert reason(checked, 54) == {"check": "flat_line", "measured_s": 1440.0, "limit_s": 1440.0}


def test_movement_within_the_tolerance_is_still():
    wobble = [1.005 + 0.004 * (row % 2) for row in range(16)]
    levels = [1.0 + 0.02 * (row % 3) for row in range(20)] + wobble
    assert (check(levels).flags == Flag.GOOD).all()
    assert check(levels, parameters=StationParameters(flat_tolerance_m=0.005)).flags[-1] == Flag.SUSPECT


def test_a_gap_ends_a_still_stretch():
    times = [*range(0, 100, 5), *range(200, 255, 5)]
    assert (check(restless(20) + [1.005] * 11, times=times).flags == Flag.GOOD).all()


def test_fail_outweighs_suspect_as_flag_and_as_reason():
    checked = check([1.0, 3.0, 1.0], parameters=StationParameters(gross_max_m=2.0))
    assert checked.flags[1] == Flag.FAIL
    assert CHECKS[checked.reason_check[1]] == "spike"


def test_each_station_has_its_own_limits():
    station = np.repeat([3, 7, 9], 4).astype(np.int64)
    time_us = np.tile(np.arange(4) * 5 * MINUTE_US, 3).astype(np.int64)
    level_m = np.tile([1.0, 1.0, 1.3, 1.0], 3)
    parameters = parameters_per_row(station, {3: {"spike_suspect_m": 0.5}, 9: {"spike_fail_m": 0.2}, 11: {"no": 1.0}})
    checked = check_levels(station, time_us, level_m, parameters)
    assert checked.flags.reshape(3, 4)[:, 2].tolist() == [Flag.GOOD, Flag.SUSPECT, Flag.FAIL]


def test_limits_follow_their_rows_past_missing_levels():
    station = np.repeat([1, 2], 5).astype(np.int64)
    time_us = np.tile(np.arange(5) * 5 * MINUTE_US, 2).astype(np.int64)
    level_m = np.tile([1.0, np.nan, 1.0, 1.3, 1.0], 2)
    checked = check_levels(station, time_us, level_m, parameters_per_row(station, {2: {"spike_suspect_m": 0.5}}))
    assert checked.flags.reshape(2, 5)[:, 3].tolist() == [Flag.SUSPECT, Flag.GOOD]


def test_a_station_with_nothing_set_has_the_defaults():
    assert parameters_per_row(np.array([1, 1, 2]), {1: {}}) is DEFAULTS


def test_unknown_parameters_are_named():
    with pytest.raises(ValueError, match="spike_m"):
        parameters_per_row(np.array([1]), {1: {"spike_m": 1.0}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flat_tolerance_m", 0.0),
        ("flat_line_s", 13 * 3600.0),
        ("spike_fail_m", np.nan),
        ("sensor_max_m", np.inf),
        ("gross_max_m", 1e308),
        ("flat_moving_share", 1.5),
    ],
)
def test_parameters_that_the_checks_cannot_work_with_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        StationParameters(**{name: value})


def test_unsorted_rows_are_refused():
    one = np.ones(2, dtype=np.int64)
    with pytest.raises(ValueError, match="sorted"):
        check_levels(one, np.array([5, 3]), np.ones(2))
    with pytest.raises(ValueError, match="sorted"):
        check_levels(np.array([2, 1]), np.array([3, 5]), np.ones(2))
    order = sorted_order(np.array([2, 1, 2]), np.array([5, 9, 3]))
    assert order.tolist() == [1, 2, 0]


@pytest.mark.parametrize("levels", [[], [1.0], [np.nan], [np.nan] * 3, [np.inf], [1e308] * 3, [5e-324, -5e-324]])
def test_series_at_the_edges_have_a_flag_per_row_and_no_warning(levels):
    checked = check(levels)
    assert len(checked.flags) == len(levels)
    assert set(checked.flags.tolist()) <= {Flag.GOOD, Flag.FAIL, Flag.MISSING}


def test_other_quantities_are_judged_by_their_sensors_range():
    flags = check_ranges("temperature_c", np.array([8.7, np.nan, 86.0, -41.0, np.inf]))
    assert flags.tolist() == [Flag.GOOD, Flag.MISSING, Flag.FAIL, Flag.FAIL, Flag.FAIL]
    for quantity, ordinary in {"pressure_kpa": 101.3, "flow_m3_s": -2.0, "rainfall_mm": 0.0}.items():
        assert check_ranges(quantity, np.array([ordinary, 1e9])).tolist() == [Flag.GOOD, Flag.FAIL]
    with pytest.raises(KeyError):
        check_ranges("level_m", np.ones(1))


def test_the_worst_flag_wins_and_a_test_that_ran_outweighs_one_that_did_not():
    def flags(*values):
        return np.array(values, dtype=np.uint8)

    rolled = worst(flags(1, 2, 9, 3, 9), flags(2, 2, 2, 1, 9), flags(3, 9, 1, 4, 9))
    assert rolled.tolist() == [Flag.SUSPECT, Flag.NOT_EVALUATED, Flag.GOOD, Flag.FAIL, Flag.MISSING]
    with pytest.raises(ValueError, match="at least one"):
        worst()
