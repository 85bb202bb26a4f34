"""The shipped model judged on a record, as it would have run live: ``python -m streamgauge.scoring.evaluate FILE.csv``.

Two things are judged: what was expected of each next reading, and the forecasts of five minutes to six hours, both replayed with
the station's calibration as it would have learnt live. Both are compared with persistence, which expects the last usable level
again, and forecasts also with the moving average: the mean level of the hour before. A forecast's outcome is read off the
straight line between the two usable readings around its time, if they are at most 30 minutes apart. What the JSON says is
written down in docs/forecast.md.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import ModelArtefactError
from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.reading import to_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.evaluate_next import NextEvaluation, NextFigures, judge_next
from streamgauge.scoring.features import FEATURES, FeatureMatrix, FloatArray, build
from streamgauge.scoring.forecast.figures import MOVING_M, ForecastEvaluation, ForecastFigures, judge_forecasts
from streamgauge.scoring.judge import score
from streamgauge.scoring.model import Expected, Model
from streamgauge.scoring.records import InvalidRecord, Record, read_record

__all__ = ["MOVING_M", "Evaluation", "Figures", "evaluate", "evaluation_json", "main", "water_moves"]

_CHUNK_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Figures:
    """How good the expectation of the next reading was over some rows; lengths in metres, ``None`` without any rows.

    Attributes:
        rows: how many readings were judged.
        model_mae_m: mean absolute error of the expected level.
        persistence_mae_m: of the last usable level.
        skill: by which share the model's error is lower than persistence's.
        coverage: share of readings inside the band of 5 % to 95 %, its ends included.
        band_mean_m: the band's mean width.
        anomalous: share of readings that would be marked.
    """

    rows: int
    model_mae_m: float | None = None
    persistence_mae_m: float | None = None
    skill: float | None = None
    coverage: float | None = None
    band_mean_m: float | None = None
    anomalous: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on a record: over all rows, and where water moves.

    Attributes:
        record: the file's name.
        record_sha256: of the file.
        model_sha256: of the model.
        flags: how many rows have each flag.
        overall: what was expected of the next reading, over all.
        moving: and where water moves.
        forecast: five minutes to six hours ahead.
    """

    record: str
    record_sha256: str
    model_sha256: str
    flags: dict[str, int]
    overall: Figures
    moving: Figures
    forecast: ForecastEvaluation


def evaluate(
    model: Model,
    record: Record,
    from_us: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge a model on a record.

    Args:
        model: the model.
        record: the readings; those that fail their checks are not judged.
        from_us: only readings from this time on are judged (microseconds since 1970); earlier ones are history.
        progress: told from time to time how many of how many forecasts were replayed.
    """
    rows = np.arange(np.searchsorted(record.time_us, from_us) if from_us is not None else 0, len(record.time_us))
    checked = check_levels(record.station, record.time_us, record.level_m)
    level_m, flags = record.level_m[rows], checked.flags[rows]
    nothing = np.empty(0)
    parts = [(Expected(nothing, nothing, nothing), nothing, np.empty(0, dtype=np.bool_))]
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        features = build(record.station, record.time_us, record.level_m, checked, chunk)
        expected = model.expect(features.values, features.baseline_m)
        parts.append((expected, features.baseline_m, water_moves(features.values)))
    expected = Expected(*(np.concatenate([getattr(part[0], name) for part in parts]) for name in Expected.__slots__))
    baseline_m, moving = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    judged = np.isfinite(baseline_m) & ~np.isin(flags, (Flag.FAIL, Flag.MISSING))
    points = score(level_m, expected, flags)
    return Evaluation(
        record=record.name,
        record_sha256=record.sha256,
        model_sha256=model.sha256,
        flags={flag.name.lower(): int(np.count_nonzero(flags == flag)) for flag in Flag},
        overall=_figures(level_m, expected, baseline_m, points, judged),
        moving=_figures(level_m, expected, baseline_m, points, judged & moving),
        forecast=judge_forecasts(model.forecast, record.time_us, record.level_m, checked, from_us, progress),
    )


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON-able objects; the keys are the attributes' names."""
    return asdict(found)


def water_moves(features: FeatureMatrix) -> NDArray[np.bool_]:
    """Which rows follow an hour in which the level changed by more than ``MOVING_M``; known before the reading."""
    rate = features[:, FEATURES.index("rate_60min_m_per_h")]
    return np.abs(rate) > MOVING_M


def _figures(
    level_m: FloatArray, expected: Expected, baseline_m: FloatArray, points: FloatArray, rows: NDArray[np.bool_]
) -> Figures:
    count = int(np.count_nonzero(rows))
    if count == 0:
        return Figures(rows=0)
    level, low, high = level_m[rows], expected.low_m[rows], expected.high_m[rows]
    model_mae = float(np.abs(level - expected.expected_m[rows]).mean())
    persistence_mae = float(np.abs(level - baseline_m[rows]).mean())
    return Figures(
        rows=count,
        model_mae_m=round(model_mae, 6),
        persistence_mae_m=round(persistence_mae, 6),
        skill=round(1.0 - model_mae / persistence_mae, 4) if persistence_mae > 0.0 else None,
        coverage=round(float(((level >= low - _ROUNDING_M) & (level <= high + _ROUNDING_M)).mean()), 4),
        band_mean_m=round(float((high - low).mean()), 6),
        anomalous=round(float((points[rows] >= ANOMALY_SCORE).mean()), 6),
    )


_ROUNDING_M = 0.00005
"""Records are rounded to 0.1 mm: a bound is met within half of that."""


def _lines(found: Evaluation, following: NextEvaluation, notes: Sequence[str]) -> list[str]:
    flags = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.flags.items() if count)
    return [
        f"{found.record}, judged by the model {found.model_sha256[:12]}",
        f"Readings: {flags or 'none'}",
        *(f"Note: {note}" for note in notes),
        "",
        f"The next reading, with {following.calibrations:,} daily calibrations",
        *(
            _next_line(name, figures)
            for name, figures in (("all readings", following.overall), ("water moves", following.moving))
        ),
        f"  (with the model's own band, not calibrated: {_share(found.overall.coverage)} of all within it)",
        "",
        f"Forecasts: {found.forecast.issues:,} issues. Mean absolute errors in mm; lower by: than persistence, the model and",
        "what was shown (persistence where that had lately been better); in band: share of outcomes in the 90 % band.",
        *_table(found.forecast),
    ]


