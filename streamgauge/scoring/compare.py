"""Two models over the same readings, as each would have run live: the figures that the gate asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.quality.parameters import StationParameters, parameters_per_row
from streamgauge.quality.series import IntArray
from streamgauge.scoring.anomaly import FAULT, NO_SURPRISE
from streamgauge.scoring.calibrating import calibrate
from streamgauge.scoring.calibration import UNCALIBRATED, Calibrations
from streamgauge.scoring.compare_forecasts import compare_forecasts
from streamgauge.scoring.evaluate import water_moves
from streamgauge.scoring.features import build
from streamgauge.scoring.gate import Compared, Comparison, Losses
from streamgauge.scoring.judge import Judged, judge_checked
from streamgauge.scoring.judgements import FloatArray, Judgements, Mask
from streamgauge.scoring.model import QUANTILES, Expected, Model
from streamgauge.units import MICROSECONDS_PER_SECOND

Rows = TypeVar("Rows", "Judgements", "_Marks")

DAY_US = 86_400 * MICROSECONDS_PER_SECOND
_CHUNK_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One station's readings on which two models are compared.

    Attributes:
        device_id: the station.
        time_us: microseconds since 1970, int64[n], ascending, with what came before ``from_us`` as history.
        level_m: metres, float64[n].
        from_us: readings from here on are judged.
        limits: parameters of the quality checks that differ from the defaults.
    """

    device_id: int
    time_us: IntArray
    level_m: FloatArray
    from_us: int
    limits: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, rows: int) -> StationParameters:
        """The checks' limits for so many rows."""
        return parameters_per_row(np.zeros(rows, dtype=np.int64), {0: self.limits} if self.limits else {})


CalibrationsOf = Callable[[Model, Stretch], Calibrations]
"""What counts as ordinary at a station for a model, from what came before the stretch's ``from_us``."""


@dataclass(frozen=True, slots=True)
class _Marks:
    """The times and the marks of the readings that both have judged; ``faults``: marked, and the sensor is blamed."""

    time_us: IntArray
    moving: Mask
    champion_marks: Mask
    challenger_marks: Mask
    champion_faults: Mask
    challenger_faults: Mask


def uncalibrated(_model: Model, _stretch: Stretch) -> Calibrations:
    """What counts where nothing is known of a station."""
    return UNCALIBRATED


def calibrated(model: Model, stretch: Stretch) -> Calibrations:
    """What the readings before ``from_us`` say of a station, as for live readings."""
    before = stretch.time_us < stretch.from_us
    found = calibrate(
        model, stretch.time_us[before], stretch.level_m[before], stretch.parameters(int(np.count_nonzero(before)))
    )
    return UNCALIBRATED if found is None else Calibrations.constant({stretch.device_id: found})


def compare(
    champion: Model, challenger: Model, stretches: Sequence[Stretch], calibrations_of: CalibrationsOf = calibrated
) -> Comparison:
    """Run both models over the same readings.

    Args:
        champion: the model in use.
        challenger: the one that would replace it.
        stretches: stations' readings that trained neither.
        calibrations_of: each model's calibrations of a station.
    """
    judgements: dict[int, list[Judgements]] = {}
    marks: list[_Marks] = []
    for stretch in stretches:
        found, marked = _next_readings(champion, challenger, stretch, calibrations_of)
        if len(found.moving):
            marks.append(marked)
        for each in (found, *_forecasts(champion, challenger, stretch)):
            if len(each.moving):
                judgements.setdefault(each.horizon_s, []).append(each)
    compared = tuple(_compared(_joined(judgements[horizon_s])) for horizon_s in sorted(judgements))
    return _comparison(compared, marks)


def _next_readings(
    champion: Model, challenger: Model, stretch: Stretch, calibrations_of: CalibrationsOf
) -> tuple[Judgements, _Marks]:
    station = np.full(len(stretch.time_us), stretch.device_id, dtype=np.int64)
    checked = check_levels(station, stretch.time_us, stretch.level_m, stretch.parameters(len(station)))
    sound = ~np.isin(checked.flags, (Flag.FAIL, Flag.SUSPECT, Flag.MISSING))
    targets = np.flatnonzero((stretch.time_us >= stretch.from_us) & sound)
    both = [(model, calibrations_of(model, stretch)) for model in (champion, challenger)]
    parts = []
    for start in range(0, max(len(targets), 1), _CHUNK_ROWS):
        rows = targets[start : start + _CHUNK_ROWS]
        features = build(station, stretch.time_us, stretch.level_m, checked, rows)
        judged = [
            judge_checked(model, station, stretch.time_us, stretch.level_m, rows, checked, valid)
            for model, valid in both
        ]
        parts.append(_rows(stretch, rows, judged, features.baseline_m, water_moves(features.values)))
    return _joined([part[0] for part in parts]), _joined([part[1] for part in parts])


