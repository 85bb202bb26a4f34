"""A forecast's way: the same live, replayed, alone, among others and in pieces; nothing where there is nothing to say."""

import warnings
from dataclasses import fields, replace

import numpy as np
import pytest

from streamgauge.quality.check import check_levels
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.issue import Window, forecast, forecast_many, replay
from streamgauge.scoring.forecast.other_quantities import Others, known_at
from streamgauge.scoring.forecast.track import Track
from streamgauge.scoring.model import Model
from streamgauge.scoring.records import Record, read_record
from streamgauge.scoring.train import UNSEEN

MINUTE_US = 60_000_000
ISSUED = ("baseline_m", "expected_m", "low_m", "high_m", "model_m")


@pytest.fixture(scope="module")
def model():
    return Model.load().forecast


@pytest.fixture(scope="module")
def flood() -> Record:
    """Ten days of Dead Run, floods among them."""
    return read_record(UNSEEN).take(np.arange(2_880))


def checked_of(record):
    return check_levels(record.station, record.time_us, record.level_m)


def window_until(record, row, rows=700):
    part = record.take(np.arange(max(0, row + 1 - rows), row + 1))
    return Window.of_checked(part.time_us, part.level_m, checked_of(part))


def same_track(ours, theirs):
    return all(np.array_equal(getattr(ours, f.name), getattr(theirs, f.name), equal_nan=True) for f in fields(Track))


def test_a_live_forecast_is_the_replayed_one_to_the_bit(model, flood):
    begin, end = 1_500, 1_560
    replayed = replay(model, flood.time_us, flood.level_m, checked_of(flood))
    before = flood.take(np.arange(begin))
    track = replay(model, before.time_us, before.level_m, checked_of(before)).track
    for row in range(begin, end):
        issue, track = forecast(model, window_until(flood, row), Track.from_bytes(track.to_bytes()))
        at = np.flatnonzero(replayed.rows == row)[0]
        for name in ISSUED:
            assert np.array_equal(getattr(issue, name), getattr(replayed, name)[at]), (row, name)
        assert [method == "persistence" for method in issue.method] == replayed.persistence_shown[at].tolist()


def test_a_history_in_pieces_is_the_history(model, flood):
    whole = replay(model, flood.time_us, flood.level_m, checked_of(flood))
    track, rows, expected = None, [], []
    for end in (700, 701, 1_900, 2_880):
        part = flood.take(np.arange(end))
        found = replay(model, part.time_us, part.level_m, checked_of(part), track=track)
        track = found.track
        rows += found.rows.tolist()
        expected.append(found.expected_m)
    assert rows == whole.rows.tolist()
    assert np.array_equal(np.concatenate(expected), whole.expected_m)
    assert same_track(track, whole.track)


def test_stations_at_once_get_what_each_would_get_alone(model, flood):
    other = replace(flood, level_m=flood.level_m * 3.0 - 1.0)
    windows = [
        window_until(flood, 900),
        window_until(other, 1_500, 300),
        window_until(flood, 2),
        window_until(flood, 1_600),
    ]
    tracks = [Track.new(model.prior)] * len(windows)
    together = forecast_many(model, windows, tracks)
    for window, (issue, track) in zip(windows, together, strict=True):
        alone, alone_track = forecast(model, window, Track.new(model.prior))
        assert same_track(track, alone_track)
        assert (issue is None) == (alone is None)
        if issue is not None:
            assert all(np.array_equal(getattr(issue, name), getattr(alone, name)) for name in ISSUED)
    assert together[2][0] is None
    assert same_track(tracks[0], Track.new(model.prior)), "the tracks given are left as they were"


def test_bands_hold_what_is_shown_and_horizons_are_all_there(model, flood):
    found = replay(model, flood.time_us, flood.level_m, checked_of(flood))
    assert found.expected_m.shape == (len(found.rows), len(HORIZONS_S))
    assert np.isfinite(found.expected_m).all()
    assert (found.low_m <= found.expected_m).all()
    assert (found.expected_m <= found.high_m).all()


def test_no_forecast_twice_at_one_reading_nor_at_a_bad_one(model, flood):
    window = window_until(flood, 900)
    issue, track = forecast(model, window, Track.new(model.prior))
    assert issue is not None
    assert forecast(model, window, track)[0] is None
    assert forecast(model, window_until(flood, 899), track)[0] is None
    assert forecast(model, replace(window, newest_usable=False), Track.new())[0] is None
    empty = Window(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=np.bool_), newest_usable=False)
    assert forecast(model, empty, Track.new())[0] is None
    assert forecast_many(model, [], []) == []


ODD = {
    "one value": [1.0],
    "two values": [1.0, 2.0],
    "constant": [1.0] * 400,
    "nothing": [np.nan] * 50,
    "beyond all": [1e308, -1e308] * 50,
    "infinite": [np.inf, -np.inf, 1.0] * 50,
    "gaps among": [1.0, np.nan, 1.1, np.nan] * 100,
    "zero and its negative": [0.0, -0.0, 5e-324] * 100,
}


@pytest.mark.parametrize("levels", ODD.values(), ids=ODD)
def test_odd_series_give_finite_forecasts_or_none(model, levels):
    level_m = np.array(levels)
    time_us = np.arange(len(level_m)) * 5 * MINUTE_US
    record = Record.from_arrays("odd", time_us, level_m)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = replay(model, time_us, level_m, checked_of(record))
    for name in ISSUED:
        assert np.isfinite(getattr(found, name)).all()
    assert np.isfinite(found.track.error_m).all()


@pytest.mark.parametrize("jump_us", [10**10, 10**14, 3 * 10**15, 2 * 10**17])
def test_clocks_that_jump_and_gaps_of_months_cost_only_their_outcomes(model, flood, jump_us):
    part = flood.take(np.arange(900))
    time_us = part.time_us.copy()
    time_us[600:] += jump_us
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = replay(model, time_us, part.level_m, checked_of(replace(part, time_us=time_us)))
    assert (np.diff(found.rows) >= 1).all()
    assert np.isfinite(found.high_m).all()
    assert np.isin(np.arange(650, 900), found.rows).all()


def test_a_sensor_that_reports_each_minute_is_forecast_each_five(model):
    time_us = np.arange(600) * MINUTE_US
    level_m = 1.0 + 0.1 * np.sin(np.arange(600) / 60.0)
    found = replay(model, time_us, level_m, check_levels(np.zeros(600, dtype=np.int64), time_us, level_m))
    assert set(np.diff(found.rows)) == {5}


def test_other_quantities_may_be_there_and_change_nothing_that_the_shipped_model_says(model, flood):
    part = flood.take(np.arange(400))
    rain = np.where(np.arange(400) % 12 == 0, 0.2, np.nan)
    upstream_m = known_at(part.time_us, part.time_us[::3], part.level_m[::3])
    others = Others(rainfall_mm=rain, temperature_c=np.full(400, 8.0), flow_m3_s=part.level_m**2, upstream_m=upstream_m)
    checked = checked_of(part)
    plain = replay(model, part.time_us, part.level_m, checked)
    with_others = replay(model, part.time_us, part.level_m, checked, others=others)
    assert np.array_equal(plain.expected_m, with_others.expected_m)
    window = Window.of_checked(part.time_us, part.level_m, checked, others)
    both = forecast_many(model, [window, replace(window, others=None)], [Track.new(model.prior)] * 2)
    assert np.array_equal(both[0][0].expected_m, both[1][0].expected_m)
