"""Scenarios: stations, their water, their sensors' faults, and what a watcher of the readings ought to find.

A scenario makes the same readings, to the byte, every time. What it says of itself (``[[expect]]``) is held against
what it makes: a scenario that promises a flood which never comes is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from simulator.chance import FloatArray, IntArray
from simulator.errors import InputFault
from simulator.sensor import Fault, FaultKind, Observed, Sensor, observe
from simulator.site import Water
from streamgauge.reading import Reading, format_time, from_microseconds, to_microseconds

FLOOD = "flood"
"""An event of the water itself; every other kind of expectation is a fault's."""

_DECIMALS = {"flow_m3_s": 4, "rainfall_mm": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One place: its water, its sensor, and the faults that the sensor will have."""

    name: str
    water: Water
    sensor: Sensor
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is to be found where.

    Args:
        station: its name.
        kind: a fault's kind, or ``flood``.
        start_us: from this moment,
        end_us: until just before this one.
        peak_m: for a flood, the level that the water reaches at least.
    """

    station: str
    kind: str
    start_us: int
    end_us: int
    peak_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole scenario; times as it states them, before any shift."""

    name: str
    title: str
    seed: int
    start: datetime
    duration: timedelta
    step_us: int
    stations: tuple[Station, ...]
    expectations: tuple[Expectation, ...]

    def times_us(self) -> IntArray:
        """The moments at which every station measures."""
        start_us = to_microseconds(self.start)
        return np.arange(start_us, start_us + self.duration // timedelta(microseconds=1), self.step_us, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class StationRun:
    """What one station's water did, and what its sensor made of it."""

    station: Station
    truth: Mapping[str, FloatArray]
    observed: Observed


def run_station(scenario: Scenario, station: Station) -> StationRun:
    """Let one station measure for the whole scenario."""
    time_us = scenario.times_us()
    truth = station.water.measure(time_us, scenario.step_us)
    observed = observe(
        station.sensor, station.faults, time_us, lambda at_us: station.water.measure(at_us, scenario.step_us)["level_m"]
    )
    return StationRun(station, truth, observed)


def run_scenario(scenario: Scenario) -> list[StationRun]:
    """Let every station measure, and hold the scenario to what it promises.

    Raises:
        InputFault: an expectation is not borne out, or two readings of a station bear the same time.
    """
    runs = [run_station(scenario, station) for station in scenario.stations]
    problems = [problem for run in runs for problem in _problems(run)]
    problems.extend(_broken_promises(scenario, runs))
    if problems:
        raise InputFault(f"The scenario {scenario.name!r} contradicts itself", problems)
    return runs


def readings_of(runs: Sequence[StationRun], shift: timedelta = timedelta()) -> list[Reading]:
    """Every reading of every station, in the order in which they were measured (whatever their own clocks say)."""
    readings: list[Reading] = []
    streams = [_station_readings(run, shift) for run in runs]
    for moment in zip(*streams, strict=True):
        readings.extend(reading for reading in moment if reading is not None)
    return readings


def truth_of(scenario: Scenario, runs: Sequence[StationRun], shift: timedelta = timedelta()) -> dict[str, object]:
    """What a watcher of the readings ought to find, as JSON-able values; times include the shift."""
    by_name = {run.station.name: run for run in runs}
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "seed": scenario.seed,
        "start": format_time(scenario.start + shift),
        "step_s": scenario.step_us / 1e6,
        "readings": sum(int(run.observed.is_sent.sum()) for run in runs),
        "expect": [_expected(scenario, by_name[e.station], e, shift) for e in scenario.expectations],
        "stations": [_station_truth(scenario, run, shift) for run in runs],
    }


def _station_readings(run: StationRun, shift: timedelta) -> list[Reading | None]:
    columns = {
        name: np.round(values, _DECIMALS[name]).tolist() for name, values in run.truth.items() if name in _DECIMALS
    }
    stamps, levels = run.observed.stamp_us.tolist(), run.observed.level_m.tolist()
    readings: list[Reading | None] = []
    for row, is_sent in enumerate(run.observed.is_sent.tolist()):
        if not is_sent:
            readings.append(None)
            continue
        others = {name: values[row] for name, values in columns.items()}
        time = from_microseconds(stamps[row]) + shift
        readings.append(Reading(device=run.station.name, time=time, level_m=levels[row], seq=row, **others))
    return readings


def _expected(scenario: Scenario, run: StationRun, expectation: Expectation, shift: timedelta) -> dict[str, object]:
    time_us = scenario.times_us()
    inside = (time_us >= expectation.start_us) & (time_us < expectation.end_us)
    found: dict[str, object] = {
        "station": expectation.station,
        "kind": expectation.kind,
        "from": _text(expectation.start_us, shift),
        "to": _text(expectation.end_us, shift),
        "times": [_text(stamp, shift) for stamp in run.observed.stamp_us[inside & run.observed.is_sent].tolist()],
    }
    if expectation.kind == FLOOD:
        level = run.truth["level_m"][inside]
        peak = int(np.argmax(level))
        found |= {"peak_m": round(float(level[peak]), 6), "peak_time": _text(int(time_us[inside][peak]), shift)}
    return found


def _station_truth(scenario: Scenario, run: StationRun, shift: timedelta) -> dict[str, object]:
    level = run.truth["level_m"]
    return {
        "station": run.station.name,
        "readings": int(run.observed.is_sent.sum()),
        "peak_m": round(float(level.max()), 6),
        "time": [_text(moment, shift) for moment in scenario.times_us().tolist()],
        "true_level_m": np.round(level, 6).tolist(),
    }


def _text(time_us: int, shift: timedelta) -> str:
    return format_time(from_microseconds(time_us) + shift)


def _problems(run: StationRun) -> list[str]:
    stamps = run.observed.stamp_us[run.observed.is_sent]
    problems = []
    if not np.isfinite(run.observed.level_m).all():
        problems.append(f"station {run.station.name!r}: its water has no finite level throughout")
    if np.unique(stamps).size != stamps.size:
        problems.append(
            f"station {run.station.name!r}: two readings bear the same time; let late_s be no multiple of the step"
        )
    return problems


def _broken_promises(scenario: Scenario, runs: Sequence[StationRun]) -> list[str]:
    by_name = {run.station.name: run for run in runs}
    problems = []
    for number, expectation in enumerate(scenario.expectations, 1):
        run = by_name[expectation.station]
        where = f"expect[{number}] ({expectation.kind} at {expectation.station!r})"
        time_us = scenario.times_us()
        inside = (time_us >= expectation.start_us) & (time_us < expectation.end_us)
        if not inside.any():
            problems.append(f"{where}: no reading lies in it")
        elif expectation.peak_m is not None:
            highest = float(run.truth["level_m"][inside].max())
            if highest < expectation.peak_m:
                problems.append(f"{where}: the water reaches {highest:.3f} m, not {expectation.peak_m:g} m")
    for run in runs:
        expected = {(e.kind, e.start_us, e.end_us) for e in scenario.expectations if e.station == run.station.name}
        actual = {(str(fault.kind), fault.start_us, fault.end_us) for fault in run.station.faults}
        problems.extend(
            f"station {run.station.name!r}: a fault ({kind}) is in no [[expect]]"
            for kind, *_ in sorted(actual - expected)
        )
        surplus = sorted(promise for promise in expected - actual if promise[0] in set(FaultKind))
        problems.extend(
            f"station {run.station.name!r}: [[expect]] names a fault ({kind}) that it does not have"
            for kind, *_ in surplus
        )
    return problems
