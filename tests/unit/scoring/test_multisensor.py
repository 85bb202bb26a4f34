"""Several sensors of one device: what is surprising, and which of them is off."""

import json

import numpy as np
import pytest

from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.multisensor import ALARM_RATIO, CONTEXT_ROWS, MIN_ROWS, MultisensorProfile, surprise

LEARN, JUDGE = 500, 300


def ordinary(rows, channels=4, seed=0):
    """Sensors that share a cause and have their own noise, in units of very different size."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(rows, 1))
    return (0.8 * cause + 0.6 * rng.normal(size=(rows, channels))) * 10.0 ** np.arange(channels) + 50


@pytest.fixture(scope="module")
def values():
    return ordinary(LEARN + JUDGE)


@pytest.fixture(scope="module")
def profile(values):
    return MultisensorProfile.learn(values[:LEARN], ["a", "b", "c", "d"])


def judged(profile, values):
    return surprise(profile, values[LEARN:], before=values[:LEARN])


def test_ordinary_readings_raise_no_alarm(profile, values) -> None:
    assert judged(profile, values).alarm.mean() < 0.01


def test_the_score_tells_how_rare_such_a_reading_is_among_ordinary_ones() -> None:
    values = ordinary(20_000, seed=1)
    score = surprise(MultisensorProfile.learn(values[:5000]), values[5000:]).score
    assert score.min() >= 0
    assert score.max() <= 1
    for share in (0.75, 0.5, 0.25, 0.1, 0.02):
        assert (score >= 1 - 2 ** np.log10(share)).mean() == pytest.approx(share, rel=0.3)
    assert (score >= ANOMALY_SCORE).mean() < 0.001


@pytest.mark.parametrize("channel", range(4))
def test_a_sensor_that_shifts_is_found_and_blamed(profile, values, channel) -> None:
    shifted = values.copy()
    shifted[LEARN + 100 :, channel] += 2.5 * 10.0**channel
    verdict = judged(profile, shifted)
    assert verdict.alarm[100 + CONTEXT_ROWS :].mean() > 0.95
    assert (verdict.contribution[100 + CONTEXT_ROWS :].argmax(axis=1) == channel).mean() > 0.95
    np.testing.assert_allclose(verdict.contribution.sum(axis=1), 1)


def test_a_sensor_that_leaves_the_others_is_found_within_its_own_range(profile, values) -> None:
    rng, broken = np.random.default_rng(5), values.copy()
    cause = 1.5 * np.sin(np.arange(JUDGE) / 10)[:, None]
    broken[LEARN:] = (0.8 * cause + 0.2 * rng.normal(size=(JUDGE, 4))) * 10.0 ** np.arange(4) + 50
    usual = judged(profile, broken).ratio
    broken[LEARN:, 2] = 100 - broken[LEARN:, 2]  # against the others, as large as ever
    verdict = judged(profile, broken)
    assert np.median(verdict.ratio) > 1.5 * np.median(usual)
    crest = np.abs(cause[:, 0]) > 1
    assert (verdict.contribution[crest].argmax(axis=1) == 2).mean() > 0.8


def test_a_gross_fault_is_found_within_four_rows(profile, values) -> None:
    broken = values.copy()
    broken[LEARN + 50 : LEARN + 60, 1] = -900.0
    assert judged(profile, broken).alarm[50:54].any()


def test_one_wild_row_is_no_alarm_that_lasts(profile, values) -> None:
    broken = values.copy()
    broken[LEARN + 50, 1] = 1e9
    assert judged(profile, broken).alarm.sum() <= 4


def test_a_channel_that_wanders_is_allowed_to_wander_on() -> None:
    rng = np.random.default_rng(2)
    steady = rng.normal(size=(LEARN + JUDGE, 3))
    wandering = 0.3 * np.cumsum(rng.normal(size=(LEARN + JUDGE, 1)), axis=0) + rng.normal(size=(LEARN + JUDGE, 1))
    values = np.hstack([steady, wandering])
    values[LEARN:, 3] += 2 * np.ptp(wandering[:LEARN])  # further than it came while learning
    forgiving = judged(MultisensorProfile.learn(values[:LEARN]), values).ratio
    values[:LEARN, 3] = rng.permutation(values[:LEARN, 3])  # the same values, but they do not wander
    strict = judged(MultisensorProfile.learn(values[:LEARN]), values).ratio
    assert np.median(strict) > 2 * np.median(forgiving)


def test_only_the_documented_context_matters(profile, values) -> None:
    whole = surprise(profile, values)
    start = LEARN + 40
    part = surprise(profile, values[start:], before=values[start - CONTEXT_ROWS : start])
    np.testing.assert_array_equal(part.score, whole.score[start:])
    np.testing.assert_array_equal(part.contribution, whole.contribution[start:])


def test_a_row_without_any_value_has_no_score(profile, values) -> None:
    gaps = values[LEARN:].copy()
    gaps[10] = np.nan
    verdict = surprise(profile, gaps)
    assert np.isnan(verdict.score[10])
    assert np.isnan(verdict.ratio[10])
    assert not verdict.alarm[10]
    assert np.isfinite(np.delete(verdict.score, 10)).all()


def test_a_channel_that_is_mostly_missing_takes_no_part(values) -> None:
    holes = values.copy()
    holes[: LEARN // 2 + 1, 3] = np.nan
    profile = MultisensorProfile.learn(holes[:LEARN])
    holes[LEARN:, 3] = 1e12
    verdict = judged(profile, holes)
    assert not verdict.alarm.any()
    assert (verdict.contribution[:, 3] == 0).all()
    assert MultisensorProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_a_constant_channel_that_moves_is_found() -> None:
    values = np.hstack([ordinary(LEARN + JUDGE, 2), np.full((LEARN + JUDGE, 2), 3.6)])
    values[:, 3] = 0
    profile = MultisensorProfile.learn(values[:LEARN])
    assert not judged(profile, values).alarm.any()
    for channel, change in ((2, -0.6), (3, 0.001)):
        moved = values.copy()
        moved[LEARN:, channel] += change
        verdict = judged(profile, moved)
        assert verdict.alarm[CONTEXT_ROWS:].all()
        assert (verdict.contribution[CONTEXT_ROWS:].argmax(axis=1) == channel).all()


def test_a_device_on_which_nothing_ever_moved() -> None:
    profile = MultisensorProfile.learn(np.full((MIN_ROWS, 2), 7.0))
    assert surprise(profile, np.full((5, 2), 7.0)).score.tolist() == [0, 0, 0, 0, 0]
    assert surprise(profile, np.full((30, 2), 9.0)).alarm[-1]


@pytest.mark.parametrize("channels", [1, 40])
def test_one_channel_and_forty(channels) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(LEARN + JUDGE, channels))
    profile = MultisensorProfile.learn(values[:LEARN])
    assert judged(profile, values).alarm.mean() < 0.05
    values[LEARN:, 0] += 5
    assert judged(profile, values).alarm[CONTEXT_ROWS:].mean() > 0.9


def test_it_survives_json(profile, values) -> None:
    again = MultisensorProfile.from_json(json.loads(json.dumps(profile.to_json())))
    assert again == profile
    np.testing.assert_array_equal(judged(again, values).score, judged(profile, values).score)


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body.pop("levels"),
        lambda body: body.update(format="streamgauge-multisensor-0"),
        lambda body: body.update(names=["a"]),
        lambda body: body.update(scale=[0, 1, 1, 1]),
        lambda body: body.update(centre=["x", 1, 1, 1]),
        lambda body: body["windows"].pop(),
        lambda body: body["windows"][0].update(limit=0),
        lambda body: body["windows"][0]["precision"].pop(),
        lambda body: body["windows"][0]["precision"][0].__setitem__(0, -1.0),
        lambda body: body["windows"][1].update(centre=[float("nan")] * 4),
        lambda body: body.update(windows=None),
    ],
)
def test_a_damaged_profile_is_refused(profile, damage) -> None:
    body = profile.to_json()
    damage(body)
    with pytest.raises(ValueError, match="profile of several sensors"):
        MultisensorProfile.from_json(body)


@pytest.mark.parametrize("body", [None, [], "x", {}, 3])
def test_what_is_no_profile_is_refused(body) -> None:
    with pytest.raises(ValueError, match="not a profile"):
        MultisensorProfile.from_json(body)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((MIN_ROWS - 1, 3)), "127 readings"),
        (np.full((1000, 3), np.nan), "0 readings"),
        (np.zeros(500), "shape"),
        (np.where(np.arange(500)[:, None] % 3 == np.arange(3), 1.0, np.nan), "None of the 3 channels"),
    ],
)
def test_too_little_to_learn_from_is_a_clear_error(rows, message) -> None:
    with pytest.raises(ValueError, match=message):
        MultisensorProfile.learn(rows)


def test_names_and_channels_must_fit(profile, values) -> None:
    with pytest.raises(ValueError, match="as many different names"):
        MultisensorProfile.learn(values, ["a", "a", "b", "c"])
    with pytest.raises(ValueError, match="4 channels"):
        surprise(profile, values[:, :3])
    with pytest.raises(ValueError, match="4 channels"):
        surprise(profile, values, before=values[:, :3])


def test_no_rows_give_no_verdicts(profile) -> None:
    verdict = surprise(profile, np.empty((0, 4)))
    assert verdict.score.shape == (0,)
    assert verdict.contribution.shape == (0, 4)


def test_the_alarm_lies_beyond_everything_ordinary(profile, values) -> None:
    verdict = surprise(profile, values[:LEARN])
    assert np.nanmax(verdict.ratio[CONTEXT_ROWS:]) == pytest.approx(1)
    assert not verdict.alarm.any()


def test_the_alarm_is_the_score_that_marks_a_level_too(profile, values) -> None:
    broken = values.copy()
    broken[LEARN + 100 :, 0] += 3
    verdict = judged(profile, broken)
    assert verdict.alarm.any()
    np.testing.assert_array_equal(verdict.alarm, verdict.score >= ANOMALY_SCORE)
    far = np.abs(verdict.ratio - ALARM_RATIO) > 1e-9
    np.testing.assert_array_equal(verdict.alarm[far], verdict.ratio[far] > ALARM_RATIO)
    assert (np.diff(verdict.score[np.argsort(verdict.ratio)]) >= 0).all()
