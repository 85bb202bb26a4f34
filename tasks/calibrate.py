"""Calibration, daily, and soon after a station began: what is ordinary there, from its last month.

Beat asks every ten minutes for the stations that are due; each call does what it can in its time. A calibration
(``streamgauge.scoring.calibrating``) counts from ``LEAD`` after it was made: no worker has judged a reading of that time yet, and
none remembers for so long that there was none. So every reading is judged with the calibration that re-scoring will find for its
time.
"""

import logging
import time
from datetime import UTC, datetime, timedelta

from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Connection

from streamgauge.queue import BATCH, CALIBRATE_TASK
from streamgauge.scoring.calibrating import calibrate
from streamgauge.scoring.calibration import Calibration
from streamgauge.storage.calibrations import (
    StoredCalibration,
    due_devices,
    read_calibrations,
    read_levels,
    write_calibrations,
)
from streamgauge.storage.devices import find_devices
from streamgauge.storage.learnt import by_time, read_learnt
from tasks.models_in_use import ModelInUse
from tasks.pipeline import Services, is_transient
from tasks.services import ServiceHolder

BEAT = {
    "calibrate": {
        "task": CALIBRATE_TASK,
        "schedule": crontab(minute="2-59/10"),
        "options": {"queue": BATCH, "expires": 540},
    }
}
WINDOW = timedelta(days=30)
LEAD = timedelta(minutes=30)
ROWS_MAX = 50_000
"""Of a station that reports more often than once a minute, so many newest readings are looked at."""
BUDGET_S = 40.0
"""A call begins no further station after so long; the next one goes on."""
AT_ONCE = 200

log = logging.getLogger("streamgauge.calibrate")


def calibrate_due(
    services: Services, now: datetime | None = None, budget_s: float = BUDGET_S, after: int = 0
) -> int | None:
    """Calibrate the stations that are due; returns after which one to go on where time was short, else ``None``.

    A station without enough ordinary readings gets a calibration no more than it needs one: it keeps what it has, and is
    looked at again with the next call. One that cannot be calibrated is told in the log and stops no other.

    Args:
        services: of this worker.
        now: for tests.
        budget_s: no station is begun after so long.
        after: only stations with an id above it.
    """
    now, began_s, made = now or datetime.now(UTC), time.monotonic(), 0
    while True:
        with services.engine.begin() as connection:
            services.models.refresh(connection)
            due = due_devices(connection, services.models.general.id, services.models.site_ids, now, after, AT_ONCE)
        for device_id, name in due:
            if time.monotonic() - began_s > budget_s:
                return after
            try:
                made += _calibrate_station(services, device_id, name, now)
            except Exception as error:
                if is_transient(error):
                    raise
                log.exception("station not calibrated", extra={"device": name})
            after = device_id
        if len(due) < AT_ONCE:
            log.info("calibrated", extra={"stations": made})
            return None


def _calibrate_station(services: Services, device_id: int, name: str, now: datetime) -> bool:
    used = services.models.of(device_id)
    with services.engine.begin() as connection:
        found = calibrate_station(connection, device_id, name, used, now)
        if found is not None:
            since = (now + LEAD).replace(second=0, microsecond=0) + timedelta(minutes=1)
            write_calibrations(connection, [StoredCalibration(device_id, used.id, since, found)])
    return found is not None


def calibrate_station(
    connection: Connection, device_id: int, name: str, used: ModelInUse, now: datetime
) -> Calibration | None:
    """What is ordinary at a station now, for a model; ``None`` if too little is stored. Nothing is written.

    Args:
        connection: an open connection.
        device_id: the station.
        name: the wire's name of it.
        used: the model.
        now: readings before it count, those of the ``WINDOW`` before.
    """
    time_us, level_m = read_levels(connection, device_id, now - WINDOW, now, ROWS_MAX)
    devices = find_devices(connection, [name])
    limits = {device_id: devices[name].limits} if name in devices and devices[name].limits else {}
    learnt = by_time(read_learnt(connection, [device_id], now - WINDOW, now))
    parameters = learnt.parameters(time_us * 0 + device_id, time_us, limits)
    valid = read_calibrations(connection, {(device_id, used.id): (now, now)})
    before = next((row.calibration for row in valid if row.made_for is None), None)
    return calibrate(used.model, time_us, level_m, parameters, before)


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=CALIBRATE_TASK, ignore_result=True, shared=False)
    def calibrate_task(after: int = 0) -> None:
        left = calibrate_due(holder.get(), after=after)
        if left is not None:
            app.send_task(CALIBRATE_TASK, kwargs={"after": left}, queue=BATCH, expires=3_000)
