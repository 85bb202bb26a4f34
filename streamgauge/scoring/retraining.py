"""Training on stations' stored readings beside the recorded data that trained the shipped model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.scoring.card import model_card
from streamgauge.scoring.model import CARD_FILE
from streamgauge.scoring.records import InvalidRecord, Record, read_record
from streamgauge.scoring.train import MODEL_CARD_FILE, RECORD, UNSEEN, Training, judged, train

ROWS_MIN = 1_000
"""With fewer ordinary readings of all stations together nothing is trained: the recorded data alone gives the shipped model."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made of stations' readings.

    Attributes:
        training: everything that decides the bytes beside the readings; its ``train_until`` is the recorded data's own.
        record: the recorded data that is always part of it.
        judged_on: by the metrics' name, records on which the new model is judged for its card: data that never trains. One that
            is not installed (the simulator's) is passed over.
    """

    training: Training = field(default_factory=Training)
    record: Path = RECORD
    judged_on: tuple[tuple[str, Path], ...] = (("validation", RECORD), ("unseen_site", UNSEEN))


STANDARD = Recipe()
"""What is trained with, tests apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model that has just been trained.

    Attributes:
        files: as ``Model.from_files`` takes them, and the card to read.
        card: the card that programs read.
        data_from: time of the first reading that trained it.
        stations: how many stations' readings there are in it, the recorded one not counted.
        rows: how many readings of theirs.
    """

    files: dict[str, bytes]
    card: dict[str, Any]
    data_from: datetime
    stations: int
    rows: int

    @property
    def sha256(self) -> str:
        """The model's identity."""
        return str(self.card["sha256"])

    @property
    def snapshot_sha256(self) -> str:
        """Of the readings that trained it."""
        return str(self.card["record"]["sha256"])


def train_on(records: Sequence[Record], data_until: datetime, recipe: Recipe = STANDARD) -> Trained:
    """Train a model; the same records, instant and recipe give the same bytes on one platform.

    Args:
        records: stations' readings before ``data_until``; what is not ``Record.ordinary`` neither trains nor is history.
        data_until: readings from here on train nothing.
        recipe: how.

    Raises:
        InvalidRecord: there are fewer than ``ROWS_MIN`` ordinary readings.
    """
    import xgboost

    ordinary = [int(np.count_nonzero(record.ordinary & np.isfinite(record.level_m))) for record in records]
    if sum(ordinary) < ROWS_MIN:
        raise InvalidRecord(
            f"{sum(ordinary):,} ordinary readings before {data_until:%Y-%m-%d} are too few to train on: {ROWS_MIN:,} needed"
        )
    recorded = read_record(recipe.record)
    recorded_until_us = to_microseconds(recipe.training.train_until)
    known = recorded.take(np.flatnonzero(recorded.time_us < recorded_until_us))
    judgements = {name: _never_trained(path, recorded_until_us, recipe) for name, path in _installed(recipe)}
    # Some of XGBoost's steps ask OpenMP and not ``nthread`` for the number of threads, which on a busy machine wait for cores.
    with xgboost.config_context(nthread=1):
        files = judged(train([known, *records], replace(recipe.training, train_until=data_until)), judgements)
    card = json.loads(files[CARD_FILE])
    return Trained(
        files=files | {MODEL_CARD_FILE: model_card(card).encode()},
        card=card,
        data_from=from_microseconds(min(int(record.time_us[0]) for record in (known, *records) if len(record.time_us))),
        stations=sum(rows > 0 for rows in ordinary),
        rows=sum(ordinary),
    )


def _installed(recipe: Recipe) -> list[tuple[str, Path]]:
    return [(name, path) for name, path in recipe.judged_on if path.exists()]


def _never_trained(path: Path, recorded_until_us: int, recipe: Recipe) -> tuple[Record, int | None]:
    """A record, and from when on none of it trained: the recorded data's own end, or all of another site's."""
    return read_record(path), recorded_until_us if path == recipe.record else None