def _next_line(name: str, figures: NextFigures) -> str:
    if figures.expected_mae_m is None or figures.persistence_mae_m is None:
        return f"  {name}: nothing to judge"
    return (
        f"  {name}: {figures.rows:,} rows; error {_mm(figures.expected_mae_m)} mm, persistence "
        f"{_mm(figures.persistence_mae_m)} mm (lower by {_share(figures.skill)}); {_share(figures.coverage)} within the band; "
        f"marked {_small_share(figures.events)} as events, {_small_share(figures.faults)} as faults"
    )


def _small_share(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


_HEADER = ("ahead", "", "rows", "model", "persistence", "average", "lower by", "shown", "in band", "width")


def _table(found: ForecastEvaluation) -> list[str]:
    rows: list[tuple[str, ...]] = [_HEADER]
    for horizon in found.horizons:
        for name, figures in (("all", horizon.overall), ("moving", horizon.moving)):
            rows.append((f"{horizon.horizon_s // 60} min", name, *_cells(figures)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADER))]
    return ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _cells(figures: ForecastFigures) -> tuple[str, ...]:
    lengths = (_mm(figures.model_mae_m), _mm(figures.persistence_mae_m), _mm(figures.moving_average_mae_m))
    shares = (_share(figures.skill), _share(figures.shown_skill), _share(figures.coverage))
    return (f"{figures.rows:,}", *lengths, *shares, _mm(figures.band_mean_m))


def _mm(length_m: float | None) -> str:
    return "–" if length_m is None else f"{length_m * 1000:.2f}"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _show_progress(done: int, total: int) -> None:
    """Only where it takes long and a person looks on."""
    if total > _LONG_ROWS:
        print(
            f"\rforecasts replayed: {done:,} of {total:,}",
            end="\n" if done == total else "",
            file=sys.stderr,
            flush=True,
        )


_LONG_ROWS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (0, or 2 for a file that cannot be used)."""
    parser = argparse.ArgumentParser(prog="python -m streamgauge.scoring.evaluate", description=__doc__)
    parser.add_argument("file", type=Path, help="CSV file, plain or .gz, with the columns time and level_m")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument(
        "--from",
        dest="since",
        type=_instant,
        metavar="TIME",
        help="judge readings from this time on (ISO 8601, UTC without an offset); what comes before is the station's history",
    )
    chosen = parser.parse_args(arguments)
    from_us = to_microseconds(chosen.since) if chosen.since else None
    try:
        model, record = Model.load(), read_record(chosen.file)
        found = evaluate(model, record, from_us, progress=_show_progress)
        checked = check_levels(record.station, record.time_us, record.level_m)
        following = judge_next(model, record, checked, from_us)
    except (InvalidRecord, ModelArtefactError) as error:
        print(error, file=sys.stderr)
        return 2
    notes = [*record.notes, *_training_notes(model, record, from_us)]
    if chosen.json:
        print(json.dumps(evaluation_json(found) | {"next_as_live": asdict(following), "notes": notes}))
    else:
        print("\n".join(_lines(found, following, notes)))
    return 0


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _training_notes(model: Model, record: Record, from_us: int | None) -> list[str]:
    """Figures on the readings that trained the model flatter it."""
    until = datetime.fromisoformat(model.card["training"]["train_until"])
    trained = {each["sha256"] for each in model.card["records"]}
    first_us = from_us if from_us is not None else int(record.time_us[0])
    if record.sha256 not in trained or first_us >= to_microseconds(until):
        return []
    return [f"readings before {until:%Y-%m-%d} trained this model; judge it with --from {until:%Y-%m-%d}"]


if __name__ == "__main__":
    raise SystemExit(main())
