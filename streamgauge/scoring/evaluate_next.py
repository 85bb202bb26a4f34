"""What was expected of each next reading of a record, as live: with a calibration of the station's own, made anew each day.

As in ``tasks/calibrate.py``, a day's calibration rests on the readings of the weeks before it alone; until there are enough of
them, the shipped one is valid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.flags import Flag
from streamgauge.quality.series import SECONDS_PER_HOUR, IntArray
from streamgauge.scoring.anomaly import EVENT, FAULT
from streamgauge.scoring.calibrating import calibrate
from streamgauge.scoring.calibration import Calibration, Calibrations
from streamgauge.scoring.features import WINDOW_S, FloatArray, build
from streamgauge.scoring.forecast.figures import MOVING_M
from streamgauge.scoring.judge import judge_checked
from streamgauge.scoring.model import Model
from streamgauge.scoring.records import Record
from streamgauge.units import MICROSECONDS_PER_SECOND

WINDOW_DAYS = 30
"""A calibration rests on so many days before it; see ``tasks/calibrate.py``."""

_DAY_US = 86_400 * MICROSECONDS_PER_SECOND
_HOUR_US = int(SECONDS_PER_HOUR) * MICROSECONDS_PER_SECOND
_JITTER_US = 30 * MICROSECONDS_PER_SECOND
_CHUNK_ROWS = 20_000
_WINDOW_ROWS_MAX = 20_000
_ROUNDING_M = 0.00005
"""Records are rounded to 0.1 mm: a bound is met within half of that."""


@dataclass(frozen=True, slots=True)
class NextFigures:
    """How good the expectation of the next reading was over some rows, as live; ``None`` without any rows.

    Attributes:
        rows: how many readings were judged.
        expected_mae_m: mean absolute error of what was expected, metres.
        persistence_mae_m: of the last usable level.
        skill: by which share the first is lower.
        coverage: share of readings within the 90 % band, its ends included.
        band_mean_m: the band's mean width.
        events: share of readings marked as the water's surprise.
        faults: share marked as the sensor's.
    """

    rows: int
    expected_mae_m: float | None = None
    persistence_mae_m: float | None = None
    skill: float | None = None
    coverage: float | None = None
    band_mean_m: float | None = None
    events: float | None = None
    faults: float | None = None


@dataclass(frozen=True, slots=True)
class NextEvaluation:
    """The next reading, as live: over all readings, where water moves, and how many daily calibrations there were."""

    overall: NextFigures
    moving: NextFigures
    calibrations: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """The readings that are judged, float64[m] each; ``surprise`` int8[m], ``moving`` bool[m]."""

    level_m: FloatArray
    expected_m: FloatArray
    low_m: FloatArray
    high_m: FloatArray
    baseline_m: FloatArray
    surprise: NDArray[np.int8]
    moving: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_]) -> "_Rows":
        return _Rows(*(getattr(self, name)[rows] for name in self.__slots__))


def judge_next(model: Model, record: Record, checked: Checked, from_us: int | None = None) -> NextEvaluation:
    """Judge what was expected of each next reading of a record, as it would have run live.

    Args:
        model: the model.
        record: the readings.
        checked: what ``check_levels`` says of them.
        from_us: only readings from this time on are judged (microseconds since 1970); earlier ones are history.
    """
    made = _calibrations(model, record)
    first = int(np.searchsorted(record.time_us, from_us)) if from_us is not None else 0
    starts = range(first, max(len(record.time_us), first + 1), _CHUNK_ROWS)
    valid = Calibrations((0, since_us, calibration) for since_us, calibration in made)
    parts = [_judge(model, record, checked, valid, start) for start in starts]
    rows = _Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Rows.__slots__))
    return NextEvaluation(_figures(rows), _figures(rows.take(rows.moving)), len(made))


def moved(record: Record, checked: Checked, rows: IntArray) -> NDArray[np.bool_]:
    """Before which rows the level changed by more than ``MOVING_M`` in an hour, however often the sensor reports.

    Args:
        record: the readings.
        checked: what ``check_levels`` says of them.
        rows: which ones, int64[m].
    """
    usable = np.flatnonzero(checked.usable)
    if len(usable) == 0:
        return np.zeros(len(rows), dtype=np.bool_)
    time_us, level_m = record.time_us[usable], record.level_m[usable]
    newest = np.searchsorted(usable, rows) - 1
    since = np.searchsorted(time_us, time_us[np.maximum(newest, 0)] - _HOUR_US + _JITTER_US, side="right") - 1
    known = (newest >= 0) & (since >= 0)
    newest, since = np.maximum(newest, 0), np.maximum(since, 0)
    age_h = (time_us[newest] - time_us[since]) / _HOUR_US
    known &= age_h * SECONDS_PER_HOUR <= WINDOW_S
    change_m = np.abs(level_m[newest] - level_m[since])
    return np.asarray(known & (change_m > MOVING_M * age_h))


def _calibrations(model: Model, record: Record) -> list[tuple[int, Calibration]]:
    """One for each day on which there is enough to learn from, each from what came before it."""
    if len(record.time_us) == 0:
        return []
    days = np.unique(record.time_us // _DAY_US)[1:] * _DAY_US
    found: list[tuple[int, Calibration]] = []
    for since_us in days.tolist():
        begin, end = np.searchsorted(record.time_us, (since_us - WINDOW_DAYS * _DAY_US, since_us))
        begin = max(begin, end - _WINDOW_ROWS_MAX)
        columns = record.time_us[begin:end], record.level_m[begin:end]
        calibration = calibrate(model, *columns, before=found[-1][1] if found else None)
        if calibration is not None:
            found.append((since_us, calibration))
    return found


def _judge(model: Model, record: Record, checked: Checked, valid: Calibrations, start: int) -> _Rows:
    rows = np.arange(start, min(start + _CHUNK_ROWS, len(record.time_us)))
    columns = record.station, record.time_us, record.level_m
    baseline_m = build(*columns, checked, rows).baseline_m
    judged = judge_checked(model, *columns, rows, checked, valid)
    expected = judged.expected
    sound = np.isfinite(baseline_m) & np.isfinite(expected.expected_m)
    sound &= ~np.isin(checked.flags[rows], (Flag.FAIL, Flag.MISSING))
    found = _Rows(
        record.level_m[rows],
        expected.expected_m,
        expected.low_m,
        expected.high_m,
        baseline_m,
        judged.surprise,
        moved(record, checked, rows),
    )
    return found.take(sound)


def _figures(rows: _Rows) -> NextFigures:
    count = len(rows.level_m)
    if count == 0:
        return NextFigures(rows=0)
    expected_mae = float(np.abs(rows.level_m - rows.expected_m).mean())
    persistence_mae = float(np.abs(rows.level_m - rows.baseline_m).mean())
    within = (rows.level_m >= rows.low_m - _ROUNDING_M) & (rows.level_m <= rows.high_m + _ROUNDING_M)
    return NextFigures(
        rows=count,
        expected_mae_m=round(expected_mae, 6),
        persistence_mae_m=round(persistence_mae, 6),
        skill=round(1.0 - expected_mae / persistence_mae, 4) if persistence_mae > 0.0 else None,
        coverage=round(float(within.mean()), 4),
        band_mean_m=round(float((rows.high_m - rows.low_m).mean()), 6),
        events=round(float((rows.surprise == EVENT).mean()), 6),
        faults=round(float((rows.surprise == FAULT).mean()), 6),
    )
