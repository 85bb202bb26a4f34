"""The demo's six places: their water, their sensors, and what goes wrong with those.

Every value is a pure function of the UTC time. Water runs as fast as real water does, but these places are lively: a harbour
that swings every eight minutes, a tank whose pump switches every ten, a brook with a storm every two hours, and the recorded
flood of Dead Run once a day.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulator.chance import FloatArray, IntArray, seed_of, uniform
from simulator.provision import SensorPlan
from simulator.records import read_record
from simulator.sensor import Fault, FaultKind, Sensor, observe
from simulator.site import (
    DAY_US,
    HOUR_US,
    SECOND_US,
    Catchment,
    LoopedRecord,
    PumpedTank,
    Runoff,
    SeededRain,
    Tide,
    TideTerm,
    Water,
)
from simulator.spans import parse_moment
from streamgauge.reading import Reading, from_microseconds, to_microseconds

DEMO_SEED = 1589330
DEAD_RUN_FILE = Path(__file__).parent / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
_DEAD_RUN_FROM, _DEAD_RUN_TO = "2018-06-03T17:10:00Z", "2018-06-04T17:10:00Z"
"""A day of the record that holds its highest flood and ends, within a millimetre, at the level at which it begins."""

_MINUTE_US = 60 * SECOND_US
GRID_US = 5 * _MINUTE_US
"""The history's steps, and how often the brook's rain gauge is emptied."""

FaultsBetween = Callable[[int, int], Sequence[Fault]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One station of the demo.

    Args:
        name: the device's.
        water: what is there.
        model: its sensor's codec; each resolves a millimetre or better, or the demo would be jumpy.
        installation: how the sensor stands, so that its range holds all that the water does.
        parameters: the codec's.
        faults_between: what goes wrong with the sensor.
    """

    name: str
    water: Water
    model: str
    installation: Mapping[str, float]
    parameters: Mapping[str, float] = field(default_factory=dict)
    faults_between: FaultsBetween = lambda _start_us, _end_us: ()


def places() -> tuple[Place, ...]:
    """The demo's six stations."""
    return (
        Place(
            name="dead-run",
            water=_dead_run(),
            model="decentlab_dl_mbx",
            installation={"sensor_height_m": 4.0},
        ),
        Place(
            name="harbour-tide",
            water=_tide(mean_m=2.4, main_m=0.9, lag_deg=118, seiche_m=0.03),
            model="decentlab_dl_ctd10",
            installation={"sensor_height_m": -0.5, "density_kg_m3": 1_025.0},
        ),
        Place(name="mill-brook", water=_mill_brook(), model="streamgauge_demo", installation={"sensor_height_m": 0.0}),
        Place(
            name="north-quay",
            water=_tide(mean_m=2.1, main_m=0.7, lag_deg=140, seiche_m=0.02),
            model="milesight_em500_udl",
            installation={"sensor_height_m": 6.0},
            faults_between=_silences,
        ),
        Place(
            name="old-weir",
            water=_tide(mean_m=3.0, main_m=0.5, lag_deg=200, seiche_m=0.015),
            model="decentlab_dl_pr26",
            parameters={"Pmin": 0.0, "Pmax": 1.0},
            installation={"sensor_height_m": -0.3},
            faults_between=_old_age,
        ),
        Place(
            name="town-tank",
            water=PumpedTank(low_m=3.2, high_m=3.5, fill_s=600.0, drain_s=900.0),
            model="dragino_ldds45",
            installation={"sensor_height_m": 4.4},
        ),
    )


def demo_plans() -> list[SensorPlan]:
    """The six sensors, for provisioning."""
    return [
        SensorPlan(name=place.name, model=place.model, parameters=place.parameters, installation=place.installation)
        for place in places()
    ]


def measure(place: Place, time_us: IntArray) -> list[Reading | None]:
    """What a place's sensor measures at these moments, not yet in its frame's steps; None where it is silent."""
    if not time_us.size:
        return []
    faults = place.faults_between(int(time_us[0]), int(time_us[-1]) + 1)
    # A larger noise would be a rate of metres per hour between two readings that are two seconds apart.
    sensor = Sensor(seed=seed_of(DEMO_SEED, place.name), noise_m=0.0003, resolution_m=0.0)
    truth = place.water.measure(time_us, GRID_US)
    seen = observe(sensor, faults, time_us, lambda at_us: place.water.measure(at_us, 0)["level_m"])
    columns = {"level_m": seen.level_m, "temperature_c": _temperature_c(time_us)}
    columns |= {"flow_m3_s": truth["flow_m3_s"]} if "flow_m3_s" in truth else {}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
    if "rainfall_mm" in truth:
        for row, moment_us, rain_mm in zip(rows, time_us.tolist(), truth["rainfall_mm"].tolist(), strict=True):
            # The gauge is emptied on the grid of the history, whose sums are thus the same as those of live readings.
            row["rainfall_mm"] = rain_mm if moment_us % GRID_US == 0 else 0.0
    return [
        Reading(device=place.name, time=from_microseconds(stamp), **row) if is_sent else None
        for stamp, row, is_sent in zip(seen.stamp_us.tolist(), rows, seen.is_sent.tolist(), strict=True)
    ]


