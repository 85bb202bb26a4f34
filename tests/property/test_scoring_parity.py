"""Live and batch agree, nothing looks ahead, and the score behaves as documented."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.scoring.features import build
from streamgauge.scoring.judge import Judged, judge, score
from streamgauge.scoring.model import Expected, Model
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import UNSEEN
from tests.support.level_series import LEVELS, context_of, one_station, same


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load()


def judged_alike(left: Judged, right: Judged) -> None:
    same(left.checked, right.checked)
    for name in Expected.__slots__:
        np.testing.assert_array_equal(getattr(left.expected, name), getattr(right.expected, name), err_msg=name)
    for name in ("score", "surprise", "why", "rate_m_per_h"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


def judge_slice(model: Model, time_us, level_m, first: int, last: int) -> Judged:
    """Rows first…last as a worker judges them: with their context, and the reading after them."""
    begin = context_of(time_us, level_m, first)
    there = np.flatnonzero(~np.isnan(level_m[last + 1 :]))
    end = last + 2 + int(there[0]) if len(there) else len(time_us)
    return judge(
        model,
        np.zeros(end - begin, dtype=np.int64),
        time_us[begin:end],
        level_m[begin:end],
        np.arange(first - begin, last - begin + 1),
    )


@settings(max_examples=100, deadline=None)
@given(series=one_station(), cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_slice_with_its_context_is_judged_as_in_the_whole(model, series, cuts):
    time_us, level_m = series
    first, last = sorted(int(cut * (len(time_us) - 1)) for cut in cuts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        part = judge_slice(model, time_us, level_m, first, last)
        whole = judge(model, np.zeros(len(time_us), dtype=np.int64), time_us, level_m, np.arange(first, last + 1))
    judged_alike(part, whole)


def test_a_real_flood_row_by_row_is_judged_as_in_one_go(model):
    record = read_record(UNSEEN)
    flood = int(np.argmax(record.level_m))
    rows = np.arange(flood - 60, flood + 60)
    whole = judge(model, record.station, record.time_us, record.level_m, rows)
    for place, row in enumerate(rows):
        alone = judge_slice(model, record.time_us, record.level_m, row, row)
        assert alone.score[0] == whole.score[place]
        assert alone.checked.flags[0] == whole.checked.flags[place]


@settings(max_examples=60, deadline=None)
@given(stations=st.lists(one_station(max_size=50), min_size=2, max_size=4))
def test_stations_do_not_know_of_each_other(model, stations):
    station = np.concatenate([np.full(len(times), place) for place, (times, _) in enumerate(stations)]).astype(np.int64)
    time_us, level_m = (np.concatenate([each[part] for each in stations]) for part in (0, 1))
    for place, (times, levels) in enumerate(stations):
        mixed = judge(model, station, time_us, level_m, np.flatnonzero(station == place))
        alone = judge(model, np.zeros(len(times), dtype=np.int64), times, levels, np.arange(len(times)))
        judged_alike(mixed, alone)


@settings(max_examples=150, deadline=None)
@given(series=one_station(min_size=4), other=LEVELS, cut=st.floats(0, 1))
def test_neither_a_row_itself_nor_a_later_one_changes_its_features(series, other, cut):
    time_us, level_m = series
    row = int(cut * (len(time_us) - 1))
    assume(not np.isnan(level_m[row:]).any())
    assume(not np.isnan(other))
    zero = np.zeros(len(time_us), dtype=np.int64)
    changed = level_m.copy()
    changed[row:] = other
    before = build(zero, time_us, level_m, check_levels(zero, time_us, level_m), np.array([row]))
    after = build(zero, time_us, changed, check_levels(zero, time_us, changed), np.array([row]))
    np.testing.assert_array_equal(before.values, after.values)
    np.testing.assert_array_equal(before.baseline_m, after.baseline_m)


@settings(max_examples=100, deadline=None)
@given(
    expected_m=st.floats(-10, 100),
    below_m=st.floats(0, 5),
    above_m=st.floats(0, 5),
    offs=st.lists(st.floats(0, 1e4), min_size=2, max_size=20),
    side=st.sampled_from([-1.0, 1.0]),
)
def test_the_score_lies_in_0_to_1_and_grows_with_the_distance(expected_m, below_m, above_m, offs, side):
    level_m = expected_m + side * np.sort(np.array(offs))
    rows = len(level_m)
    band = Expected(*(np.full(rows, value) for value in (expected_m, expected_m - below_m, expected_m + above_m)))
    points = score(level_m, band, np.full(rows, Flag.GOOD, dtype=np.uint8))
    assert ((points >= 0.0) & (points <= 1.0)).all()
    assert (np.diff(points) >= 0.0).all()
