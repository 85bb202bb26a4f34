"""The stages of a station: named levels above its datum, from the lowest to the highest, and what a forecast says of them.

A stage is what a flood service acts upon: Vietnam's alert levels I to III (Decision 05/2020/QD-TTg), the US National Weather
Service's action, minor, moderate and major flood stages (NWS Manual 10-950), or a station's own. They are data of the station
(``devices.stages``): names and number are free; the severity, 1 to 4, chooses colour and icon.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

MAX_STAGES = 8
MAX_NAME_CHARACTERS = 40
MAX_LEVEL_M = 12_000.0
SEVERITIES = (1, 2, 3, 4)
PRESETS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "vn": (("BĐ I", 1), ("BĐ II", 2), ("BĐ III", 3)),
    "us": (("Action", 1), ("Minor", 2), ("Moderate", 3), ("Major", 4)),
}
"""Names and severities by preset; the levels are each station's."""

_BAND_Z = NormalDist().inv_cdf(0.95)
"""Bounds of 5 % and 95 % are so many standard deviations from the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage: reached when the level is at or above ``level_m``."""

    name: str
    level_m: float
    severity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected ``horizon_s`` seconds after the newest reading, with its 5 % and 95 % bounds."""

    horizon_s: float
    expected_m: float
    low_m: float
    high_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """The way to a stage: ``after_s`` until the expected level reaches it (None: not within the forecast).

    ``chance``: that the level is at or above it at one of the forecast's horizons, taken from the horizon where it is greatest;
    that it is passed at any time between is no less likely.
    """

    stage: Stage
    after_s: float | None
    chance: float


class BadStages(ValueError):
    """Stages that cannot be used: ``problems`` has one sentence per fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def read_stages(value: object) -> tuple[Stage, ...]:
    """Stages from their JSON: a list of objects with ``name``, ``level_m``, ``severity``, from the lowest level to the highest.

    Raises:
        BadStages: naming everything that is wrong.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_STAGES:
        raise BadStages([f"stages must be a list of at most {MAX_STAGES}"])
    problems = list[str]()
    stages = [_read_one(number, item, problems) for number, item in enumerate(value, start=1)]
    found = [stage for stage in stages if stage is not None]
    for lower, higher in itertools.pairwise(found):
        if not lower.level_m < higher.level_m:
            problems.append(f"{higher.name} must lie above {lower.name}")
        if higher.severity < lower.severity:
            problems.append(f"{higher.name} must not be milder than {lower.name}, which lies below it")
    if len({stage.name for stage in found}) < len(found):
        problems.append("two stages have the same name")
    if problems:
        raise BadStages(problems)
    return tuple(found)


def _read_one(number: int, item: object, problems: list[str]) -> Stage | None:
    if not isinstance(item, Mapping):
        problems.append(f"stage {number} must be an object with name, level_m and severity")
        return None
    name, level_m, severity = item.get("name"), item.get("level_m"), item.get("severity")
    before = len(problems)
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        problems.append(f"stage {number}: name must have 1 to {MAX_NAME_CHARACTERS} printable characters")
    if isinstance(level_m, bool) or not isinstance(level_m, int | float) or not abs(level_m) <= MAX_LEVEL_M:
        problems.append(f"stage {number}: level_m must be a number of metres within {MAX_LEVEL_M:g}")
    if isinstance(severity, bool) or severity not in SEVERITIES:
        problems.append(f"stage {number}: severity must be 1, 2, 3 or 4")
    if len(problems) > before:
        return None
    return Stage(name=str(name).strip(), level_m=float(level_m), severity=int(severity))  # type: ignore[arg-type]


def sound_stages(value: object) -> tuple[Stage, ...]:
    """The same for showing them: none, where what is stored cannot be used."""
    try:
        return read_stages(value)
    except BadStages:
        return ()


def stages_json(stages: Sequence[Stage]) -> list[dict[str, object]]:
    """What is stored of stages."""
    return [{"name": stage.name, "level_m": stage.level_m, "severity": stage.severity} for stage in stages]


def stage_at(level_m: float | None, stages: Sequence[Stage]) -> Stage | None:
    """The highest stage that a level has reached; None below the first, and for no level."""
    if level_m is None or not math.isfinite(level_m):
        return None
    return next((stage for stage in reversed(stages) if level_m >= stage.level_m), None)


def stage_above(level_m: float | None, stages: Sequence[Stage]) -> Stage | None:
    """The next stage above a level; None if there is none, and for no level."""
    if level_m is None or not math.isfinite(level_m):
        return None
    return next((stage for stage in stages if level_m < stage.level_m), None)


def approach(level_m: float, stage: Stage, expectations: Sequence[Expectation]) -> Approach:
    """When and how likely a forecast reaches a stage.

    Args:
        level_m: the newest level, below the stage.
        stage: the stage.
        expectations: the forecast by ascending horizon; between horizons the expected level is a straight line.
    """
    after_s: float | None = None
    previous_s, previous_m, chance = 0.0, level_m, 0.0
    for ahead in expectations:
        if after_s is None and ahead.expected_m >= stage.level_m:
            rise_m = ahead.expected_m - previous_m
            share = 1.0 if rise_m <= 0 else (stage.level_m - previous_m) / rise_m
            after_s = previous_s + (ahead.horizon_s - previous_s) * min(1.0, max(0.0, share))
        chance = max(chance, exceedance(stage.level_m, ahead))
        previous_s, previous_m = ahead.horizon_s, ahead.expected_m
    return Approach(stage=stage, after_s=after_s, chance=chance)


def exceedance(level_m: float, ahead: Expectation) -> float:
    """The chance that the level is at or above ``level_m`` at a horizon: half a normal distribution on either side."""
    bound_m = ahead.high_m if level_m >= ahead.expected_m else ahead.low_m
    deviation_m = abs(bound_m - ahead.expected_m) / _BAND_Z
    if level_m == ahead.expected_m and ahead.low_m < ahead.high_m:
        return 0.5
    if deviation_m <= 0:
        return 1.0 if ahead.expected_m >= level_m else 0.0
    return 1.0 - NormalDist().cdf((level_m - ahead.expected_m) / deviation_m)
