"""What the station page says in words and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.i18n import Words
from app.measures import Measures
from app.preferences import UTC_NAME
from app.stations.ascent import Ascent, make_ascent
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
from streamgauge.quality.flags import Flag
from streamgauge.reading import QUANTITIES, format_time, is_simulated
from streamgauge.storage.corrections import BY_OPERATOR
from streamgauge.storage.forecasts import IssuedForecast
from streamgauge.storage.read_overview import StationNow


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of the station page, in the user's language.

    ``measured``: what the sensor said where the level is corrected. ``out_since``: when it was put out of service, else empty.
    """

    name: str
    title: str
    state: State
    state_key: str
    out_since: str
    trend: str
    level: str
    measured: str
    rate: str
    quality: Quality | None
    surprise: Quality | None
    score: str | None
    time: str | None
    local_time: str
    age: str
    freshness: str
    silence_limit_s: int
    datum: str
    simulated: bool
    ascent: Ascent
    river: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table of readings; ``values`` in the order of the table's quantities, as the sensor sent them.

    ``corrected``: beside each of them the one that stands in for it by an operator's word, empty for none.
    """

    time: str
    iso: str
    values: tuple[str, ...]
    corrected: tuple[str, ...]
    quality: Quality
    expected: str
    score: str
    surprise: Quality | None
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The newest readings of a window."""

    zone: str
    quantities: tuple[str, ...]
    rows: tuple[Row, ...]


def make_head(station: StationNow, issue: IssuedForecast | None, zone: ZoneInfo, now: datetime, t: Words) -> Head:
    """The head of one station, with its times in a zone; ``issue`` is its newest forecast that is not out of date."""
    state = state_of(station, now)
    surprise = surprise_of(station.score, station.surprise, station.score_reason, t)
    is_known = state not in {State.SILENT, State.DECOMMISSIONED}
    rate = station.rate_m_per_h if is_known else None
    standing_m = None if state is State.DECOMMISSIONED else station.standing_m
    return Head(
        name=station.name,
        title=station.display_name or station.name,
        state=state,
        state_key=state_key(state, surprise),
        out_since=t.when(station.decommissioned_at, zone) if station.decommissioned_at else "",
        trend=trend_of(rate),
        level=Measures(t).level(station.level_m),
        measured="" if station.raw_level_m is None else Measures(t).length(station.raw_level_m),
        rate=Measures(t).rate(rate),
        quality=quality_of(station.level_flag, station.level_reason, t) if station.time else None,
        surprise=surprise,
        score=t.number(station.score, 2) if station.score is not None and surprise else None,
        time=format_time(station.time) if station.time else None,
        local_time=local_time(station.time, zone) if station.time else "",
        age=t.age(age_s(station, now)) if station.time else t("age.never"),
        freshness=freshness(station, now),
        silence_limit_s=station.silence_limit_s,
        datum=station.datum or t("datum.unknown"),
        simulated=station.simulated,
        ascent=make_ascent(standing_m, rate, station.stages, issue, zone, now, t),
        river=station.river,
    )


def local_time(time: datetime, zone: ZoneInfo) -> str:
    """A time in a zone, sortable and without its offset, which stands in the table's head."""
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")


def zone_text(time: datetime, zone: ZoneInfo) -> str:
    """The zone with its offset at a time: "UTC", "Asia/Ho_Chi_Minh, UTC+07:00"."""
    if zone.key == UTC_NAME:
        return UTC_NAME
    offset = time.astimezone(zone).strftime("%z")
    return f"{zone.key}, UTC{offset[:3]}:{offset[3:5]}"


def make_table(rows: Sequence[Mapping[str, Any]], zone: ZoneInfo, now: datetime, t: Words) -> Table:
    """The table of these readings, with the columns that hold anything, and its times in a zone."""
    present = [name for name in QUANTITIES if any(row[name] is not None for row in rows)]
    quantities = ("level_m", *(name for name in present if name != "level_m"))
    return Table(
        zone=zone_text(rows[0]["time"] if rows else now, zone),
        quantities=quantities,
        rows=tuple(_make_row(row, quantities, zone, t) for row in rows),
    )


def _make_row(row: Mapping[str, Any], quantities: Sequence[str], zone: ZoneInfo, t: Words) -> Row:
    score, measures, corrected = row["score"], Measures(t), row.get("corrected") or {}
    flag = (row["flags"] or {}).get("level_m", Flag.MISSING if row["level_m"] is None else None)
    return Row(
        time=local_time(row["time"], zone),
        iso=format_time(row["time"]),
        values=tuple(measures.quantity(name, row[name])[0] for name in quantities),
        corrected=tuple(measures.quantity(name, corrected.get(name))[0] for name in quantities),
        quality=quality_of(flag, _reason(row), t),
        expected=measures.quantity("level_m", row["expected_m"])[0],
        score="" if score is None else t.number(score, 2),
        surprise=surprise_of(score, row["surprise"], (row["reasons"] or {}).get("score"), t),
        simulated=is_simulated(row["extra"]),
    )


def _reason(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Why the level has the flag that counts."""
    if "level_m" in (row.get("raw_flags") or {}):
        return BY_OPERATOR
    reason: Mapping[str, Any] | None = (row["reasons"] or {}).get("level_m")
    return reason
