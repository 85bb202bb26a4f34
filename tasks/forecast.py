"""Forecasts at each station's own pace: a tick finds the stations that are due, issues for them in batches, tells the live pages.

A batch is one transaction: forecasts and the stations' calibration states together. A worker that is killed in the middle has
changed nothing; one advisory lock keeps two workers from doing the same twice. A backlog that has drained gives one forecast,
at its newest reading; outcomes of earlier forecasts are looked up among the stored readings.

Whether a reading is due is judged against the station's own track, never against the clock: a replayed flood of years ago gets
its forecasts too. Whether a forecast is still worth showing is for the reader to say (``IssuedForecast.is_expired``).
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from celery import Celery
from redis import Redis, RedisError
from sqlalchemy import Connection

from streamgauge import logs, metrics
from streamgauge.errors import SettingsError
from streamgauge.live import stream
from streamgauge.queue import ALERTS, FORECAST_TASK
from streamgauge.reading import format_time
from streamgauge.settings import WorkerSettings, load
from streamgauge.storage.forecast_windows import DueStation, due_stations, find_stations
from streamgauge.storage.forecasts import (
    IssuedForecast,
    StoredTrack,
    lock_forecasts,
    mark_seen,
    read_tracks,
    replace_forecasts,
    write_forecasts,
    write_tracks,
)
from tasks.forecast_station import Turn, read_stations, take_turns
from tasks.pipeline import Services
from tasks.services import ServiceHolder, make_services

BEAT: dict[str, Any] = {}
"""Its pace is a setting: see ``schedule``."""
BATCH_STATIONS = 100
MOST_STATIONS = 5_000
"""Stations of one tick; those that have waited longest come first."""
BUDGET_S = 30.0
"""A tick begins no further batch after so long: what is left is due in the next one."""
START_BUDGET_S = 4.0
"""So long, at most, goes to stations that begin, or begin again: their stored history is gone through, one at a time."""

log = logging.getLogger("streamgauge.forecast")


@dataclass(slots=True)
class Batch:
    """What one transaction writes.

    Attributes:
        issued: by device id.
        tracks: the states after it, with their records.
        seen: stations whose track stays as it is, and up to when their readings have been seen.
        replaced: stations whose forecasts since then, up to the one issued, are replaced by it.
        problems: what went wrong at which station: ``track_damaged`` or ``failed``.
    """

    issued: dict[int, IssuedForecast] = field(default_factory=dict)
    tracks: list[tuple[StoredTrack, Mapping[str, Any]]] = field(default_factory=list)
    seen: dict[int, datetime] = field(default_factory=dict)
    replaced: dict[int, datetime] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def take(self, station: DueStation, turn: Turn) -> None:
        """Add what one station's turn came to."""
        number = station.device.id
        self.problems += [(problem, station.device.name) for problem in turn.problems]
        if turn.track is None:
            self.seen[number] = station.newest
        else:
            self.tracks.append((turn.track, turn.record))
        if turn.issued is not None:
            self.issued[number] = turn.issued
            if turn.replaces is not None:
                self.replaced[number] = turn.replaces

    def write(self, connection: Connection) -> None:
        """Write it."""
        write_tracks(connection, self.tracks)
        mark_seen(connection, self.seen)
        replace_forecasts(connection, self.replaced, {key: issue.issued_at for key, issue in self.issued.items()})
        write_forecasts(connection, self.issued)


def tick(services: Services, every: timedelta) -> int:
    """Issue for every station that is due, as far as the time goes; returns for how many it did."""
    with services.engine.begin() as connection:
        services.models.refresh(connection)
        due = due_stations(connection, every, MOST_STATIONS)
    anew = [station for station in due if station.through is None or _is_of_another(services, station)]
    begun, waiting = _work_through(services, [[station] for station in anew], START_BUDGET_S, anew=True)
    # Who still waits to begin gets a forecast all the same.
    done = {station.device.id for station in anew} - {station.device.id for station in waiting}
    others = [station for station in due if station.device.id not in done]
    batches = [others[first : first + BATCH_STATIONS] for first in range(0, len(others), BATCH_STATIONS)]
    issued, late = _work_through(services, batches, BUDGET_S)
    metrics.FORECAST_STATIONS_DUE.set(len(late))
    return begun + issued


def _is_of_another(services: Services, station: DueStation) -> bool:
    """Whether a station's track is another model's, or provisional; 0 stands for none."""
    return station.model_id not in {0, services.models.of(station.device.id).id}


