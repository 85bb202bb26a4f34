"""A station's track: it keeps what waits, learns from what came, stays small, and damaged bytes are refused."""

import json
from dataclasses import fields

import numpy as np
import pytest

from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.outcomes import outcomes
from streamgauge.scoring.forecast.proposals import PROPOSALS
from streamgauge.scoring.forecast.track import PERSISTENCE, SLOTS, Track, TrackDamaged

US = 1_000_000
BYTES_MAX = 60_000


def wait(track, at_s, off_m=0.0, half_m=0.1, model_off_m=None):
    """A forecast of 1 m for all horizons; what was proposed is off by ``off_m``."""
    columns = {
        "baseline_m": 1.0,
        "average_m": 1.0,
        "model_m": np.full(len(HORIZONS_S), 1.0 + (off_m if model_off_m is None else model_off_m)),
        "shown_m": np.ones(len(HORIZONS_S)),
        "low_m": np.full(len(HORIZONS_S), 1.0 - half_m),
        "high_m": np.full(len(HORIZONS_S), 1.0 + half_m),
        "state": 2,
        "pace": 1.0,
        "change_m": np.full((len(HORIZONS_S), len(PROPOSALS)), off_m, dtype=np.float32),
    }
    track.wait(columns, at_s * US)


def running(track, levels, step_s=300):
    for number, level_m in enumerate(levels):
        track.see(number * step_s * US, level_m)
        wait(track, number * step_s)
    return track


def test_bytes_give_the_track_again_and_stay_small():
    track = running(Track.new(), 1.0 + 0.1 * np.random.default_rng(1).normal(size=400))
    content = track.to_bytes()
    again = Track.from_bytes(content)
    assert all(np.array_equal(getattr(track, f.name), getattr(again, f.name), equal_nan=True) for f in fields(Track))
    assert again.to_bytes() == content
    assert len(content) < BYTES_MAX


@pytest.mark.parametrize("cut", [0, 1, 4, 19, 20, 100, -1])
def test_bytes_cut_short_are_refused(cut):
    with pytest.raises(TrackDamaged, match="cannot be read"):
        Track.from_bytes(Track.new().to_bytes()[:cut])


@pytest.mark.parametrize("place", [0, 5, 25, 200])
def test_one_changed_bit_is_noticed(place):
    content = bytearray(running(Track.new(), [1.0, 1.1, 1.2]).to_bytes())
    content[place] ^= 1
    with pytest.raises(TrackDamaged):
        Track.from_bytes(bytes(content))


def test_bytes_of_another_version_are_refused():
    from streamgauge.scoring.forecast.track_bytes import write_columns

    with pytest.raises(TrackDamaged, match="another version"):
        Track.from_bytes(write_columns({"times_us": np.zeros(2, dtype=np.int64)}))
    wrong = Track.new()
    wrong.head[0] = SLOTS
    with pytest.raises(TrackDamaged, match="range"):
        Track.from_bytes(wrong.to_bytes())


def test_an_outcome_comes_when_a_reading_at_or_after_its_time_does():
    track = Track.new()
    wait(track, 0, off_m=0.2)
    track.see(0, 1.0)
    assert track.rows.sum() == 0
    track.see(400 * US, 1.4)  # 300 s after the issue the line was at 1.3.
    assert track.rows[0, 2] == 1.0
    assert track.error_m[0, 2, 0] == pytest.approx(0.1, abs=1e-6)
    assert track.rows[1:].sum() == 0


def test_an_outcome_in_a_long_gap_is_none():
    track = Track.new()
    wait(track, 0)
    track.see(0, 1.0)
    track.see(2_000 * US, 2.0)
    assert track.rows.sum() == 0
    assert np.isfinite(outcomes(np.array([0, 1_800]) * US, np.ones(2), np.array([900]) * US)).all()
    assert np.isnan(outcomes(np.array([0, 1_801]) * US, np.ones(2), np.array([900]) * US)).all()
    assert outcomes(np.array([0, 9_000]) * US, np.array([1.0, 2.0]), np.array([0, 9_000]) * US).tolist() == [1.0, 2.0]
    assert np.isnan(outcomes(np.empty(0, dtype=np.int64), np.empty(0), np.array([1]))).all()


def test_misses_widen_the_side_they_are_on_and_hits_narrow_it():
    high, low = (running(Track.new(), np.full(60, level_m)) for level_m in (1.5, 0.5))
    assert high.log_factor[0, 2, 1] > 0.5
    assert high.log_factor[0, 2, 0] < 0.0
    assert low.log_factor[0, 2, 0] > 0.5
    assert low.log_factor[0, 2, 1] < 0.0
    within = running(Track.new(), np.ones(60))
    assert (within.log_factor[0, 2] < 0.0).all()
    assert (within.log_factor[:, 0] == 0.0).all(), "other states of the water learn nothing of it"


def test_more_forecasts_than_slots_make_the_oldest_give_way():
    track = Track.new()
    for number in range(SLOTS + 50):
        wait(track, number)
    assert np.count_nonzero(track.target_us[-1] != np.iinfo(np.int64).max) == SLOTS
    track.see((SLOTS + 60) * US, 1.0)
    track.see(10**6 * US, 1.0)
    assert (track.target_us == np.iinfo(np.int64).max).all()


def test_persistence_is_shown_once_the_model_has_lost_for_long_and_the_model_again_once_it_wins():
    track = Track.new()
    for number in range(1_200):
        wait(track, number * 300, model_off_m=0.3)
        track.see(number * 300 * US, 1.01)
    assert (track.method == PERSISTENCE).all()
    assert track.record()["horizons"][0]["method"] == "persistence"
    for number in range(1_200, 1_200 + 20_000):
        wait(track, number * 300, model_off_m=0.01)
        track.see(number * 300 * US, 1.01)
    assert track.record()["horizons"][0]["method"] == "model"


def test_the_record_is_json_and_says_nothing_before_there_are_outcomes():
    new = Track.new().record()
    assert json.loads(json.dumps(new)) == new
    assert [found["horizon_s"] for found in new["horizons"]] == list(HORIZONS_S)
    assert new["horizons"][0]["overall"]["coverage"] is None
    found = running(Track.new(), np.full(30, 1.05)).record()["horizons"][0]
    assert found["overall"]["persistence_mae_m"] == pytest.approx(0.05)
    assert found["overall"]["coverage"] == 1.0
    assert found["moving"]["rows"] == found["overall"]["rows"] > 20
