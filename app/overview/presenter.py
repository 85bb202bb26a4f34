"""What a station's card says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.i18n import Words
from app.measures import Measures
from app.overview.sparkline import Sparkline, draw
from app.verdict import (
    Quality,
    State,
    age_s,
    freshness,
    quality_of,
    state_key,
    state_of,
    surprise_of,
    trend_of,
)
from streamgauge.reading import format_time
from streamgauge.storage.read_overview import SparklineBin, StationNow


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One station's card, ready to be written; texts are in the user's language."""

    name: str
    title: str
    state: State
    state_key: str
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


def make_cards(
    stations: Sequence[StationNow], lines: Mapping[int, Sequence[SparklineBin]], now: datetime, t: Words
) -> list[Card]:
    """Cards in the order of their state, then their name."""
    cards = [_make_card(station, lines.get(station.device_id, ()), now, t) for station in stations]
    return sorted(cards, key=lambda card: (card.state.rank, card.title.casefold()))


def _make_card(station: StationNow, line: Sequence[SparklineBin], now: datetime, t: Words) -> Card:
    state, measures = state_of(station, now), Measures(t)
    quality = quality_of(station.level_flag, station.level_reason, t) if station.time else None
    surprise = surprise_of(station.score, station.surprise, station.score_reason, t)
    return Card(
        name=station.name,
        title=station.display_name or station.name,
        state=state,
        state_key=state_key(state, surprise),
        trend=trend_of(station.rate_m_per_h) if state is not State.SILENT else "unknown",
        level=measures.level(station.level_m),
        rate=measures.rate(station.rate_m_per_h if state is not State.SILENT else None),
        quality=quality if quality and quality.key not in {"good", "unchecked"} else None,
        score=t.number(station.score, 2) if station.score is not None and surprise else None,
        time=format_time(station.time) if station.time else None,
        age=t.age(age_s(station, now)) if station.time else t("age.never"),
        freshness=freshness(station, now),
        silence_limit_s=station.silence_limit_s,
        sparkline=draw(line),
        simulated=station.simulated,
    )


def count_states(stations: Sequence[StationNow], now: datetime) -> dict[State, int]:
    """How many stations are in each state, every state named."""
    counts = dict.fromkeys(State, 0)
    for station in stations:
        counts[state_of(station, now)] += 1
    return counts
