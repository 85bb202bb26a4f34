"""The demo's water: six stations that are never still, so that a fresh system has something to show.

Every value is a pure function of the UTC time: the history that is sent first and the live readings lie on one line, and
a demo that is stopped and started again goes on with the same water, so that what it sends twice is equal. Water runs as
fast as real water does, but these places are lively: a harbour that swings every eight minutes, a tank whose pump
switches every ten, a brook with a storm every two hours, and the recorded flood of Dead Run once a day.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.chance import IntArray, seed_of, uniform
from simulator.records import read_record
from simulator.send_batches import BatchSender
from simulator.sensor import Fault, FaultKind, Sensor, observe
from simulator.site import (
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

log = logging.getLogger(__name__)

DEMO_SEED = 1589330
DEAD_RUN_FILE = Path(__file__).parent / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
_DEAD_RUN_FROM, _DEAD_RUN_TO = "2018-06-03T17:10:00Z", "2018-06-04T17:10:00Z"
"""A day of the record that holds its highest flood and ends, within a millimetre, at the level at which it begins."""

_MINUTE_US = 60 * SECOND_US
_HISTORY_GRID_US = 5 * _MINUTE_US
_REPORT_EVERY_S = 60.0
_LONGEST_LIVE_GAP_US = 10 * _MINUTE_US

FaultsBetween = Callable[[int, int], Sequence[Fault]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One station of the demo."""

    name: str
    water: Water
    faults_between: FaultsBetween = lambda _start_us, _end_us: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTimes:
    """When the demo sends what, in microseconds: how far back first, in which steps, and how often live."""

    history_us: int = 36 * HOUR_US
    history_step_us: int = _HISTORY_GRID_US
    every_us: int = 2 * SECOND_US


def places() -> tuple[Place, ...]:
    """The demo's six stations."""
    return (
        Place(name="dead-run", water=_dead_run()),
        Place(name="harbour-tide", water=_tide(mean_m=2.4, main_m=0.9, lag_deg=118, seiche_m=0.03)),
        Place(name="mill-brook", water=_mill_brook()),
        Place(
            name="north-quay", water=_tide(mean_m=2.1, main_m=0.7, lag_deg=140, seiche_m=0.02), faults_between=_silences
        ),
        Place(
            name="old-weir", water=_tide(mean_m=3.0, main_m=0.5, lag_deg=200, seiche_m=0.015), faults_between=_old_age
        ),
        Place(name="town-tank", water=PumpedTank(low_m=3.2, high_m=3.5, fill_s=600.0, drain_s=900.0)),
    )


def measure(place: Place, time_us: IntArray) -> list[Reading | None]:
    """What a place's sensor reports at these moments; None where it is silent."""
    if not time_us.size:
        return []
    faults = place.faults_between(int(time_us[0]), int(time_us[-1]) + 1)
    # A larger noise would be a rate of metres per hour between two readings that are two seconds apart.
    sensor = Sensor(seed=seed_of(DEMO_SEED, place.name), noise_m=0.0003)
    truth = place.water.measure(time_us, 0)
    seen = observe(sensor, faults, time_us, lambda at_us: place.water.measure(at_us, 0)["level_m"])
    flow = truth.get("flow_m3_s")
    flows: Sequence[float | None] = [None] * time_us.size if flow is None else np.round(flow, 4).tolist()
    rows = zip(seen.stamp_us.tolist(), seen.level_m.tolist(), flows, seen.is_sent.tolist(), strict=True)
    return [
        Reading(device=place.name, time=from_microseconds(stamp), level_m=level, flow_m3_s=flow_m3_s)
        if is_sent
        else None
        for stamp, level, flow_m3_s, is_sent in rows
    ]


def emit(sender: BatchSender, stations: Iterable[Place], time_us: IntArray) -> None:
    """Send what all stations report at these moments, moment by moment, and let the last batch leave too."""
    for moment in zip(*(measure(place, time_us) for place in stations), strict=True):
        for reading in moment:
            if reading is not None:
                sender.send(reading)
    sender.flush()


def run_demo(sender: BatchSender, times: DemoTimes, now_us: Callable[[], int]) -> None:
    """Send the history, then one reading of each station every ``every_us``, for ever.

    While the cloud is away readings are kept up to the sender's window; a longer gap is filled in the history's steps.
    """
    stations = places()
    sent_until_us = _on_grid(now_us() - times.history_us, times.history_step_us)
    log.info("Demo sends its history", extra={"stations": len(stations), "hours": times.history_us / HOUR_US})
    report_at_s = time.monotonic()
    while True:
        moments = due_moments(sent_until_us, now_us(), times)
        if moments.size:
            emit(sender, stations, moments)
            sent_until_us = int(moments[-1])
        if time.monotonic() >= report_at_s:
            report_at_s = time.monotonic() + _REPORT_EVERY_S
            log.info("Demo runs", extra=dict(_counts(sender)))
        sender.wait(max(sent_until_us + times.every_us - now_us(), 0) / SECOND_US + 0.001)


def due_moments(sent_until_us: int, now_us: int, times: DemoTimes) -> IntArray:
    """The moments up to now that were not sent: coarse ones as long as they lie far back, then live ones."""
    moments: list[int] = []
    if now_us - sent_until_us > _LONGEST_LIVE_GAP_US:
        step_us = times.history_step_us
        moments = list(range(_on_grid(sent_until_us, step_us) + step_us, now_us + 1, step_us))
        sent_until_us = moments[-1] if moments else sent_until_us
        # Of the time since the last coarse moment only the present is sent live.
        sent_until_us = max(sent_until_us, _on_grid(now_us, times.every_us) - times.every_us)
    step_us = times.every_us
    moments += range(_on_grid(sent_until_us, step_us) + step_us, now_us + 1, step_us)
    return np.array(moments, dtype=np.int64)


def _on_grid(time_us: int, step_us: int) -> int:
    return time_us // step_us * step_us


def _counts(sender: BatchSender) -> Mapping[str, object]:
    counts = sender.ledger.as_dict()
    return {key: counts[key] for key in ("sent", "stored", "dead", "resent", "unanswered", "reconnections")}


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
            every_us=3 * HOUR_US, lasts_us=single_us, grid_us=_HISTORY_GRID_US, size=-0.7,
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
