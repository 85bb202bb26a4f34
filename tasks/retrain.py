"""Retraining, weekly and on demand: models from stored history become challengers; nobody's champion changes here.

What was flagged, and what was marked as a sensor's fault, neither trains nor serves as history; floods do. The recorded data that
trained the shipped model is always part of it, so that no model forgets water that these stations have not seen. The last
``HOLDOUT`` of the history trains nothing: on it the gate compares the new model with the champion. The same rows give the same
bytes, and then nothing changes.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Engine

from streamgauge import metrics
from streamgauge.errors import PermanentError, TransientError
from streamgauge.quality.flags import Flag
from streamgauge.queue import BATCH, RETRAIN_TASK, SHADOW_TASK
from streamgauge.scoring.records import InvalidRecord, Record
from streamgauge.scoring.retraining import STANDARD, Recipe, Trained, train_on
from streamgauge.settings import WorkerSettings
from streamgauge.storage.engine import INDEX_LOOKUPS_ONLY, make_engine
from streamgauge.storage.model_aliases import (
    CHALLENGER,
    CHAMPION,
    GENERAL,
    RETRAINED_REASON,
    alias_of,
    challenge,
    placed_by_retraining,
)
from streamgauge.storage.models import RETRAINED, ModelFacts, ensure_model, lock_models
from streamgauge.storage.retrainings import last_trained, one_at_a_time, write_retraining
from streamgauge.storage.training_rows import StationHistory, read_levels, stations_with_history
from tasks.services import ServiceHolder

BEAT = {
    "retrain": {
        "task": RETRAIN_TASK,
        "schedule": crontab(minute="17", hour="3", day_of_week="sun"),
        "kwargs": {"devices": None, "by": "schedule"},
        "options": {"queue": BATCH, "expires": 86_400},
    }
}

HOLDOUT = timedelta(days=14)
"""The newest history, which trains nothing: twice the days that the gate needs, and twice the readings of a station that reports
every 15 minutes."""
GENERAL_STATIONS_MAX = 50
GENERAL_ROWS_MAX = 20_000
"""Newest readings of each station in the general model: ten weeks of one every five minutes. No station outweighs the others."""
GENERAL_DAYS_MIN = 14
"""A station with less history says nothing about other stations."""
SITE_ROWS_MAX = 200_000
ALL_STATIONS = "all stations"

log = logging.getLogger("streamgauge.retrain")


class AlreadyTraining(TransientError):
    """Another training is under way; one is enough for a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much history is used, and how many models are made.

    Attributes:
        days: history that trains, at most.
        site_days: history that a station needs for a model of its own.
        sites_max: models of single stations per run.
    """

    days: int = 730
    site_days: int = 60
    sites_max: int = 3

    @classmethod
    def of(cls, settings: WorkerSettings) -> "Bounds":
        """As the settings say."""
        return cls(
            days=settings.retrain_days, site_days=settings.retrain_site_days, sites_max=settings.retrain_sites_max
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one training.

    Attributes:
        scope: ``all stations``, or a device's name.
        outcome: ``challenger``, ``kept`` (another challenger has the place), ``unchanged``, ``too_little`` or ``failed``.
        detail: in words.
        model_id: the model.
        took_s: how long it took.
    """

    scope: str
    outcome: str
    detail: str
    model_id: int | None = None
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run of trainings: where, on what, how, and who asked."""

    engine: Engine
    since: datetime
    data_until: datetime
    recipe: Recipe
    by: str


def retrain(
    engine: Engine,
    bounds: Bounds = Bounds(),
    *,
    by: str,
    devices: Sequence[str] | None = None,
    now: datetime | None = None,
    recipe: Recipe = STANDARD,
) -> list[Outcome]:
    """Train the general model and those of stations with enough history.

    Args:
        engine: two connections of it are used at once.
        bounds: how much.
        by: who asked.
        devices: only the models of these stations; none: the general model, and stations in turn.
        now: the time; history until the midnight (UTC) before it is looked at.
        recipe: how models are made of it.

    Raises:
        AlreadyTraining: another training is under way.
    """
    until = (now or datetime.now(UTC)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    data_until = until - HOLDOUT
    since = data_until - timedelta(days=bounds.days)
    run = _Run(engine=engine, since=since, data_until=data_until, recipe=recipe, by=by)
    with one_at_a_time(engine) as free:
        if not free:
            raise AlreadyTraining("a retraining is under way already; wait for it")
        with engine.connect() as connection:
            found = stations_with_history(connection, since, data_until, None if devices is None else list(devices))
            trained = last_trained(connection)
        long_enough = [station for station in found if station.span >= timedelta(days=bounds.site_days)]
        long_enough.sort(key=lambda station: trained.get(station.device_id, datetime.min.replace(tzinfo=UTC)))
        chosen = long_enough[: bounds.sites_max if devices is None else None]
        outcomes = [] if devices is not None else [_general(run, found)]
        outcomes += [_site(run, station) for station in chosen]
        for name in sorted(set(devices or ()) - {station.name for station in long_enough}):
            detail = f"less than {bounds.site_days} days of history before {data_until:%Y-%m-%d}: no model of its own"
            outcomes.append(_too_little(run, name, detail))
    return outcomes


def _general(run: _Run, stations: Sequence[StationHistory]) -> Outcome:
    long_enough = [station for station in stations if station.span >= timedelta(days=GENERAL_DAYS_MIN)]
    if not long_enough:
        detail = (
            f"no station has {GENERAL_DAYS_MIN} days of history before {run.data_until:%Y-%m-%d}: nothing was trained"
        )
        return _too_little(run, ALL_STATIONS, detail)
    chosen = sorted(long_enough[:GENERAL_STATIONS_MAX], key=lambda station: station.device_id)
    return _train(run, GENERAL, ALL_STATIONS, chosen, GENERAL_ROWS_MAX)


def _site(run: _Run, station: StationHistory) -> Outcome:
    return _train(run, station.device_id, station.name, [station], SITE_ROWS_MAX)


def _too_little(run: _Run, scope: str, detail: str) -> Outcome:
    return _written(run, Outcome(scope=scope, outcome="too_little", detail=detail))


def _train(run: _Run, device_id: int, scope: str, stations: Sequence[StationHistory], rows_max: int) -> Outcome:
    """Train, and make the model challenger of its scope. A history that cannot train ends this training only."""
    started_s = time.monotonic()
    until = f"{run.data_until:%Y-%m-%d}"
    log.info("training begins", extra={"scope": scope, "stations": len(stations), "until": until})
    try:
        trained = train_on([_record(run, station, rows_max) for station in stations], run.data_until, run.recipe)
        outcome = _enter(run, device_id, scope, trained)
    except InvalidRecord as error:
        outcome = Outcome(scope=scope, outcome="too_little", detail=str(error))
    except PermanentError as error:
        outcome = Outcome(scope=scope, outcome="failed", detail=str(error))
    except Exception as error:
        _written(run, Outcome(scope=scope, outcome="failed", detail=f"{type(error).__name__}: {error}"[:500]))
        raise
    took_s = time.monotonic() - started_s
    metrics.RETRAIN_SECONDS.observe(took_s)
    return _written(run, replace(outcome, took_s=round(took_s, 1)))


def _record(run: _Run, station: StationHistory, rows_max: int) -> Record:
    with run.engine.connect() as connection:
        rows = read_levels(connection, station.device_id, run.since, run.data_until, rows_max)
    usable = ~rows.fault & ~np.isin(rows.flag, (Flag.SUSPECT, Flag.FAIL))
    return Record.from_arrays(station.name, rows.time_us, rows.level_m, usable)


def _enter(run: _Run, device_id: int, scope: str, trained: Trained) -> Outcome:
    facts = ModelFacts(
        origin=RETRAINED,
        device_id=None if device_id == GENERAL else device_id,
        data_from=trained.data_from,
        data_until=run.data_until,
        snapshot_sha256=trained.snapshot_sha256,
        features_sha256=trained.card["features_sha256"],
        quality_rules=trained.card["quality_rules"],
        seed=trained.card["training"]["seed"],
        metrics=trained.card.get("metrics"),
    )
    with run.engine.begin() as connection:
        lock_models(connection)
        model_id = ensure_model(connection, trained.sha256, trained.card, trained.files, facts)
        places = {alias: alias_of(connection, device_id, alias) for alias in (CHAMPION, CHALLENGER)}
        if model_id in places.values():
            detail = f"the same model came out as before: model {model_id}"
            return Outcome(scope=scope, outcome="unchanged", detail=detail, model_id=model_id)
        there = places[CHALLENGER]
        if there is not None and not placed_by_retraining(connection, device_id, there):
            detail = (
                f"model {model_id} is kept and is no challenger: model {there}, which no retraining put there, stays"
            )
            return Outcome(scope=scope, outcome="kept", detail=detail, model_id=model_id)
        challenge(connection, device_id=device_id, model_id=model_id, by=run.by, reason=RETRAINED_REASON)
    detail = f"model {model_id} is challenger, trained on {trained.rows:,} readings of {trained.stations} stations"
    return Outcome(scope=scope, outcome="challenger", detail=detail, model_id=model_id)


def _written(run: _Run, outcome: Outcome) -> Outcome:
    kind = "general" if outcome.scope == ALL_STATIONS else "site"
    metrics.RETRAININGS.labels(kind, outcome.outcome).inc()
    came_to: dict[str, Any] = {name: getattr(outcome, name) for name in ("outcome", "model_id", "detail", "took_s")}
    with run.engine.begin() as connection:
        write_retraining(connection, by=run.by, scope=outcome.scope, came_to=came_to)
    level = logging.ERROR if outcome.outcome == "failed" else logging.INFO
    log.log(level, "training ended", extra={"scope": outcome.scope, **came_to})
    return outcome


def training_engine(settings: WorkerSettings) -> Engine:
    """Connections for long work: the workers' own end a statement after seconds."""
    return make_engine(
        settings.database_url, pool_size=2, application_name="streamgauge-retrain", planner=INDEX_LOOKUPS_ONLY
    )


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code. It is acknowledged when it begins: it may last longer than a task that waits may stay unheard of.

    What a killed worker leaves undone is done the next week, or when somebody asks.
    """
    hard_s = holder.settings.retrain_hard_limit_s

    @app.task(
        name=RETRAIN_TASK,
        ignore_result=True,
        shared=False,
        acks_late=False,
        reject_on_worker_lost=False,
        soft_time_limit=hard_s - 30,
        time_limit=hard_s,
    )
    def retrain_task(devices: list[str] | None = None, by: str = "schedule") -> None:
        engine = training_engine(holder.settings)
        try:
            outcomes = retrain(engine, Bounds.of(holder.settings), by=by, devices=devices)
        except AlreadyTraining as error:
            log.warning("not trained", extra={"reason": str(error)})
            return
        finally:
            engine.dispose()
        if any(outcome.outcome == "challenger" for outcome in outcomes):
            app.send_task(SHADOW_TASK, queue=BATCH)
