"""What is ordinary at a station: how its band must be scaled, and how rarely its ordinary readings surprise how much.

A **surprise** is measured in decades: d = −log10 of the share of the station's ordinary readings that would be at least as
surprising. One in ten has d = 1, one in 10,000 d = 4. The **score** is 1 − 2^−d: 0 for what always happens, 0.5 for one in ten
(the edge of the 90 % band), 0.9375 for one in 10,000.

A station without a calibration of its own has ``SHIPPED``, which was made from the record that trained the model. Its own is
computed from stored rows only (``streamgauge.scoring.calibrating``), counts from one time on and is never changed afterwards:
re-scoring finds the one that was valid when the reading was judged first.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import PermanentError
from streamgauge.quality.series import IntArray

FloatArray = NDArray[np.float64]

SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
"""The shares of ordinary readings at which the distribution of a measure is kept."""

KNOT_DECADES: FloatArray = np.concatenate([[0.0], -np.log10(np.array(SHARES))])
"""The same in decades, after the beginning: each reading is at least as surprising as none."""

METHODS = ("model", "chart")
"""Who says what is expected: the trained model, or the control chart."""

FIRM_ROWS = 1_000
"""A calibration on fewer ordinary readings does not know the station's rare ones: its verdicts stay cautious."""

CAUTIOUS_VALUES = (0.35, 0.7, 1.0, 1.3, 1.7, 2.0, 2.4, 3.1, 4.0, 5.0, 8.0, 14.0)
"""At least so far from what is expected, in half-widths, are ``SHARES`` of the readings of a station that is not known yet."""

SLOPE_LEAST, SLOPE_MOST = 0.5, 20.0
SCALE_LEAST, SCALE_MOST = 0.05, 20.0
LEAST_MOST_M = 1.0
WEIGHT_LEAST = 0.05


