"""A station's calibration from its stored readings of the last weeks: no labels, nobody asked.

**Ordinary** are the readings that passed the quality checks and whose shape no sensor fault explains. What is computed rests on
them, on the model and on the station's calibration before; the same rows give the same numbers.

* **Width of the band.** Where the water moves, each half of the band is scaled so that 5 % of the readings lie beyond it, each
  counted by how wide the band was there: the scale that makes the pinball loss of that bound least. Where it is still, a half is
  made as wide as 5 % of the readings go beyond. A display of 3 mm makes atoms there, and the bound falls on the first one that
  holds at least 95 %: still water is mostly held by more than 90 %.
* **How rare** is what lies beyond: the station's own shares, with the shipped ones weighing as ``PRIOR_ROWS`` readings. A quiet
  month so does not make a flood impossible, and what is rarer than one reading in all there were is the shipped tail's word.
* **Model or chart**: whoever had the lesser pinball loss; the other one must be 5 % better to take over.
* **Creeping**: the medians of seven stretches of 4 h went the same way by similar steps.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.quality.parameters import DEFAULTS, StationParameters
from streamgauge.quality.series import SECONDS_PER_HOUR, IntArray
from streamgauge.scoring.calibration import (
    KNOT_DECADES,
    LEAST_MOST_M,
    NEUTRAL,
    SHARES,
    SHIPPED,
    SHIPPED_FILE,
    SLOPE_LEAST,
    SLOPE_MOST,
    Band,
    Calibration,
    Calibrations,
    Tail,
    decades,
)
from streamgauge.scoring.chart import WEIGHTS, expect_by_chart
from streamgauge.scoring.judge import HALF_WIDTH_MIN_M, Expects, distance, expect_bare, widened
from streamgauge.scoring.model import Expected
from streamgauge.scoring.recent import Recent, look_back
from streamgauge.scoring.surprise import LEAPS, shape_of
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ROWS_MIN = 200
"""With fewer ordinary readings nothing is concluded: the shipped calibration stays. So many place the 95 % bounds within ±1.5 %
of the readings (standard error √(0.05 · 0.95 / 200)); what is rarer is judged cautiously up to ``FIRM_ROWS``."""

LEAPS_SHARE = 0.2
"""Where leaps mark so many readings of a month whose flags are good, the water leaps: no sensor is off so often, and a station
that is marked throughout must become ordinary."""

PRIOR_ROWS = 1_000
"""The shipped shares weigh as so many readings of the station's own."""

SCALE_PRIOR_ROWS = 200
"""The shipped scale weighs as so many readings of moving water."""

STILL_ROWS_MIN = 200

SWITCH_SHARE = 0.95
"""Model or chart takes over only with a loss below this share of the other's, so that the two do not take turns."""

CREEP_STRETCHES, CREEP_STRETCH_S = 7, 4 * SECONDS_PER_HOUR
CREEP_ROWS_MIN = 6
CREEP_M_PER_H = (0.0015, 0.015)
CREEP_EVEN = 2.5
"""Drifts are even: the fastest step is at most so many times the slowest. Floods and recessions are not."""

_BLOCK_ROWS = 4_096
_TAU = 0.05
_OWN_SLOPE = 4.0
"""Beyond the most surprising of a station's own readings, ten times the measure is taken for so many decades rarer."""
_SCALE_BOUNDS = (0.3, 5.0)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The ordinary readings, and what was expected of them, not calibrated."""

    level_m: FloatArray
    model: Expected
    charts: tuple[Expected, ...]
    rough_m: FloatArray
    fault: NDArray[np.int8]

    @property
    def leaps(self) -> bool:
        """Whether leaps mark so many rows that they are the water's way."""
        return bool(np.count_nonzero(np.isin(self.fault, LEAPS)) >= LEAPS_SHARE * max(len(self.fault), 1))

    def ordinary(self) -> "_Rows":
        """Without what a fault explains, unless the water leaps."""
        kept = np.flatnonzero((self.fault == 0) | (np.isin(self.fault, LEAPS) & self.leaps))
        charts = tuple(_taken(chart, kept) for chart in self.charts)
        return _Rows(self.level_m[kept], _taken(self.model, kept), charts, self.rough_m[kept], self.fault[kept])


