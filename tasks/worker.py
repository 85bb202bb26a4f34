"""Celery's entry: ``celery -A tasks.worker worker|beat|flower``. One of the shims that read the environment on import."""

import os
import sys
import tempfile

from prometheus_client import values

from streamgauge.errors import SettingsError
from streamgauge.settings import WorkerSettings, load

try:
    settings = load(WorkerSettings, os.environ)
except SettingsError as error:
    sys.exit(str(error))

if settings.worker_metrics_port:
    # Prefork children count in files of one folder, which the parent sums up. prometheus_client decides that when it is
    # imported, and Celery's command line has imported it already, through Flower.
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="streamgauge-metrics-"))
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]

from tasks.celery_app import create_celery

app = create_celery(settings)
