"""Whatever series and calibration: a score in 0 to 1 or none, growing with the surprise, the same however it is cut."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.quality.flags import Flag
from streamgauge.scoring.anomaly import ANOMALY_SCORE, FAULT
from streamgauge.scoring.calibration import SHARES, SHIPPED, Band, Calibration, Calibrations, Tail, decades, score_of
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import Judged, judge
from tests.support.level_series import context_of, one_station

FIELDS = ("score", "surprise", "why", "rate_m_per_h")

tails = st.builds(
    lambda values, slope: Tail(tuple(sorted(values)), slope),
    st.lists(st.floats(0.001, 50.0), min_size=len(SHARES), max_size=len(SHARES)),
    st.floats(0.5, 20.0),
)
bands = st.builds(
    Band, st.floats(0.05, 20.0), st.floats(0.05, 20.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0), tails, st.just(0.0)
)
calibrations = st.builds(
    Calibration,
    st.sampled_from(["model", "chart"]),
    bands,
    bands,
    st.sampled_from([0.2, 0.4, 0.7, 1.0]),
    tails,
    st.integers(0, 10_000),
    st.sampled_from([-1, 0, 1]),
)


@pytest.fixture(scope="module")
def model() -> EdgeModel:
    return EdgeModel.load()


def verdicts(model, time_us, level_m, targets, valid) -> Judged:
    zero = np.zeros(len(time_us), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return judge(model, zero, time_us, level_m, targets, calibrations=valid)


@settings(max_examples=80, deadline=None)
@given(series=one_station(), own=calibrations, alone=st.booleans())
def test_every_reading_has_a_score_in_0_to_1_or_none(model, series, own, alone):
    time_us, level_m = series
    judged = verdicts(
        None if alone else model, time_us, level_m, np.arange(len(time_us)), Calibrations.constant({0: own})
    )
    known = ~np.isnan(judged.score)
    assert ((judged.score[known] >= 0.0) & (judged.score[known] <= 1.0)).all()
    assert not known[np.isnan(level_m)].any()
    failed = judged.checked.flags == Flag.FAIL
    assert (judged.score[failed] == 1.0).all()
    assert (judged.surprise[failed] == FAULT).all()
    np.testing.assert_array_equal(judged.surprise > 0, known & (judged.score >= ANOMALY_SCORE))
    bounds = judged.expected
    given_one = ~np.isnan(bounds.expected_m)
    assert (bounds.low_m[given_one] <= bounds.expected_m[given_one]).all()
    assert (bounds.expected_m[given_one] <= bounds.high_m[given_one]).all()


@settings(max_examples=60, deadline=None)
@given(series=one_station(), before=calibrations, after=calibrations, cuts=st.tuples(*[st.floats(0, 1)] * 3))
def test_a_slice_with_its_context_is_scored_as_in_the_whole_whatever_is_valid_when(model, series, before, after, cuts):
    time_us, level_m = series
    since, first, last = sorted(int(cut * (len(time_us) - 1)) for cut in cuts)
    valid = Calibrations([(0, 0, before), (0, int(time_us[since]), after)])
    begin, there = context_of(time_us, level_m, first), np.flatnonzero(~np.isnan(level_m[last + 1 :]))
    end = last + 2 + int(there[0]) if len(there) else len(time_us)
    whole = verdicts(model, time_us, level_m, np.arange(first, last + 1), valid)
    part = verdicts(model, time_us[begin:end], level_m[begin:end], np.arange(first, last + 1) - begin, valid)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name), err_msg=name)


@settings(max_examples=40, deadline=None)
@given(series=one_station(min_size=4), own=calibrations, seed=st.integers(0, 2**16))
def test_the_order_of_the_targets_and_how_they_are_divided_changes_nothing(model, series, own, seed):
    time_us, level_m = series
    valid, chance = Calibrations.constant({0: own}), np.random.default_rng(seed)
    whole = verdicts(model, time_us, level_m, np.arange(len(time_us)), valid)
    order = chance.permutation(len(time_us))
    halves = np.split(order, [len(order) // 3])
    joined = Judged.joined([verdicts(model, time_us, level_m, half, valid) for half in halves], order)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name), err_msg=name)


@given(tail=tails, values=st.lists(st.floats(0.0, 1e6), min_size=2, max_size=30))
def test_what_is_more_surprising_never_scores_less(tail, values):
    measure = np.sort(np.array(values))
    knots = np.broadcast_to(np.array([0.0, *tail.values]), (len(measure), len(tail.values) + 1))
    points = score_of(decades(measure, knots, np.full(len(measure), tail.slope)))
    assert (np.diff(points) >= -1e-12).all()
    assert ((points >= 0.0) & (points <= 1.0)).all()


@given(own=calibrations)
def test_any_calibration_survives_json(own):
    assert Calibration.from_json(own.to_json()) == own
    assert replace(own, rows=own.rows + 1) != own
    assert own != SHIPPED
