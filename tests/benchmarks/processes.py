"""CPU seconds and resident memory of what runs, by part."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import psutil

MIB = 2**20

Group = Callable[[], Iterable[psutil.Process]]


def tree(pid: int | None) -> list[psutil.Process]:
    """A process and everything below it; nothing if it does not run."""
    if pid is None or not psutil.pid_exists(pid):
        return []
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_s(processes: Iterable[psutil.Process], *, with_ended: bool = False) -> float:
    """CPU seconds, user and system, since these processes began.

    Args:
        processes: those that count.
        with_ended: count their children that have ended too (Postgres starts a process per connection).
    """
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if with_ended:
            total += times.children_user + times.children_system
    return total


def cpu_by_part(roots: Mapping[str, int | None]) -> dict[str, float]:
    """CPU seconds so far of each part, a part being a process with everything below it.

    A part's name that ends in ``worker`` is given as its parent and its children, as these do different work.
    """
    found: dict[str, float] = {}
    for name, pid in roots.items():
        processes = tree(pid)
        if not processes:
            continue
        if name.endswith("worker"):
            found[f"{name}_parent"] = cpu_s(processes[:1])
            found[f"{name}_children"] = cpu_s(processes[1:])
        else:
            found[name] = cpu_s(processes, with_ended=True)
    return found


def spent_s(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each part took between two moments, in CPU seconds; parts that took next to nothing are left out."""
    spent = {name: round(seconds - before.get(name, 0.0), 2) for name, seconds in after.items()}
    return {name: seconds for name, seconds in spent.items() if seconds >= 0.05}


@dataclass(frozen=True, slots=True)
class Memory:
    """One process's resident memory in MiB; ``pss_mib`` shares out what several processes have in common."""

    process: str
    rss_mib: float
    pss_mib: float | None


def memory_by_process(roots: Mapping[str, int | None]) -> list[Memory]:
    """The resident memory of every process of every part."""
    found = []
    for name, pid in roots.items():
        for number, process in enumerate(tree(pid)):
            label = name if number == 0 else f"{name}: {_what(process)} {number}"
            found.append(_memory(label, process))
    return found


def _what(process: psutil.Process) -> str:
    # Postgres's processes say in their title what they do ("postgres: checkpointer").
    title = " ".join(process.cmdline()).strip()
    if title.startswith("postgres: "):
        return title.removeprefix("postgres: ").split(" 127.0.0.1")[0].strip()
    return "child"


def _memory(label: str, process: psutil.Process) -> Memory:
    rss_mib = round(process.memory_info().rss / MIB, 1)
    try:
        pss_mib = round(process.memory_full_info().pss / MIB, 1)
    except (psutil.AccessDenied, AttributeError):
        # Another account's process, or a system without /proc/…/smaps_rollup.
        return Memory(label, rss_mib, None)
    return Memory(label, rss_mib, pss_mib)
