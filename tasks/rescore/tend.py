"""Tending runs: planning those that wait, keeping chains of chunk tasks going, ending those that are over. Safe to repeat."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from streamgauge import metrics
from streamgauge.errors import ModelArtefactError
from streamgauge.storage import rescore
from streamgauge.storage.models import ensure_model
from streamgauge.storage.rescore import CANCELLED, DONE, FAILED, RUNNING, WAITING, RunRefused
from streamgauge.storage.rescore_plan import (
    OpenRun,
    any_left,
    chunk_reports,
    end_run,
    find_open_run,
    give_up,
    lock_run,
    moved_champions,
    open_runs,
    plan_chunks,
    scheduled_since,
    settle_models,
)
from tasks.pipeline import Services
from tasks.rescore.chunk import ATTEMPTS_MAX
from tasks.rescore.lanes import begin_chain
from tasks.rescore.models import RunModels
from tasks.rescore.run_report import RunReport

log = logging.getLogger("streamgauge.rescore")

PLANNING_S = 20.0
"""So long one task plans at most; the next one goes on."""
DEVICES_FIRST, DEVICES_MOST = 50, 2_000
STEP_S = 3.0
"""Stations are planned as many together as take about so long."""
SCHEDULE_OVERLAP = timedelta(hours=1)
"""Workers take up a new champion within this time; readings so near to its promotion are scored again with the others."""
SCHEDULER = "schedule"


def tend_runs(services: Services, models: RunModels, chunk_readings: int) -> list[int]:
    """Bring every open run as far as it can go without judging anything; returns the ids of those that run.

    One run's failure stops no other.
    """
    with services.engine.connect() as connection:
        runs = open_runs(connection)
    running = []
    for run in runs:
        try:
            if tend_run(services, models, run, chunk_readings):
                running.append(run.id)
        except ModelArtefactError as error:
            fail_run(services.engine, run.id, str(error))
        except Exception:
            log.exception("run not tended", extra={"run": run.id})
    return running


def tend_run(services: Services, models: RunModels, run: OpenRun, chunk_readings: int) -> bool:
    """Bring one run on; returns whether it runs.

    Raises:
        ModelArtefactError: one of its models cannot be used.
    """
    current: OpenRun | None = run
    if run.state == WAITING and not run.cancelled:
        current = _plan(services, models, run, chunk_readings)
    if current is None:
        return False
    if current.state == RUNNING or current.cancelled:
        return not settle_run(services.engine, current.id)
    return False


def start_chains(redis: "Redis", lanes: int, enqueue: Callable[[int, str], None]) -> int:
    """Begin a chain in every lane that has none; returns in how many.

    Raises:
        redis.RedisError: Redis did not answer.
        QueueUnavailable: likewise.
    """
    begun = 0
    for lane in range(lanes):
        chain = begin_chain(redis, lane)
        if chain is not None:
            enqueue(lane, chain)
            begun += 1
    return begun


def settle_run(engine: Engine, run_id: int) -> bool:
    """End a run if nothing of it waits or it is to be cancelled, unless a chunk of it is under way.

    Returns:
        Whether it has ended, now or before.
    """
    with engine.begin() as connection:
        run = lock_run(connection, run_id)
        if run is None:
            return find_open_run(connection, run_id) is None
        if not run.cancelled:
            if run.state != RUNNING:
                return False
            give_up(connection, run_id, ATTEMPTS_MAX)
            if any_left(connection, run_id):
                return False
        report = RunReport.of(chunk_reports(connection, run_id))
        state, error = _outcome(run, report)
        end_run(connection, run_id, state, report.content(), error)
    metrics.RESCORE_RUNS.labels(state).inc()
    log.info("run ended", extra={"run": run_id, "state": state, "error": error})
    return True


def fail_run(engine: Engine, run_id: int, error: str) -> None:
    """End a run that cannot go on; what it wrote stays, and its report says what that was."""
    with engine.begin() as connection:
        if lock_run(connection, run_id) is None:
            return
        end_run(connection, run_id, FAILED, RunReport.of(chunk_reports(connection, run_id)).content(), error)
    metrics.RESCORE_RUNS.labels(FAILED).inc()
    log.error("run failed", extra={"run": run_id, "error": error})


def schedule_runs(engine: Engine, days: int, now: datetime | None = None) -> list[int]:
    """After a promotion: ask for the new champion's scores of the last days' readings, which another model judged.

    Args:
        engine: of the database.
        days: how far back; 0 for never.
        now: the present; for tests.

    Returns:
        The runs that were asked for; none if nothing was promoted, or it has been done already.
    """
    now = now or datetime.now(UTC)
    since = now - timedelta(days=days)
    with engine.begin() as connection:
        moved = moved_champions(connection, since) if days else []
        if not moved or scheduled_since(connection, max(one.moved_at for one in moved)):
            return []
        devices = [one.device for one in moved if one.device is not None]
        try:
            run = rescore.create_run(
                connection,
                kind=rescore.SCHEDULED,
                by=SCHEDULER,
                devices=devices if len(devices) == len(moved) else None,
                since=since,
                until=min(now, max(one.moved_at for one in moved) + SCHEDULE_OVERLAP),
                model="champion",
            )
        except RunRefused as error:
            log.warning("nothing scheduled", extra={"reason": str(error)})
            return []
    return [run.run_id]


def _plan(services: Services, models: RunModels, run: OpenRun, chunk_readings: int) -> OpenRun | None:
    """Plan a waiting run, for a while; returns it as it is then."""
    shipped = services.model
    with services.engine.begin() as connection:
        if lock_run(connection, run.id) is None:
            return None
        if not run.settled:
            settle_models(connection, run, ensure_model(connection, shipped.sha256, dict(shipped.card)))
    with services.engine.connect() as connection:
        settled = find_open_run(connection, run.id)
        if settled is None:
            return None
        models.check(connection, _models_of(settled))
    _plan_all(services.engine, settled, chunk_readings)
    with services.engine.connect() as connection:
        return find_open_run(connection, run.id)


def _models_of(run: OpenRun) -> set[int]:
    return {*run.site_models.values(), *([] if run.model_id is None else [run.model_id])}


def _plan_all(engine: Engine, run: OpenRun, chunk_readings: int) -> None:
    together, deadline_s, more = DEVICES_FIRST, time.monotonic() + PLANNING_S, True
    while more and time.monotonic() < deadline_s:
        began_s = time.monotonic()
        try:
            with engine.begin() as connection:
                locked = lock_run(connection, run.id)
                if locked is None or locked.state != WAITING or locked.cancelled:
                    return
                more = plan_chunks(connection, locked, devices_at_once=together, chunk_readings=chunk_readings)
        except OperationalError as error:
            if error.connection_invalidated or together == 1:
                raise
            together = max(1, together // 4)
            log.warning("planning took too long, fewer stations at once", extra={"run": run.id, "stations": together})
            continue
        swift = time.monotonic() - began_s < STEP_S
        together = min(DEVICES_MOST, 2 * together) if swift else max(1, together // 2)


def _outcome(run: OpenRun, report: RunReport) -> tuple[str, str | None]:
    failed = report.chunks_failed
    error = (
        f"{failed} {'chunk' if failed == 1 else 'chunks'} failed; the first: {report.first_error}" if failed else None
    )
    if run.cancelled:
        return CANCELLED, error
    return (FAILED, error) if failed else (DONE, None)
