"""Files of our own making in the format of the Skoltech Anomaly Benchmark, for tests and for trying the benchmark out.

SKAB's own files are under GPL-3.0 and stay outside of this repository. What is made here has their columns and what makes
them hard: a flow meter that counts pulses and thus says whole numbers, a current that jumps between two levels,
temperatures that wander further after the learning rows than within them and do not come back, faults that begin slowly
and are labelled from their first second.

``python -m tests.benchmarks.skab_like FOLDER [--seed N]`` writes as many files as SKAB v0.9 has.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHANNELS = (
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
)
FILES = {"valve1": 16, "valve2": 4, "other": 14}
LABELLED_GROUPS = tuple(FILES)
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pump:
    """A speed of the pump: what its sensors ordinarily say."""

    acceleration: tuple[float, float]
    flow: float
    current: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault does at full strength: relative changes, a drift of the temperatures by its end, more scatter."""

    flow: float
    acceleration: tuple[float, float]
    temperature: float
    thermocouple: float
    scatter: float = 1.0


SLOW = (Pump((0.0265, 0.0400), 32, (0.65, 1.2)), Pump((0.0277, 0.0402), 29, (0.65, 1.2)))
FAST = (
    Pump((0.080, 0.129), 75, (1.1, 1.85)),
    Pump((0.245, 0.29), 125, (1.8, 2.6)),
    Pump((0.21, 0.26), 120, (1.8, 2.6)),
)
FAULTS = {
    "valve1": (Fault(-0.045, (-0.004, -0.01), -2.0, 0.1), Fault(-0.045, (-0.004, -0.01), 0.5, 0.3)),
    "valve2": (Fault(-0.03, (0.012, 0.015), -1.0, 0.2), Fault(-0.03, (0.012, 0.015), 0.4, -0.1)),
    "other": (
        Fault(0.01, (0.25, 0.2), 0.3, 0.02, 1.5),
        Fault(-0.3, (0.05, 0.03), 0.3, 0.05, 3.0),
        Fault(-0.01, (0.01, 0.01), 4.0, 2.5),
        Fault(0.03, (-0.02, 0.01), -1.0, -0.1),
    ),
}


def recordings(seed: int, files: dict[str, int] | None = None) -> Iterator[tuple[str, FloatArray, NDArray[np.bool_]]]:
    """Each recording's name (group/number), values float64[n, 8] and labels bool[n]."""
    rng = np.random.default_rng(seed)
    for group, number in (files or FILES).items():
        for index in range(number):
            yield (f"{group}/{index}", *recording(rng, group))


def recording(rng: np.random.Generator, group: str) -> tuple[FloatArray, NDArray[np.bool_]]:
    """One experiment of about twenty minutes, a row a second, with one fault in its second half."""
    rows = int(rng.integers(1050, 1180))
    start = int(rng.integers(540, 620))
    end = min(start + int(rng.integers(330, 420)), rows - 60)
    strength = _strength(rng, rows, start, end)
    pump = FAST[rng.integers(len(FAST))] if group == "other" else SLOW[group == "valve2"]
    fault = FAULTS[group][rng.integers(len(FAULTS[group]))]
    values = _sensors(rng, pump, fault, strength * rng.uniform(0.35, 1.6))
    labels = np.zeros(rows, dtype=np.bool_)
    labels[start:end] = True
    return values, labels


def _strength(rng: np.random.Generator, rows: int, start: int, end: int) -> FloatArray:
    second = np.arange(end - start)
    shape = (
        1 - np.exp(-second / 8),
        np.minimum(1, second / (0.5 * len(second))),
        1 - np.exp(-second / 70),
        1 / (1 + np.exp(-(second - 60) / 12)),
    )[rng.integers(4)]
    strength = np.zeros(rows)
    strength[start:end] = shape
    strength[end:] = shape[-1] * np.exp(-np.arange(rows - end) / rng.choice([3, 20, 60]))
    return strength


def _sensors(rng: np.random.Generator, pump: Pump, fault: Fault, strength: FloatArray) -> FloatArray:
    rows = len(strength)
    noise, reached = rng.normal(size=(8, rows)), np.cumsum(strength) / max(1.0, strength.sum())
    scatter = 1 + (fault.scatter - 1) * strength
    common = _returning(rng, rows, 150)
    first = 0.004 * _returning(rng, rows, 100) + 0.003 * common + 0.010 * noise[0] * scatter
    first += fault.acceleration[0] * strength
    second = 0.006 * _returning(rng, rows, 120) + 0.003 * common + 0.013 * noise[1] * scatter + 0.6 * first
    second += fault.acceleration[1] * strength
    fast = pump.flow > 60
    current = np.where(_returning(rng, rows, 25) > 0, *pump.current[::-1]) + 0.17 * (1 + fast) * noise[2]
    pressure = 0.054711 + 0.327927 * np.round(0.75 * noise[3] + 0.15 + 0.15 * strength)
    wander = 10 ** rng.uniform(-2.9, -1.8)
    temperature = rng.uniform(66, 90) + _wandering(rng, rows, wander) + 0.12 * noise[4] + fault.temperature * reached
    water = rng.uniform(22, 29) + _wandering(rng, rows, wander / 4) + 0.006 * noise[5] + fault.thermocouple * reached
    voltage = 230 + 10 * noise[6] + 8 * (current - np.mean(pump.current))
    flow = pump.flow * (1 + 0.002 * _returning(rng, rows, 300) + fault.flow * strength) + rng.uniform(-0.5, 0.5)
    flow += (0.05 + 0.2 * fast) * scatter * noise[7]
    pulses = np.diff(np.floor(np.cumsum(flow)), prepend=0) + 0.004 * (rng.random(rows) < 0.2)
    one, two = pump.acceleration
    return np.column_stack(
        [one * (1 + first), two * (1 + second), current, pressure, temperature, water, voltage, pulses]
    )


def _returning(rng: np.random.Generator, rows: int, seconds: float) -> FloatArray:
    """A process of spread 1 that returns to 0 within about so many seconds."""
    keep = np.exp(-1 / seconds)
    steps = rng.normal(size=rows) * np.sqrt(1 - keep**2)
    level, levels = rng.normal(), np.empty(rows)
    for row, step in enumerate(steps):
        level = keep * level + step
        levels[row] = level
    return levels


def _wandering(rng: np.random.Generator, rows: int, per_second: float) -> FloatArray:
    wandered: FloatArray = np.cumsum(per_second * _returning(rng, rows, 40))
    return wandered


def write(path: Path, values: FloatArray, labels: NDArray[np.bool_]) -> None:
    """Write one recording as SKAB does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = datetime(2026, 3, 9, 10, tzinfo=UTC)
    changes = np.diff(labels.astype(int), prepend=0) != 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["datetime", *CHANNELS, "anomaly", "changepoint"])
        for row, numbers in enumerate(values):
            time = begin + timedelta(seconds=row)
            written = [f"{number:.6g}" for number in numbers]
            writer.writerow([f"{time:%Y-%m-%d %H:%M:%S}", *written, float(labels[row]), float(changes[row])])


def main(arguments: Sequence[str]) -> int:
    """Write the files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.skab_like", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for name, values, labels in recordings(options.seed):
        write(options.folder / f"{name}.csv", values, labels)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
