"""Re-scoring of stored readings (docs/rescoring.md): the two tasks on queue ``batch``, and their part of the schedule.

``streamgauge.rescore.tend`` plans runs, begins chains of ``streamgauge.rescore.chunk`` and ends runs; a chunk task does chunks
for a few seconds and enqueues its successor. Either may be lost or come twice.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_ready
from redis import RedisError

from streamgauge import logs, metrics
from streamgauge.errors import ModelArtefactError, QueueUnavailable
from streamgauge.queue import BATCH, READINGS, RESCORE_TASK, TEND_RUNS_TASK, enqueue_batch, queue_length
from streamgauge.settings import WorkerSettings
from streamgauge.storage.rescore import RUNNING
from streamgauge.storage.rescore_plan import OpenRun, open_runs
from tasks.rescore.chunk import ChunkScorer
from tasks.rescore.lanes import clear_lanes, give_back, renew
from tasks.rescore.tend import fail_run, schedule_runs, settle_run, start_chains, tend_runs
from tasks.services import ServiceHolder

log = logging.getLogger("streamgauge.rescore")

TEND_EVERY_S = 15.0
SLICE_S = 3.0
"""So long a chunk task goes on with chunks; then whatever else waits in ``batch`` has its turn."""

BEAT = {
    "tend-rescore-runs": {
        "task": TEND_RUNS_TASK,
        "schedule": TEND_EVERY_S,
        "options": {"queue": BATCH, "expires": TEND_EVERY_S},
    },
    "rescore-after-promotion": {
        "task": TEND_RUNS_TASK,
        "schedule": crontab(minute="20", hour="2", day_of_week="mon"),
        "kwargs": {"schedule": True},
        "options": {"queue": BATCH, "expires": 86_400},
    },
}


class Rescoring:
    """What the tasks need in one worker process, made at the first of them."""

    def __init__(self, app: Celery, holder: ServiceHolder) -> None:
        self._app = app
        self._holder = holder
        self._scorer: ChunkScorer | None = None

    @property
    def settings(self) -> WorkerSettings:
        """The worker's."""
        return self._holder.settings

    @property
    def scorer(self) -> ChunkScorer:
        """This process's."""
        if self._scorer is None:
            self._scorer = ChunkScorer(self._holder.get())
        return self._scorer

    def tend(self, *, schedule: bool, fresh: bool) -> None:
        """Plan, end, and keep going what is open.

        Args:
            schedule: ask for what a promotion makes worth while, too.
            fresh: a worker has just started: chains that it may have had are begun anew at once.
        """
        services = self._holder.get()
        if schedule:
            schedule_runs(services.engine, self.settings.rescore_scheduled_days)
        running = tend_runs(services, self.scorer.models, self.settings.rescore_chunk_readings)
        try:
            if fresh:
                clear_lanes(services.redis, self.settings.rescore_tasks)
            if running:
                start_chains(services.redis, self.settings.rescore_tasks, self._begin)
        except (RedisError, QueueUnavailable) as error:
            log.warning("no chunk task begun", extra={"error": str(error)})

    def work(self, lane: int, chain: str, after: int) -> None:
        """Do chunks for a while, then enqueue the successor.

        Args:
            lane: of the chain.
            chain: its name.
            after: the run that the task before worked at; the next one has its turn.
        """
        services = self._holder.get()
        with services.engine.connect() as connection:
            runs = [run for run in open_runs(connection) if run.state == RUNNING]
        in_turn = [run for run in runs if run.id > after] + [run for run in runs if run.id <= after]
        deadline_s = time.monotonic() + SLICE_S
        for run in in_turn:
            worked, goes_on = self._work_at(run, lane, chain, deadline_s)
            if not goes_on:
                return
            if worked:
                self._begin(lane, chain, run.id)
                return
        give_back(services.redis, lane, chain)

    def _work_at(self, run: OpenRun, lane: int, chain: str, deadline_s: float) -> tuple[bool, bool]:
        """Do chunks of one run; returns whether there were any, and whether the chain goes on."""
        services, done = self._holder.get(), 0
        with services.engine.connect() as connection:
            while time.monotonic() < deadline_s:
                if not renew(services.redis, lane, chain) or self._gives_way():
                    return done > 0, False
                try:
                    if not self.scorer.next_chunk(connection, run):
                        break
                except ModelArtefactError as error:
                    fail_run(services.engine, run.id, str(error))
                    break
                done += 1
        settle_run(services.engine, run.id)
        return done > 0, True

    def _gives_way(self) -> bool:
        """Whether live readings wait for workers; the chain then ends, and ``tend`` begins another when its lease has run out."""
        try:
            waiting = queue_length(self._holder.get().redis, READINGS)
        except RedisError:
            return True
        if waiting < self.settings.rescore_give_way_tasks:
            return False
        metrics.RESCORE_GAVE_WAY.inc()
        log.info("re-scoring gives way to live readings", extra={"tasks_waiting": waiting})
        return True

    def _begin(self, lane: int, chain: str, after: int = 0) -> None:
        enqueue_batch(self._app, RESCORE_TASK, {"lane": lane, "chain": chain, "after": after})


@contextmanager
def _watched(task: str, task_id: str) -> Iterator[None]:
    with (
        logs.bind(task_id=task_id),
        metrics.TASK_SECONDS.labels(task).time(),
        metrics.TASK_FAILURES.labels(task).count_exceptions(),
    ):
        yield


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the tasks their code; wake the runs when a worker of ``batch`` starts."""
    rescoring = Rescoring(app, holder)

    @app.task(name=RESCORE_TASK, bind=True, ignore_result=True, shared=False)
    def rescore_chunks(self: Any, lane: int, chain: str, after: int = 0) -> None:
        with _watched(RESCORE_TASK, self.request.id):
            rescoring.work(lane, chain, after)

    @app.task(name=TEND_RUNS_TASK, bind=True, ignore_result=True, shared=False)
    def tend_rescore_runs(self: Any, schedule: bool = False, fresh: bool = False) -> None:
        with _watched(TEND_RUNS_TASK, self.request.id):
            rescoring.tend(schedule=schedule, fresh=fresh)

    @worker_ready.connect(weak=False)
    def _resume(sender: Any = None, **_: object) -> None:
        if BATCH in sender.app.amqp.queues.consume_from:
            try:
                enqueue_batch(app, TEND_RUNS_TASK, {"fresh": True})
            except QueueUnavailable:
                log.warning("runs are taken up again at the next beat")
