import math

import pytest

from simulator.air import Air, AirOptions

FRAMES = 20_000


def carried(options: AirOptions, forwarders: int = 2) -> list[list[tuple[int, float, int]]]:
    air = Air(options, forwarders)
    place = air.place()
    return [[(r.forwarder, r.delay_s, r.times) for r in air.carry(place)] for _ in range(FRAMES)]


def near(share: float, expected: float) -> bool:
    """Within four standard deviations of a binomial share."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / FRAMES)


def test_good_air_lets_everybody_hear_everything_once_and_at_once() -> None:
    assert all(heard == [(0, 0.0, 1), (1, 0.0, 1)] for heard in carried(AirOptions()))


def test_losses_are_each_forwarders_own() -> None:
    heard = carried(AirOptions(loss=0.2))
    for forwarder in (0, 1):
        assert near(sum(forwarder not in [f for f, *_ in one] for one in heard) / FRAMES, 0.2)
    assert near(sum(not one for one in heard) / FRAMES, 0.04)


def test_repeats_and_overtaking_happen_as_often_as_asked() -> None:
    heard = [one[0] for one in carried(AirOptions(repeat=0.1, reorder=0.05, delay_s=0.01))]
    assert near(sum(times == 2 for *_, times in heard) / FRAMES, 0.1)
    assert near(sum(delay_s > 0.01 for _, delay_s, _ in heard) / FRAMES, 0.05)
    assert max(delay_s for _, delay_s, _ in heard) < 0.6


def test_a_seed_tells_all() -> None:
    options = AirOptions(loss=0.1, repeat=0.1, reorder=0.1, delay_s=0.1, seed=7)
    assert carried(options) == carried(options)
    assert carried(options) != carried(AirOptions(loss=0.1, repeat=0.1, reorder=0.1, delay_s=0.1, seed=8))


def test_forwarders_hear_one_frame_differently_and_believably() -> None:
    air = Air(AirOptions(), 2)
    pairs = [air.carry(air.place()) for _ in range(500)]
    assert sum(a.rssi_dbm != b.rssi_dbm for a, b in pairs) > 450
    assert all(-125 <= r.rssi_dbm <= -50 and -8.0 <= r.snr_db <= 12.0 for pair in pairs for r in pair)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_answers_are_lost_as_often_as_frames(loss: float) -> None:
    air = Air(AirOptions(loss=loss), 1)
    assert near(sum(not air.answer_is_heard() for _ in range(FRAMES)) / FRAMES, loss) or loss == 0.0