class InvalidCalibration(PermanentError):
    """A stored calibration that cannot be used; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Tail:
    """How often a measure of surprise is how large among ordinary readings.

    Attributes:
        values: for each of ``SHARES`` what that share of the readings reaches, in the measure's unit, never falling.
        slope: beyond the last one, by how many decades a reading is rarer when the measure is ten times as large.
    """

    values: tuple[float, ...]
    slope: float

    def __post_init__(self) -> None:
        numbers = np.array(self.values, dtype=np.float64)
        if len(numbers) != len(SHARES) or not np.isfinite(numbers).all():
            raise InvalidCalibration(f"a tail needs {len(SHARES)} finite values, not {self.values!r:.200}")
        if numbers[0] < 0.0 or (np.diff(numbers) < 0.0).any() or numbers[-1] <= 0.0:
            raise InvalidCalibration(f"the values of a tail are not negative and never fall: {self.values!r:.200}")
        if not SLOPE_LEAST <= self.slope <= SLOPE_MOST:
            raise InvalidCalibration(f"a tail's slope lies within {SLOPE_LEAST} … {SLOPE_MOST}, not {self.slope!r:.50}")


@dataclass(frozen=True, slots=True)
class Band:
    """What makes the bounds of ``model`` or ``chart`` hold 90 % of a station's readings, and what lies beyond.

    Attributes:
        low_scale: the band's lower half is made so many times as wide …
        high_scale: … the upper half likewise.
        low_least_m: … and the lower half at least so wide, as a display flickers or a probe shakes though the water is still …
        high_least_m: … the upper half likewise.
        tail: of the distance from what was expected, in half-widths of the scaled band.
        loss_m: the mean pinball loss of the three quantiles over the calibration's rows, metres; NaN unknown.
    """

    low_scale: float
    high_scale: float
    low_least_m: float
    high_least_m: float
    tail: Tail
    loss_m: float = math.nan

    def __post_init__(self) -> None:
        for scale in (self.low_scale, self.high_scale):
            if not SCALE_LEAST <= scale <= SCALE_MOST:
                raise InvalidCalibration(f"a band's scale lies within {SCALE_LEAST} … {SCALE_MOST}, not {scale!r:.50}")
        for least_m in (self.low_least_m, self.high_least_m):
            if not 0.0 <= least_m <= LEAST_MOST_M:
                raise InvalidCalibration(f"half a band is at least 0 … {LEAST_MOST_M} m wide, not {least_m!r:.50}")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is ordinary at one station, for one model.

    Attributes:
        method: who says what is expected, one of ``METHODS``.
        model: the band of the trained model.
        chart: the band of the control chart, which stands in where the model cannot say.
        chart_weight: how much of the chart's centre the newest level makes (``streamgauge.scoring.chart``).
        rough: the tail of the roughness (``streamgauge.scoring.surprise``), metres.
        rows: how many ordinary readings it rests on; 0: none of the station's own.
        creeps: 1 if the station's level rose steadily and slowly for days before, as a sensor drifts; −1 if it fell so.
        leaps: whether its water leaps, as pumps and gates make it: a leap then is no fault.
        vector: all its numbers in one array, for ``Applied``.
    """

    method: str
    model: Band
    chart: Band
    chart_weight: float
    rough: Tail
    rows: int = 0
    creeps: int = 0
    leaps: bool = False
    vector: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidCalibration(f"a calibration's method is one of {METHODS}, not {self.method!r:.50}")
        if not WEIGHT_LEAST <= self.chart_weight <= 1.0:
            raise InvalidCalibration(f"a chart's weight lies within {WEIGHT_LEAST} … 1, not {self.chart_weight!r:.50}")
        if self.creeps not in {-1, 0, 1} or self.rows < 0:
            raise InvalidCalibration("a calibration creeps by −1, 0 or 1, and rests on 0 or more rows")
        numbers = [float(self.method == "chart"), self.chart_weight, float(self.creeps)]
        numbers += [float(self.rows < FIRM_ROWS), float(self.leaps)]
        for band in (self.model, self.chart):
            numbers += [band.low_scale, band.high_scale, band.low_least_m, band.high_least_m]
            numbers += [band.tail.slope, 0.0, *band.tail.values]
        numbers += [self.rough.slope, 0.0, *self.rough.values]
        object.__setattr__(self, "vector", np.array(numbers, dtype=np.float64))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it; ``from_json`` reads the same numbers again."""
        body = {name: asdict(getattr(self, name)) for name in ("model", "chart", "rough")}
        for band in (body["model"], body["chart"]):
            band["loss_m"] = None if math.isnan(band["loss_m"]) else band["loss_m"]
        rest = {name: getattr(self, name) for name in ("method", "chart_weight", "rows", "creeps", "leaps")}
        return {"version": VERSION, **rest, **body}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read a stored calibration.

        Raises:
            InvalidCalibration: it lacks a part, is of another version, or holds what no calibration can.
        """
        try:
            if body["version"] != VERSION:
                raise InvalidCalibration(
                    f"a calibration of version {body['version']!r:.50}; this program has {VERSION}"
                )
            return cls(
                method=body["method"],
                model=_band(body["model"]),
                chart=_band(body["chart"]),
                chart_weight=float(body["chart_weight"]),
                rough=_tail(body["rough"]),
                rows=int(body["rows"]),
                creeps=int(body["creeps"]),
                leaps=bool(body.get("leaps", False)),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            shown = json.dumps(body, default=str)[:200]
            raise InvalidCalibration(f"a stored calibration cannot be read ({error!r}): {shown}") from error


VERSION = 1
"""Of a calibration's form and of what its measures mean; one of another version is not used."""


def _band(body: Mapping[str, Any]) -> Band:
    loss = body.get("loss_m")
    low_scale, high_scale, low_least_m, high_least_m = (
        float(body[name]) for name in ("low_scale", "high_scale", "low_least_m", "high_least_m")
    )
    return Band(
        low_scale, high_scale, low_least_m, high_least_m, _tail(body["tail"]), math.nan if loss is None else float(loss)
    )


def _tail(body: Mapping[str, Any]) -> Tail:
    return Tail(tuple(float(value) for value in body["values"]), float(body["slope"]))


_KNOTS = len(SHARES) + 1
_HEAD = 5
_BAND = 5 + _KNOTS


@dataclass(frozen=True, slots=True)
class AppliedBand:
    """``Band`` per row: float64[m] each, the tail's knots (0 and its values) float64[m, len(SHARES) + 1]."""

    low_scale: FloatArray
    high_scale: FloatArray
    low_least_m: FloatArray
    high_least_m: FloatArray
    slope: FloatArray
    knots: FloatArray


@dataclass(frozen=True, slots=True)
class Applied:
    """The calibrations of some rows as columns, one number per row each."""

    numbers: FloatArray

    def take(self, rows: IntArray) -> "Applied":
        """Those of some rows only."""
        return Applied(self.numbers[rows])

    @property
    def by_chart(self) -> NDArray[np.bool_]:
        """Whether the chart says what is expected, bool[m]."""
        return self.numbers[:, 0] > 0.0

    @property
    def chart_weight(self) -> FloatArray:
        """float64[m]."""
        return self.numbers[:, 1]

    @property
    def creeps(self) -> FloatArray:
        """−1, 0 or 1, float64[m]."""
        return self.numbers[:, 2]

    @property
    def cautious(self) -> NDArray[np.bool_]:
        """Whether little or nothing is known of the station itself, bool[m]: its context must say what is usual."""
        return self.numbers[:, 3] > 0.0

    @property
    def leaps(self) -> NDArray[np.bool_]:
        """Whether the station's water leaps, bool[m]."""
        return self.numbers[:, 4] > 0.0

    @property
    def model(self) -> AppliedBand:
        """The model's bands."""
        return self._band(_HEAD)

    @property
    def chart(self) -> AppliedBand:
        """The chart's bands."""
        return self._band(_HEAD + _BAND)

    def rough_decades(self, rough_m: FloatArray) -> FloatArray:
        """How surprising a roughness is, decades, float64[m]; NaN where it is not known."""
        columns = self.numbers[:, _HEAD + 2 * _BAND :]
        return decades(rough_m, columns[:, 1:], columns[:, 0])

    def _band(self, begin: int) -> AppliedBand:
        columns = self.numbers[:, begin : begin + _BAND]
        return AppliedBand(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3], columns[:, 4], columns[:, 5:])


