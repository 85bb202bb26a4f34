"""Where the water stands among the station's stages, and what a forecast says of the way to the next one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.i18n import Words
from app.measures import Measures
from streamgauge.stages import Approach, Expectation, Stage, approach, stage_above, stage_at
from streamgauge.storage.forecasts import IssuedForecast

LEAST_CHANCE = 0.05
"""What is less likely, or more certain than its opposite, is said as a bound: a forecast is not that exact."""
CHANCE_STEP = 0.05
FINE_S, STEP_S = 900.0, 300.0
"""Times ahead are told to the minute below a quarter of an hour, else to five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageText:
    """One stage in words; ``level`` has its unit."""

    name: str
    severity: int
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ascent:
    """The stage that the water has reached, and the next one.

    Attributes:
        reached: None below the first.
        following: None above the last, and for a station without stages.
        below: how far the water is below the next stage, with its unit.
        when: in how long the forecast reaches it, and at what time; empty if it does not, or if there is no forecast.
        chance: how likely that is; empty where it is not worth a word.
        within: how far the forecast reaches, if what it expects does not get there.
        may: its band gets there all the same.
    """

    reached: StageText | None
    following: StageText | None
    below: str
    when: str
    clock: str
    chance: str
    within: str
    may: bool


def make_ascent(
    level_m: float | None,
    rate_m_per_h: float | None,
    stages: Sequence[Stage],
    issue: IssuedForecast | None,
    zone: ZoneInfo,
    now: datetime,
    t: Words,
) -> Ascent:
    """The way to the next stage.

    Args:
        level_m: the newest level.
        rate_m_per_h: how fast it changes; None if that is not known, or of long ago.
        stages: the station's, lowest first.
        issue: its newest forecast; None for none, and for one that is out of date.
        zone: whose clock.
        now: the time.
        t: the user's language.
    """
    measures = Measures(t)
    reached, following = stage_at(level_m, stages), stage_above(level_m, stages)
    way = _way(level_m, following, issue)
    when = clock = chance = within = ""
    may = False
    if way is not None and issue is not None:
        is_rising = rate_m_per_h is not None and rate_m_per_h > 0
        if way.after_s is not None:
            at = max(now, issue.issued_at + timedelta(seconds=way.after_s))
            when, clock = t.duration(_rounded((at - now).total_seconds())), t.time(at, zone)
        else:
            may = way.chance >= LEAST_CHANCE
            within = t.duration(issue.horizons[-1].horizon_s) if is_rising or may else ""
        if when or within:
            chance = chance_text(way.chance, t)
    return Ascent(
        reached=_said(reached, measures),
        following=_said(following, measures),
        below=measures.length(following.level_m - level_m) if following and level_m is not None else "",
        when=when,
        clock=clock,
        chance=chance,
        within=within,
        may=may,
    )


def chance_text(chance: float, t: Words) -> str:
    """A chance for people: "65 %", "under 5 %", "over 95 %"."""
    if chance < LEAST_CHANCE:
        return t("next.under", percent=t.number(100 * LEAST_CHANCE, 0))
    if chance > 1 - LEAST_CHANCE:
        return t("next.over", percent=t.number(100 * (1 - LEAST_CHANCE), 0))
    return t("unit.percent", n=t.number(100 * CHANCE_STEP * round(chance / CHANCE_STEP), 0))


def _way(level_m: float | None, following: Stage | None, issue: IssuedForecast | None) -> Approach | None:
    if level_m is None or following is None or issue is None:
        return None
    ahead = [
        Expectation(horizon_s=h.horizon_s, expected_m=h.expected_m, low_m=h.low_m, high_m=h.high_m)
        for h in issue.horizons
    ]
    return approach(level_m, following, ahead)


def _rounded(seconds: float) -> float:
    step = 60.0 if seconds < FINE_S else STEP_S
    return round(seconds / step) * step


def _said(stage: Stage | None, measures: Measures) -> StageText | None:
    if stage is None:
        return None
    return StageText(name=stage.name, severity=stage.severity, level=measures.length(stage.level_m))
