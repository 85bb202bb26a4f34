"""What each feature says, on series whose answer can be worked out by hand."""

import warnings

import numpy as np
import pytest

from streamgauge.quality.check import check_levels
from streamgauge.scoring.features import FEATURES, HISTORY_MIN, build

MINUTE_US = 60_000_000


def features(levels, minutes, target, station=None):
    """The features of one row by name, and its baseline."""
    level_m = np.array(levels, dtype=np.float64)
    time_us = (np.array(minutes) * MINUTE_US).astype(np.int64)
    stations = np.zeros(len(level_m), dtype=np.int64) if station is None else np.array(station, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = check_levels(stations, time_us, level_m)
        built = build(stations, time_us, level_m, checked, np.array([target], dtype=np.int64))
    assert built.values.dtype == np.float32
    return dict(zip(FEATURES, built.values[0].tolist(), strict=True)), float(built.baseline_m[0])


def test_a_steady_rise_is_told_as_its_rate_and_where_it_leads():
    minutes = np.arange(0, 245, 5)
    known, baseline_m = features(1.0 + 0.001 * minutes, minutes, 48)
    assert baseline_m == pytest.approx(1.235)
    assert known["step_s"] == 300
    assert known["step_before_s"] == 300
    for span in (1, 5, 10, 15, 30, 60, 120):
        assert known[f"rate_{span}min_m_per_h"] == pytest.approx(0.06, rel=1e-5)
    assert known["extrapolated_15min_m"] == pytest.approx(0.005, rel=1e-5)
    assert known["above_lowest_60min_m"] == pytest.approx(0.06, rel=1e-5)
    assert known["below_highest_60min_m"] == 0.0
    assert known["moving_share"] == 1.0
    assert known["mean_step_m"] == pytest.approx(0.005, rel=1e-5)
    assert known["finest_step_m"] == pytest.approx(0.005, rel=1e-5)
    assert known["still_s"] == 300


def test_still_water_is_told_as_still():
    known, baseline_m = features([1.0] * 20, np.arange(20) * 5, 19)
    assert baseline_m == 1.0
    assert known["rate_60min_m_per_h"] == 0.0
    assert known["still_s"] == 18 * 300
    assert known["moving_share"] == 0.0
    assert np.isnan(known["finest_step_m"])
    assert np.isnan(known["rate_120min_m_per_h"])


@pytest.mark.parametrize("step_min", [1, 5, 10, 15])
def test_rates_do_not_depend_on_the_sampling(step_min):
    minutes = np.arange(0, 240, step_min)
    known, _ = features(1.0 + 0.001 * minutes, minutes, len(minutes) - 1)
    assert known["rate_15min_m_per_h"] == pytest.approx(0.06, rel=1e-5)
    assert known["step_s"] == step_min * 60


def test_with_too_little_history_nothing_is_known():
    for rows in range(HISTORY_MIN):
        known, baseline_m = features([1.0] * (rows + 1), np.arange(rows + 1) * 5, rows)
        assert np.isnan(baseline_m)
        assert all(np.isnan(value) for value in known.values())
    _, baseline_m = features([1.0] * (HISTORY_MIN + 1), np.arange(HISTORY_MIN + 1) * 5, HISTORY_MIN)
    assert baseline_m == 1.0


def test_what_failed_is_no_history():
    _, baseline_m = features([1.0, 1.0, 1.0, 500.0, 1.0], np.arange(5) * 5, 4)
    assert baseline_m == 1.0
    known, _ = features([1.0, 1.0, 8.0, 1.0, 1.0], np.arange(5) * 5, 4)
    assert known["above_lowest_60min_m"] == known["below_highest_60min_m"] == 0.0


def test_a_leap_is_not_believed_before_the_next_reading_confirms_it():
    levels = [1.0, 1.0, 1.0, 1.0, 6.0, 6.0, 6.0]
    minutes = np.arange(7) * 5
    assert features(levels, minutes, 5)[1] == 1.0
    assert features(levels, minutes, 6)[1] == 6.0


def test_history_ends_after_six_hours_and_at_the_stations_border():
    _, baseline_m = features([1.0] * 5, [0, 5, 10, 15, 15 + 6 * 60 + 1], 4)
    assert np.isnan(baseline_m)
    _, baseline_m = features([1.0] * 5, np.arange(5) * 5, 4, station=[1, 1, 1, 2, 2])
    assert np.isnan(baseline_m)


def test_a_time_that_is_still_to_come_can_be_asked_for():
    known, baseline_m = features([1.0, 1.0, 1.0, np.nan], [0, 5, 10, 30], 3)
    assert baseline_m == 1.0
    assert known["step_s"] == 1200


def test_a_reading_of_the_same_instant_is_no_history():
    _, baseline_m = features([1.0, 1.0, 1.0, 1.1, 1.2], [0, 5, 10, 15, 15], 4)
    assert baseline_m == 1.0


@pytest.mark.parametrize("levels", [[], [np.nan] * 4, [np.inf] * 4, [1e308, -1e308] * 3, [5e-324] * 5])
def test_series_at_the_edges_give_no_warning(levels):
    rows = len(levels)
    station, time_us = np.zeros(rows, dtype=np.int64), np.arange(rows, dtype=np.int64) * MINUTE_US
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        level_m = np.array(levels, dtype=np.float64)
        built = build(station, time_us, level_m, check_levels(station, time_us, level_m), np.arange(rows))
        nothing = build(station, time_us, level_m, check_levels(station, time_us, level_m), np.arange(0))
    assert built.values.shape == (rows, len(FEATURES))
    assert nothing.values.shape == (0, len(FEATURES))
