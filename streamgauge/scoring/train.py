"""Training of the shipped model from the recorded data: ``python -m streamgauge.scoring.train`` (``make train``).

The same record, parameters and library versions give the same bytes on one platform. Nothing in the artefact depends on
when or where it was made.
"""

import argparse
import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamgauge.errors import ModelArtefactError
from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.reading import format_time, from_microseconds, to_microseconds
from streamgauge.scoring.card import model_card
from streamgauge.scoring.edge import EDGE_FILE
from streamgauge.scoring.evaluate import evaluate
from streamgauge.scoring.features import FEATURES, FeatureMatrix, build, features_sha256
from streamgauge.scoring.flatten import edge_bytes
from streamgauge.scoring.model import ARTEFACT, CARD_FILE, MODEL_FILE, QUANTILES, Model
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
        leaf_rows: a leaf holds at least so many rows.
        thinnings: the record is also seen as by sensors that report every k-th time.
        still_share: of the rows before which nothing moved for three hours, this share is used. The choice rests on
            features alone and so does not bend what is expected given the features.
        seed: of that choice, and of XGBoost.
    """

    train_until: datetime = datetime(2017, 7, 1, tzinfo=UTC)
    rounds: int = 90
    depth: int = 5
    learning_rate: float = 0.1
    leaf_rows: int = 100
    thinnings: tuple[int, ...] = (1, 2, 3)
    still_share: float = 0.2
    seed: int = 20_161_101

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


def train(record: Record, training: Training = Training()) -> bytes:
    """Train a model; returns the bytes of its file (XGBoost's UBJSON).

    Args:
        record: the readings; what fails its checks neither trains nor serves as history.
        training: how.

    Raises:
        InvalidRecord: no reading before ``training.train_until`` has enough history.
    """
    import xgboost

    features, change_m = _examples(record, training)
    if len(features) == 0:
        raise InvalidRecord(f"{record.name} has no usable readings before {format_time(training.train_until)}")
    matrix = xgboost.QuantileDMatrix(features, label=change_m, nthread=1)
    booster = xgboost.train(training.booster_parameters(), matrix, num_boost_round=training.rounds)
    return bytes(booster.save_raw("ubj"))


def _examples(record: Record, training: Training) -> tuple[FeatureMatrix, FeatureMatrix]:
    """Features and change since the last usable level (metres), over all samplings of the record."""
    choice = np.random.default_rng(training.seed)
    parts = [
        _examples_of(record.thinned(every, offset), training, choice)
        for every in training.thinnings
        for offset in range(every)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _examples_of(
    record: Record, training: Training, choice: np.random.Generator
) -> tuple[FeatureMatrix, FeatureMatrix]:
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
    content = train(record, training)
    card = _facts(content, record, training)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(content)
    (folder / EDGE_FILE).write_bytes(edge_bytes(content))
    _write_card(folder, card)
    model = Model.load(folder)
    until_us = to_microseconds(training.train_until)
    card["metrics"] = {
        "validation": asdict(evaluate(model, record, until_us)),
        "validation_every_third_reading": asdict(evaluate(model, record.thinned(3), until_us)),
        "unseen_site": asdict(evaluate(model, unseen)) if unseen else None,
        "unseen_site_every_third_reading": asdict(evaluate(model, unseen.thinned(3))) if unseen else None,
    }
    _write_card(folder, card)
    (folder / MODEL_CARD_FILE).write_text(model_card(card), encoding="utf-8")


def _facts(content: bytes, record: Record, training: Training) -> dict[str, Any]:
    import xgboost

    parameters = asdict(training) | {"train_until": format_time(training.train_until)}
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "features_sha256": features_sha256(),
        "features": list(FEATURES),
        "quantiles": list(QUANTILES),
        "record": {
            "name": record.name,
            "sha256": record.sha256,
            "rows": len(record.time_us),
            "first": format_time(from_microseconds(int(record.time_us[0]))),
            "last": format_time(from_microseconds(int(record.time_us[-1]))),
        },
        "training": parameters,
        "booster": training.booster_parameters(),
        "libraries": {
            "xgboost": xgboost.__version__,
            "numpy": np.__version__,
        },
        "platform": platform.machine(),
    }


def _write_card(folder: Path, card: dict[str, Any]) -> None:
    (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


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
