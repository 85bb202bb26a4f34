"""Climatology, attenuated signal, and the checks against what else was measured: which are found, and what is let alone."""

import warnings

import numpy as np
import pytest

from streamgauge.quality.by_check import flags_by_check
from streamgauge.quality.check import Checked, check_forecast, check_levels
from streamgauge.quality.companions import Companions, interpolate_air, range_before
from streamgauge.quality.flags import Flag
from streamgauge.quality.multivariate import M_PER_KPA
from streamgauge.quality.parameters import DEFAULTS, StationParameters, parameters_per_row
from streamgauge.quality.reasons import describe
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import UNSEEN

MINUTE_US = 60_000_000


@pytest.fixture(autouse=True)
def _no_numeric_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def check(level_m, companions=None, parameters=DEFAULTS, step_min=5) -> Checked:
    level_m = np.array(level_m, dtype=np.float64)
    time_us = np.arange(len(level_m)) * step_min * MINUTE_US
    return check_levels(np.zeros(len(level_m), dtype=np.int64), time_us, level_m, parameters, companions)


def reason(checked: Checked, row: int):
    return describe(int(checked.reason_check[row]), float(checked.measured[row]), float(checked.limit[row]))


def weather(rows: int, seed: int = 2) -> np.ndarray:
    """Air pressure that wanders: 101 kPa, a passing front and the day's tide."""
    hours = np.arange(rows) / 12.0
    front = 0.4 * (1.0 + np.tanh(hours - rows / 24.0))
    return 101.0 + 0.1 * np.sin(hours * 1.3) + front + np.random.default_rng(seed).normal(0.0, 0.005, rows)


def test_a_season_has_its_limits_and_a_month_beats_its_season():
    station = np.array([1, 1, 1, 2], dtype=np.int64)
    times = np.array(["2026-01-15", "2026-02-15", "2026-07-15", "2026-01-15"], dtype="datetime64[us]").astype(np.int64)
    settings = {1: {"climatology": {"2": [0.0, 9.0], "DJF": [0.5, 2.0]}}}
    checked = check_levels(station, times, np.array([2.5, 2.5, 2.5, 2.5]), parameters_per_row(station, settings))
    assert checked.flags.tolist() == [Flag.SUSPECT, Flag.GOOD, Flag.GOOD, Flag.GOOD]
    assert reason(checked, 0) == {"check": "climatology", "measured_m": 2.5, "limit_m": 2.0}


def test_limits_of_months_follow_their_rows_past_missing_levels():
    station = np.array([1, 1, 2, 2], dtype=np.int64)
    settings = {2: {"climatology": {"1": [0.0, 1.0]}}}
    level_m = np.array([np.nan, 2.0, np.nan, 2.0])
    checked = check_levels(station, np.zeros(4, dtype=np.int64), level_m, parameters_per_row(station, settings))
    assert checked.flags.tolist() == [Flag.MISSING, Flag.GOOD, Flag.MISSING, Flag.SUSPECT]


def test_a_silted_well_moves_less_than_its_station_ever_did():
    chance = np.random.default_rng(1)
    lively = 1.0 + chance.normal(0.0, 0.004, 60)
    dull = 1.0 + chance.normal(0.0, 0.0008, 40)
    checked = check([*lively, *dull], parameters=StationParameters(attenuated_range_m=0.006))
    assert (checked.flags[:60] == Flag.GOOD).all()
    assert (checked.flags[85:] == Flag.SUSPECT).all()
    assert reason(checked, 99)["check"] == "attenuated_signal"
    assert (check([*lively, *dull]).flags == Flag.GOOD).all()


def test_a_level_that_follows_the_barometer_comes_from_a_probe_without_a_vent():
    air = weather(96)
    still = 1.0 + np.random.default_rng(1).normal(0.0, 0.001, 96)
    vented, unvented = still, still + (air - 101.0) * M_PER_KPA
    companions = Companions(barometer_kpa=air)
    found = check(unvented, companions)
    assert (found.flags[40:70] == Flag.SUSPECT).mean() > 0.5
    assert set(found.flags.tolist()) == {Flag.GOOD, Flag.SUSPECT}
    row = int(np.flatnonzero(found.flags == Flag.SUSPECT)[0])
    assert reason(found, row)["check"] == "follows_barometer"
    assert (check(vented, companions).flags == Flag.GOOD).all()
    # The sea falls when the air's pressure rises.
    assert (check(still - (air - 101.0) * M_PER_KPA, companions).flags == Flag.GOOD).all()


def test_a_recorded_flood_does_not_follow_the_weather():
    record = read_record(UNSEEN)
    air = weather(len(record.level_m), seed=9) + np.sin(np.arange(len(record.level_m)) / 700.0)
    checked = check_levels(record.station, record.time_us, record.level_m, DEFAULTS, Companions(barometer_kpa=air))
    assert (checked.reason_check == 9).mean() < 0.001


