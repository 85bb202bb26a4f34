"""Sensor faults put into a level record, by seed and in physically sensible sizes: what detection is measured on.

Each function takes the levels from the fault's beginning on and gives what a broken sensor would have said. Nothing here knows
how faults are found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Broken = Callable[[IntArray, FloatArray, np.random.Generator], FloatArray]

US_PER_HOUR = 3_600_000_000
DISPLAY_M = 0.003048
"""The gauges of both records show 0.01 ft: what is put in is shown so too."""
PROBE_NOISE_M = 0.0015


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: of the kind.
        hours: how long it lasts, least and most; ``None``: one to three readings.
        breaks: what becomes of the levels.
        probe: the whole record is seen through a millimetre probe with its own noise, not through the gauge's display.
    """

    name: str
    hours: tuple[float, float] | None
    breaks: Broken
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Injected:
    """A stretch of a record with a fault in it.

    Attributes:
        kind: the fault's name.
        time_us: microseconds since 1970, int64[n].
        level_m: metres, with the fault, float64[n].
        sound_m: metres, as they were, float64[n].
        first: the fault's first row.
        last: its last row.
    """

    kind: str
    time_us: IntArray
    level_m: FloatArray
    sound_m: FloatArray
    first: int
    last: int


def _either_way(chance: np.random.Generator) -> float:
    return float(chance.choice([-1.0, 1.0]))


def _spike(time_us: IntArray, level_m: FloatArray, chance: np.random.Generator) -> FloatArray:
    """0.2 to 1 m, up or down."""
    return level_m + _either_way(chance) * chance.uniform(0.2, 1.0)


def _stuck(time_us: IntArray, level_m: FloatArray, chance: np.random.Generator) -> FloatArray:
    """The last value again and again; also what a logger says that repeats the last value of a lost sensor."""
    return np.full(len(level_m), level_m[0])


def _drift(time_us: IntArray, level_m: FloatArray, chance: np.random.Generator) -> FloatArray:
    """2 to 10 mm/h, up or down."""
    hours = (time_us - time_us[0]) / US_PER_HOUR
    return level_m + _either_way(chance) * chance.uniform(0.002, 0.010) * hours


def _noise(time_us: IntArray, level_m: FloatArray, chance: np.random.Generator) -> FloatArray:
    """σ 10 to 50 mm."""
    return level_m + chance.normal(0.0, chance.uniform(0.010, 0.050), len(level_m))


def _dropout(time_us: IntArray, level_m: FloatArray, chance: np.random.Generator) -> FloatArray:
    """0, as a cut cable or a converter without a signal says."""
    return np.zeros(len(level_m))


def _tilt(time_us: IntArray, level_m: FloatArray, chance: np.random.Generator) -> FloatArray:
    """A radar or ultrasonic sensor that was hit: a sudden offset of 0.1 to 0.5 m, and an echo that scatters."""
    offset_m = _either_way(chance) * chance.uniform(0.1, 0.5)
    return level_m + offset_m + chance.normal(0.0, chance.uniform(0.005, 0.020), len(level_m))


FAULTS = (
    Fault("spike", None, _spike),
    Fault("stuck", (2.0, 24.0), _stuck),
    Fault("stuck, millimetre probe", (2.0, 24.0), _stuck, probe=True),
    Fault("drift", (72.0, 72.0), _drift),
    Fault("noise", (2.0, 12.0), _noise),
    Fault("dropout to 0", (1.0, 12.0), _dropout),
    Fault("tilt", (6.0, 24.0), _tilt),
)

BEFORE_ROWS = 420
"""So much of the sound record stands before the fault: more than any verdict looks back."""
AFTER_ROWS = 12


def inject(fault: Fault, time_us: IntArray, level_m: FloatArray, row: int, seed: int) -> Injected:
    """A stretch of a record with a fault that begins at a row.

    Args:
        fault: which kind.
        time_us: the record's times, int64[n].
        level_m: the record's levels, without gaps, float64[n].
        row: the first faulty one, with ``BEFORE_ROWS`` before it.
        seed: of size, direction and length.

    Raises:
        ValueError: the record does not reach so far.
    """
    chance = np.random.default_rng(seed)
    begin = row - BEFORE_ROWS
    if fault.hours is None:
        end = row + int(chance.integers(1, 4))
    else:
        end = int(np.searchsorted(time_us, time_us[row] + chance.uniform(*fault.hours) * US_PER_HOUR))
    if begin < 0 or end + AFTER_ROWS > len(level_m) or end <= row:
        raise ValueError(f"The record of {len(level_m)} rows does not reach around rows {row} to {end}")
    times, sound = time_us[begin : end + AFTER_ROWS], level_m[begin : end + AFTER_ROWS].copy()
    if fault.probe:
        sound = np.round(sound + chance.normal(0.0, PROBE_NOISE_M, len(sound)), 3)
    broken, hit = sound.copy(), slice(BEFORE_ROWS, end - begin)
    broken[hit] = fault.breaks(times[hit], sound[hit], chance)
    step_m = 0.001 if fault.probe else DISPLAY_M
    broken[hit] = np.round(broken[hit] / step_m) * step_m
    return Injected(fault.name, times, broken, sound, BEFORE_ROWS, end - begin - 1)
