"""Whose surprise it is: the water's or the sensor's, and why."""

import warnings

import numpy as np
import pytest

from streamgauge.quality.check import check_levels
from streamgauge.quality.companions import Companions
from streamgauge.scoring.anomaly import ANOMALY_SCORE, EVENT, FAULT, SURPRISES
from streamgauge.scoring.calibration import SHIPPED, UNCALIBRATED, Calibrations
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import Judged, judge, judge_checked
from streamgauge.scoring.records import read_record
from streamgauge.scoring.surprise import WHYS
from streamgauge.scoring.train import RECORD, UNSEEN

STEP_US = 300_000_000


@pytest.fixture(scope="module")
def model() -> EdgeModel:
    return EdgeModel.load()


def verdicts(model, levels, *, until: int | None = None, valid: Calibrations = UNCALIBRATED) -> Judged:
    """Every reading of a series, every 5 minutes; with ``until`` nothing after that row is known yet."""
    level_m = np.array(levels, dtype=np.float64)[: None if until is None else until + 1]
    rows = np.arange(len(level_m))
    return judge(model, np.zeros(len(rows), dtype=np.int64), rows * STEP_US + 10**15, level_m, rows, calibrations=valid)


def why(judged: Judged, row: int) -> tuple[str, str]:
    return SURPRISES[judged.surprise[row]], WHYS[judged.why[row]]


STILL = [1.0] * 50


def test_the_onset_of_a_flood_is_an_event_while_nothing_else_is_known(model):
    levels = STILL + [1.0 + 0.15 * step for step in range(1, 10)]
    onset = verdicts(model, levels, until=50)
    assert why(onset, 50) == ("event", "rising_like_water")
    assert onset.reason(50) == {"surprise": "event", "why": "rising_like_water", "rate_m_per_h": pytest.approx(1.8)}
    whole = verdicts(model, levels)
    assert not (whole.surprise == FAULT).any()


def test_a_leap_faster_than_any_flood_is_an_event_until_more_is_known(model):
    assert why(verdicts(model, [*STILL, 1.8]), 50) == ("event", "rising_like_water")


def test_a_spike_is_a_fault_once_its_successor_is_there(model):
    levels = [*STILL, 1.4, 1.0, 1.0]
    assert why(verdicts(model, levels, until=50), 50)[0] == "event"
    judged = verdicts(model, levels)
    assert why(judged, 50) == ("fault", "spike")


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("size_m", [0.12, 0.3, -0.3, 0.8])
def test_what_leaps_away_and_comes_back_was_none_of_the_waters(model, rows, size_m):
    judged = verdicts(model, [*STILL, *[1.0 + size_m] * rows, 1.0, *[1.0] * 20])
    assert "fault" in {why(judged, row)[0] for row in range(50, 51 + rows)}
    # What follows the way back is as ordinary as before.
    assert not judged.surprise[52 + rows :].any()


@pytest.mark.parametrize("left_m", [0.0, 0.6])
def test_a_dropout_is_a_fault_at_once_and_as_long_as_it_lasts(model, left_m):
    judged = verdicts(model, [*STILL, *[left_m] * 20])
    assert why(judged, 50) == ("fault", "falls_faster_than_water")
    assert {why(judged, row) for row in range(51, 70)} == {("fault", "stays_after_leap")}
    assert (judged.score[50:] >= ANOMALY_SCORE).all()


def test_the_crest_of_a_flood_in_quarter_hours_did_not_come_back(model):
    record = read_record(UNSEEN).thinned(3)
    rows = np.arange(900, 1010)
    assert record.level_m[rows].max() > 1.5
    judged = judge(model, record.station, record.time_us, record.level_m, rows)
    assert not (judged.surprise == FAULT).any()


