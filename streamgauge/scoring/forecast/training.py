"""Training of the forecast's models: boosted trees relative to how lively the water is, so that they fit other sites.

A change divided by a scale and weighted by the same scale has the loss of metres; but the trees then know no metres, and what
they learn of a brook holds for a river. Noise, other displays, sampling steps and time scales are added for the same reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import check_levels
from streamgauge.reading import to_microseconds
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.members import MEMBERS, TAILS, Member, member_name
from streamgauge.scoring.forecast.outcomes import outcomes
from streamgauge.scoring.forecast.scaling import scaled
from streamgauge.scoring.forecast.window_features import FEATURES, FeatureMatrix, Known, build
from streamgauge.scoring.records import Record
from streamgauge.units import GAGE_RESOLUTION_M, MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForecastTraining:
    """Everything that, beside the records, decides the forecast models' bytes.

    Attributes:
        rounds: boosting rounds of each member; the two tails make a tree each per round.
        tail_rounds: of the band's model.
        learning_rate: shrinkage per round.
        columns_share: of the columns, so many are tried at each split.
        still_share: of the rows before which the water stayed within two steps of a gauge's display for three hours, this share
            is used, with a weight that makes up for it. The choice rests on features alone.
        seed: of that choice, of the added noise, and of XGBoost.
    """

    rounds: int = 150
    tail_rounds: int = 70
    learning_rate: float = 0.06
    columns_share: float = 0.3
    still_share: float = 0.2
    seed: int = 20_160_101


@dataclass(frozen=True, slots=True)
class View:
    """A record as another sensor at another river would have it.

    Attributes:
        noise: standard deviation of added noise, in steps of a gauge's display (0.01 ft), to which levels are rounded.
        stretch: how many times slower the water is.
        every: each so many-th reading is there.
        piece_h: the record in pieces of so many hours that know nothing of each other, as on a first day; ``None``: whole.
    """

    noise: float = 0.0
    stretch: float = 1.0
    every: int = 1
    piece_h: int | None = None


_STILL_M = 2.1 * GAGE_RESOLUTION_M

CLEAN: tuple[View, ...] = (View(), View(every=3), View(piece_h=30))
VARIED: tuple[View, ...] = (View(), View(noise=0.3), View(noise=0.3, every=3), View(noise=0.2, stretch=3.0, every=2))


@dataclass(frozen=True, slots=True)
class Examples:
    """What is known at some issues and what came of it.

    Attributes:
        values: float32[m, len(FEATURES)].
        scale_m: how lively the water was, float64[m, len(SCALES)].
        change_m: since the issue, float64[m, horizons]; NaN without an outcome.
        weight: float64[m].
    """

    values: FeatureMatrix
    scale_m: FloatArray
    change_m: FloatArray
    weight: FloatArray


def train_forecast(
    records: Sequence[Record], train_until: datetime, training: ForecastTraining = ForecastTraining()
) -> dict[str, bytes]:
    """Train every member and the band for every horizon; returns XGBoost's UBJSON by ``member_name``.

    Args:
        records: readings of one or more stations; what fails its checks neither trains nor is history.
        train_until: readings before this time train.
        training: how.
    """
    clean = all_examples(records, CLEAN, train_until, training)
    varied = all_examples(records, VARIED, train_until, training)
    found: dict[str, bytes] = {}
    for place, horizon_s in enumerate(HORIZONS_S):
        for member in (*MEMBERS, TAILS):
            examples = varied if member.varied else clean
            found[member_name(member, horizon_s)] = _fit(member, examples, place, training)
    return found


def all_examples(
    records: Sequence[Record], views: Sequence[View], train_until: datetime, training: ForecastTraining
) -> Examples:
    """All examples of some records, each record seen in several ways.

    Args:
        records: of one or more stations.
        views: how each is seen.
        train_until: readings before this time count.
        training: how many examples of still water are kept, and the seed.
    """
    random = np.random.default_rng(training.seed)
    parts = [_examples(_before(record, train_until), view, training, random) for record in records for view in views]
    return Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in Examples.__slots__))


def _before(record: Record, train_until: datetime) -> Record:
    rows = np.flatnonzero((record.time_us < to_microseconds(train_until)) & record.ordinary)
    return record.take(rows)


def _examples(record: Record, view: View, training: ForecastTraining, random: np.random.Generator) -> Examples:
    seen = _seen(record, view, random)
    station = _pieces(seen, view)
    checked = check_levels(station, seen.time_us, seen.level_m)
    issues = np.flatnonzero(checked.usable)
    known = build(station, seen.time_us, seen.level_m, checked.usable, issues)
    still = _still(known)
    kept = np.isfinite(known.baseline_m) & (~still | (random.random(len(issues)) < training.still_share))
    changes = [
        outcomes(seen.time_us[issues], seen.level_m[issues], seen.time_us[issues] + horizon_s * MICROSECONDS_PER_SECOND)
        - seen.level_m[issues]
        for horizon_s in HORIZONS_S
    ]
    return Examples(
        values=known.values[kept],
        scale_m=known.scale_m[kept],
        change_m=np.stack(changes, axis=1)[kept],
        weight=np.where(still, 1.0 / training.still_share, 1.0)[kept],
    )


def _pieces(seen: Record, view: View) -> NDArray[np.int64]:
    """The station of each row: each piece is one of its own."""
    if view.piece_h is None or len(seen.time_us) == 0:
        return seen.station
    piece_us = view.piece_h * 3600 * MICROSECONDS_PER_SECOND
    return np.asarray((seen.time_us - seen.time_us[0]) // piece_us)


def _still(known: Known) -> NDArray[np.bool_]:
    columns = [FEATURES.index(name) for name in ("above_lowest_180min_m", "below_highest_180min_m")]
    return np.asarray(known.values[:, columns].max(axis=1) < _STILL_M)


def _seen(record: Record, view: View, random: np.random.Generator) -> Record:
    level_m = record.level_m
    if view.noise:
        steps = level_m / GAGE_RESOLUTION_M + random.normal(0.0, view.noise, len(level_m))
        level_m = np.rint(steps) * GAGE_RESOLUTION_M
    first_us = record.time_us[:1]
    time_us = record.time_us
    if view.stretch != 1.0:
        time_us = first_us + np.rint((time_us - first_us) * view.stretch).astype(np.int64)
    return record.with_rows(time_us, level_m).thinned(view.every)


def _fit(member: Member, examples: Examples, horizon: int, training: ForecastTraining) -> bytes:
    import xgboost

    change_m = examples.change_m[:, horizon]
    rows = np.flatnonzero(np.isfinite(change_m))
    values, divisor_m = scaled(examples.values[rows], examples.scale_m[rows], member.scale)
    weight = examples.weight[rows] * divisor_m
    matrix = xgboost.QuantileDMatrix(
        values, label=change_m[rows] / divisor_m, weight=weight / max(weight.mean(), 1e-12), nthread=1
    )
    rounds = training.tail_rounds if member is TAILS else training.rounds
    booster = xgboost.train(_parameters(member, training), matrix, num_boost_round=rounds)
    return _without_statistics(booster)


def _parameters(member: Member, training: ForecastTraining) -> dict[str, Any]:
    """What XGBoost is given; one thread, as sums in another order are other bytes."""
    return {
        "objective": "reg:quantileerror",
        "quantile_alpha": list(member.quantiles),
        "tree_method": "hist",
        "device": "cpu",
        "max_depth": member.depth,
        "learning_rate": training.learning_rate,
        "min_child_weight": member.leaf_weight,
        "colsample_bynode": training.columns_share,
        "reg_lambda": 0.0,
        "seed": training.seed,
        "nthread": 1,
    }


_STATISTICS = ("loss_changes", "sum_hessian", "base_weights")


def _without_statistics(booster: Any) -> bytes:
    """The booster without what only training needs: the same forecasts in an eighth of the room when compressed."""
    import xgboost

    grown: Mapping[str, Any] = json.loads(booster.save_raw("json"))
    for tree in grown["learner"]["gradient_booster"]["model"]["trees"]:
        for name in _STATISTICS:
            tree[name] = [0.0] * len(tree[name])
    bare = xgboost.Booster()
    bare.load_model(bytearray(json.dumps(grown).encode()))
    return bytes(bare.save_raw("ubj"))
