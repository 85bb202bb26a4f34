"""What a sensor makes of the water: noise, drift, resolution, and faults whose place is known.

A fault is a half-open interval of time, so that the same sensor may be asked for a day at once or for one moment at a
time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from simulator.chance import FloatArray, IntArray, normal
from simulator.site import DAY_US, HOUR_US


class FaultKind(StrEnum):
    """What may go wrong with a sensor."""

    SPIKE = "spike"
    STUCK = "stuck"
    DROPOUT = "dropout"
    DRIFT = "drift"
    OFFSET = "offset"
    CLOCK_LATE = "clock_late"


SIZE_UNIT = {
    FaultKind.SPIKE: "size_m",
    FaultKind.DRIFT: "size_m_per_h",
    FaultKind.OFFSET: "size_m",
    FaultKind.CLOCK_LATE: "late_s",
}
"""Under which name, and thus in which unit, a fault's size is given; the other kinds have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Args:
        kind: what goes wrong.
        start_us: from this moment,
        end_us: until just before this one.
        size: in the unit that ``SIZE_UNIT`` names (m, m/h, m, s); 0 for kinds without one.
    """

    kind: FaultKind
    start_us: int
    end_us: int
    size: float = 0.0

    def affects(self, time_us: IntArray) -> npt.NDArray[np.bool_]:
        """Which of these moments lie in the fault."""
        return (time_us >= self.start_us) & (time_us < self.end_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A level sensor.

    Args:
        seed: of its noise.
        noise_m: standard deviation.
        resolution_m: readings are whole multiples of it; 0 for none.
        drift_m_per_day: since ``installed_us``.
        installed_us: when the drift was nought.
    """

    seed: int
    noise_m: float = 0.0
    resolution_m: float = 0.001
    drift_m_per_day: float = 0.0
    installed_us: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What left the sensor: its own time stamps (µs), levels (m), and which of the readings were sent at all."""

    stamp_us: IntArray
    level_m: FloatArray
    is_sent: npt.NDArray[np.bool_]


TrueLevel = Callable[[IntArray], FloatArray]


def observe(sensor: Sensor, faults: Sequence[Fault], time_us: IntArray, true_level_m: TrueLevel) -> Observed:
    """Measure the water at these times.

    Faults act in this order whatever the order in which they are given: what shifts the water's level (drift,
    offset), then what freezes it (stuck), then single jumps (spike), then what happens to the message (clock,
    dropout).
    """
    level = _moving(sensor, faults, time_us, true_level_m)
    for fault in _of(faults, FaultKind.STUCK):
        held = _moving(sensor, faults, np.array([fault.start_us], dtype=np.int64), true_level_m)[0]
        level = np.where(fault.affects(time_us), held, level)
    for fault in _of(faults, FaultKind.SPIKE):
        level = level + np.where(fault.affects(time_us), fault.size, 0.0)
    stamp_us, is_sent = time_us.copy(), np.ones(time_us.shape, dtype=np.bool_)
    for fault in _of(faults, FaultKind.CLOCK_LATE):
        stamp_us = stamp_us - np.where(fault.affects(time_us), int(fault.size * 1_000_000), 0)
    for fault in _of(faults, FaultKind.DROPOUT):
        is_sent &= ~fault.affects(time_us)
    return Observed(stamp_us, to_resolution(level, sensor.resolution_m), is_sent)


def to_resolution(level_m: FloatArray, resolution_m: float) -> FloatArray:
    """Round to whole steps; the result prints as a short decimal, for example 1.234 and never 1.2340000000000002."""
    if not resolution_m:
        return level_m
    return np.asarray(np.round(np.round(level_m / resolution_m) * resolution_m, 9), dtype=np.float64)


def _moving(sensor: Sensor, faults: Sequence[Fault], time_us: IntArray, true_level_m: TrueLevel) -> FloatArray:
    level = true_level_m(time_us) + sensor.drift_m_per_day * (time_us - sensor.installed_us) / DAY_US
    for fault in _of(faults, FaultKind.OFFSET):
        level = level + np.where(fault.affects(time_us), fault.size, 0.0)
    for fault in _of(faults, FaultKind.DRIFT):
        level = level + np.where(fault.affects(time_us), fault.size * (time_us - fault.start_us) / HOUR_US, 0.0)
    if sensor.noise_m:
        level = level + sensor.noise_m * normal(sensor.seed, time_us)
    return np.asarray(level, dtype=np.float64)


def _of(faults: Sequence[Fault], kind: FaultKind) -> list[Fault]:
    return [fault for fault in faults if fault.kind is kind]
