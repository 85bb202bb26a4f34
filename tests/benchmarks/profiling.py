"""Subscriber and workers under cProfile, to see where the time goes; read the files with ``python -m pstats``."""

import sys
from pathlib import Path

from tests.support.system import System

PROFILE_DIR = "STREAMGAUGE_BENCH_PROFILE"
"""Environment variable that tells ``profiled_worker`` where its processes' profiles go."""


def profile(system: System, directory: Path) -> None:
    """Have the system's subscriber and worker, which are not started yet, write profiles when they stop."""
    directory.mkdir(parents=True, exist_ok=True)
    absolute = directory.absolute()
    system.subscriber.argv = (
        *(sys.executable, "-m", "cProfile", "-o", str(absolute / "subscriber.pstats")),
        *("-m", "tasks.subscriber"),
    )
    argv = system.worker.argv
    system.worker.argv = tuple("tests.benchmarks.profiled_worker" if word == "tasks.worker" else word for word in argv)
    system.worker.environ = {**system.worker.environ, PROFILE_DIR: str(absolute)}
