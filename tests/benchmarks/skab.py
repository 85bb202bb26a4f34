"""``python -m tests.benchmarks.skab FOLDER``: the detector for several sensors on the Skoltech Anomaly Benchmark.

It writes a decision per row, and prints F1, false-alarm rate (FAR), missed-alarm rate (MAR) and J = 1 − FAR − MAR beside
always-alarm and a moving-average control chart; see ``docs/skab.md``.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgauge.scoring.multisensor import MIN_ROWS, MultisensorProfile, surprise
from tests.benchmarks.skab_files import ORDINARY_GROUP, Recording, Unreadable, find_files, readable

LEARN_ROWS = 400
"""SKAB's notebooks take a file's first 400 rows for ordinary, and learn from them without labels; so does this."""

CHART_WEIGHT = 0.2
CHART_SIGMAS = 3.0
OURS = "streamgauge"

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the detector says of each row of a recording; NaN and False while it learns."""

    score: FloatArray
    alarm: BoolArray


@dataclass(slots=True)
class Counts:
    """Rows by label and decision."""

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    quiet: int = 0

    def add(self, labels: BoolArray, alarm: BoolArray) -> None:
        """Count the rows of one recording."""
        self.hits += int((labels & alarm).sum())
        self.misses += int((labels & ~alarm).sum())
        self.false_alarms += int((~labels & alarm).sum())
        self.quiet += int((~labels & ~alarm).sum())

    def figures(self) -> dict[str, float | int | None]:
        """F1, FAR, MAR and J; None where their rows are missing."""
        far = _share(self.false_alarms, self.false_alarms + self.quiet)
        mar = _share(self.misses, self.misses + self.hits)
        f1 = _share(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)
        j = None if far is None or mar is None else 1 - far - mar
        return {"f1": f1, "far": far, "mar": mar, "j": j, **asdict(self)}


@dataclass(slots=True)
class Report:
    """Everything that was found.

    Attributes:
        counts: per detector, per group of files ("all" is all groups but the anomaly-free recordings), over all rows.
        later: likewise for "all" over the rows after the learning rows only.
        files, rows, seconds: how much was judged, and how long it took.
        unlabelled: files without labels: decided, not counted.
        skipped: what could not be judged, and why.
        undecided: rows that were learnt from and not decided, of files that hold no others.
    """

    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    later: dict[str, Counts] = field(default_factory=dict)
    files: int = 0
    rows: int = 0
    seconds: float = 0.0
    unlabelled: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    undecided: dict[str, int] = field(default_factory=dict)

    def add(self, recording: Recording, labels: BoolArray, alarms: Mapping[str, BoolArray], learn_rows: int) -> None:
        """Count one labelled recording."""
        ordinary = recording.group == ORDINARY_GROUP
        for detector, alarm in alarms.items():
            groups = self.counts.setdefault(detector, {})
            for group in [recording.group] if ordinary else ["all", recording.group]:
                groups.setdefault(group, Counts()).add(labels, alarm)
            if not ordinary:
                self.later.setdefault(detector, Counts()).add(labels[learn_rows:], alarm[learn_rows:])

    def to_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "files": self.files,
            "rows": self.rows,
            "rows_per_s": round(self.rows / self.seconds) if self.seconds else None,
            "detectors": {
                detector: {group: counts.figures() for group, counts in groups.items()}
                for detector, groups in self.counts.items()
            },
            "after_learning": {detector: counts.figures() for detector, counts in self.later.items()},
            "unlabelled": self.unlabelled,
            "skipped": self.skipped,
            "undecided_rows": self.undecided,
        }


def decide(values: FloatArray, learn_rows: int = LEARN_ROWS) -> Decisions:
    """Learn from the first rows, without labels, and judge the others, each from itself and earlier rows only.

    Args:
        values: float64[n, k].
        learn_rows: how many rows are taken for ordinary. While learning nothing is decided: a decision there would rest
            on rows that come after it.

    Raises:
        ValueError: the first rows are too few or empty.
    """
    profile = MultisensorProfile.learn(values[:learn_rows])
    verdict = surprise(profile, values[learn_rows:], before=values[:learn_rows])
    quiet = min(learn_rows, len(values))
    return Decisions(
        np.concatenate([np.full(quiet, np.nan), verdict.score]),
        np.concatenate([np.zeros(quiet, dtype=np.bool_), verdict.alarm]),
    )


@np.errstate(over="ignore", invalid="ignore")  # of values near the largest float: their limits are infinite
def chart(values: FloatArray, learn_rows: int = LEARN_ROWS) -> BoolArray:
    """The moving-average control chart (EWMA, weight 0.2, limits of 3 sigma) of each channel; one beyond is an alarm.

    The baseline that the detector has to beat. S. W. Roberts, "Control chart tests based on geometric moving averages",
    Technometrics 1, 1959.
    """
    ordinary = values[:learn_rows]
    mean, sigma = (np.nan_to_num(statistic(ordinary, axis=0)) for statistic in (np.nanmean, np.nanstd))
    limit = CHART_SIGMAS * sigma * np.sqrt(CHART_WEIGHT / (2 - CHART_WEIGHT))
    average, alarm = mean.copy(), np.zeros(len(values), dtype=np.bool_)
    for row, reading in enumerate(values):
        average += CHART_WEIGHT * np.where(np.isfinite(reading), reading - average, 0.0)
        alarm[row] = row >= learn_rows and bool((np.abs(average - mean) > limit).any())
    return alarm


