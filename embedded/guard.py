"""Outlives its owner for a moment to end what the owner started, should the owner itself be killed.

It reads lines of JSON from its standard input: ``{"add": pid}``, ``{"drop": pid}``, ``{"remove": path}`` (a file to delete
with the owner) and ``{"bye": true}``. When the input ends without the last one, the owner has died.
"""

import json
import signal
import sys
from pathlib import Path

import psutil

from embedded.processes import family, kill_all, marked

GRACE_S = 3.0
"""Long enough for Postgres, which is asked to shut down by the kernel's parent-death signal as well, to close its files."""


def main() -> None:
    """Watch until the owner, whose mark is the argument, says goodbye or dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wards: dict[int, psutil.Process] = {}
    files: list[Path] = []
    for line in sys.stdin:
        order = json.loads(line)
        if "bye" in order:
            return
        if "add" in order:
            wards.update(_existing(order["add"]))
        if "drop" in order:
            wards.pop(order["drop"], None)
        if "remove" in order:
            files.append(Path(order["remove"]))
    _end(wards, sys.argv[1])
    for path in files:
        path.unlink(missing_ok=True)


def _existing(pid: int) -> dict[int, psutil.Process]:
    try:
        return {pid: psutil.Process(pid)}
    except psutil.NoSuchProcess:
        return {}


def _end(wards: dict[int, psutil.Process], mark: str) -> None:
    members = {*marked(mark), *(member for pid in wards for member in family(pid))}
    for process in wards.values():
        try:
            process.terminate()  # refuses a pid that belongs to another process by now
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(members, timeout=GRACE_S)
    kill_all({*members, *marked(mark), *(member for pid in wards for member in family(pid))})


if __name__ == "__main__":
    main()
