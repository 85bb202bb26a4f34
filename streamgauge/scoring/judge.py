"""The whole way of a level: its quality flag, what was expected of it, its score, whose surprise it is.

Live, batch and edge call this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked, check_forecast, check_levels
from streamgauge.quality.companions import Companions
from streamgauge.quality.flags import Flag, FlagArray
from streamgauge.quality.parameters import DEFAULTS, StationParameters
from streamgauge.quality.series import IntArray
from streamgauge.scoring.anomaly import EVENT, FAULT, MARKED_DECADES, SURPRISES
from streamgauge.scoring.calibration import (
    CAUTIOUS_VALUES,
    UNCALIBRATED,
    Applied,
    AppliedBand,
    Calibrations,
    decades,
    score_of,
)
from streamgauge.scoring.chart import expect_by_chart
from streamgauge.scoring.features import FeatureMatrix, FloatArray, build
from streamgauge.scoring.model import Expected
from streamgauge.scoring.recent import Recent, look_back
from streamgauge.scoring.surprise import USUAL_ROUGHER, WHYS, Shape, Usual, shape_of, usual_of
from streamgauge.units import GAGE_RESOLUTION_M

HALF_WIDTH_MIN_M = GAGE_RESOLUTION_M
"""Half of the band counts as at least this wide: one step of a gauge's display, which is no surprise."""

FAULT_DECADES = 5.0
"""What only a sensor does counts as at least so surprising, though it may lie within its band."""

ROUGH_MARGIN = 0.3
"""The roughness may mark half as many ordinary readings as the band: it counts for so many decades less."""

_DISTANCE_MAX = 1e6
_CAUTIOUS_KNOTS: FloatArray = np.array([0.0, *CAUTIOUS_VALUES])
_RATE_DIGITS = 4


class Expects(Protocol):
    """What expects levels: ``model.Model`` with XGBoost, ``edge.EdgeModel`` without; both say the same."""

    @property
    def sha256(self) -> str:
        """The hash of the trained model, which identifies it everywhere."""

    def expect(self, features: FeatureMatrix, baseline_m: FloatArray) -> Expected:
        """What is expected of each row: float32[m, len(FEATURES)] and the last usable levels, metres, float64[m]."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the targets, in their order.

    Attributes:
        checked: flags and reasons.
        expected: the expected level and its band, calibrated.
        score: 0 ordinary … 1 certainly anomalous, float64[m]; NaN where nothing was expected or no level came.
        surprise: whose doing a marked reading is, an index of ``anomaly.SURPRISES``, int8[m]; 0 where it is not marked.
        why: for what reason, an index of ``surprise.WHYS``, int8[m].
        rate_m_per_h: the change since the usable reading before, float64[m]; NaN unknown.
        channels: by place, which of the device's sensors is off, where one is (``streamgauge.scoring.sensors``).
    """

    checked: Checked
    expected: Expected
    score: FloatArray
    surprise: NDArray[np.int8]
    why: NDArray[np.int8]
    rate_m_per_h: FloatArray
    channels: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: "Sequence[Judged]", places: IntArray) -> "Judged":
        """The verdicts of several calls as one, without ``channels``.

        Args:
            parts: what the calls gave.
            places: where each of their targets stands, first those of the first part: a permutation, int64[m].
        """
        order = np.argsort(places)
        checked = Checked(*(_together(name, [part.checked for part in parts], order) for name in Checked.__slots__))
        expected = Expected(*(_together(name, [part.expected for part in parts], order) for name in Expected.__slots__))
        rest = {name: _together(name, parts, order) for name in ("score", "surprise", "why", "rate_m_per_h")}
        return cls(checked, expected, **rest)

    def reason(self, place: int) -> dict[str, str | float] | None:
        """Why the target at a place is marked, as JSON can hold it; ``None`` where it is not.

        ``{"surprise": "event", "why": "rising_like_water", "rate_m_per_h": 1.2}``.
        """
        surprise = int(self.surprise[place])
        if not surprise:
            return None
        reason: dict[str, str | float] = {"surprise": SURPRISES[surprise], "why": WHYS[int(self.why[place])]}
        if place in self.channels:
            reason["channel"] = self.channels[place]
        if np.isfinite(self.rate_m_per_h[place]):
            reason["rate_m_per_h"] = round(float(self.rate_m_per_h[place]), _RATE_DIGITS)
        return reason


def _together(name: str, parts: Sequence[object], order: IntArray) -> Any:
    together: NDArray[Any] = np.concatenate([getattr(part, name) for part in parts])[order]
    return together