def always(values: FloatArray, learn_rows: int = LEARN_ROWS) -> BoolArray:
    """Every row is an alarm: what a detector has to beat to be worth anything."""
    return np.ones(len(values), dtype=np.bool_)


def once_learnt(values: FloatArray, learn_rows: int = LEARN_ROWS) -> BoolArray:
    """Every row after the learning rows is an alarm: what position alone earns where files begin ordinary."""
    return np.arange(len(values)) >= learn_rows


BASELINES: dict[str, Callable[[FloatArray, int], BoolArray]] = {
    "moving-average chart": chart,
    "always alarm": always,
    "alarm once learnt": once_learnt,
}


def run(folder: Path, decisions: Path, learn_rows: int = LEARN_ROWS) -> Report:
    """Judge every recording in a folder and write the decisions.

    Args:
        folder: searched with all folders in it.
        decisions: the CSV file to write: file, row (from 0), time, score, decision (0 or 1).
        learn_rows: see ``decide``.

    Raises:
        Unreadable: there is no file in the folder.
    """
    report = Report()
    paths = [path for path in find_files(folder) if path.resolve() != decisions.resolve()]  # of an earlier run
    with decisions.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "row", "time", "score", "decision"])
        for name, recording in readable(folder, paths):
            if isinstance(recording, Unreadable):
                _skip(report, name, str(recording))
                continue
            started = time.perf_counter()
            try:
                decided = decide(recording.values, learn_rows)
            except ValueError as error:
                _skip(report, name, str(error))
                continue
            report.seconds += time.perf_counter() - started
            writer.writerows(_lines(recording, decided))
            _count(report, recording, decided, learn_rows)
    return report


def _skip(report: Report, name: str, reason: str) -> None:
    report.skipped[name] = reason
    _say(f"{name}: NOT JUDGED: {reason}")


def _lines(recording: Recording, decided: Decisions) -> Iterable[tuple[str, int, str, str, int]]:
    for row, (at, score, alarm) in enumerate(zip(recording.times, decided.score, decided.alarm, strict=True)):
        yield recording.name, row, at, "" if np.isnan(score) else f"{score:.6g}", int(alarm)


def _count(report: Report, recording: Recording, decided: Decisions, learn_rows: int) -> None:
    report.files += 1
    report.rows += len(recording.values)
    if len(recording.values) <= learn_rows:
        report.undecided[recording.name] = len(recording.values)
        _say(f"{recording.name}: NOTHING DECIDED: not more than the {learn_rows} rows to learn from (--learn-rows)")
    odd = f", {recording.odd_cells} cells that are no number" if recording.odd_cells else ""
    if recording.labels is None:
        report.unlabelled.append(recording.name)
        _say(f"{recording.name}: {len(recording.values)} rows, {decided.alarm.sum()} alarms, no labels{odd}")
        return
    alarms = {OURS: decided.alarm}
    alarms |= {name: baseline(recording.values, learn_rows) for name, baseline in BASELINES.items()}
    report.add(recording, recording.labels, alarms, learn_rows)
    own = Counts()
    own.add(recording.labels, decided.alarm)
    _say(f"{recording.name}: {len(recording.values)} rows, {_words(own)}{odd}")


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _words(counts: Counts) -> str:
    figures = counts.figures()
    return "  ".join(
        f"{name} {'   –' if figures[key] is None else format(figures[key], '.3f')}"
        for name, key in (("F1", "f1"), ("FAR", "far"), ("MAR", "mar"), ("J", "j"))
    )


def _table(report: Report) -> str:
    lines = []
    for detector, groups in report.counts.items():
        lines += [f"{detector:<21} {group:<22} {_words(counts)}" for group, counts in groups.items()]
        if detector in report.later:
            lines.append(f"{detector:<21} {'all, after learning':<22} {_words(report.later[detector])}")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run it; returns the exit status: 1 if nothing could be judged."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.skab", description=__doc__)
    parser.add_argument("folder", type=Path, help="SKAB's files, in whatever folders below it")
    parser.add_argument("--decisions", type=Path, default=Path("skab-decisions.csv"), help="the CSV file to write")
    parser.add_argument(
        "--learn-rows", type=int, default=LEARN_ROWS, help=f"rows taken for ordinary, {MIN_ROWS} or more ({LEARN_ROWS})"
    )
    parser.add_argument("--json", action="store_true", help="figures as JSON on standard output, nothing else there")
    options = parser.parse_args(arguments)
    if options.learn_rows < MIN_ROWS:
        parser.error(f"--learn-rows must be at least {MIN_ROWS}")
    try:
        report = run(options.folder, options.decisions, options.learn_rows)
    except (Unreadable, OSError) as error:
        _say(f"FAILED: {error}")
        return 1
    print(json.dumps(report.to_json()) if options.json else _table(report))
    if report.undecided:
        _say(
            f"WARNING: {len(report.undecided)} of {report.files} files hold no row after the {options.learn_rows} to learn "
            "from: nothing was decided there, and each of their anomalies counts as missed (--learn-rows)"
        )
    _say(
        f"{report.files} files, {report.rows} rows; decisions in {options.decisions}; {len(report.skipped)} not judged"
    )
    return 0 if report.files else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
