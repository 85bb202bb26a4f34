"""Drift, weekly: each station's last whole week against the weeks before it (``streamgauge.scoring.drift``).

Beat asks every hour for the reports that are still missing, so that a machine that was off on Monday catches up; each call does
what it can in its time. ``python -m tasks.drift`` does it on demand, for any week.
"""

import argparse
import logging
import os
import sys
import time
from datetime import UTC, datetime, timedelta

import orjson
from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Engine

from streamgauge import logs
from streamgauge.errors import SettingsError
from streamgauge.queue import BATCH, DRIFT_TASK
from streamgauge.scoring.drift import CHANGED, REFERENCE_WEEKS, Drift, assess, summarise
from streamgauge.settings import WorkerSettings, load
from streamgauge.storage.devices import find_devices
from streamgauge.storage.drift import WEEK, devices_without_report, read_weeks, write_drift
from streamgauge.storage.engine import INDEX_LOOKUPS_ONLY, make_engine
from tasks.pipeline import is_transient
from tasks.services import ServiceHolder

BEAT = {
    "drift": {
        "task": DRIFT_TASK,
        "schedule": crontab(minute="37"),
        "options": {"queue": BATCH, "expires": 3_000},
    }
}
BUDGET_S = 40.0
"""A call begins no further station after so long; the next one goes on."""
MOST_DEVICES = 2_000

log = logging.getLogger("streamgauge.drift")


def week_of(moment: datetime) -> datetime:
    """The first instant of a moment's week: Monday, 00:00 UTC."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def assess_missing(engine: Engine, now: datetime | None = None, budget_s: float = BUDGET_S) -> int:
    """Assess the last whole week of the stations that have no report on it yet; returns how many were left for later."""
    week = week_of(now or datetime.now(UTC)) - WEEK
    started_s = time.monotonic()
    with engine.connect() as connection:
        waiting = devices_without_report(connection, week, MOST_DEVICES)
    done = failed = 0
    for device_id, name in waiting:
        if time.monotonic() - started_s > budget_s:
            break
        try:
            assess_station(engine, device_id, name, week)
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("drift not assessed", extra={"device": name})
            failed += 1
        else:
            done += 1
    if waiting:
        log.info("drift assessed", extra={"week": f"{week:%Y-%m-%d}", "stations": done, "left": len(waiting) - done})
    return len(waiting) - done - failed


def assess_station(engine: Engine, device_id: int, name: str, week: datetime) -> Drift:
    """Assess and write one station's week."""
    with engine.begin() as connection:
        rows = read_weeks(connection, device_id, week - REFERENCE_WEEKS * WEEK, REFERENCE_WEEKS + 1)
        *reference, ours = [summarise(part) for part in rows]
        drift = assess(ours, reference)
        write_drift(connection, device_id, week, drift.verdict, drift.figures())
    if drift.verdict == CHANGED:
        log.warning("station drifted", extra={"device": name, "week": f"{week:%Y-%m-%d}", "measures": drift.reasons})
    return drift


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=DRIFT_TASK, ignore_result=True, shared=False)
    def drift_task() -> None:
        if assess_missing(holder.get().engine):
            app.send_task(DRIFT_TASK, queue=BATCH, expires=3_000)


def main(arguments: list[str] | None = None) -> None:
    """Assess on demand and print one JSON object per station and week."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.drift", description="Whether stations' weeks are unlike before."
    )
    parser.add_argument("--device", action="append", required=True, help="a station's name; may be given several times")
    parser.add_argument(
        "--until", type=datetime.fromisoformat, help="a day; its week is not looked at, the one before is"
    )
    parser.add_argument("--weeks", type=int, default=1, help="how many weeks, the last whole one being the last")
    given = parser.parse_args(arguments)
    try:
        settings = load(WorkerSettings, os.environ)
    except SettingsError as error:
        sys.exit(str(error))
    logs.configure("drift", settings.log_level)
    engine = make_engine(settings.database_url, application_name="streamgauge-drift", planner=INDEX_LOOKUPS_ONLY)
    until = (given.until or datetime.now(UTC)).replace(tzinfo=UTC)
    with engine.connect() as connection:
        devices = find_devices(connection, given.device)
    if unknown := set(given.device) - devices.keys():
        sys.exit(f"Not registered: {', '.join(sorted(unknown))}")
    for name, device in devices.items():
        for number in range(max(1, given.weeks), 0, -1):
            week = week_of(until) - number * WEEK
            drift = assess_station(engine, device.id, name, week)
            line = {"device": name, "week": f"{week:%Y-%m-%d}", "verdict": drift.verdict, **drift.figures()}
            print(orjson.dumps(line).decode())


if __name__ == "__main__":
    main()