def _forecasts(champion: Model, challenger: Model, stretch: Stretch) -> list[Judgements]:
    station = np.zeros(len(stretch.time_us), dtype=np.int64)
    checked = check_levels(station, stretch.time_us, stretch.level_m, stretch.parameters(len(station)))
    columns = (stretch.time_us, stretch.level_m, checked, stretch.from_us)
    return compare_forecasts(champion.forecast, challenger.forecast, *columns)


def _rows(
    stretch: Stretch, rows: IntArray, judged: Sequence[Judged], baseline_m: FloatArray, moves: Mask
) -> tuple[Judgements, _Marks]:
    """What both say of some rows, of those of which both say something."""
    level_m = stretch.level_m[rows]
    kept = np.isfinite(baseline_m) & np.all([np.isfinite(each.expected.expected_m) for each in judged], axis=0)
    losses = [_loss(level_m, each.expected)[kept] for each in judged]
    covers = [((level_m >= each.expected.low_m) & (level_m <= each.expected.high_m))[kept] for each in judged]
    # A band without width at the last level: the mean pinball loss of quantiles around one half is half the distance.
    persistence = 0.5 * np.abs(level_m - baseline_m)[kept]
    marks = [(each.surprise != NO_SURPRISE)[kept] for each in judged]
    faults = [(each.surprise == FAULT)[kept] for each in judged]
    return (
        Judgements(0, moves[kept], persistence, *losses, *covers),
        _Marks(stretch.time_us[rows][kept], moves[kept], *marks, *faults),
    )


def _loss(level_m: FloatArray, expected: Expected) -> FloatArray:
    bounds = (expected.low_m, expected.expected_m, expected.high_m)
    return np.asarray(
        np.mean([pinball(level_m, bound_m, share) for bound_m, share in zip(bounds, QUANTILES, strict=True)], axis=0)
    )


def pinball(level_m: FloatArray, bound_m: FloatArray, share: float) -> FloatArray:
    """The loss of a quantile, metres per row: what it is trained to make small (Koenker and Bassett, 1978)."""
    off_m = level_m - bound_m
    return np.maximum(share * off_m, (share - 1.0) * off_m)


def _compared(found: Judgements) -> Compared:
    everything = np.ones(len(found.moving), dtype=np.bool_)
    return Compared(
        horizon_s=found.horizon_s,
        overall=_losses(found, everything),
        still=_losses(found, ~found.moving),
        moving=_losses(found, found.moving),
        champion_coverage=float(found.champion_covers.mean()),
        challenger_coverage=float(found.challenger_covers.mean()),
    )


def _losses(found: Judgements, rows: Mask) -> Losses:
    count = int(np.count_nonzero(rows))
    if count == 0:
        return Losses(rows=0)
    means = {name: float(getattr(found, name)[rows].mean()) for name in ("champion", "challenger", "persistence")}
    return Losses(rows=count, **means)


def _comparison(compared: tuple[Compared, ...], marks: Sequence[_Marks]) -> Comparison:
    if not marks:
        return Comparison(
            readings=0,
            days=0.0,
            stations=0,
            compared=(),
            champion_marked=0.0,
            challenger_marked=0.0,
            champion_floods=0.0,
            challenger_floods=0.0,
        )
    found = _joined(marks)
    return Comparison(
        readings=len(found.time_us),
        days=float(found.time_us.max() - found.time_us.min()) / DAY_US,
        stations=len(marks),
        compared=compared,
        champion_marked=float(found.champion_marks.mean()),
        challenger_marked=float(found.challenger_marks.mean()),
        champion_floods=_share(found.champion_faults, found.moving),
        challenger_floods=_share(found.challenger_faults, found.moving),
    )


def _share(what: Mask, of: Mask) -> float:
    return float(what[of].mean()) if of.any() else 0.0


def _joined(parts: Sequence[Rows]) -> Rows:
    """The same rows in one: arrays one after the other, whatever is no array from the first."""
    first = parts[0]
    columns: dict[str, Any] = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(first)
        if isinstance(getattr(first, each.name), np.ndarray)
    }
    return replace(first, **columns)