def _taken(expected: Expected, rows: IntArray) -> Expected:
    return Expected(*(getattr(expected, name)[rows] for name in Expected.__slots__))


def calibrate(
    model: Expects | None,
    time_us: IntArray,
    level_m: FloatArray,
    parameters: StationParameters = DEFAULTS,
    before: Calibration | None = None,
    prior: Calibration = SHIPPED,
) -> Calibration | None:
    """What is ordinary at a station.

    Args:
        model: what expects; ``None``: the chart alone.
        time_us: microseconds since 1970, ascending, int64[n]: the readings of the last weeks.
        level_m: metres, float64[n]; NaN where there is none.
        parameters: the station's limits of the checks.
        before: the calibration that was valid until now.
        prior: what weighs where there is little of its own, and before anything is known.

    Returns:
        ``None`` with fewer than ``ROWS_MIN`` ordinary readings.

    Raises:
        ValueError: the readings are not in the order of time.
    """
    rows = _ordinary(model, time_us, level_m, parameters)
    if len(rows.level_m) < ROWS_MIN:
        return None
    found = _from_rows(rows, before or prior, prior)
    return replace(found, creeps=creeping(time_us, level_m), leaps=rows.leaps)


def ship(model: Expects, records: Sequence[tuple[IntArray, FloatArray]]) -> Calibration:
    """The calibration for stations without one of their own, from the readings that trained the model.

    Args:
        model: the shipped model.
        records: times and levels, as for ``calibrate``: the training record as sensors of several paces see it.
    """
    parts = [_ordinary(model, time_us, level_m, DEFAULTS) for time_us, level_m in records]
    return replace(_from_rows(_joined(parts), NEUTRAL, NEUTRAL), rows=0)


def _from_rows(rows: _Rows, before: Calibration, prior: Calibration) -> Calibration:
    by_model = _band(rows.level_m, rows.model, prior.model)
    weight, chart = _best_chart(rows, prior)
    method = _method(by_model, chart, before.method)
    rough_m = np.sort(rows.rough_m[np.isfinite(rows.rough_m)])
    return Calibration(
        method=method,
        model=by_model,
        chart=chart,
        chart_weight=weight,
        rough=_tail(rough_m, prior.rough),
        rows=len(rows.level_m),
    )


def creeping(time_us: IntArray, level_m: FloatArray) -> int:
    """Whether the newest 28 h rose (1) or fell (−1) evenly and slowly, as a sensor drifts; else 0.

    Args:
        time_us: microseconds since 1970, ascending, int64[n].
        level_m: metres, float64[n].
    """
    if len(time_us) == 0:
        return 0
    medians = []
    for stretch in range(CREEP_STRETCHES, 0, -1):
        edges_us = time_us[-1] - np.array([stretch, stretch - 1]) * int(CREEP_STRETCH_S * MICROSECONDS_PER_SECOND)
        first, last = np.searchsorted(time_us, edges_us, side="right")
        levels = level_m[first:last]
        levels = levels[np.isfinite(levels)]
        if len(levels) < CREEP_ROWS_MIN:
            return 0
        medians.append(float(np.median(levels)))
    rates = np.diff(medians) / CREEP_STRETCH_S * SECONDS_PER_HOUR
    sizes = np.abs(rates)
    slow, fast = float(sizes.min()), float(sizes.max())
    even = slow >= CREEP_M_PER_H[0] and fast <= CREEP_M_PER_H[1] and fast <= CREEP_EVEN * slow
    one_way = bool((rates > 0.0).all() or (rates < 0.0).all())
    return int(np.sign(rates[0])) if even and one_way else 0


def _ordinary(model: Expects | None, time_us: IntArray, level_m: FloatArray, parameters: StationParameters) -> _Rows:
    station = np.zeros(len(time_us), dtype=np.int64)
    checked = check_levels(station, time_us, level_m, parameters)
    parts: list[_Rows] = []
    for targets in _blocks(np.flatnonzero(np.isin(checked.flags, (Flag.GOOD, Flag.NOT_EVALUATED)))):
        recent = look_back(station, time_us, level_m, checked, targets)
        shape = shape_of(recent, checked.take(targets), np.zeros(len(targets)))
        bare = expect_bare(model, station, time_us, level_m, targets, checked)
        parts.append(_Rows(level_m[targets], bare, tuple(_charts(recent)), shape.rough_m, shape.fault))
    return _joined(parts).ordinary()


