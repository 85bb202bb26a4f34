import numpy as np

from simulator.demo import DemoTimes, due_moments, measure, places
from simulator.site import HOUR_US, SECOND_US
from streamgauge.reading import to_microseconds

NOW_US = 1_780_000_000_123_456
TIMES = DemoTimes()


def test_the_history_is_coarse_and_the_present_is_live() -> None:
    moments = due_moments(NOW_US - TIMES.history_us, NOW_US, TIMES)
    steps = np.diff(moments)
    assert moments.size >= 36 * 12
    assert np.all(np.diff(moments) > 0)
    assert set(steps[:-1].tolist()) <= {300 * SECOND_US}
    assert 0 <= NOW_US - moments[-1] < 2 * SECOND_US


def test_nothing_is_due_twice_and_short_gaps_are_filled_with_live_readings() -> None:
    last = int(due_moments(NOW_US - TIMES.history_us, NOW_US, TIMES)[-1])
    assert due_moments(last, NOW_US, TIMES).size == 0
    assert due_moments(last, last + 60 * SECOND_US, TIMES).tolist() == [last + 2 * SECOND_US * n for n in range(1, 31)]


def test_a_restarted_demo_sends_equal_readings_for_equal_times() -> None:
    for place in places():
        first = due_moments(NOW_US - TIMES.history_us, NOW_US, TIMES)
        again = due_moments(NOW_US + HOUR_US - TIMES.history_us, NOW_US + HOUR_US, TIMES)
        shared = np.intersect1d(first, again)
        assert shared.size > 400
        one_by_one = [measure(place, shared[n : n + 1])[0] for n in range(0, shared.size, 7)]
        assert measure(place, shared)[::7] == one_by_one


def test_a_flood_a_silence_and_a_spike_are_in_the_history() -> None:
    moments = due_moments(NOW_US - TIMES.history_us, NOW_US, TIMES)
    seen = {place.name: measure(place, moments) for place in places()}
    levels = {name: [r.level_m or 0.0 for r in readings if r is not None] for name, readings in seen.items()}
    assert max(levels["dead-run"]) > 1.8
    assert any(reading is None for reading in seen["north-quay"])
    assert np.sort(np.abs(np.diff(levels["old-weir"])))[-10] > 0.5
    assert all(None not in readings for name, readings in seen.items() if name != "north-quay")


def test_all_stations_move_within_minutes() -> None:
    first = NOW_US // (2 * SECOND_US) * 2 * SECOND_US
    for start in range(first, first + 24 * HOUR_US, HOUR_US):
        moments = np.arange(start, start + 300 * SECOND_US, 2 * SECOND_US, dtype=np.int64)
        moving = sum(len({r.level_m for r in measure(place, moments) if r is not None}) > 5 for place in places())
        assert moving >= 3


def test_readings_carry_the_times_that_were_asked_for() -> None:
    moments = np.array([NOW_US], dtype=np.int64)
    for place in places():
        for reading in measure(place, moments):
            assert reading is None or to_microseconds(reading.time) == NOW_US
