"""What a fleet measures: a scenario's or a record's levels, dealt out to its sensors, or gentle swings of their own."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Protocol

from simulator.errors import InputFault
from simulator.instrument import Instrument
from simulator.records import read_record
from simulator.scenario import readings_of, run_scenario
from simulator.scenario_file import find_scenario, load_scenario
from streamgauge.reading import Reading, from_microseconds

_PERIODS_S = (300.0, 1_800.0)
_MIDDLE_M, _LARGEST_SWING_M = 1.5, 1.0
_EPOCH = from_microseconds(0)


class FleetWater(Protocol):
    """What one sensor of a fleet measures."""

    def measure(self, number: int, turn: int, time_s: float) -> Reading:
        """A reading whose device and time are still to be set.

        Args:
            number: which sensor.
            turn: how often it has measured before.
            time_s: seconds since 1970.
        """


class Dealt:
    """Recorded or scripted series: each sensor has the next one, and begins anew when it ends.

    Args:
        series: at least one; none is empty.
    """

    def __init__(self, series: Sequence[Sequence[Reading]]) -> None:
        self._series = series

    def measure(self, number: int, turn: int, time_s: float) -> Reading:
        """See ``FleetWater``."""
        del time_s
        own = self._series[number % len(self._series)]
        return own[turn % len(own)]


class Swings:
    """A sine of its own for each sensor, as far as its range allows.

    Args:
        instruments: one for each sensor.
        seed: of periods and phases.
    """

    def __init__(self, instruments: Sequence[Instrument], seed: int) -> None:
        chance = Random(f"swings/{seed}")
        self._swings = [_swing(instrument, chance) for instrument in instruments]

    def measure(self, number: int, turn: int, time_s: float) -> Reading:
        """See ``FleetWater``."""
        del turn
        middle_m, swing_m, period_s, phase = self._swings[number]
        level_m = middle_m + swing_m * math.sin(2.0 * math.pi * (time_s / period_s + phase))
        return Reading(device="", time=_EPOCH, level_m=level_m)


def find_water(source: str | None, instruments: Sequence[Instrument], seed: int) -> FleetWater:
    """The water that the command line names: a recorded file, a scenario, or none.

    Raises:
        InputFault: it cannot be read, or holds no levels.
    """
    if source is None:
        return Swings(instruments, seed)
    if source.endswith((".csv", ".gz")):
        readings: Sequence[Reading] = read_record(Path(source), "record").readings
    else:
        readings = readings_of(run_scenario(load_scenario(find_scenario(source))))
    series: dict[str, list[Reading]] = {}
    for reading in readings:
        if reading.level_m is not None:
            series.setdefault(reading.device, []).append(reading)
    if not series:
        raise InputFault(f"{source} cannot be used", ["it holds no level"])
    return Dealt(list(series.values()))


def fleet_readings(names: Sequence[str], water: FleetWater, every_s: float | None) -> Iterator[Reading]:
    """Readings for ever, sensor after sensor, each measured at the moment at which it is to leave.

    Args:
        names: the sensors'.
        water: what they measure.
        every_s: how often each one measures, all of them evenly spread; None: as soon as it is asked.
    """
    start_us = time.time_ns() // 1_000
    step_us = None if every_s is None else every_s * 1e6 / len(names)
    last_us = [0] * len(names)
    for index in count():
        number, turn = index % len(names), index // len(names)
        now_us = time.time_ns() // 1_000
        due_us = now_us if step_us is None else max(start_us + int(index * step_us), now_us)
        # Two readings of one sensor never bear the same time; a millisecond is what GPS time is told in.
        last_us[number] = max(due_us, last_us[number] + 1_000)
        measured = water.measure(number, turn, last_us[number] / 1e6)
        yield replace(measured, device=names[number], time=from_microseconds(last_us[number]), seq=None)


def total_of(every_s: float | None, names: int, duration: timedelta | None, limit: int | None) -> int | None:
    """How many readings a run has; None if that is not known before."""
    if every_s is None or duration is None:
        return limit
    due = math.ceil(duration.total_seconds() * names / every_s)
    return due if limit is None else min(due, limit)


def _swing(instrument: Instrument, chance: Random) -> tuple[float, float, float, float]:
    low_m, high_m = instrument.levels_m
    middle_m = min(max(_MIDDLE_M, low_m + 0.1 * (high_m - low_m)), high_m - 0.1 * (high_m - low_m))
    swing_m = min(_LARGEST_SWING_M, middle_m - low_m, high_m - middle_m)
    return middle_m, swing_m, chance.uniform(*_PERIODS_S), chance.random()