def judge(
    model: Expects | None,
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    targets: IntArray,
    parameters: StationParameters = DEFAULTS,
    calibrations: Calibrations = UNCALIBRATED,
) -> Judged:
    """Check, expect and score some rows among their context.

    For the same verdict as in one pass over the whole history, the arrays hold per station the ``CONTEXT_ROWS`` readings
    with a level before the first target, none need be older than ``CONTEXT_S``, and the reading after the last target
    where there is one (``streamgauge.quality.series``).

    Args:
        model: what expects; ``None``: the control chart alone.
        station: the station of each row, int64[n], sorted by (station, time).
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        targets: the rows to judge, int64[m].
        parameters: the checks' limits, one for all rows or one per row.
        calibrations: of the stations, for this model; a row gets the one that was valid at its time.

    Raises:
        ValueError: the rows are not sorted.
    """
    checked = check_levels(station, time_us, level_m, parameters)
    return judge_checked(model, station, time_us, level_m, targets, checked, calibrations, None, parameters)


def judge_checked(
    model: Expects | None,
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    targets: IntArray,
    checked: Checked,
    calibrations: Calibrations = UNCALIBRATED,
    companions: Companions | None = None,
    parameters: StationParameters = DEFAULTS,
) -> Judged:
    """Expect and score some rows whose checks were done: the second half of ``judge``.

    Where a station sets ``forecast_widths``, what was expected of a row may make it suspect in ``Judged.checked``. That changes
    nothing of what is expected, of it or of any other row: suspect levels serve as history.

    Args:
        model: what expects.
        station: as for ``judge``, likewise the next three.
        time_us: microseconds since 1970.
        level_m: metres.
        targets: the rows to judge.
        checked: what ``check_levels`` says of all rows.
        calibrations: as for ``judge``.
        companions: what was measured beside the rows; ``None`` where no station has any.
        parameters: ``forecast_widths`` of all rows.
    """
    applied = calibrations.apply(station[targets], time_us[targets])
    recent = look_back(station, time_us, level_m, checked, targets)
    bare = expect_bare(model, station, time_us, level_m, targets, checked)
    usual = usual_of(recent) if applied.cautious.any() else None
    expected, knots, slope = _calibrated(bare, recent, applied)
    expected, knots, slope = _cautious(expected, knots, slope, applied, usual)
    verdict = _checked_again(checked, level_m, targets, expected, parameters)
    neighbour_m = None if companions is None else companions.sound().neighbour_range_m
    no_leaps = applied.leaps if usual is None else applied.leaps | (applied.cautious & ~usual.known)
    beside_m = None if neighbour_m is None else neighbour_m[targets]
    shape = _contrasted(shape_of(recent, verdict, applied.creeps, beside_m, no_leaps), applied, usual)
    off = distance(level_m[targets], expected, verdict.flags)
    surprise = _surprise(decades(off, knots, slope), shape, applied, verdict)
    score = np.where(verdict.flags == Flag.FAIL, 1.0, score_of(surprise))
    marked = (surprise >= MARKED_DECADES) | (verdict.flags == Flag.FAIL)
    whose, why = _whose(marked, shape, applied)
    return Judged(verdict, expected, score, whose, why, shape.rate_m_per_h)


def _checked_again(
    checked: Checked, level_m: FloatArray, targets: IntArray, expected: Expected, parameters: StationParameters
) -> Checked:
    """The targets' verdicts, with the forecast as a virtual neighbour where that is asked for."""
    verdict = checked.take(targets)
    if np.isnan(parameters.forecast_widths).all():
        return verdict
    return check_forecast(verdict, level_m[targets], expected.low_m, expected.high_m, parameters.take(targets))


def expect_bare(
    model: Expects | None,
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    targets: IntArray,
    checked: Checked,
) -> Expected:
    """What the model expects, not calibrated; NaN where it cannot say."""
    if model is None:
        nothing = np.full(len(targets), np.nan)
        return Expected(nothing, nothing, nothing)
    features = build(station, time_us, level_m, checked, targets)
    return model.expect(features.values, features.baseline_m)


def widened(expected: Expected, band: AppliedBand) -> Expected:
    """A band with its halves as wide as a calibration says."""
    middle = expected.expected_m
    below_m = np.fmax(band.low_scale * (middle - expected.low_m), band.low_least_m)
    above_m = np.fmax(band.high_scale * (expected.high_m - middle), band.high_least_m)
    return Expected(middle, middle - below_m, middle + above_m)


