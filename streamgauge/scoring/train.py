"""Training of the shipped model from the recorded data: ``python -m streamgauge.scoring.train`` (``make train``).

The same record, parameters and library versions give the same bytes on one platform. Nothing in the artefact depends on
when or where it was made.
"""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamgauge.errors import ModelArtefactError
from streamgauge.quality import RULES_VERSION
from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.reading import format_time, from_microseconds, to_microseconds
from streamgauge.scoring.card import model_card
from streamgauge.scoring.evaluate import evaluate, evaluation_json
from streamgauge.scoring.features import FEATURES, FeatureMatrix, build, features_sha256
from streamgauge.scoring.flatten import edge_bytes
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.model import ForecastModel, pack
from streamgauge.scoring.forecast.prior import learn_prior
from streamgauge.scoring.forecast.training import ForecastTraining, train_forecast
from streamgauge.scoring.forecast.window_features import FEATURES as WINDOW_FEATURES
from streamgauge.scoring.forecast.window_features import window_features_sha256
from streamgauge.scoring.model import (
    ARTEFACT,
    CARD_FILE,
    EDGE_FILE,
    FORECAST_FILE,
    MODEL_FILE,
    QUANTILES,
    Model,
    described,
    identity,
)
from streamgauge.scoring.records import InvalidRecord, Record, read_record

RECORD = Path(__file__).parent / "data" / "usgs_01581752_plumtree_run_2016_2017.csv.gz"
UNSEEN = Path(__file__).parents[2] / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
MODEL_CARD_FILE = "MODEL_CARD.md"