def test_a_level_must_move_with_its_own_probe():
    water = np.concatenate([np.full(20, 1.0), np.linspace(1.0, 2.5, 20), np.full(20, 2.5)])
    pressure = 101.3 + water / M_PER_KPA
    assert (check(water, Companions(pressure_kpa=pressure)).flags == Flag.GOOD).all()
    frozen = np.where(np.arange(60) < 25, pressure, pressure[24])  # The probe is stuck while the level goes on.
    checked = check(water, Companions(pressure_kpa=frozen))
    assert (checked.flags[30:40] == Flag.SUSPECT).all()
    assert reason(checked, 35)["check"] == "pressure"
    nothing = Companions(pressure_kpa=np.full(60, np.nan))
    assert (check(water, nothing).flags == Flag.GOOD).all()


def test_salt_water_and_a_changing_sky_are_no_disagreement():
    water = np.concatenate([np.full(20, 1.0), np.linspace(1.0, 5.0, 30)])
    pressure = 101.3 + water * 1.025 / M_PER_KPA + np.linspace(0.0, 0.5, 50)
    assert (check(water, Companions(pressure_kpa=pressure), step_min=15).flags == Flag.GOOD).all()


def test_a_leap_that_no_neighbour_saw_is_suspect_and_one_that_they_saw_is_not():
    level_m = np.concatenate([np.full(20, 1.0), np.full(10, 1.4)])
    alone = check(level_m, Companions(neighbour_range_m=np.full(30, 0.003)))
    assert (alone.flags[20:26] == Flag.SUSPECT).all()
    assert reason(alone, 21)["check"] == "neighbour"
    together = check(level_m, Companions(neighbour_range_m=np.full(30, 0.2)))
    assert (together.flags == Flag.GOOD).all()
    assert (check(level_m, Companions(neighbour_range_m=np.full(30, np.nan))).flags == Flag.GOOD).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0])
def test_any_companion_gives_flags_and_no_warning(value):
    oddities = np.where(np.arange(60) % 7 == 3, value, 101.0 + np.arange(60) * 0.05)
    beside = Companions(pressure_kpa=oddities, barometer_kpa=oddities, neighbour_range_m=oddities)
    level_m = np.where(np.arange(60) % 5 == 1, value, 1.0)
    flags = check(level_m, beside, StationParameters(attenuated_range_m=0.01)).flags
    assert set(flags.tolist()) <= {Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING}


def test_the_forecast_makes_suspect_at_most_and_only_where_it_is_set():
    checked = check([1.0, 1.0, 1.0, 150.0, np.nan])
    low, high = np.full(5, 0.99), np.full(5, 1.01)
    level_m = np.array([1.0, 1.2, np.inf, 150.0, np.nan])
    assert check_forecast(checked, level_m, low, high) is checked
    strict = check_forecast(checked, level_m, low, high, StationParameters(forecast_widths=4.0))
    assert strict.flags.tolist() == [Flag.GOOD, Flag.SUSPECT, Flag.GOOD, Flag.FAIL, Flag.MISSING]
    assert reason(strict, 1) == {"check": "forecast", "measured_m": pytest.approx(0.2), "limit_m": pytest.approx(0.04)}
    unknown = check_forecast(checked, level_m, low * np.nan, high, StationParameters(forecast_widths=4.0))
    assert unknown is checked


def test_what_was_not_judged_is_said_by_check():
    level_m = np.array([1.0, 1.0, 1.3, np.nan, 1.3])
    time_us = np.array([0, 5, 10, 15, 200]) * MINUTE_US
    found = flags_by_check(np.zeros(5, dtype=np.int64), time_us, level_m)
    assert found["spike"].tolist() == [
        Flag.NOT_EVALUATED,
        Flag.GOOD,
        Flag.NOT_EVALUATED,
        Flag.MISSING,
        Flag.NOT_EVALUATED,
    ]
    assert found["gap"].tolist() == [Flag.NOT_EVALUATED, Flag.GOOD, Flag.GOOD, Flag.MISSING, Flag.MISSING]
    assert found["climatology"].tolist() == [2, 2, 2, 9, 2]


def test_air_between_two_readings_lies_on_their_line_and_is_held_for_an_hour():
    at = np.array([-1, 0, 15, 30, 60, 95]) * MINUTE_US
    air = interpolate_air(at, np.array([0, 30]) * MINUTE_US, np.array([100.0, 101.0]))
    np.testing.assert_allclose(air, [np.nan, 100.0, 100.5, 101.0, 101.0, np.nan])
    nothing = interpolate_air(at, np.array([0]), np.array([3_000.0]))
    assert np.isnan(nothing).all()


def test_a_neighbour_has_moved_within_three_hours_up_to_the_row():
    times = np.array([0, 60, 120, 300]) * MINUTE_US
    levels = np.array([1.0, 1.5, np.nan, 1.2])
    at = np.array([0, 60, 170, 200, 300]) * MINUTE_US
    np.testing.assert_allclose(range_before(at, times, levels), [np.nan, 0.5, 0.5, np.nan, np.nan])
