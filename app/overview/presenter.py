"""What a station's card says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from app.i18n import Words
from app.measures import Measures
from app.overview.entries import Entry
from app.overview.sparkline import Sparkline
from app.preferences import zone_of
from app.verdict import Quality, State, age_s, freshness, quality_of, state_key, surprise_of, trend_of
from streamgauge.reading import format_time
from streamgauge.stages import Stage
from streamgauge.storage.read_overview import StationNow

SAME_DAY = timedelta(hours=20)
"""A time of day says when something was if it is less long ago; else the day belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One station's card, ready to be written; texts are in the user's language.

    ``stage`` is the one that it is over, with ``stage_help`` saying by which level; ``silent_note`` says since when a station is
    silent that was over one.
    """

    name: str
    title: str
    river: str
    state: State
    state_key: str
    stage: Stage | None
    stage_help: str
    silent_note: str
    trend: str
    level: str
    rate: str
    quality: Quality | None
    score: str | None
    time: str | None
    age: str
    freshness: str
    silence_limit_s: int
    sparkline: Sparkline | None
    simulated: bool


def make_cards(entries: Sequence[Entry], lines: Mapping[int, Sparkline], now: datetime, t: Words) -> list[Card]:
    """The cards of these stations, in their order."""
    return [_make_card(entry, lines.get(entry.station.device_id), now, t) for entry in entries]


def _make_card(entry: Entry, line: Sparkline | None, now: datetime, t: Words) -> Card:
    station, state, measures = entry.station, entry.state_at(now.timestamp()), Measures(t)
    zone = zone_of(station.time_zone)
    quality = quality_of(station.level_flag, station.level_reason, t) if station.time else None
    surprise = surprise_of(station.score, station.surprise, station.score_reason, t)
    return Card(
        name=station.name,
        title=entry.title,
        river=station.river or "",
        state=state,
        state_key=state_key(state, surprise),
        stage=entry.stage if state is State.STAGE else None,
        stage_help=_stage_help(station, entry.stage, zone, now, t) if state is State.STAGE else "",
        silent_note=_silent_note(station, entry.stage, zone, now, t) if state is State.SILENT else "",
        trend=trend_of(station.rate_m_per_h) if state is not State.SILENT else "unknown",
        level=measures.level(station.level_m),
        rate=measures.rate(station.rate_m_per_h if state is not State.SILENT else None),
        quality=quality if quality and quality.key not in {"good", "unchecked"} else None,
        score=t.number(station.score, 2) if station.score is not None and surprise else None,
        time=format_time(station.time) if station.time else None,
        age=t.age(age_s(station, now)) if station.time else t("age.never"),
        freshness=freshness(station, now),
        silence_limit_s=station.silence_limit_s,
        sparkline=line,
        simulated=station.simulated,
    )


def _stage_help(station: StationNow, stage: Stage | None, zone: ZoneInfo, now: datetime, t: Words) -> str:
    if stage is None or station.standing_m is None or station.standing_at is None:
        return ""
    measures = Measures(t)
    return t(
        "overview.stage_help",
        level=measures.length(station.standing_m),
        time=_when(station.standing_at, zone, now, t),
        stage=stage.name,
        from_level=measures.length(stage.level_m),
    )


def _silent_note(station: StationNow, stage: Stage | None, zone: ZoneInfo, now: datetime, t: Words) -> str:
    if stage is None or station.time is None:
        return ""
    return t("overview.silent_over", time=_when(station.time, zone, now, t), stage=stage.name)


def _when(time: datetime, zone: ZoneInfo, now: datetime, t: Words) -> str:
    return t.time(time, zone) if abs(now.astimezone(UTC) - time) < SAME_DAY else t.when(time, zone)
