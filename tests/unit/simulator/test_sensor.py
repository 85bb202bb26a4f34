import numpy as np
import pytest

from simulator.chance import FloatArray, IntArray, normal, uniform
from simulator.sensor import Fault, FaultKind, Sensor, observe
from simulator.site import HOUR_US, SECOND_US

TIMES = np.arange(0, 10 * HOUR_US, 300 * SECOND_US, dtype=np.int64)
EXACT = Sensor(seed=1, resolution_m=0.0)


def rising(time_us: IntArray) -> FloatArray:
    return np.asarray(1.0 + time_us / (10 * HOUR_US), dtype=np.float64)


def fault(kind: FaultKind, size: float = 0.0) -> Fault:
    return Fault(kind=kind, start_us=2 * HOUR_US, end_us=4 * HOUR_US, size=size)


INSIDE = (TIMES >= 2 * HOUR_US) & (TIMES < 4 * HOUR_US)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_changes_nothing_outside_its_time(kind: FaultKind) -> None:
    seen = observe(EXACT, [fault(kind, 0.5)], TIMES, rising)
    assert np.array_equal(seen.level_m[~INSIDE], rising(TIMES)[~INSIDE])
    assert np.array_equal(seen.stamp_us[~INSIDE], TIMES[~INSIDE])
    assert seen.is_sent[~INSIDE].all()


def test_each_fault_does_what_it_is_called() -> None:
    def error(kind: FaultKind, size: float = 0.0) -> FloatArray:
        return np.asarray((observe(EXACT, [fault(kind, size)], TIMES, rising).level_m - rising(TIMES))[INSIDE])

    assert error(FaultKind.SPIKE, 0.7) == pytest.approx(0.7)
    assert error(FaultKind.OFFSET, -0.2) == pytest.approx(-0.2)
    assert error(FaultKind.DRIFT, 0.1) == pytest.approx(0.1 * (TIMES[INSIDE] / HOUR_US - 2.0))
    stuck = observe(EXACT, [fault(FaultKind.STUCK)], TIMES, rising).level_m[INSIDE]
    assert np.all(stuck == rising(np.array([2 * HOUR_US], dtype=np.int64))[0])
    assert not observe(EXACT, [fault(FaultKind.DROPOUT)], TIMES, rising).is_sent[INSIDE].any()
    late = observe(EXACT, [fault(FaultKind.CLOCK_LATE, 90.0)], TIMES, rising)
    assert np.all(late.stamp_us[INSIDE] == TIMES[INSIDE] - 90 * SECOND_US)


def test_one_moment_at_a_time_gives_what_the_whole_gives() -> None:
    sensor = Sensor(seed=7, noise_m=0.01, drift_m_per_day=0.1)
    faults = [fault(FaultKind.STUCK), Fault(kind=FaultKind.SPIKE, start_us=5 * HOUR_US, end_us=6 * HOUR_US, size=1.0)]
    whole = observe(sensor, faults, TIMES, rising).level_m
    single = [observe(sensor, faults, TIMES[n : n + 1], rising).level_m[0] for n in range(TIMES.size)]
    assert whole.tolist() == single


def test_readings_are_short_decimals_of_the_resolution() -> None:
    level = observe(Sensor(seed=3, noise_m=0.05, resolution_m=0.003), [], TIMES, rising).level_m
    assert all(len(repr(value)) <= 5 and abs(value / 0.003 - round(value / 0.003)) < 1e-6 for value in level.tolist())


def test_chance_is_spread_as_it_should_be_and_is_looked_up_not_drawn() -> None:
    keys = np.arange(20_000, dtype=np.int64) * 300_000_000
    flat, bell = uniform(9, keys), normal(9, keys)
    assert (flat.min() > 0.0, flat.max() < 1.0) == (True, True)
    assert flat.mean() == pytest.approx(0.5, abs=0.01)
    assert (bell.mean(), bell.std()) == (pytest.approx(0.0, abs=0.03), pytest.approx(1.0, abs=0.03))
    assert abs(np.corrcoef(bell[:-1], bell[1:])[0, 1]) < 0.03
    assert np.array_equal(normal(9, keys[::-1]), bell[::-1])
    assert not np.array_equal(uniform(10, keys), flat)


def test_splitmix64_gives_the_published_numbers() -> None:
    """First outputs of splitmix64.c from state 0; the state advances by the golden gamma before each output."""
    from simulator.chance import _mix

    gamma = np.uint64(0x9E3779B97F4A7C15)
    states = np.array([0, gamma], dtype=np.uint64)
    assert [hex(value) for value in _mix(states).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]
