"""Calibrations: what a score means, which one counts when, and what is made of a station's ordinary readings."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from streamgauge.reading import to_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE, MARKED_DECADES
from streamgauge.scoring.calibrating import ROWS_MIN, calibrate, creeping, ship
from streamgauge.scoring.calibration import (
    SHARES,
    SHIPPED,
    Calibration,
    Calibrations,
    InvalidCalibration,
    Tail,
    decades,
    score_of,
)
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import judge
from streamgauge.scoring.model import Expected
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import RECORD, UNSEEN, Training

STEP_US = 300_000_000
HOUR_US = 12 * STEP_US


@pytest.fixture(scope="module")
def model() -> EdgeModel:
    return EdgeModel.load()


@pytest.fixture(scope="module")
def dead_run(model):
    record = read_record(UNSEEN)
    return record, calibrate(model, record.time_us, record.level_m)


def surprise(tail: Tail, values: list[float]) -> np.ndarray:
    knots = np.broadcast_to(np.array([0.0, *tail.values]), (len(values), len(tail.values) + 1))
    return decades(np.array(values), knots, np.full(len(values), tail.slope))


def times(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.int64) * STEP_US + 10**15


def test_the_score_is_a_half_for_one_in_ten_and_marks_one_in_ten_thousand():
    tail = Tail(tuple(float(place + 1) for place in range(len(SHARES))), 2.0)
    at = [float(SHARES.index(share) + 1) for share in (0.1, 0.01, 0.001, 0.0001)]
    assert score_of(surprise(tail, [0.0, *at])) == pytest.approx([0.0, 0.5, 0.75, 0.875, ANOMALY_SCORE])
    assert score_of(np.array([MARKED_DECADES]))[0] == ANOMALY_SCORE


def test_decades_grow_with_the_measure_over_atoms_and_beyond_the_last_share():
    tail = Tail((0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0), 2.0)
    values = [0.0, 1e-9, 0.5, 1.0, 1.0 + 1e-9, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 40.0, 1e6]
    found = surprise(tail, values)
    assert (np.diff(found) >= 0.0).all()
    # An atom counts as what reaches it: one in ten reaches 1, and only one in fifty is more.
    assert found[[3, 4]] == pytest.approx([1.0, -math.log10(0.02)])
    assert found[-2] == pytest.approx(-math.log10(0.0002) + 2.0, abs=0.31)
    assert np.isnan(surprise(tail, [math.nan])[0])


def test_a_calibration_survives_json_to_the_bit(dead_run):
    _, found = dead_run
    read = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    assert read == found
    np.testing.assert_array_equal(read.vector, found.vector)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"method": "oracle"},
        {"chart_weight": 2.0},
        {"creeps": 7},
        {"rows": -1},
        {"rough": {"values": [1.0], "slope": 2.0}},
        {"rough": {"values": [math.nan] * 12, "slope": 2.0}},
        {"rough": {"values": [2.0, *[1.0] * 11], "slope": 2.0}},
        {"rough": {"values": [1.0] * 12, "slope": math.inf}},
        {"model": None},
        {"model": {}},
        {"chart": {**SHIPPED.to_json()["chart"], "low_scale": 0.0}},
        {"chart": {**SHIPPED.to_json()["chart"], "high_least_m": -1.0}},
    ],
)
def test_what_no_calibration_can_be_is_refused(change):
    with pytest.raises(InvalidCalibration):
        Calibration.from_json(SHIPPED.to_json() | change)


def test_each_reading_gets_the_calibration_that_was_valid_at_its_time():
    first, second = (replace(SHIPPED, chart_weight=weight) for weight in (0.2, 0.4))
    valid = Calibrations([(7, 200, second), (7, 100, first), (8, 100, second)])
    assert [valid.at(7, time).chart_weight for time in (99, 100, 199, 200)] == [SHIPPED.chart_weight, 0.2, 0.2, 0.4]
    station = np.array([7, 7, 7, 7, 8, 9])
    time_us = np.array([99, 100, 199, 200, 150, 500])
    assert valid.apply(station, time_us).chart_weight.tolist() == [SHIPPED.chart_weight, 0.2, 0.2, 0.4, 0.4, 1.0]


def test_a_station_is_calibrated_to_what_it_does(dead_run):
    """This unseen site's display flickers where the trained site's stands still."""
    record, found = dead_run
    model, rows = EdgeModel.load(), np.arange(len(record.time_us))
    share = {}
    for name, valid in (("shipped", Calibrations()), ("own", Calibrations.constant({0: found}))):
        judged = judge(model, record.station, record.time_us, record.level_m, rows, calibrations=valid)
        inside = (record.level_m >= judged.expected.low_m - 5e-5) & (record.level_m <= judged.expected.high_m + 5e-5)
        share[name] = inside.mean()
        marked = np.count_nonzero(judged.score >= ANOMALY_SCORE)
        assert marked <= 6
    assert share["shipped"] > 0.9, "the band of a station that is not known is as wide as its context moved"
    assert share["own"] > 0.9
    assert found.method == "model"


def test_the_same_rows_give_the_same_calibration_and_too_few_none(model, dead_run):
    record, found = dead_run
    assert calibrate(model, record.time_us, record.level_m) == found
    assert calibrate(model, record.time_us[: ROWS_MIN - 1], record.level_m[: ROWS_MIN - 1]) is None
    assert calibrate(model, np.empty(0, dtype=np.int64), np.empty(0)) is None


class Astray:
    """Expects half a metre too much, in a narrow band."""

    sha256 = "0" * 64

    def expect(self, features, baseline_m):  # noqa: ARG002
        return Expected(baseline_m + 0.5, baseline_m + 0.49, baseline_m + 0.51)


def test_a_model_that_is_worse_than_the_chart_does_not_judge(model, dead_run):
    record, with_model = dead_run
    assert calibrate(Astray(), record.time_us, record.level_m).method == "chart"
    assert calibrate(None, record.time_us, record.level_m).method == "chart"
    # Who is hardly better does not take over.
    assert with_model.model.loss_m < with_model.chart.loss_m
    almost = replace(with_model, method="chart")
    assert calibrate(model, record.time_us, record.level_m, before=almost).method == "model"


@pytest.mark.parametrize(
    "levels",
    [
        np.full(800, 1.0),
        np.tile([1.0, 1.003], 400),
        np.where(np.arange(800) % 50 == 0, np.nan, 1.0),
        np.where(np.arange(800) % 90 == 0, 1e308, 2.0),
        np.linspace(0.0, 99.0, 800),
        np.full(800, np.inf),
    ],
)
def test_odd_records_give_a_calibration_or_none_but_no_error(model, levels):
    found = calibrate(model, times(len(levels)), levels)
    assert found is None or np.isfinite(found.vector).all()


@pytest.mark.parametrize(("m_per_h", "expected"), [(0.0, 0), (0.002, 1), (0.008, 1), (-0.008, -1), (0.05, 0)])
def test_what_goes_one_way_slowly_for_a_day_creeps(m_per_h, expected):
    time_us = times(400)
    level_m = np.round((1.0 + (time_us - time_us[0]) / HOUR_US * m_per_h) / 0.003048) * 0.003048
    assert creeping(time_us, level_m) == expected


def test_neither_a_recession_nor_a_gap_creeps():
    hours = (times(400) - times(1)[0]) / HOUR_US
    assert creeping(times(400), 1.0 + 0.4 * np.exp(-hours / 8.0)) == 0
    assert creeping(times(400)[::60], 1.0 + 0.005 * hours[::60]) == 0
    assert creeping(np.empty(0, dtype=np.int64), np.empty(0)) == 0


@pytest.mark.slow
def test_the_shipped_calibration_is_what_the_training_record_gives(model):
    record, until_us = read_record(RECORD), to_microseconds(Training().train_until)
    thinned = [record.thinned(every) for every in Training().thinnings]
    made = ship(
        model, [(each.time_us[each.time_us < until_us], each.level_m[each.time_us < until_us]) for each in thinned]
    )
    np.testing.assert_allclose(made.vector, SHIPPED.vector, rtol=1e-6, atol=1e-9)
