"""Where the servers' programs are, and what environment they get."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SYSTEM_FOLDERS = (
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/opt/homebrew/bin",
    "/opt/homebrew/sbin",
)
"""Searched after PATH: on Debian an ordinary user's PATH lacks /usr/sbin, where Mosquitto is."""


def find_program(*names: str, search_path: str | None = None) -> Path | None:
    """The first of these programs that is installed.

    Args:
        names: in order of preference.
        search_path: folders separated by colons; by default PATH and then the system's usual folders.
    """
    where = os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_FOLDERS)) if search_path is None else search_path
    for name in names:
        found = shutil.which(name, path=where)
        if found:
            return Path(found)
    return None


def package_folder(package: str) -> Path | None:
    """Folder of an installed Python package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def version_line(program: Path, option: str = "--version") -> str:
    """The first line that a program prints about its version; empty when it cannot be run."""
    try:
        done = subprocess.run([program, option], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def plain_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a server: nothing of the user's own settings (PGOPTIONS, REDISCLI_AUTH …) reaches it."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "TZDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", **kept, **(extra or {})}