def decades(measure: FloatArray, knots: FloatArray, slope: FloatArray) -> FloatArray:
    """How surprising each value of a measure is: −log10 of the share of ordinary readings that reach it.

    Between the shares that are kept, the decades grow in proportion to the measure; beyond the last, with its logarithm.

    Args:
        measure: 0 or more, float64[m]; NaN: not known, and so is the surprise.
        knots: 0 and the tail's values, never falling, float64[m, len(SHARES) + 1].
        slope: the tail's, float64[m].
    """
    below = np.count_nonzero(knots < measure[:, np.newaxis], axis=1)
    low = np.clip(below - 1, 0, _KNOTS - 2)
    row = np.arange(len(measure))
    at_low, at_high = knots[row, low], knots[row, low + 1]
    width = at_high - at_low
    part = np.where(width > 0.0, (measure - at_low) / np.where(width > 0.0, width, 1.0), 0.0)
    inside = KNOT_DECADES[low] + (KNOT_DECADES[low + 1] - KNOT_DECADES[low]) * part
    last = knots[:, -1]
    beyond = KNOT_DECADES[-1] + slope * np.log10(np.maximum(measure, last) / last)
    return np.where(below == 0, np.where(np.isnan(measure), np.nan, 0.0), np.where(below == _KNOTS, beyond, inside))


