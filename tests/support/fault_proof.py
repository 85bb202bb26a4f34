"""What is found of injected faults, how soon, and what is called a fault in the records as they are.

The detector beside what is simpler: a control chart alone, marked as rarely in ordinary water (its own calibrated distance), and
the quality flags alone. Calibrations are made from the sound record, every few days from the weeks before, as they would have
been; whether a station creeps, each midnight from what was stored, fault included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.reading import to_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE, EVENT, FAULT
from streamgauge.scoring.calibrating import calibrate, creeping
from streamgauge.scoring.calibration import Calibration, Calibrations, decades, score_of
from streamgauge.scoring.chart import expect_by_chart
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import Expects, Judged, distance, judge, widened
from streamgauge.scoring.recent import look_back
from streamgauge.scoring.records import Record, read_record
from streamgauge.scoring.surprise import WHYS
from streamgauge.scoring.train import RECORD, UNSEEN, Training
from tests.support.faults import BEFORE_ROWS, US_PER_HOUR, Fault, Injected, inject

BoolArray = NDArray[np.bool_]

DAY_US = 24 * US_PER_HOUR
WINDOW_US = 30 * DAY_US
EVERY_US = 5 * DAY_US
GRACE_ROWS = 3
"""A spike may also be noticed at its end, when it is taken back."""
MONTH_HOURS = 730.0
BLOCK_ROWS = 4_096
CONTEXT = 60
METHODS = ("fault", "marked", "chart", "flags")
"""Called a fault; marked at all; marked by the chart alone; flagged suspect or fail."""


@cache
def shipped() -> EdgeModel:
    """The shipped model, as gateways have it: the same to the last bit."""
    return EdgeModel.load()


def records() -> dict[str, Record]:
    """The trained site after training ended, and the site that the model never saw."""
    trained = read_record(RECORD)
    rows = trained.time_us >= to_microseconds(Training().train_until)
    after = Record(trained.name, trained.sha256, trained.time_us[rows], trained.level_m[rows])
    return {"Plumtree Run": after, "Dead Run": read_record(UNSEEN)}


@dataclass(frozen=True, slots=True)
class Station:
    """A record with its calibrations: since when, and which."""

    record: Record
    calibrations: Sequence[tuple[int, Calibration]]

    @classmethod
    def of(cls, record: Record) -> "Station":
        """Calibrate every few days on what was there."""
        found: list[tuple[int, Calibration]] = []
        time_us, level_m = record.time_us, record.level_m
        for since in range(int(time_us[0]) + EVERY_US, int(time_us[-1]), EVERY_US):
            first, last = np.searchsorted(time_us, [since - WINDOW_US, since])
            before = found[-1][1] if found else None
            made = calibrate(shipped(), time_us[first:last], level_m[first:last], before=before)
            if made is not None:
                found.append((since, replace(made, creeps=0)))
        return cls(record, found)

    def daily(self, time_us: NDArray[np.int64], level_m: NDArray[np.float64]) -> Calibrations:
        """The calibrations for a series of this station, with what creeps in *it*, midnight by midnight."""
        base = Calibrations((0, since, made) for since, made in self.calibrations)
        first_day = int(time_us[0]) // DAY_US + 1
        rows = [(0, int(time_us[0]), base.at(0, int(time_us[0])))]
        for midnight in range(first_day * DAY_US, int(time_us[-1]) + 1, DAY_US):
            first, last = np.searchsorted(time_us, [midnight - 2 * DAY_US, midnight])
            rows.append(
                (0, midnight, replace(base.at(0, midnight), creeps=creeping(time_us[first:last], level_m[first:last])))
            )
        return Calibrations(rows)


def judged(
    model: Expects | None, time_us: NDArray[np.int64], level_m: NDArray[np.float64], valid: Calibrations
) -> Judged:
    """A whole series, block by block with its context."""
    parts, places = [], []
    for first in range(0, len(time_us), BLOCK_ROWS):
        begin, end = max(0, first - CONTEXT), min(len(time_us), first + BLOCK_ROWS)
        rows = np.arange(first, end)
        around = slice(begin, min(len(time_us), end + 1))
        zero = np.zeros(len(time_us[around]), dtype=np.int64)
        parts.append(judge(model, zero, time_us[around], level_m[around], rows - begin, calibrations=valid))
        places.append(rows)
    return Judged.joined(parts, np.concatenate(places))


def marks(station: Station, time_us: NDArray[np.int64], level_m: NDArray[np.float64]) -> dict[str, BoolArray]:
    """What each of ``METHODS`` says of a series."""
    found = judged(shipped(), time_us, level_m, station.daily(time_us, level_m))
    flags = check_levels(np.zeros(len(time_us), dtype=np.int64), time_us, level_m).flags
    return {
        "fault": found.surprise == FAULT,
        "marked": found.surprise > 0,
        "chart": chart_alone(station, time_us, level_m) >= ANOMALY_SCORE,
        "flags": (flags == Flag.SUSPECT) | (flags == Flag.FAIL),
    }


def chart_alone(station: Station, time_us: NDArray[np.int64], level_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """The score by the chart's distance only: no flags, no shapes."""
    zero = np.zeros(len(time_us), dtype=np.int64)
    checked = check_levels(zero, time_us, level_m)
    # The chart alone has no checks: whatever came is its history.
    usable = np.isfinite(level_m)
    checked = replace(checked, usable=usable, usable_as_newest=usable, flags=np.ones(len(zero), dtype=np.uint8))
    applied = station.daily(time_us, level_m).apply(zero, time_us)
    expected = expect_by_chart(look_back(zero, time_us, level_m, checked, np.arange(len(zero))), applied.chart_weight)
    band = applied.chart
    return score_of(decades(distance(level_m, widened(expected, band), checked.flags), band.knots, band.slope))


