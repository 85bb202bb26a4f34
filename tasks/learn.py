"""What a station's own history says of it, daily: limits of its checks (anew each week), and how its sensors go together.

Beat asks every hour for the stations that are due; each call does what it can in its time. Like a calibration
(``tasks.calibrate``), what was learnt counts from half an hour after it was made, so that re-scoring finds what judged live.

A profile of the sensors is learnt for devices with two and more of them, from readings that no check suspects and that were not
marked. But where nearly every reading of a week was marked, the water or the place has changed, and that week is what is
ordinary now.
"""

import logging
import time
from datetime import UTC, datetime, timedelta

import numpy as np
from celery import Celery
from celery.schedules import crontab
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.check import check_levels
from streamgauge.quality.learn import learn_parameters
from streamgauge.quality.parameters import parameters_per_row
from streamgauge.queue import BATCH, LEARN_QUALITY_TASK
from streamgauge.reading import DEVICE_FIELDS, QUANTITIES, from_microseconds, to_microseconds
from streamgauge.scoring.learnt import Learnt
from streamgauge.scoring.multisensor import MIN_ROWS, MultisensorProfile, sensor_names
from streamgauge.scoring.sensors import SENSOR_GAP_S, SensorRows
from streamgauge.storage.calibrations import read_levels
from streamgauge.storage.devices import find_devices
from streamgauge.storage.learnt import StoredLearnt, due_for_learning, read_learnt, write_learnt
from streamgauge.storage.sensors import newest_numbers, read_sensor_history
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.calibrate import LEAD
from tasks.pipeline import Services
from tasks.services import ServiceHolder

BEAT = {
    "learn": {
        "task": LEARN_QUALITY_TASK,
        "schedule": crontab(minute="42"),
        "options": {"queue": BATCH, "expires": 3_000},
    }
}
QUALITY_EVERY = timedelta(days=7)
QUALITY_WINDOW = timedelta(days=400)
"""More than a year: the seasons are learnt too."""
QUALITY_ROWS_MAX = 200_000
SENSORS_WINDOW = timedelta(days=30)
SENSORS_ROWS_MAX = 10_000
SENSORS_HISTORY = timedelta(days=3)
"""With less history the weather's changes are not in it yet: of two days, one reading in seven of the next was called a fault."""
SENSORS_FEWEST = 2
CHANGED_AFTER = timedelta(days=7)
CHANGED_SHARE = 0.9
"""Where so much of a week was marked, what is ordinary has changed."""
SAMPLE_ROWS = 500
"""So many newest readings tell which sensors a device has."""
FEWEST_VALUES = 8
"""A number in ``extra`` that takes fewer values is a state, not a measurement."""
NO_SENSORS = ("rainfall_mm",)
"""Rain comes in bursts that no other sensor vouches for: it would be called a fault whenever it rains after a dry month."""
OF_THE_DEVICE = (*DEVICE_FIELDS, "battery", "rssi", "snr", "simulated")
"""Beginnings of names that say something of the device itself or its radio."""
BUDGET_S = 40.0
AT_ONCE = 200

log = logging.getLogger("streamgauge.learn")


def learn_due(services: Services, now: datetime | None = None, budget_s: float = BUDGET_S) -> bool:
    """Learn what is due; returns whether some stations are left for want of time.

    Args:
        services: of this worker.
        now: for tests.
        budget_s: no station is begun after so long.
    """
    now, began_s, after, looked_at = now or datetime.now(UTC), time.monotonic(), 0, 0
    while True:
        with services.engine.begin() as connection:
            due = due_for_learning(connection, now, after, AT_ONCE)
        for device_id, name in due:
            if time.monotonic() - began_s > budget_s:
                return True
            with services.engine.begin() as connection:
                learn_station(connection, device_id, name, now)
            after, looked_at = device_id, looked_at + 1
        if len(due) < AT_ONCE:
            log.info("learnt", extra={"stations": looked_at})
            return False


def learn_station(connection: Connection, device_id: int, name: str, now: datetime) -> Learnt:
    """Learn what a station's stored readings say, and write it down; there is a row even if nothing could be learnt.

    Args:
        connection: a connection in a transaction.
        device_id: the station.
        name: the wire's name of it.
        now: readings before it count.
    """
    before = max(read_learnt(connection, [device_id], now), key=lambda row: row.since, default=None)
    if before is not None and before.quality_at is not None and now - before.quality_at < QUALITY_EVERY:
        quality, quality_at = before.learnt.quality, before.quality_at
    else:
        quality, quality_at = _quality(connection, device_id, name, now), now
    learnt = Learnt(quality, _profile(connection, device_id, now))
    since = (now + LEAD).replace(second=0, microsecond=0) + timedelta(minutes=1)
    write_learnt(connection, StoredLearnt(device_id, since, learnt, quality_at))
    return learnt


def _quality(connection: Connection, device_id: int, name: str, now: datetime) -> dict[str, object]:
    time_us, level_m = read_levels(connection, device_id, now - QUALITY_WINDOW, now, QUALITY_ROWS_MAX)
    devices = find_devices(connection, [name])
    limits = {0: devices[name].limits} if name in devices and devices[name].limits else {}
    # Checked with what is set, not with what was learnt before: or each week's limits would be tighter than the last.
    station = time_us * 0
    checked = check_levels(station, time_us, level_m, parameters_per_row(station, limits))
    return learn_parameters(time_us, level_m, checked.flags)


def _profile(connection: Connection, device_id: int, now: datetime) -> MultisensorProfile | None:
    """What is ordinary for the device's sensors together; ``None``: it has too few of them, or too little is stored."""
    first = now - SENSORS_WINDOW
    names = _sensors(newest_numbers(connection, device_id, first, now, SAMPLE_ROWS))
    if len(names) < SENSORS_FEWEST:
        return None
    rows, marked, flagged = read_sensor_history(connection, device_id, first, now, names, SENSORS_ROWS_MAX)
    ordinary = _ordinary(rows, marked, flagged, now)
    values = rows.values[ordinary]
    several = np.count_nonzero(np.isfinite(values), axis=1) >= SENSORS_FEWEST
    if np.count_nonzero(several) < MIN_ROWS or not _lasts(rows.time_us[ordinary]):
        return None
    try:
        profile = MultisensorProfile.learn(values, names)
    except (ValueError, np.linalg.LinAlgError) as error:
        log.info("no profile of the sensors", extra={"device_id": device_id, "error": str(error)})
        return None
    return profile if np.count_nonzero(np.isfinite(profile.scale)) >= SENSORS_FEWEST else None


def _lasts(time_us: NDArray[np.int64]) -> bool:
    """Whether the readings tell of several days, and are not too far apart to be judged together."""
    pace_s = float(np.median(np.diff(time_us))) / MICROSECONDS_PER_SECOND
    lasts = int(time_us[-1] - time_us[0]) >= SENSORS_HISTORY / timedelta(microseconds=1)
    return lasts and pace_s <= SENSOR_GAP_S


def _sensors(readings: list[dict[str, float]]) -> tuple[str, ...]:
    """The names of what measures the water in these readings."""
    values: dict[str, set[float]] = {}
    for reading in readings:
        for name, value in reading.items():
            values.setdefault(name, set()).add(value)
    sensors = {
        name
        for name, seen in values.items()
        if name not in NO_SENSORS
        and not name.startswith(OF_THE_DEVICE)
        and (name in QUANTITIES or len(seen) >= FEWEST_VALUES)
    }
    return sensor_names([{name: value for name, value in reading.items() if name in sensors} for reading in readings])


def _ordinary(
    rows: SensorRows, marked: NDArray[np.bool_], flagged: NDArray[np.bool_], now: datetime
) -> NDArray[np.bool_]:
    """Which rows to learn from."""
    good = ~flagged
    newest = good & (rows.time_us >= to_microseconds(now - CHANGED_AFTER))
    if np.count_nonzero(newest) >= MIN_ROWS and marked[newest].mean() >= CHANGED_SHARE:
        begin = from_microseconds(int(rows.time_us[newest][0]))
        if begin <= now - CHANGED_AFTER + timedelta(days=1):
            return newest
    return good & ~marked


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=LEARN_QUALITY_TASK, ignore_result=True, shared=False)
    def learn_task() -> None:
        if learn_due(holder.get()):
            app.send_task(LEARN_QUALITY_TASK, queue=BATCH, expires=3_000)
