"""The worker's Celery application whose processes profile their tasks: ``celery -A tests.benchmarks.profiled_worker``."""

import cProfile
import os
from pathlib import Path

from celery.signals import task_postrun, task_prerun, worker_process_shutdown

from tasks import worker
from tests.benchmarks.profiling import PROFILE_DIR

app = worker.app
_profile = cProfile.Profile()


@task_prerun.connect  # type: ignore[untyped-decorator]
def _begin(**_: object) -> None:
    _profile.enable()


@task_postrun.connect  # type: ignore[untyped-decorator]
def _end(**_: object) -> None:
    _profile.disable()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _write(**_: object) -> None:
    _profile.dump_stats(Path(os.environ[PROFILE_DIR]) / f"worker-{os.getpid()}.pstats")