@dataclass(slots=True)
class Found:
    """What one method found of one kind of fault: hours to detection of those that were."""

    hours: list[float]
    trials: int = 0

    @property
    def rate(self) -> float:
        """The share that was found."""
        return len(self.hours) / self.trials if self.trials else float("nan")

    @property
    def median_h(self) -> float:
        """Of those that were found, how long it took."""
        return float(np.median(self.hours)) if self.hours else float("nan")


def trials(station: Station, fault: Fault, count: int, seed: int) -> list[Injected]:
    """Stretches of a record with a fault, at places drawn by seed, after the station's first calibration."""
    chance = np.random.default_rng(seed)
    record, made = station.record, []
    earliest = max(BEFORE_ROWS, int(np.searchsorted(record.time_us, record.time_us[0] + 10 * DAY_US)))
    while len(made) < count:
        row = int(chance.integers(earliest, len(record.time_us)))
        try:
            made.append(inject(fault, record.time_us, record.level_m, row, int(chance.integers(2**31))))
        except ValueError:
            continue  # Too near to the record's end.
    return made


def detection(station: Station, fault: Fault, count: int, seed: int) -> dict[str, Found]:
    """How much of a kind each method finds, and how soon. What it says of the same stretch without the fault does not count."""
    found = {method: Found([]) for method in METHODS}
    for trial in trials(station, fault, count, seed):
        with_fault = marks(station, trial.time_us, trial.level_m)
        without = marks(station, trial.time_us, trial.sound_m)
        for method, result in found.items():
            result.trials += 1
            new = np.flatnonzero(with_fault[method] & ~without[method])
            grace = GRACE_ROWS if fault.hours is None else 0
            new = new[(new >= trial.first) & (new <= trial.last + grace)]
            if len(new):
                result.hours.append(float(trial.time_us[new[0]] - trial.time_us[trial.first]) / US_PER_HOUR)
    return found


def false_alarms(station: Station) -> dict[str, float]:
    """Per method the readings of the record as it is that are marked, per station-month; and by why for those called faults."""
    time_us, level_m = station.record.time_us, station.record.level_m
    months = float(time_us[-1] - time_us[0]) / US_PER_HOUR / MONTH_HOURS
    rates = {method: np.count_nonzero(found) / months for method, found in marks(station, time_us, level_m).items()}
    found = judged(shipped(), time_us, level_m, station.daily(time_us, level_m))
    rates["event"] = np.count_nonzero(found.surprise == EVENT) / months
    for number in np.unique(found.why[found.surprise == FAULT]).tolist():
        rates[f"fault: {WHYS[number]}"] = np.count_nonzero((found.why == number) & (found.surprise == FAULT)) / months
    return rates


def flood_rows(record: Record) -> BoolArray:
    """The readings of floods: the level moved by more than 0.1 m within the hour before, or stands 0.3 m over the usual."""
    time_us, level_m = record.time_us, record.level_m
    before = np.searchsorted(time_us, time_us - US_PER_HOUR)
    moved = np.abs(level_m - level_m[before]) > 0.1
    return moved | (level_m > np.median(level_m) + 0.3)


def floods_called_faults(station: Station) -> tuple[int, int, int]:
    """Of the flood readings of a record as it is: how many there are, how many are marked, how many are called faults."""
    record = station.record
    found = judged(shipped(), record.time_us, record.level_m, station.daily(record.time_us, record.level_m))
    flood = flood_rows(record)
    marked = np.count_nonzero(flood & (found.surprise > 0))
    return int(np.count_nonzero(flood)), int(marked), int(np.count_nonzero(flood & (found.surprise == FAULT)))


def table(found: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """Per kind of fault and method the share found and the median hours to it, as lines of Markdown."""
    lines = ["| fault | " + " | ".join(METHODS) + " |", "| --- |" + " --- |" * len(METHODS)]
    for kind, by_method in found.items():
        cells = []
        for method in METHODS:
            result = by_method[method]
            after = f", {result.median_h:.1f} h" if result.hours else ""
            cells.append(f"{result.rate:.0%}{after}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines
