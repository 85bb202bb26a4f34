"""What a benchmark hands back: JSON lines for programs on standard output, a table for people on standard error."""

import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

from embedded.stack import Stack


@dataclass(slots=True, kw_only=True)
class Result:
    """One line.

    Attributes:
        bench: its name.
        value: the median of the rounds.
        unit: of value and rounds.
        ratio_to_naive: the median of the ratios of each round.
        target: what is aimed at, in words; likewise whether it is met.
        rounds: the value of each round.
        detail: whatever else was found.
    """

    bench: str
    value: float
    unit: str
    rounds: Sequence[float] = ()
    ratio_to_naive: float | None = None
    target: str | None = None
    met: bool | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def median_result(bench: str, unit: str, rounds: Sequence[float], **others: Any) -> Result:
    """A result whose value is the median of its rounds."""
    return Result(bench=bench, value=round(statistics.median(rounds), 1), unit=unit, rounds=rounds, **others)


def print_line(result: Result, machine: Mapping[str, Any]) -> None:
    """One JSON object on standard output; members without a value are left out."""
    optional = {"ratio_to_naive": result.ratio_to_naive, "target": result.target, "met": result.met}
    line = {"bench": result.bench, "value": result.value, "unit": result.unit}
    line |= {name: value for name, value in optional.items() if value is not None}
    line |= {"rounds": list(result.rounds), "detail": dict(result.detail), "machine": dict(machine)}
    print(orjson.dumps(line).decode(), flush=True)


def print_table(results: Sequence[Result], machine: Mapping[str, Any]) -> None:
    """The results for people."""
    rows = [("benchmark", "value", "unit", "times naive", "target", "met")]
    for result in results:
        ratio = "" if result.ratio_to_naive is None else f"{result.ratio_to_naive:.1f}"
        met = {True: "yes", False: "NO", None: ""}[result.met]
        rows.append((result.bench, f"{result.value:,.1f}", result.unit, ratio, result.target or "", met))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    say("")
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    say("")
    say(f"{machine['cpus']} × {machine['cpu_model']}, Python {machine['python']}, {', '.join(machine['servers'])}")


def describe_machine(stack: Stack) -> dict[str, Any]:
    """What it ran on; no path or name of the machine."""
    return {
        "cpus": len(psutil.Process().cpu_affinity() or [])
        if hasattr(psutil.Process, "cpu_affinity")
        else psutil.cpu_count(),
        "cpu_model": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "servers": [server.program.partition(" (")[0] for server in stack.servers],
    }


def say(words: str) -> None:
    """Progress, on standard error."""
    print(words, file=sys.stderr, flush=True)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
