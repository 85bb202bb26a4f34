"""``/metrics`` of a Celery worker: its prefork processes count in files of one folder, and the parent serves their sums."""

import logging
import os
from typing import Any

from celery.signals import celeryd_after_setup, worker_process_shutdown
from prometheus_client import CollectorRegistry, multiprocess, start_http_server

from streamgauge.settings import WorkerSettings

log = logging.getLogger("streamgauge.worker_metrics")

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client reads it when it is imported: ``tasks/worker.py`` sets it before."""


def serve_metrics(settings: WorkerSettings) -> None:
    """Serve ``/metrics`` from the worker's parent process, if the settings name a port. Beat and Flower serve nothing."""
    if not settings.worker_metrics_port:
        return

    @celeryd_after_setup.connect(weak=False)
    def _serve(**_: Any) -> None:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        start_http_server(settings.worker_metrics_port, settings.worker_metrics_host, registry)
        log.info("metrics served", extra={"port": settings.worker_metrics_port})

    @worker_process_shutdown.connect(weak=False)
    def _forget(pid: int = 0, **_: Any) -> None:
        if os.environ.get(FOLDER_VARIABLE):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
