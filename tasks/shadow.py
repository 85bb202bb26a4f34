"""Challengers in the shadow: their scores of what arrives, which nobody sees, and what the gate says of them.

Every day each challenger's scores since the last time are asked for as a re-scoring run (of kind ``shadow``, rows of ``scores``),
and champion and challenger are run over the same stored readings, calibration included, from the instant on that trained neither.
What the gate says is kept with the challenger; to promote it takes a person.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Connection, Engine

from streamgauge import metrics
from streamgauge.errors import ModelArtefactError, PermanentError
from streamgauge.queue import BATCH, SHADOW_TASK, TEND_RUNS_TASK
from streamgauge.reading import format_time, to_microseconds
from streamgauge.scoring.compare import Stretch, compare
from streamgauge.scoring.gate import judge_challenger
from streamgauge.scoring.model import Model
from streamgauge.storage.model_aliases import CHALLENGER, CHAMPION, GENERAL, Alias, aliases, champion_of, save_gate
from streamgauge.storage.models import StoredModel, read_files, read_model
from streamgauge.storage.rescore import SHADOW, Run, create_run, list_runs
from streamgauge.storage.training_rows import StationHistory, read_levels, stations_with_history
from tasks.retrain import training_engine
from tasks.services import ServiceHolder

BEAT = {
    "shadow": {
        "task": SHADOW_TASK,
        "schedule": crontab(minute="47", hour="4"),
        "options": {"queue": BATCH, "expires": 43_200},
    }
}

COMPARED = timedelta(days=28)
"""At most so much of the newest history is compared."""
SETTLING = timedelta(days=28)
"""So much before it lets the calibrations settle."""
STATIONS_MAX = 20
ROWS_MAX = 100_000
"""Of so many stations, the ones with the longest history, so many newest readings."""

log = logging.getLogger("streamgauge.shadow")


class NotCompared(PermanentError):
    """A challenger that cannot be compared with its champion; the message says why."""


def shadow(engine: Engine, now: datetime | None = None) -> dict[int, dict[str, Any]]:
    """Score and compare every challenger; returns what the gate says, by scope. One that fails takes no other with it.

    Args:
        engine: the database.
        now: the time; readings until its hour began are looked at.
    """
    until = (now or datetime.now(UTC)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    with engine.connect() as connection:
        challengers = [alias for alias in aliases(connection) if alias.alias == CHALLENGER]
    said: dict[int, dict[str, Any]] = {}
    for alias in challengers:
        try:
            gate = _judge(engine, alias, until)
        except (PermanentError, ValueError) as error:
            metrics.COMPARISONS.labels("failed").inc()
            log.warning("challenger not compared", extra={"model": alias.model_id, "error": str(error)})
            continue
        with engine.begin() as connection:
            save_gate(connection, alias.model_id, alias.device_id, gate)
        metrics.COMPARISONS.labels("passed" if gate["passed"] else "not_passed").inc()
        shown = {
            "model": alias.model_id,
            "scope": alias.device_id,
            "passed": gate["passed"],
            "why_not": gate["why_not"],
        }
        log.info("challenger compared", extra=shown)
        said[alias.device_id] = gate
    return said


def ask_for_scores(engine: Engine, by: str = "schedule", now: datetime | None = None) -> list[int]:
    """Ask that each challenger scores what has come since it was last asked for; returns the runs."""
    until = (now or datetime.now(UTC)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    runs: list[int] = []
    with engine.connect() as connection:
        challengers = [alias for alias in aliases(connection) if alias.alias == CHALLENGER]
        earlier = list_runs(connection, limit=200, kind=SHADOW)
    for alias in challengers:
        try:
            with engine.begin() as connection:
                run_id = _ask(connection, alias, earlier, by, until)
        except PermanentError as error:
            shown = {"model": alias.model_id, "scope": alias.device_id, "error": str(error)}
            log.warning("nothing to score in the shadow", extra=shown)
            continue
        if run_id is not None:
            runs.append(run_id)
    return runs


def _ask(connection: Connection, alias: Alias, earlier: Sequence[Run], by: str, until: datetime) -> int | None:
    """Ask for one challenger's scores; returns the run, None if they are asked for already.

    Raises:
        PermanentError: the challenger cannot be used, or there is nothing to score.
    """
    model = _usable(connection, alias.model_id)
    scored = [
        datetime.fromisoformat(run.parameters["until"])
        for run in earlier
        if run.parameters["model"] == model.sha256 and run.state != "failed"
    ]
    since = max([*scored, _first_compared([model], until)])
    if since >= until:
        return None
    devices = None if alias.device is None else [alias.device]
    return create_run(
        connection, kind=SHADOW, by=by, devices=devices, since=since, until=until, model=model.sha256
    ).run_id


def _judge(engine: Engine, alias: Alias, until: datetime) -> dict[str, Any]:
    """What the gate says of one challenger now, with its figures."""
    with engine.connect() as connection:
        champion_id = champion_of(connection, alias.device_id)
        if champion_id is None:
            raise NotCompared(f"there is no champion that model {alias.model_id} could be compared with")
        stored = [_usable(connection, model_id) for model_id in (champion_id, alias.model_id)]
        champion, challenger = (Model.from_files(read_files(connection, model.id)) for model in stored)
        since = _first_compared(stored, until)
        stations = _stations(connection, alias, since, until)
        stretches = [_stretch(connection, station, since, until) for station in stations]
    found = compare(champion, challenger, stretches)
    return {
        **judge_challenger(found).to_json(),
        "judged_at": format_time(datetime.now(UTC)),
        "champion_id": champion_id,
        "from": format_time(since),
        "until": format_time(until),
        "figures": asdict(found),
    }


def _usable(connection: Connection, model_id: int) -> StoredModel:
    model = read_model(connection, model_id)
    if model is None or not model.usable:
        raise ModelArtefactError(f"model {model_id} cannot be used by this version of the program")
    return model


def _first_compared(models: Sequence[StoredModel], until: datetime) -> datetime:
    """From when on readings have trained none of these models, and are new enough."""
    return max([until - COMPARED, *(model.data_until for model in models if model.data_until)])


def _stations(connection: Connection, alias: Alias, since: datetime, until: datetime) -> list[StationHistory]:
    """Whose readings are compared: the station's, or those of stations that go with the general champion."""
    found = stations_with_history(connection, since, until, None if alias.device is None else [alias.device])
    if alias.device_id != GENERAL:
        return found
    own = {other.device_id for other in aliases(connection) if other.alias == CHAMPION}
    return [station for station in found if station.device_id not in own][:STATIONS_MAX]


def _stretch(connection: Connection, station: StationHistory, since: datetime, until: datetime) -> Stretch:
    rows = read_levels(connection, station.device_id, since - SETTLING, until, ROWS_MAX)
    return Stretch(
        device_id=station.device_id,
        time_us=rows.time_us,
        level_m=rows.level_m,
        from_us=to_microseconds(since),
        limits=station.limits,
    )


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code; like a retraining it is acknowledged when it begins."""
    hard_s = holder.settings.retrain_hard_limit_s

    @app.task(
        name=SHADOW_TASK,
        ignore_result=True,
        shared=False,
        acks_late=False,
        reject_on_worker_lost=False,
        soft_time_limit=hard_s - 30,
        time_limit=hard_s,
    )
    def shadow_task() -> None:
        engine = training_engine(holder.settings)
        try:
            try:
                if ask_for_scores(engine):
                    app.send_task(TEND_RUNS_TASK, queue=BATCH)
            finally:  # the gate asks the stored readings themselves: it needs no scores
                shadow(engine)
        finally:
            engine.dispose()
