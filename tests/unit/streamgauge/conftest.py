"""Fixtures of the shared package's tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def run_apart() -> Callable[[str], str]:
    """Runs a Python program in a process of its own with an empty environment; returns its standard output."""

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT,
            env={},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