def _work_through(
    services: Services, batches: Sequence[Sequence[DueStation]], budget_s: float, *, anew: bool = False
) -> tuple[int, list[DueStation]]:
    """Issue batch after batch; returns for how many stations, and which were left for want of time."""
    deadline_s, issued = time.monotonic() + budget_s, 0
    for place, batch in enumerate(batches):
        if time.monotonic() > deadline_s:
            return issued, [station for later in batches[place:] for station in later]
        issued += issue_batch(services, batch, anew=anew)
    return issued, []


def issue_batch(services: Services, due: Sequence[DueStation], *, anew: bool = False) -> int:
    """Issue for some stations in one transaction, then tell the live pages; returns for how many a forecast was issued.

    Args:
        services: of the worker's process.
        due: the stations, at most ``BATCH_STATIONS``.
        anew: they begin, or begin again: their history is gone through first.
    """
    batch = Batch()
    with metrics.FORECAST_SECONDS.time(), services.engine.begin() as connection:
        if not lock_forecasts(connection):
            return 0
        services.models.refresh(connection)
        tracks = read_tracks(connection, [station.device.id for station in due])
        # Who had the lock before us may have done some of them.
        ours = [station for station in due if _through(tracks.get(station.device.id)) == station.through]
        for station, turn in take_turns(read_stations(connection, services.models, ours, tracks, anew=anew)):
            batch.take(station.due, turn)
        batch.write(connection)
    for problem, name in batch.problems:
        metrics.FORECAST_PROBLEMS.labels(problem=problem).inc()
        log.warning("forecast did not go its ordinary way", extra={"device": name, "problem": problem})
    metrics.FORECASTS_ISSUED.inc(len(batch.issued))
    names = {station.device.id: station.device.name for station in due}
    objects = [forecast_object(names[key], issue) for key, issue in batch.issued.items()]
    publish(services.redis, objects, services.live_max_events)
    return len(batch.issued)


def _through(track: StoredTrack | None) -> datetime | None:
    return None if track is None else track.through


def forecast_object(device: str, issue: IssuedForecast) -> dict[str, Any]:
    """A forecast as the live stream's object."""
    return {
        "device": device,
        "issued_at": format_time(issue.issued_at),
        "baseline_m": issue.baseline_m,
        "horizons": [
            {
                "horizon_s": horizon.horizon_s,
                "expected_m": horizon.expected_m,
                "low_m": horizon.low_m,
                "high_m": horizon.high_m,
                "method": horizon.method,
            }
            for horizon in issue.horizons
        ],
    }


def publish(redis: "Redis", forecasts: Sequence[Mapping[str, Any]], max_events: int) -> None:
    """Append forecasts to the live stream as one event. A hint: what Redis does not take is counted, never waited for."""
    if not forecasts:
        return
    try:
        stream.append(redis, [], max_events, forecasts=forecasts)
    except RedisError:
        metrics.PUBLISH_FAILURES.inc()
        log.warning("live stream not reached", exc_info=True)


def schedule(settings: WorkerSettings) -> dict[str, Any]:
    """Beat's entry: a tick that nobody could begin before the next one is not worth beginning."""
    entry = {
        "task": FORECAST_TASK,
        "schedule": settings.forecast_tick_s,
        "options": {"queue": ALERTS, "expires": max(1.0, settings.forecast_tick_s)},
    }
    return {"forecast": entry}


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code, and beat its pace."""
    app.conf.beat_schedule |= schedule(holder.settings)
    every = timedelta(seconds=holder.settings.forecast_every_s)

    @app.task(name=FORECAST_TASK, ignore_result=True, shared=False)
    def forecast_task() -> None:
        services = holder.get()
        try:
            tick(services, every)
        except Exception:
            # What is remembered of models may rest on a transaction that was rolled back.
            services.models.forget()
            raise


def main(arguments: list[str] | None = None) -> None:
    """Begin stations anew: after history was imported that lies before what their tracks have seen."""
    parser = argparse.ArgumentParser(prog="python -m tasks.forecast", description="Begin stations' forecasts anew.")
    parser.add_argument("--device", action="append", required=True, help="a station's name; may be given several times")
    given = parser.parse_args(arguments)
    try:
        settings = load(WorkerSettings, os.environ)
    except SettingsError as error:
        sys.exit(str(error))
    logs.configure("forecast", settings.log_level)
    services = make_services(settings)
    with services.engine.connect() as connection:
        stations = find_stations(connection, given.device)
    if missing := set(given.device) - {station.device.name for station in stations}:
        sys.exit(f"Not registered, or without readings: {', '.join(sorted(missing))}")
    issued = sum(issue_batch(services, [station], anew=True) for station in stations)
    print(orjson.dumps({"stations": len(stations), "issued": issued}).decode())


if __name__ == "__main__":
    main()
