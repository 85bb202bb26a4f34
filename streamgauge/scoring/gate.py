"""The gate before a promotion: whether a challenger did better than the champion on readings that did not train it.

Pure: figures in, verdict out. Both models are run over the same readings, from the challenger's ``data_until`` on, as they would
have run live (``streamgauge.scoring.compare``). The gate never promotes; it lets a person promote (docs/models.md).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean losses over the same rows, metres; None without any rows. Lower is better.

    Attributes:
        rows: how many.
        champion: the champion's loss.
        challenger: the challenger's.
        persistence: of the last usable level again.
    """

    rows: int
    champion: float | None = None
    challenger: float | None = None
    persistence: float | None = None

    @property
    def gain(self) -> float | None:
        """By which share the challenger's loss is lower than the champion's; None without rows."""
        if self.champion is None or self.challenger is None:
            return None
        if self.champion == 0.0:
            return 0.0 if self.challenger == 0.0 else -1.0
        return 1.0 - self.challenger / self.champion


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The two on one thing that they expect: the next reading, or the level at one horizon.

    Attributes:
        horizon_s: how far ahead; 0: the next reading, whose loss is the mean pinball loss of its three quantiles. Elsewhere it
            is the mean absolute error.
        overall: over all readings.
        still: where the level changed by at most 20 mm in the hour before.
        moving: by more.
        champion_coverage: share of levels within the champion's 90 % band.
        challenger_coverage: within the challenger's.
    """

    horizon_s: int
    overall: Losses
    still: Losses
    moving: Losses
    champion_coverage: float | None
    challenger_coverage: float | None

    @property
    def name(self) -> str:
        """For people: ``next reading`` or ``60 min``."""
        return "next reading" if self.horizon_s == 0 else f"{self.horizon_s // 60} min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All figures that the gate asks for.

    Attributes:
        readings: how many readings with a level both models were run over.
        days: days from the first to the last of them.
        stations: of how many stations.
        compared: the next reading and each horizon, as far as both models have them.
        champion_marked: share of readings that the champion marks.
        challenger_marked: that the challenger marks.
        champion_floods: share of the readings of moving water that the champion calls a fault.
        challenger_floods: that the challenger calls one.
    """

    readings: int
    days: float
    stations: int
    compared: tuple[Compared, ...]
    champion_marked: float
    challenger_marked: float
    champion_floods: float
    challenger_floods: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a challenger must reach; what each rests on is in docs/models.md.

    Attributes:
        readings_min: readings compared, at least: a week of one station that reports every 15 minutes has 672.
        days_min: days that they span, at least.
        moving_rows_min: with fewer readings of moving water, that water says nothing.
        still_worse_max: by which share the challenger may be worse on still water, per horizon …
        still_slack_m: … beside so many metres, as the losses of still water are fractions of a millimetre.
        moving_gain_min: by which share it must be better where water moves, on the mean over what is compared …
        overall_gain_min: … or else over all readings.
        worse_max: by which share it may be worse over all readings at any one horizon.
        coverage_min: of its 90 % band, over all readings.
        coverage_max: likewise, at the horizons; or the champion's coverage where that is higher. (Still water mostly repeats its
            last reading: any band around the next one, and around the next minutes on a gauge with a coarse display, holds more.)
        marked_times_max: it may mark so many times as many readings as the champion …
        marked_slack: … beside this share.
        floods_slack: it may call at most this share more of the moving water's readings a fault.
    """

    readings_min: int = 600
    days_min: float = 7.0
    moving_rows_min: int = 50
    still_worse_max: float = 0.02
    still_slack_m: float = 0.0001
    moving_gain_min: float = 0.02
    overall_gain_min: float = 0.01
    worse_max: float = 0.05
    coverage_min: float = 0.85
    coverage_max: float = 0.95
    marked_times_max: float = 1.5
    marked_slack: float = 0.001
    floods_slack: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One of the gate's questions: the number found beside the number needed, and both in words."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says: passed only if every criterion is."""

    passed: bool
    criteria: tuple[Criterion, ...]

    def to_json(self) -> dict[str, Any]:
        """As it is kept with the model and shown: ``passed``, ``why_not``, ``criteria``."""
        failed = [criterion.detail for criterion in self.criteria if not criterion.passed]
        criteria = [asdict(criterion) for criterion in self.criteria]
        return {"passed": self.passed, "why_not": "; ".join(failed) or None, "criteria": criteria}


def judge_challenger(found: Comparison, limits: Limits = Limits()) -> Verdict:
    """Ask every question of the gate.

    Args:
        found: the figures.
        limits: what must be reached.

    Raises:
        ValueError: a figure is not a finite number; such figures would compare as anything.
    """
    if not all(map(math.isfinite, _numbers(found))):
        raise ValueError("the comparison of champion and challenger holds figures that are no finite numbers")
    criteria = (
        _enough(found, limits),
        _days(found, limits),
        _still(found, limits),
        _better(found, limits),
        _nowhere_worse(found, limits),
        _coverage(found, limits),
        _marked(found, limits),
        _floods(found, limits),
    )
    return Verdict(passed=all(criterion.passed for criterion in criteria), criteria=criteria)


