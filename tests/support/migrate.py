"""Alembic, as the product runs it: a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def start_alembic(database_url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start one Alembic command on a database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", "-c", "migrations/alembic.ini", *arguments],
        env={**kept, "STREAMGAUGE_DATABASE_URL": database_url},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def migrate(database_url: str, *arguments: str) -> str:
    """Run one Alembic command, by default ``upgrade head``; returns what it said.

    Raises:
        AssertionError: it failed.
    """
    process = start_alembic(database_url, *(arguments or ("upgrade", "head")))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output