def score_of(surprise_decades: FloatArray) -> FloatArray:
    """The score of a surprise: 1 − 2^−d; NaN stays NaN."""
    return 1.0 - np.exp2(-surprise_decades)


class Calibrations:
    """Which calibration was valid when, by station. Stations that are not in it have ``SHIPPED``.

    Args:
        rows: station, since when (microseconds since 1970), and the calibration; in any order.
    """

    def __init__(self, rows: Iterable[tuple[int, int, Calibration]] = ()) -> None:
        by_station: dict[int, list[tuple[int, Calibration]]] = {}
        for station, since_us, calibration in rows:
            by_station.setdefault(station, []).append((since_us, calibration))
        self._by_station = {station: sorted(found, key=_since) for station, found in by_station.items()}

    @classmethod
    def constant(cls, by_station: Mapping[int, Calibration]) -> Self:
        """Calibrations that are valid at any time."""
        return cls((station, -(2**63), calibration) for station, calibration in by_station.items())

    def at(self, station: int, time_us: int) -> Calibration:
        """The calibration of a station that is valid at a time: the last one since then or before."""
        found = self._by_station.get(station, ())
        place = bisect_right(found, time_us, key=_since)
        return found[place - 1][1] if place else SHIPPED

    def apply(self, station: IntArray, time_us: IntArray) -> Applied:
        """The calibrations of some rows.

        Args:
            station: of each row, int64[m].
            time_us: of each row, microseconds since 1970, int64[m].
        """
        if not self._by_station:
            return Applied(np.broadcast_to(SHIPPED.vector, (len(station), len(SHIPPED.vector))))
        numbers = np.empty((len(station), len(SHIPPED.vector)))
        numbers[:] = SHIPPED.vector
        for present in np.unique(station).tolist():
            found = self._by_station.get(present, ())
            rows = np.flatnonzero(station == present) if found else np.empty(0, dtype=np.int64)
            for place, (since_us, calibration) in enumerate(found):
                until_us = found[place + 1][0] if place + 1 < len(found) else None
                valid = time_us[rows] >= since_us
                if until_us is not None:
                    valid &= time_us[rows] < until_us
                numbers[rows[valid]] = calibration.vector
        return Applied(numbers)


def _since(valid: tuple[int, Calibration]) -> int:
    return valid[0]


def _neutral(values: Sequence[float], slope: float) -> Tail:
    return Tail(tuple(values), slope)


_AS_IT_IS = {"low_scale": 1.0, "high_scale": 1.0, "low_least_m": 0.0, "high_least_m": 0.0}

NEUTRAL = Calibration(
    method="model",
    model=Band(**_AS_IT_IS, tail=_neutral((0.0, 0.0, 0.3, 0.9, 1.1, 1.3, 1.9, 2.4, 3.5, 5.0, 9.0, 14.0), 2.0)),
    chart=Band(**_AS_IT_IS, tail=_neutral((0.0, 0.3, 1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 15.0, 20.0, 30.0, 45.0), 2.0)),
    chart_weight=1.0,
    rough=_neutral((0.0, 0.0001, 0.0003, 0.0006, 0.001, 0.0012, 0.0015, 0.0018, 0.002, 0.0022, 0.0027, 0.0033), 4.0),
)
"""Bands as they come and rough shares: what the shipped calibration itself begins with."""

SHIPPED_FILE = Path(__file__).parent / "data" / "calibration.json"


def _shipped() -> Calibration:
    try:
        return Calibration.from_json(json.loads(SHIPPED_FILE.read_bytes()))
    except (OSError, ValueError) as error:
        raise InvalidCalibration(f"{SHIPPED_FILE} cannot be read ({error}): restore it from the release") from error


SHIPPED = _shipped()
"""What counts for a station without a calibration of its own: made from the readings that trained the model."""

UNCALIBRATED = Calibrations()