def _enough(found: Comparison, limits: Limits) -> Criterion:
    passed = found.readings >= limits.readings_min and bool(found.compared)
    detail = (
        f"{found.readings:,} readings of {found.stations} stations compared, at least {limits.readings_min:,} needed"
    )
    return _criterion("readings", passed, found.readings, limits.readings_min, detail)


def _days(found: Comparison, limits: Limits) -> Criterion:
    detail = f"they span {found.days:.1f} days, at least {limits.days_min:g} needed"
    return _criterion("days", found.days >= limits.days_min, found.days, limits.days_min, detail)


def _still(found: Comparison, limits: Limits) -> Criterion:
    """The horizon at which the challenger is worst on still water, measured beyond the slack in metres."""
    worst: tuple[float, str] | None = None
    for compared in found.compared:
        losses = compared.still
        if losses.champion is None or losses.challenger is None:
            continue
        beyond_m = losses.challenger - losses.champion - limits.still_slack_m
        worse = max(beyond_m, 0.0) / losses.champion if losses.champion > 0.0 else float(beyond_m > 0.0)
        worst = max(worst or (worse, compared.name), (worse, compared.name))
    if worst is None:
        return _criterion("still water", True, None, limits.still_worse_max, "no still water among the readings")
    detail = (
        f"on still water worse by {worst[0]:.1%} at most ({worst[1]}; differences up to {limits.still_slack_m * 1000:g} mm are"
        f" none), {limits.still_worse_max:.0%} allowed"
    )
    return _criterion("still water", worst[0] <= limits.still_worse_max, worst[0], limits.still_worse_max, detail)


def _better(found: Comparison, limits: Limits) -> Criterion:
    moving = _mean(c.moving.gain for c in found.compared if c.moving.rows >= limits.moving_rows_min)
    overall = _mean(c.overall.gain for c in found.compared)
    enough_moving = moving is not None and moving >= limits.moving_gain_min
    enough_overall = overall is not None and overall >= limits.overall_gain_min
    said = "too few readings of moving water" if moving is None else f"{moving:+.1%} where water moves"
    detail = (
        f"nearer than the champion by {said} ({limits.moving_gain_min:.0%} needed) or"
        f" {'nothing' if overall is None else f'{overall:+.1%}'} over all ({limits.overall_gain_min:.0%} needed)"
    )
    value, limit = (overall, limits.overall_gain_min) if moving is None else (moving, limits.moving_gain_min)
    return _criterion("better", enough_moving or enough_overall, value, limit, detail)


def _nowhere_worse(found: Comparison, limits: Limits) -> Criterion:
    gains = [(gain, c.name) for c in found.compared if (gain := c.overall.gain) is not None]
    if not gains:
        return _criterion("nowhere worse", False, None, limits.worse_max, "nothing could be compared")
    worst, name = min(gains)
    detail = f"{worst:+.1%} over all where it does worst ({name}), {-limits.worse_max:.0%} allowed"
    return _criterion("nowhere worse", worst >= -limits.worse_max, -worst, limits.worse_max, detail)


def _coverage(found: Comparison, limits: Limits) -> Criterion:
    covered = [(c.challenger_coverage, c) for c in found.compared if c.challenger_coverage is not None]
    if not covered:
        return _criterion("coverage", False, None, limits.coverage_min, "no band could be compared")
    outside = [(share, c) for share, c in covered if not limits.coverage_min <= share <= _most_coverage(c, limits)]
    share, worst = max(outside or covered, key=lambda found: abs(found[0] - 0.9))
    detail = (
        f"{share:.1%} of levels within the 90 % band ({worst.name}), {limits.coverage_min:.0%} to"
        f" {_most_coverage(worst, limits):.1%} needed"
    )
    return _criterion("coverage", not outside, share, limits.coverage_min, detail)


def _most_coverage(compared: Compared, limits: Limits) -> float:
    return 1.0 if compared.horizon_s == 0 else max(limits.coverage_max, compared.champion_coverage or 0.0)


def _marked(found: Comparison, limits: Limits) -> Criterion:
    most = found.champion_marked * limits.marked_times_max + limits.marked_slack
    detail = (
        f"marks {found.challenger_marked:.2%} of readings, the champion {found.champion_marked:.2%}; {most:.2%} allowed"
    )
    return _criterion("marked", found.challenger_marked <= most, found.challenger_marked, most, detail)


def _floods(found: Comparison, limits: Limits) -> Criterion:
    most = found.champion_floods + limits.floods_slack
    detail = (
        f"calls {found.challenger_floods:.2%} of moving water a fault, the champion {found.champion_floods:.2%};"
        f" {most:.2%} allowed"
    )
    return _criterion("floods", found.challenger_floods <= most, found.challenger_floods, most, detail)


def _criterion(name: str, passed: bool, value: float | None, limit: float | None, detail: str) -> Criterion:
    return Criterion(name=name, passed=bool(passed), value=value, limit=limit, detail=detail)


def _mean(gains: Iterable[float | None]) -> float | None:
    known = [gain for gain in gains if gain is not None]
    return sum(known) / len(known) if known else None


def _numbers(found: Any) -> Iterator[float]:
    """Every number in the figures."""
    if isinstance(found, int | float):
        yield found
    elif is_dataclass(found) and not isinstance(found, type):
        for name in found.__dataclass_fields__:
            yield from _numbers(getattr(found, name))
    elif isinstance(found, tuple):
        for part in found:
            yield from _numbers(part)