def _blocks(rows: IntArray) -> Iterator[IntArray]:
    for first in range(0, len(rows), _BLOCK_ROWS):
        yield rows[first : first + _BLOCK_ROWS]


def _charts(recent: Recent) -> Iterator[Expected]:
    for weight in WEIGHTS:
        yield expect_by_chart(recent, np.full(recent.level_m.shape[1], weight))


def _joined(parts: list[_Rows]) -> _Rows:
    def expected(of: Callable[[_Rows], Expected]) -> Expected:
        return Expected(*(_together([getattr(of(part), name) for part in parts]) for name in Expected.__slots__))

    charts = tuple(expected(lambda part, place=place: part.charts[place]) for place in range(len(WEIGHTS)))  # type: ignore[misc]
    level_m, rough_m = _together([part.level_m for part in parts]), _together([part.rough_m for part in parts])
    fault = np.concatenate([np.empty(0, dtype=np.int8), *(part.fault for part in parts)])
    return _Rows(level_m, expected(lambda part: part.model), charts, rough_m, fault)


def _together(parts: list[FloatArray]) -> FloatArray:
    return np.concatenate(parts) if parts else np.empty(0)


def _band(level_m: FloatArray, bare: Expected, prior: Band) -> Band:
    """How a band must be widened to hold 90 %, and how rare it is how far beyond."""
    known = np.isfinite(bare.expected_m)
    if np.count_nonzero(known) < ROWS_MIN:
        return replace(prior, loss_m=float("nan"))
    level_m = level_m[known]
    bare = Expected(*(getattr(bare, name)[known] for name in Expected.__slots__))
    above_m = level_m - bare.expected_m
    low_scale, low_least_m = _width(-above_m, bare.expected_m - bare.low_m, prior.low_scale, prior.low_least_m)
    high_scale, high_least_m = _width(above_m, bare.high_m - bare.expected_m, prior.high_scale, prior.high_least_m)
    band = Band(low_scale, high_scale, low_least_m, high_least_m, prior.tail)
    expected = apply_band(bare, band)
    off = np.sort(distance(level_m, expected, np.full(len(level_m), Flag.GOOD, dtype=np.uint8)))
    return replace(band, tail=_tail(off, prior.tail), loss_m=_loss(level_m, expected))


def apply_band(bare: Expected, band: Band) -> Expected:
    """One band applied to all rows of an expectation."""
    rows = len(bare.expected_m)
    constant = Calibrations.constant({0: replace(SHIPPED, model=band)})
    applied = constant.apply(np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))
    return widened(bare, applied.model)


def _width(off_m: FloatArray, half_m: FloatArray, prior_scale: float, prior_least_m: float) -> tuple[float, float]:
    """Scale and least width of one half of the band; ``off_m`` counts upwards on its side."""
    moving = half_m >= HALF_WIDTH_MIN_M
    scale = prior_scale
    if moving.any():
        rows = np.count_nonzero(moving)
        own = np.clip(_weighted_quantile(off_m[moving] / half_m[moving], half_m[moving]), *_SCALE_BOUNDS)
        together = (rows * np.log(own) + SCALE_PRIOR_ROWS * np.log(prior_scale)) / (rows + SCALE_PRIOR_ROWS)
        scale = float(np.exp(together))
    still = off_m[~moving]
    if len(still) < STILL_ROWS_MIN:
        return scale, prior_least_m
    least_m = float(np.quantile(still, 1.0 - _TAU, method="higher"))
    return scale, min(max(least_m, 0.0), LEAST_MOST_M) + 0.0  # No negative zero in what is stored.


def _weighted_quantile(values: FloatArray, weights: FloatArray) -> float:
    """The value up to which 95 % of the weight lies."""
    order = np.argsort(values, kind="stable")
    gathered = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(gathered, (1.0 - _TAU) * gathered[-1])])


