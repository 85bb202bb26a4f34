"""What is known at an issue: the same from a window as from the whole history, and as a plain reckoning has it."""

import numpy as np
import pytest

from streamgauge.scoring.forecast.other_quantities import Others, known_at
from streamgauge.scoring.forecast.ranges import Highest
from streamgauge.scoring.forecast.window_features import FEATURES, build
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import UNSEEN

US = 1_000_000


@pytest.fixture(scope="module")
def record():
    return read_record(UNSEEN).take(np.arange(3_000))


def known_of(record, issues, usable=None, others=None):
    usable = np.ones(len(record.time_us), dtype=np.bool_) if usable is None else usable
    return build(record.station, record.time_us, record.level_m, usable, np.array(issues), others)


def column(known, name):
    return known.values[:, FEATURES.index(name)]


def test_columns_are_what_their_names_say(record):
    issues = np.array([700, 1_480, 2_000, 2_999])
    known = known_of(record, issues)
    for place, row in enumerate(issues):
        past = record.level_m[: row + 1]
        newest = past[-1]
        hour = past[-13:]
        assert column(known, "rate_60min_m_per_h")[place] == pytest.approx(newest - past[-13], abs=1e-6)
        assert column(known, "rate_180min_m_per_h")[place] == pytest.approx((newest - past[-37]) / 3, abs=1e-6)
        assert column(known, "above_lowest_60min_m")[place] == pytest.approx(newest - hour.min(), abs=1e-6)
        assert column(known, "below_highest_2880min_m")[place] == pytest.approx(past[-577:].max() - newest, abs=1e-6)
        assert column(known, "path_60min_m")[place] == pytest.approx(np.abs(np.diff(hour)).sum(), abs=1e-6)
        assert column(known, "moving_share_60min")[place] == pytest.approx((np.diff(hour) != 0).mean())
        assert column(known, "step_s")[place] == 300
        assert known.hour_mean_m[place] == pytest.approx(hour.mean())
        steps = np.abs(np.diff(past[-289:]))
        assert known.finest_m[place] == pytest.approx(steps[steps > 0.0005].min(), abs=1e-6)
        before = past[-1 - 288]
        assert known.pattern_m[place, 3, 1] == pytest.approx(past[-1 - 288 + 12] - before, abs=1e-6)
        assert known.baseline_m[place] == newest


def test_a_window_says_what_the_whole_history_says(record):
    issues = np.arange(1_500, 1_530)
    whole = known_of(record, issues)
    for place, row in enumerate(issues):
        part = record.take(np.arange(row - 600, row + 1))
        window = known_of(part, [len(part.time_us) - 1])
        assert np.array_equal(window.values[0], whole.values[place], equal_nan=True)
        assert np.array_equal(window.pattern_m[0], whole.pattern_m[place], equal_nan=True)
        assert window.hour_mean_m[0] == whole.hour_mean_m[place]


def test_what_is_not_usable_is_no_history(record):
    usable = np.ones(len(record.time_us), dtype=np.bool_)
    usable[1_490:1_495] = False
    known = known_of(record, [1_500], usable)
    kept = record.take(np.flatnonzero(usable))
    assert np.array_equal(known.values, known_of(kept, [1_495]).values, equal_nan=True)


def test_of_several_readings_in_five_minutes_the_last_is_history():
    minutes = np.arange(0, 600)
    time_us = minutes * 60 * US
    level_m = 1.0 + minutes / 1_000.0
    station = np.zeros(600, dtype=np.int64)
    each = build(station, time_us, level_m, np.ones(600, dtype=np.bool_), np.array([599]))
    assert column(each, "step_s")[0] == 300  # 599 is the last of its own five minutes; 594 of those before.
    assert column(each, "rate_60min_m_per_h")[0] == pytest.approx(0.06, abs=1e-6)


def test_without_history_nothing_is_known(record):
    known = known_of(record, [0, 1, 2, 3])
    assert np.isnan(known.baseline_m).tolist() == [True, True, True, False]
    assert (known.scale_m > 0).all()
    assert len(known_of(record, np.empty(0, dtype=np.int64)).baseline_m) == 0


def test_other_quantities_have_their_columns(record):
    rows = len(record.time_us)
    rain = np.zeros(rows)
    rain[1_490] = 2.5
    flow = np.linspace(1.0, 2.0, rows)
    others = Others(rainfall_mm=rain, temperature_c=np.arange(rows) / 10.0, flow_m3_s=flow, upstream_m=record.level_m)
    known = known_of(record, [1_495, 1_520], others=others)
    assert column(known, "rainfall_1h_mm").tolist() == [2.5, 0.0]
    assert column(known, "rainfall_6h_mm").tolist() == [2.5, 2.5]
    assert column(known, "temperature_c")[0] == pytest.approx(149.5)
    assert column(known, "temperature_change_3h_c")[0] == pytest.approx(3.6, abs=1e-5)
    assert column(known, "upstream_change_60min_m")[0] == pytest.approx(record.level_m[1_495] - record.level_m[1_483])
    assert np.isnan(known_of(record, [1_495]).values[0, FEATURES.index("temperature_c")])


def test_another_stations_value_is_the_newest_that_was_known_and_not_too_old():
    found = known_at(np.array([5, 10, 11, 4_000]) * US, np.array([10, 20]) * US, np.array([1.0, 2.0]))
    assert np.array_equal(found, [np.nan, 1.0, 1.0, np.nan], equal_nan=True)
    assert np.isnan(known_at(np.array([1]), np.empty(0, dtype=np.int64), np.empty(0))).all()


def test_the_highest_of_any_stretch_is_found():
    values = np.random.default_rng(1).integers(-50, 50, 300)
    lo, hi = np.random.default_rng(2).integers(0, 301, (2, 500))
    found = Highest(values).of(lo, hi, np.full(500, -99))
    assert found.tolist() == [values[a:b].max() if b > a else -99 for a, b in zip(lo, hi, strict=True)]
