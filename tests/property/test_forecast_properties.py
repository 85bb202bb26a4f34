"""Forecasts: what comes later changes nothing that was issued, pieces are the whole, state survives its bytes, all is bounded."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.quality.check import check_levels
from streamgauge.scoring.forecast import conformal, mixing
from streamgauge.scoring.forecast.issue import replay
from streamgauge.scoring.forecast.track import Track
from streamgauge.scoring.model import Model

MINUTE_US = 60_000_000
EXAMPLES = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def model():
    return Model.load().forecast


@st.composite
def series(draw):
    """Water that walks, in display steps, with missing rows, leaps and uneven clocks."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(2, 150))
    step_us = draw(st.sampled_from([1, 5, 10, 15])) * MINUTE_US
    time_us = np.cumsum(random.choice([1, 1, 1, 1, 2, 30], rows)) * step_us + random.integers(0, 10_000_000, rows)
    level_m = np.cumsum(random.normal(0.0, draw(st.sampled_from([0.0, 0.002, 0.1])), rows))
    level_m[random.random(rows) < 0.03] += draw(st.sampled_from([1.0, 1e6, np.nan, np.inf]))
    display_m = draw(st.sampled_from([0.001, 0.003048, 0.01]))
    return np.sort(time_us), np.round(level_m / display_m) * display_m


def replayed(model, time_us, level_m, track=None):
    return replay(
        model, time_us, level_m, check_levels(np.zeros(len(time_us), dtype=np.int64), time_us, level_m), track
    )


def same_track(ours, theirs):
    return all(np.array_equal(getattr(ours, f.name), getattr(theirs, f.name), equal_nan=True) for f in fields(Track))


@EXAMPLES
@given(drawn=series(), data=st.data())
def test_what_comes_later_changes_nothing_that_was_issued(model, drawn, data):
    time_us, level_m = drawn
    cut = data.draw(st.integers(1, len(time_us)))
    other_m = level_m.copy()
    other_m[cut:] = data.draw(st.sampled_from([0.0, 7.5, np.nan]))
    ours, theirs = replayed(model, time_us, level_m), replayed(model, time_us, other_m)
    before = np.count_nonzero(ours.rows < cut)
    assert ours.rows[:before].tolist() == theirs.rows[: np.count_nonzero(theirs.rows < cut)].tolist()
    for name in ("expected_m", "low_m", "high_m", "model_m", "persistence_shown"):
        assert np.array_equal(getattr(ours, name)[:before], getattr(theirs, name)[:before]), name


@EXAMPLES
@given(drawn=series(), data=st.data())
def test_pieces_and_bytes_between_them_are_the_whole(model, drawn, data):
    time_us, level_m = drawn
    cut = data.draw(st.integers(0, len(time_us)))
    first = replayed(model, time_us[:cut], level_m[:cut])
    second = replayed(model, time_us, level_m, Track.from_bytes(first.track.to_bytes()))
    whole = replayed(model, time_us, level_m)
    # A reading just after the cut may come too soon after the last issue for the whole; live, the worker keeps the pace.
    if np.concatenate([first.rows, second.rows]).tolist() == whole.rows.tolist():
        assert np.array_equal(np.concatenate([first.expected_m, second.expected_m]), whole.expected_m)
        assert np.array_equal(np.concatenate([first.high_m, second.high_m]), whole.high_m)
        assert same_track(second.track, whole.track)


@EXAMPLES
@given(drawn=series())
def test_bands_are_in_order_and_the_state_is_bounded(model, drawn):
    found = replayed(model, *drawn)
    assert np.isfinite(found.expected_m).all()
    assert (found.low_m <= found.expected_m).all()
    assert (found.expected_m <= found.high_m).all()
    assert (found.track.log_factor >= conformal.LOG_FACTOR_MIN).all()
    assert (found.track.log_factor <= conformal.LOG_FACTOR_MAX[:, np.newaxis]).all()
    assert (found.track.rows <= mixing.MEMORY_ROWS + 4.0).all()
    assert len(found.track.to_bytes()) < 60_000


@given(st.integers(0, 2**32))
def test_weights_sum_to_one_and_favour_who_errs_least(seed):
    random = np.random.default_rng(seed)
    error_m = random.exponential(1.0, (7, 6)) * random.choice([0.0, 1e-9, 1.0, 1e5])
    found = mixing.weights(error_m, np.full(7, 1e6), np.ones((7, 6)))
    assert found.sum(axis=1) == pytest.approx(1.0)
    if error_m[:, 0].min() > 1e-6:
        best = found[np.arange(7), error_m.argmin(axis=1)]
        assert (best == found.max(axis=1)).all()


@settings(max_examples=8, deadline=None)
@given(st.floats(0.02, 0.98), st.integers(0, 2**32))
def test_the_share_beyond_tends_to_five_per_cent_also_where_outcomes_are_drawn_to_steps(share_still, seed):
    """Outcomes are 0 with some probability, else some steps off: no continuous distribution."""
    random = np.random.default_rng(seed)
    off = np.where(random.random(6_000) < share_still, 0.0, np.rint(random.normal(0.0, 3.0, 6_000)))
    state, log_factor = np.zeros(1, dtype=np.int64), np.zeros((1, 2))
    beyond = np.zeros((len(off), 2), dtype=np.bool_)
    for number, value in enumerate(off):
        half = np.exp(log_factor[0])
        beyond[number] = (-value > half[0], value > half[1])
        log_factor = conformal.learnt(log_factor, beyond[number : number + 1], state, np.full(1, float(number)))
    assert (beyond[1_000:].mean(axis=0) <= 0.065).all()