def _tail(measure: FloatArray, prior: Tail) -> Tail:
    """The shares of a measure among ``len(measure)`` rows of the station's own and ``PRIOR_ROWS`` of the prior's.

    Args:
        measure: ascending, float64[n].
        prior: the shipped tail.
    """
    grid = np.unique(np.concatenate([measure, _grid(prior)]))
    own = len(measure) - np.searchsorted(measure, grid, side="left")
    knots = np.concatenate([[0.0], prior.values])
    rows = len(grid)
    shipped = 10.0 ** -decades(grid, np.broadcast_to(knots, (rows, len(knots))), np.full(rows, prior.slope))
    share = (own + PRIOR_ROWS * shipped) / (len(measure) + PRIOR_ROWS)
    # The first value that no more than a share of the readings reach.
    places = np.searchsorted(-share, -np.array(SHARES), side="left")
    values = np.maximum(grid[np.minimum(places, rows - 1)], _beyond(measure))
    values = np.maximum.accumulate(values)
    values[-1] = max(values[-1], prior.values[-1] * 1e-3)
    return Tail(tuple(values.tolist()), _slope(values, prior.slope))


def _beyond(measure: FloatArray) -> FloatArray:
    """How large a measure may be that is rarer than one reading in all there were: as for a tail of ``_OWN_SLOPE`` decades."""
    if len(measure) == 0:
        return np.zeros(len(SHARES))
    rarer = 1.0 / (len(measure) * np.array(SHARES))
    return np.where(rarer > 1.0, measure[-1] * np.maximum(rarer, 1.0) ** (1.0 / _OWN_SLOPE), 0.0)


def _grid(prior: Tail) -> FloatArray:
    """Values from nothing to far beyond a tail's last one."""
    last = prior.values[-1]
    return np.concatenate([[0.0], prior.values, np.geomspace(last * 1e-3, last * 30.0, 400)])


def _slope(values: FloatArray, prior: float) -> float:
    """How many decades rarer beyond the last share, for ten times the measure: from the last decade, as far as it tells."""
    begin, end = values[SHARES.index(0.001)], values[-1]
    if not 0.0 < begin < end:
        return prior
    own = (KNOT_DECADES[-1] - 3.0) / np.log10(end / begin)
    return float(np.clip(own, SLOPE_LEAST, min(SLOPE_MOST, prior)))


def _loss(level_m: FloatArray, expected: Expected) -> float:
    """The mean pinball loss of the three quantiles, metres."""
    total = 0.0
    for tau, bound_m in ((_TAU, expected.low_m), (0.5, expected.expected_m), (1.0 - _TAU, expected.high_m)):
        off_m = level_m - bound_m
        total += float(np.maximum(tau * off_m, (tau - 1.0) * off_m).mean())
    return total / 3.0


def _best_chart(rows: _Rows, prior: Calibration) -> tuple[float, Band]:
    bands = [_band(rows.level_m, bare, prior.chart) for bare in rows.charts]
    losses = [np.inf if np.isnan(band.loss_m) else band.loss_m for band in bands]
    best = int(np.argmin(losses))
    return (WEIGHTS[best], bands[best]) if np.isfinite(losses[best]) else (prior.chart_weight, bands[best])


def _method(model: Band, chart: Band, before: str) -> str:
    """Who says what is expected from now on."""
    if np.isnan(model.loss_m) or np.isnan(chart.loss_m):
        return "chart" if np.isnan(model.loss_m) and not np.isnan(chart.loss_m) else before
    if before == "model":
        return "chart" if chart.loss_m < SWITCH_SHARE * model.loss_m else "model"
    return "model" if model.loss_m < SWITCH_SHARE * chart.loss_m else "chart"


def main(arguments: list[str] | None = None) -> int:
    """Make the shipped calibration anew: ``python -m streamgauge.scoring.calibrating``, after ``make train``."""
    from streamgauge.reading import to_microseconds
    from streamgauge.scoring.edge import EdgeModel  # The same to the last bit, and it needs no forecasts beside it.
    from streamgauge.scoring.records import read_record
    from streamgauge.scoring.train import RECORD, Training

    argparse.ArgumentParser(prog="python -m streamgauge.scoring.calibrating", description=main.__doc__).parse_args(
        arguments
    )
    training = Training()
    record, until_us = read_record(RECORD), to_microseconds(training.train_until)
    thinned = [record.thinned(every) for every in training.thinnings]
    before = [each.time_us < until_us for each in thinned]
    records = [(each.time_us[rows], each.level_m[rows]) for each, rows in zip(thinned, before, strict=True)]
    SHIPPED_FILE.write_text(json.dumps(ship(EdgeModel.load(), records).to_json(), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