def _temperature_c(time_us: IntArray) -> FloatArray:
    """The water's: coldest before sunrise, a swing of two degrees a day."""
    day = (time_us % DAY_US) / DAY_US
    return np.asarray(11.0 - np.cos(2.0 * math.pi * (day - 0.2)), dtype=np.float64)


def _dead_run() -> Water:
    first_us, last_us = to_microseconds(parse_moment(_DEAD_RUN_FROM)), to_microseconds(parse_moment(_DEAD_RUN_TO))
    record = [
        (to_microseconds(reading.time), reading.level_m)
        for reading in read_record(DEAD_RUN_FILE, "dead-run").readings
        if reading.level_m is not None
    ]
    day = [(time_us, level_m) for time_us, level_m in record if first_us <= time_us <= last_us]
    return LoopedRecord(np.array([t for t, _ in day], dtype=np.int64), np.array([m for _, m in day], dtype=np.float64))


def _tide(*, mean_m: float, main_m: float, lag_deg: float, seiche_m: float) -> Water:
    return Tide(
        mean_m=mean_m,
        terms=(
            TideTerm(name="M2", amplitude_m=main_m, lag_deg=lag_deg),
            TideTerm(name="S2", amplitude_m=0.33 * main_m, lag_deg=lag_deg + 32.0),
            TideTerm(name="K1", amplitude_m=0.14 * main_m, lag_deg=lag_deg - 90.0),
            TideTerm(name="O1", amplitude_m=0.10 * main_m, lag_deg=lag_deg - 120.0),
        ),
        seiche_amplitude_m=seiche_m,
        seiche_period_s=480.0,
    )


def _mill_brook() -> Water:
    catchment = Catchment(
        area_km2=2.4, runoff_coefficient=0.6, reservoirs=2, storage_s=1200.0, baseflow_m3_s=0.03,
        rating_a=8.0, rating_b=1.6, zero_flow_m=0.05,
    )  # fmt: skip
    rain = SeededRain(
        seed=seed_of(DEMO_SEED, "rain"), slot_us=2 * HOUR_US, mean_rain_mm=6.0, mean_duration_us=20 * _MINUTE_US
    )
    return Runoff(catchment=catchment, rain=rain, longest_storm_us=4 * HOUR_US)


def _silences(start_us: int, end_us: int) -> Sequence[Fault]:
    """Twelve minutes of silence at some moment of every 90 minutes."""
    return _one_in_each(
        "silence", FaultKind.DROPOUT, start_us, end_us, every_us=90 * _MINUTE_US, lasts_us=12 * _MINUTE_US
    )


def _old_age(start_us: int, end_us: int) -> Sequence[Fault]:
    """A spike every quarter of an hour that only live readings see, one every three hours that the history sees too, and
    every eight hours 90 minutes in which the sensor is stuck.
    """
    single_us = 2 * SECOND_US
    return [
        *_one_in_each("spike", FaultKind.SPIKE, start_us, end_us, every_us=15 * _MINUTE_US, lasts_us=single_us, size=0.6),
        *_one_in_each(
            "seen spike", FaultKind.SPIKE, start_us, end_us,
            every_us=3 * HOUR_US, lasts_us=single_us, grid_us=GRID_US, size=-0.7,
        ),
        *_one_in_each("stuck", FaultKind.STUCK, start_us, end_us, every_us=8 * HOUR_US, lasts_us=90 * _MINUTE_US),
    ]  # fmt: skip


def _one_in_each(
    what: str, kind: FaultKind, start_us: int, end_us: int,
    *, every_us: int, lasts_us: int, grid_us: int = 2 * SECOND_US, size: float = 0.0,
) -> list[Fault]:  # fmt: skip
    """One fault at a random moment of each slot of time, so that it ends before the slot does."""
    slots = np.arange(start_us // every_us, end_us // every_us + 1, dtype=np.int64)
    places_free = (every_us - lasts_us) // grid_us
    offsets = (uniform(seed_of(DEMO_SEED, what), slots) * places_free).astype(np.int64) * grid_us
    begins = (slots * every_us + offsets).tolist()
    return [Fault(kind=kind, start_us=b, end_us=b + lasts_us, size=size) for b in begins]
