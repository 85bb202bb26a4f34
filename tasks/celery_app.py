"""The Celery application: configuration, the services of a worker process, and the tasks by name."""

import logging
import os
from typing import Any

import orjson
from celery import Celery
from celery.signals import celeryd_after_setup, setup_logging, worker_process_init

from streamgauge import logs
from streamgauge.queue import INGEST_TASK, QUEUES, celery_config
from streamgauge.settings import WorkerSettings
from tasks import (
    calibrate,
    drift,
    forecast,
    learn,
    maintenance,
    mlflow_mirror,
    replay,
    rescore,
    retrain,
    rollup,
    shadow,
)
from tasks.ingest_task import run_ingest
from tasks.services import ServiceHolder
from tasks.worker_metrics import serve_metrics

log = logging.getLogger("streamgauge.celery")

PARTS = (maintenance, calibrate, learn, drift, rescore, mlflow_mirror, forecast, retrain, shadow, rollup, replay)
"""Modules with tasks beside ``ingest``: each has ``BEAT``, its part of the schedule, and ``register(app, holder)``."""

PREFETCH_PER_PROCESS = 2
SOFT_SHUTDOWN_S = 10.0


def worker_config(settings: WorkerSettings) -> dict[str, Any]:
    """What concerns workers only; see ``streamgauge.queue.celery_config`` for what enqueuing parts share.

    The limits must agree: a task that may run longer than the visibility timeout would be delivered to a second worker
    while the first still has it. ``load`` refuses such settings; this asserts it once more where it matters.
    """
    assert settings.task_soft_limit_s < settings.task_hard_limit_s < settings.visibility_timeout_s
    return {
        "broker_transport": "tasks.redis_transport:Transport",
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": settings.task_soft_limit_s,
        "task_time_limit": settings.task_hard_limit_s,
        "worker_prefetch_multiplier": PREFETCH_PER_PROCESS,
        "worker_soft_shutdown_timeout": SOFT_SHUTDOWN_S,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_max_retries": None,
        "beat_schedule": {name: entry for part in PARTS for name, entry in part.BEAT.items()},
    }


def create_celery(settings: WorkerSettings) -> Celery:
    """Build the application; nothing is connected, and services are made in each process after the fork."""
    app = Celery("streamgauge")
    app.conf.update(celery_config(settings.redis_url, settings.visibility_timeout_s) | worker_config(settings))
    assert {queue.name for queue in app.conf.task_queues} == set(QUEUES)
    holder = ServiceHolder(settings)
    serve_metrics(settings)

    @setup_logging.connect(weak=False)
    def _logging(**_: object) -> None:
        logs.configure("worker", settings.log_level)

    @celeryd_after_setup.connect(weak=False)
    def _step_back(**_: object) -> None:
        if settings.worker_nice:
            os.nice(settings.worker_nice)

    @worker_process_init.connect(weak=False)
    def _warm_up(**_: object) -> None:
        # The model takes a second to load; the first reading need not wait for it.
        holder.get()

    @app.task(name=INGEST_TASK, bind=True, ignore_result=True, shared=False)
    def ingest(self: Any, recipient: str, body: str) -> None:
        run_ingest(holder.get(), self.request.id, recipient, orjson.loads(body))

    for part in PARTS:
        part.register(app, holder)
    return app
