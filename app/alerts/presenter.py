"""What people read of an alert: what raised it in words, its figures in their units, its times in the station's zone."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from app.i18n import Words
from app.measures import Measures
from app.preferences import zone_of
from app.times import BadTime, read_time
from streamgauge.storage.alerts import Alert, Event

KINDS = ("stage", "rate", "forecast", "score", "silent", "stuck", "battery", "gateway", "buffer")
"""What may raise an alert; of another kind only its figures are told."""
MAX_WORDS = 80
"""So many characters of a name that the cause brings are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure of what raised an alert."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """One line of an alert's history."""

    time: str
    iso: str
    sentence: str
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """One alert as the pages show it. ``device`` is None for an alert of the whole system."""

    id: int
    state: str
    severity: int
    headline: str
    facts: Sequence[Fact]
    device: str | None
    station: str
    rule: str
    opened: str
    opened_iso: str
    age: str
    acknowledged: str | None
    resolved: str | None
    comment: str | None


def make_alerts(alerts: Iterable[Alert], now: datetime, t: Words, measures: Measures) -> list[AlertView]:
    """Alerts for a list, in its order."""
    return [make_alert(alert, now, t, measures) for alert in alerts]


def make_alert(alert: Alert, now: datetime, t: Words, measures: Measures) -> AlertView:
    """One alert.

    Args:
        alert: as it is stored.
        now: by which its age is told.
        t: the user's words.
        measures: the user's units.
    """
    zone = zone_of(alert.time_zone)
    return AlertView(
        id=alert.id,
        state=alert.state,
        severity=min(4, max(1, alert.severity)),
        headline=headline(alert.cause, t),
        facts=facts(alert.cause, alert.time_zone, t, measures),
        device=alert.device,
        station=alert.display_name or alert.device or t("alerts.whole_system"),
        rule=alert.rule,
        opened=t.when(alert.opened_at, zone),
        opened_iso=alert.opened_at.isoformat(),
        age=t.age((now - alert.opened_at).total_seconds()),
        acknowledged=_by("acknowledged", alert.acknowledged_by, alert.acknowledged_at, alert.time_zone, t),
        resolved=_by("resolved", alert.resolved_by, alert.resolved_at, alert.time_zone, t),
        comment=alert.comment,
    )


def make_history(events: Iterable[Event], time_zone: str, t: Words) -> list[EventView]:
    """What people did with an alert, oldest first."""
    zone = zone_of(time_zone)
    return [
        EventView(
            time=t.when(event.at, zone),
            iso=event.at.isoformat(),
            sentence=_did(event, t),
            comment=event.comment,
        )
        for event in events
    ]


def headline(cause: Mapping[str, Any], t: Words) -> str:
    """What raised an alert, in a few words; also for a kind that this version does not know."""
    kind = cause.get("kind")
    if kind == "stage" and isinstance(stage := cause.get("stage"), str):
        return t(
            "alerts.stage_down" if cause.get("direction") == "down" else "alerts.stage_up", stage=stage[:MAX_WORDS]
        )
    if kind == "forecast" and isinstance(stage := cause.get("stage"), str):
        return t("alerts.stage_ahead", stage=stage[:MAX_WORDS])
    if kind == "gateway" and isinstance(gateway := cause.get("gateway"), str):
        return t("alerts.gateway_named", gateway=gateway[:MAX_WORDS])
    return t(f"alerts.kind.{kind}") if kind in KINDS else t("alerts.kind.other")


def facts(cause: Mapping[str, Any], time_zone: str, t: Words, measures: Measures) -> list[Fact]:
    """The figures of a cause that are known by name, in a fixed order; what is no number where one belongs is left out."""
    writers: dict[str, Callable[[float], str]] = {
        "level_m": measures.length,
        "threshold_m": measures.length,
        "rate_m_per_h": measures.rate,
        "threshold_m_per_h": measures.rate,
        "after_s": t.duration,
        "chance": lambda share: t("unit.percent", n=t.number(100 * share, 0)),
        "score": lambda score: t.number(score, 2),
        "silent_s": t.duration,
        "limit_s": t.duration,
        "battery_v": lambda volts: t("alerts.volts", n=t.number(volts, 2)),
        "threshold_v": lambda volts: t("alerts.volts", n=t.number(volts, 2)),
        "buffered": lambda readings: t.number(readings, 0),
    }
    found = [
        Fact(label=t(f"alerts.fact.{name}"), value=write(float(cause[name])))
        for name, write in writers.items()
        if _is_number(cause.get(name))
    ]
    if (time := _time(cause.get("time"))) is not None:
        found.append(Fact(label=t("alerts.fact.time"), value=t.when(time, zone_of(time_zone))))
    return found


def digest(alerts: Iterable[AlertView]) -> str:
    """Changes when anything of a list changes that is worth showing; ages tick by themselves."""
    told = "\n".join(f"{alert.id} {alert.state} {alert.severity} {alert.comment}" for alert in alerts)
    return sha256(told.encode()).hexdigest()[:16]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e12


def _time(value: object) -> datetime | None:
    try:
        return read_time(value) if isinstance(value, str) else None
    except BadTime:
        return None


def _by(what: str, who: str | None, when: datetime | None, time_zone: str, t: Words) -> str | None:
    if when is None:
        return None
    time = t.when(when, zone_of(time_zone))
    return t(f"alerts.by_itself.{what}", time=time) if who is None else t(f"alerts.by.{what}", who=who, time=time)


def _did(event: Event, t: Words) -> str:
    key = f"alerts.did.{event.action.removeprefix('alert.')}"
    return t(key, who=event.actor) if t.knows(key) else t("alerts.did.other", who=event.actor)
