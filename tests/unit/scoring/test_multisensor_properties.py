"""What holds of several sensors whatever they say: units, order and splitting do not matter, the future does not either."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.scoring.multisensor import MultisensorProfile, surprise

LEARN = 200
ROWS = LEARN + 80
NUMBERS = st.sampled_from([0.0, 1.0, 1.0, 1.25, -3.0, 1e-300, -1e308, 1e308, 5e-324, np.nan, np.inf, -np.inf, 1e6])


def noise(seed, channels):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(ROWS, channels)) + rng.normal(size=(ROWS, 1))
    values[:, 0] = np.round(values[:, 0])
    values[rng.random(values.shape) < 0.05] = np.nan
    values[LEARN + 40 :, rng.integers(channels)] += 4
    return values


def verdict_on(values):
    profile = MultisensorProfile.learn(values[:LEARN])
    return surprise(profile, values[LEARN:], before=values[:LEARN])


channels = st.integers(1, 8)
seeds = st.integers(0, 10**6)


@settings(max_examples=25, deadline=None)
@given(seeds, channels, st.data())
def test_units_do_not_matter(seed, channels, data) -> None:
    values = noise(seed, channels)
    factor = np.array(data.draw(st.lists(st.sampled_from([1e-9, 0.3048, -1.0, 9 / 5, 1e12]), min_size=channels)))
    offset = np.array(data.draw(st.lists(st.sampled_from([0.0, 32.0, -273.15]), min_size=channels)))
    before = verdict_on(values)
    after = verdict_on(values * factor[:channels] + offset[:channels] * np.abs(factor[:channels]))
    np.testing.assert_allclose(after.ratio, before.ratio, rtol=1e-6)
    np.testing.assert_allclose(after.contribution, before.contribution, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seeds, channels)
def test_the_order_of_the_channels_does_not_matter(seed, channels) -> None:
    values = noise(seed, channels)
    order = np.random.default_rng(seed).permutation(channels)
    before, after = verdict_on(values), verdict_on(values[:, order])
    np.testing.assert_allclose(after.ratio, before.ratio, rtol=1e-9)
    np.testing.assert_allclose(after.contribution, before.contribution[:, order], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, channels, st.lists(st.integers(1, 79), max_size=5))
def test_splitting_changes_no_bit(seed, channels, cuts) -> None:
    values = noise(seed, channels)
    profile, whole = MultisensorProfile.learn(values[:LEARN]), verdict_on(values)
    edges = [LEARN, *(LEARN + cut for cut in sorted(set(cuts))), ROWS]
    parts = [surprise(profile, values[a:b], values[:a]) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate([part.score for part in parts]), whole.score)
    np.testing.assert_array_equal(np.concatenate([part.contribution for part in parts]), whole.contribution)


@settings(max_examples=25, deadline=None)
@given(seeds, channels, st.integers(0, 79))
def test_the_future_does_not_matter(seed, channels, now) -> None:
    values = noise(seed, channels)
    before = verdict_on(values)
    values[LEARN + now + 1 :] = -1e9
    after = verdict_on(values)
    np.testing.assert_array_equal(after.score[: now + 1], before.score[: now + 1])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.data())
@pytest.mark.filterwarnings("error")
def test_whatever_a_sensor_says_there_is_a_verdict_or_a_clear_error(channels, data) -> None:
    few = data.draw(st.lists(st.lists(NUMBERS, min_size=channels, max_size=channels), min_size=1, max_size=12))
    values = np.resize(np.array(few), (LEARN + 30, channels))
    try:
        profile = MultisensorProfile.learn(values[:LEARN])
    except ValueError as error:
        if "readings" not in str(error):
            raise
        return
    assert MultisensorProfile.from_json(json.loads(json.dumps(profile.to_json(), allow_nan=False))) == profile
    verdict = surprise(profile, values[LEARN:], values[:LEARN])
    silent = np.isnan(values[LEARN:]).all(axis=1)
    assert (np.isnan(verdict.score) == silent).all()
    there = verdict.score[~silent]
    assert ((there >= 0) & (there <= 1)).all()
    assert np.isfinite(verdict.contribution).all()
    assert not verdict.alarm[silent].any()