def test_noise_is_a_fault_and_a_flickering_display_is_not(model):
    chance = np.random.default_rng(3)
    judged = verdicts(model, [*STILL, *(1.0 + chance.normal(0.0, 0.02, 30))])
    assert why(judged, 75) == ("fault", "rough")
    flicker = verdicts(model, STILL + [1.0 + 0.0031 * (row % 2) for row in range(60)])
    assert not flicker.surprise.any()


def test_a_station_that_creeps_is_a_fault_while_it_goes_on(model):
    levels = np.round((1.0 + np.arange(60) * 0.005 / 12) / 0.003) * 0.003
    creeps = Calibrations.constant({0: SHIPPED.__class__.from_json(SHIPPED.to_json() | {"creeps": 1})})
    assert why(verdicts(model, levels, valid=creeps), 59) == ("fault", "creeps")
    assert not verdicts(model, levels).surprise.any()
    assert not verdicts(model, levels[::-1], valid=creeps).surprise[40:].any()


def test_a_marked_reading_always_says_whose_it_is_and_an_unmarked_one_never(model):
    record = read_record(UNSEEN)
    judged = judge(model, record.station, record.time_us, record.level_m, np.arange(len(record.time_us)))
    marked = judged.score >= ANOMALY_SCORE
    np.testing.assert_array_equal(marked, judged.surprise > 0)
    np.testing.assert_array_equal(judged.why > 0, judged.surprise > 0)


@pytest.fixture(scope="module")
def both_records():
    return [read_record(path) for path in (RECORD, UNSEEN)]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_no_flood_of_either_record_is_called_a_fault(model, both_records, every):
    for whole in both_records:
        record = whole.thinned(every)
        judged = judge(model, record.station, record.time_us, record.level_m, moving(record))
        assert np.count_nonzero(judged.surprise == FAULT) == 0


def moving(record) -> np.ndarray:
    """Rows within two hours of a change by more than 0.1 m in an hour: floods from their onset to the end of their fall."""
    before = np.searchsorted(record.time_us, record.time_us - 12 * STEP_US)
    moves = np.abs(record.level_m - record.level_m[before]) > 0.1
    near = np.convolve(moves, np.ones(49), mode="same") > 0
    return np.flatnonzero(near)


def test_the_chart_stands_in_where_the_model_cannot_say(model):
    judged = verdicts(model, [1.0, 1.003, 1.0, 1.003])
    assert np.isnan(judged.score[:2]).all()
    assert np.isfinite(judged.score[2:]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = verdicts(None, [*STILL, 1.4, 1.5])
    assert np.isfinite(alone.expected.expected_m[2:]).all()
    assert why(alone, 50) == ("event", "rising_like_water")
    assert EVENT == 1


def test_a_leap_that_the_neighbours_made_too_is_an_event(model):
    level_m = np.array([*STILL, 0.5, 0.5])
    rows = np.arange(len(level_m))
    time_us, station = rows * STEP_US + 10**15, np.zeros(len(rows), dtype=np.int64)
    checked = check_levels(station, time_us, level_m)

    def beside(range_m: float) -> tuple[str, str]:
        companions = Companions(neighbour_range_m=np.full(len(rows), range_m))
        judged = judge_checked(model, station, time_us, level_m, rows, checked, companions=companions)
        return why(judged, 50)

    assert beside(0.4) == ("event", "neighbours_agree")
    assert beside(0.003) == ("fault", "falls_faster_than_water")
    assert beside(np.nan) == ("fault", "falls_faster_than_water")


def test_a_rise_that_no_neighbour_knows_of_stays_an_event_and_says_so(model):
    level_m = np.array([*STILL, 1.4])
    rows = np.arange(len(level_m))
    time_us, station = rows * STEP_US + 10**15, np.zeros(len(rows), dtype=np.int64)
    companions = Companions(neighbour_range_m=np.full(len(rows), 0.003))
    checked = check_levels(station, time_us, level_m)
    judged = judge_checked(model, station, time_us, level_m, rows, checked, companions=companions)
    assert why(judged, 50) == ("event", "unlike_neighbours")
