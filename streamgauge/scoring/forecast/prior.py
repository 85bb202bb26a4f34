"""What a new station begins with: how good each proposal was on the training records, and how wide the band had to be there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import check_levels
from streamgauge.quality.series import IntArray
from streamgauge.reading import to_microseconds
from streamgauge.scoring.forecast import conformal, mixing
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.mixing import STATES
from streamgauge.scoring.forecast.model import ForecastModel, Prior
from streamgauge.scoring.forecast.outcomes import outcomes
from streamgauge.scoring.forecast.proposals import PROPOSALS, Proposed
from streamgauge.scoring.forecast.window_features import build
from streamgauge.scoring.records import Record
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

_ROWS_MIN = 200

_WIDER: Final = np.array([1.0, 1.2, 1.3, 1.3])
"""Per state: other water errs more than that from which the models were made."""


def learn_prior(model: ForecastModel, records: Sequence[Record], train_until: datetime) -> Prior:
    """The prior of a model, from the readings that trained it.

    Args:
        model: its prior is not looked at.
        records: the training records.
        train_until: readings before this time count.
    """
    pairs = [_proposed(model, record, train_until) for record in records]
    prior = Prior.of_nothing()
    for horizon in range(len(HORIZONS_S)):
        for state in range(len(STATES)):
            parts = [_residuals(proposed, change_m, horizon, state) for proposed, change_m in pairs]
            _fill(prior, horizon, state, parts)
    return prior


def _proposed(model: ForecastModel, record: Record, train_until: datetime) -> tuple[Proposed, FloatArray]:
    before = record.take(np.flatnonzero((record.time_us < to_microseconds(train_until)) & record.ordinary))
    checked = check_levels(before.station, before.time_us, before.level_m)
    rows = np.flatnonzero(checked.usable)
    proposed = model.propose(build(before.station, before.time_us, before.level_m, checked.usable, rows))
    time_us, level_m = before.time_us[rows], before.level_m[rows]
    changes = [
        outcomes(time_us, level_m, time_us + horizon_s * MICROSECONDS_PER_SECOND) - level_m for horizon_s in HORIZONS_S
    ]
    return proposed, np.stack(changes, axis=1)


_Residuals = tuple[Proposed, IntArray, FloatArray]


def _residuals(proposed: Proposed, change_m: FloatArray, horizon: int, state: int) -> _Residuals:
    known = np.isfinite(proposed.baseline_m) & np.isfinite(change_m[:, horizon])
    rows = np.flatnonzero(known & (proposed.state == state))
    return proposed, rows, change_m[rows, horizon]


def _fill(prior: Prior, horizon: int, state: int, parts: Sequence[_Residuals]) -> None:
    if sum(len(rows) for _, rows, _ in parts) < _ROWS_MIN:
        return
    error_m = np.zeros(len(PROPOSALS))
    for proposed, rows, change_m in parts:
        error_m += np.abs(change_m[:, np.newaxis] - proposed.change_m[rows, horizon]).sum(axis=0)
    if error_m[0] <= 0.0:
        return
    relative = error_m / error_m[0]
    prior.relative_error[horizon, state] = relative
    believed = mixing.weights(np.zeros((1, len(PROPOSALS))), np.zeros(1), relative[np.newaxis])[0]
    ratios = [_ratios(proposed, rows, change_m, horizon, believed) for proposed, rows, change_m in parts]
    factors = np.quantile(np.concatenate(ratios), 1.0 - conformal.BEYOND, axis=0) * _WIDER[state]
    highest = conformal.LOG_FACTOR_MAX[state] - 1.0
    prior.log_factor[horizon, state] = np.log(np.maximum(factors, 1e-9)).clip(conformal.LOG_FACTOR_MIN + 1.0, highest)


def _ratios(proposed: Proposed, rows: IntArray, change_m: FloatArray, horizon: int, believed: FloatArray) -> FloatArray:
    """How many of the model's half-widths below and above the expected level each outcome was, float64[m, 2]."""
    mixed_m = proposed.change_m[rows, horizon] @ believed
    half_m = conformal.half_widths(proposed.tails_m[rows, horizon], mixed_m, proposed.scale_m[rows], np.zeros(2))
    off_m = change_m - mixed_m
    return np.stack((-off_m, off_m), axis=1) / np.maximum(half_m, 1e-9)