def distance(level_m: FloatArray, expected: Expected, flags: FlagArray) -> FloatArray:
    """How far each level is from what was expected, in half-widths of the band on that side; NaN: unknown, or failed.

    Args:
        level_m: metres, float64[m].
        expected: of the same rows.
        flags: of the same rows, uint8[m].
    """
    off_m = np.where(flags == Flag.FAIL, np.nan, level_m) - expected.expected_m
    half_m = np.where(off_m < 0.0, expected.expected_m - expected.low_m, expected.high_m - expected.expected_m)
    return np.minimum(np.abs(off_m) / np.maximum(half_m, HALF_WIDTH_MIN_M), _DISTANCE_MAX)


def _calibrated(bare: Expected, recent: Recent, applied: Applied) -> tuple[Expected, FloatArray, FloatArray]:
    """The calibrated band, by the model or the chart, and the tail of the distance from it (knots, slope)."""
    band = applied.model
    expected, knots, slope = widened(bare, band), band.knots, band.slope
    rows = np.flatnonzero(applied.by_chart | np.isnan(bare.expected_m))
    if len(rows) == 0:
        return expected, knots, slope
    chart = applied.take(rows).chart
    drawn = widened(expect_by_chart(recent.take(rows), applied.chart_weight[rows]), chart)
    for name in Expected.__slots__:
        getattr(expected, name)[rows] = getattr(drawn, name)
    knots, slope = knots.copy(), slope.copy()
    knots[rows], slope[rows] = chart.knots, chart.slope
    return expected, knots, slope


def _cautious(
    expected: Expected, knots: FloatArray, slope: FloatArray, applied: Applied, usual: Usual | None
) -> tuple[Expected, FloatArray, FloatArray]:
    """Where little is known of a station, its band is as wide as its context moved, and its tail no thinner than most have."""
    if usual is None:
        return expected, knots, slope
    rows, middle = applied.cautious, expected.expected_m
    half_m = np.where(rows, usual.half_m, 0.0)
    wide = Expected(middle, np.minimum(expected.low_m, middle - half_m), np.maximum(expected.high_m, middle + half_m))
    knots = np.where(rows[:, np.newaxis], np.maximum(knots, _CAUTIOUS_KNOTS), knots)
    return wide, knots, slope


def _contrasted(shape: Shape, applied: Applied, usual: Usual | None) -> Shape:
    """Where little is known of a station, only what is rougher than just before is rough."""
    if usual is None:
        return shape
    calm = usual.known & (shape.rough_m > USUAL_ROUGHER * usual.rough_m)
    return replace(shape, rough_m=np.where(applied.cautious & ~calm, 0.0, shape.rough_m))


def _surprise(by_band: FloatArray, shape: Shape, applied: Applied, verdict: Checked) -> FloatArray:
    """The decades of all that may surprise together: band, roughness, what only a sensor does, what the checks suspect."""
    rough = applied.rough_decades(shape.rough_m) - ROUGH_MARGIN
    together = np.where(rough > by_band, rough, by_band)
    together = np.where(shape.fault > 0, np.fmax(together, FAULT_DECADES), together)
    return np.where(verdict.flags == Flag.SUSPECT, np.fmax(together, MARKED_DECADES), together)


def _whose(marked: NDArray[np.bool_], shape: Shape, applied: Applied) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Whose doing the marked rows are, and why."""
    surprise = np.zeros(len(marked), dtype=np.int8)
    why = np.zeros(len(marked), dtype=np.int8)
    rows = np.flatnonzero(marked)
    if len(rows) == 0:
        return surprise, why
    rough = applied.rough_decades(shape.rough_m)[rows] - ROUGH_MARGIN >= MARKED_DECADES
    rate = shape.rate_m_per_h[rows]
    names = np.where(rate > 0.0, WHYS.index("rising_like_water"), WHYS.index("falling_like_water"))
    names = np.where(np.isfinite(rate) & (rate != 0.0), names, WHYS.index("unexpected"))
    names = np.where(shape.beside[rows] > 0, shape.beside[rows], names)
    names = np.where(rough, WHYS.index("rough"), names)
    why[rows] = np.where(shape.fault[rows] > 0, shape.fault[rows], names)
    surprise[rows] = np.where((shape.fault[rows] > 0) | rough, FAULT, EVENT)
    return surprise, why


def score(level_m: FloatArray, expected: Expected, flags: FlagArray) -> FloatArray:
    """The score of levels by the band alone, as at a station without a calibration of its own; NaN where none is known.

    Args:
        level_m: metres, float64[m].
        expected: of the same rows, not calibrated.
        flags: of the same rows, uint8[m].
    """
    band = UNCALIBRATED.apply(np.zeros(len(level_m), dtype=np.int64), np.zeros(len(level_m), dtype=np.int64)).model
    off = distance(level_m, widened(expected, band), flags)
    return np.where(flags == Flag.FAIL, 1.0, score_of(decades(off, band.knots, band.slope)))
