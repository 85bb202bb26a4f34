"""The repository's files as the tests of this folder see them."""

import subprocess
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]

PARTS = ("app", "tasks", "gateway", "simulator", "embedded")
"""The programs, which never import each other."""

PACKAGES = ("streamgauge", *PARTS)

_NOT_OURS = {
    ".git",
    ".venv",
    ".venv-mlflow",
    "node_modules",
    "__pycache__",
    ".streamgauge",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
}


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that belongs to the repository; in a folder without git, every file that is no product of a tool."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        found = [PROJECT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for path in PROJECT.rglob("*") if not _NOT_OURS & set(path.relative_to(PROJECT).parts)]
    return tuple(sorted(path for path in found if path.is_file()))


def product_modules() -> list[Path]:
    """The Python files of the product, tests apart."""
    folders = {*PACKAGES, "migrations"}
    return [path for path in tracked_files() if path.suffix == ".py" and path.relative_to(PROJECT).parts[0] in folders]


def module_name(path: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