_CHUNK_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that, beside the record, decides the model's bytes.

    Attributes:
        train_until: readings before this time train, those from it on validate.
        rounds: boosting rounds; each makes one tree per quantile.
        depth: of each tree, at most.
        learning_rate: shrinkage per round.
        leaf_rows: a leaf holds at least so many rows of average weight.
        thinnings: the record is also seen as by sensors that report every k-th time.
        still_share: of the rows before which nothing moved for three hours, this share is used. The choice rests on
            features alone and so does not bend what is expected given the features.
        seed: of that choice, and of XGBoost.
        forecast: the same for the models of the forecast.
    """

    train_until: datetime = datetime(2017, 7, 1, tzinfo=UTC)
    rounds: int = 90
    depth: int = 5
    learning_rate: float = 0.1
    leaf_rows: int = 50
    thinnings: tuple[int, ...] = (1, 2, 3)
    still_share: float = 0.2
    seed: int = 20_161_101
    forecast: ForecastTraining = field(default_factory=ForecastTraining)

    def booster_parameters(self) -> dict[str, Any]:
        """What XGBoost is given; one thread, as sums in another order are other bytes."""
        return {
            "objective": "reg:quantileerror",
            "quantile_alpha": list(QUANTILES),
            "tree_method": "hist",
            "device": "cpu",
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_child_weight": self.leaf_rows,
            "reg_lambda": 0.0,
            "seed": self.seed,
            "nthread": 1,
        }


def train(records: Sequence[Record], training: Training = Training()) -> dict[str, bytes]:
    """Train a model on the readings of one or more stations; the same records give the same bytes on one platform.

    Args:
        records: what fails its checks, or is not ``Record.ordinary``, neither trains nor serves as history.
        training: how.

    Returns:
        All files of the model, as ``Model.from_files`` takes them. The card's ``metrics`` are empty: see ``judged``.

    Raises:
        InvalidRecord: no reading before ``training.train_until`` has enough history.
    """
    content = train_nowcast(records, training)
    until = training.train_until
    models = train_forecast(records, until, training.forecast)
    prior = learn_prior(ForecastModel.of_models(models), records, until)
    files = {MODEL_FILE: content, FORECAST_FILE: pack(models, prior)}
    sha256 = identity(files)
    files[EDGE_FILE] = edge_bytes(content, sha256)
    return files | {CARD_FILE: card_bytes(_facts(files, sha256, records, training))}


def judged(files: Mapping[str, bytes], judgements: Mapping[str, tuple[Record, int | None]]) -> dict[str, bytes]:
    """The files with a card that says how good the model was on records that did not train it.

    Args:
        files: as ``train`` gives them.
        judgements: by the metrics' names in the card: a record, and from when on it is judged (microseconds since 1970).
    """
    model = Model.from_files(files)
    metrics = {
        name: evaluation_json(evaluate(model, record, from_us)) for name, (record, from_us) in judgements.items()
    }
    return {**files, CARD_FILE: card_bytes({**model.card, "metrics": metrics})}


def train_nowcast(records: Sequence[Record], training: Training = Training()) -> bytes:
    """Train the model of the next reading; returns the bytes of its file (XGBoost's UBJSON).

    Raises:
        InvalidRecord: as for ``train``.
    """
    import xgboost

    features, change_m = _examples(records, training)
    if len(features) == 0:
        names = ", ".join(record.name for record in records) or "no record at all"
        raise InvalidRecord(f"{names} has no usable readings before {format_time(training.train_until)}")
    matrix = xgboost.QuantileDMatrix(features, label=change_m, weight=_weight(features), nthread=1)
    booster = xgboost.train(training.booster_parameters(), matrix, num_boost_round=training.rounds)
    return bytes(booster.save_raw("ubj"))


_LIVELY = tuple(FEATURES.index(name) for name in ("above_lowest_60min_m", "below_highest_60min_m"))
_LIVELY_FLOOR_M = 0.003


def _weight(features: FeatureMatrix) -> FeatureMatrix:
    """Lively water counts more, 1 on average: otherwise still water, the majority, decides where trees split, and which of its
    rows were chosen changes the model's skill by a seventh. The weight rests on features alone and bends no quantile.
    """
    reach_m = np.nan_to_num(features[:, _LIVELY]).sum(axis=1)
    weight = np.sqrt(_LIVELY_FLOOR_M + reach_m)
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def _examples(records: Sequence[Record], training: Training) -> tuple[FeatureMatrix, FeatureMatrix]:
    """Features and change since the last usable level (metres), over all samplings of the records."""
    choice = np.random.default_rng(training.seed)
    parts = [
        _examples_of(record.thinned(every, offset), training, choice)
        for record in records
        for every in training.thinnings
        for offset in range(every)
    ]
    if not parts:
        return np.empty((0, len(FEATURES)), dtype=np.float32), np.empty(0, dtype=np.float32)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _examples_of(
    record: Record, training: Training, choice: np.random.Generator
) -> tuple[FeatureMatrix, FeatureMatrix]:
    record = record.take(np.flatnonzero(record.ordinary))
    checked = check_levels(record.station, record.time_us, record.level_m)
    before = record.time_us < to_microseconds(training.train_until)
    rows = np.flatnonzero(before & (checked.flags == Flag.GOOD))
    parts: list[tuple[FeatureMatrix, FeatureMatrix]] = []
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        built = build(record.station, record.time_us, record.level_m, checked, chunk)
        still = built.values[:, FEATURES.index("moving_share")] == 0.0
        kept = np.isfinite(built.baseline_m) & (~still | (choice.random(len(chunk)) < training.still_share))
        change_m = (record.level_m[chunk] - built.baseline_m).astype(np.float32)
        parts.append((built.values[kept], change_m[kept]))
    if not parts:
        return np.empty((0, len(FEATURES)), dtype=np.float32), np.empty(0, dtype=np.float32)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def write_artefact(folder: Path, record: Record, unseen: Record | None, training: Training = Training()) -> None:
    """Train, judge, and write the model, its edge tables, its card as JSON and its card to read into a folder.

    Args:
        folder: made where it does not exist.
        record: trains, and validates from ``training.train_until`` on.
        unseen: another site's record, on which the model is judged too.
        training: how.

    Raises:
        InvalidRecord: the record cannot train a model.
        OSError: the folder cannot be written to.
    """
    until_us = to_microseconds(training.train_until)
    judgements: dict[str, tuple[Record, int | None]] = {
        "validation": (record, until_us),
        "validation_every_third_reading": (record.thinned(3), until_us),
    }
    if unseen is not None:
        judgements |= {"unseen_site": (unseen, None), "unseen_site_every_third_reading": (unseen.thinned(3), None)}
    files = judged(train([record], training), judgements)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / MODEL_CARD_FILE).write_text(model_card(json.loads(files[CARD_FILE])), encoding="utf-8")


def _facts(files: Mapping[str, bytes], sha256: str, records: Sequence[Record], training: Training) -> dict[str, Any]:
    import xgboost

    return {
        "sha256": sha256,
        "files": described({**files, CARD_FILE: b""}),
        "features_sha256": features_sha256(),
        "features": list(FEATURES),
        "forecast_features_sha256": window_features_sha256(),
        "forecast_features": list(WINDOW_FEATURES),
        "horizons_s": list(HORIZONS_S),
        "quantiles": list(QUANTILES),
        "quality_rules": RULES_VERSION,
        "record": _data_window(records),
        "records": [_described_record(record) for record in records],
        "training": asdict(training) | {"train_until": format_time(training.train_until)},
        "booster": training.booster_parameters(),
        "libraries": {
            "xgboost": xgboost.__version__,
            "numpy": np.__version__,
        },
        "platform": platform.machine(),
        "metrics": {},
    }


def _described_record(record: Record) -> dict[str, Any]:
    return {
        "name": record.name,
        "sha256": record.sha256,
        "rows": len(record.time_us),
        "first": format_time(from_microseconds(int(record.time_us[0]))),
        "last": format_time(from_microseconds(int(record.time_us[-1]))),
    }


def _data_window(records: Sequence[Record]) -> dict[str, Any]:
    """All records as one: the hash of several is that of their hashes, in order."""
    if len(records) == 1:
        return _described_record(records[0])
    there = [record for record in records if len(record.time_us)]
    return {
        "name": f"{len(records)} stations",
        "sha256": hashlib.sha256("".join(record.sha256 for record in records).encode()).hexdigest(),
        "rows": sum(len(record.time_us) for record in records),
        "first": format_time(from_microseconds(min(int(record.time_us[0]) for record in there))),
        "last": format_time(from_microseconds(max(int(record.time_us[-1]) for record in there))),
    }


def card_bytes(card: Mapping[str, Any]) -> bytes:
    """A card's file."""
    return (json.dumps(card, indent=2) + "\n").encode()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (0, or 2 for a file that cannot be used)."""
    parser = argparse.ArgumentParser(prog="python -m streamgauge.scoring.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=ARTEFACT, help="folder of the artefact (the shipped one)")
    parser.add_argument("--record", type=Path, default=RECORD, help="CSV file that trains (Plumtree Run)")
    parser.add_argument("--unseen", type=Path, default=UNSEEN, help="CSV file of another site (Dead Run)")
    chosen = parser.parse_args(arguments)
    try:
        write_artefact(chosen.out, read_record(chosen.record), read_record(chosen.unseen))
    except (InvalidRecord, ModelArtefactError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print((chosen.out / MODEL_CARD_FILE).read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
