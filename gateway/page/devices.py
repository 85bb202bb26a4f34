"""Sensors as the installer's page shows them: which state each is in, and what is said of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.journal import Heard, Journal, LastHeard
from gateway.judging.verdict import Verdict
from gateway.page.frames import clock_time, signal_text
from gateway.page.i18n import Words
from streamgauge.quality.flags import Flag

SILENT_INTERVALS = 3.0
"""A sensor is silent when so many of its usual intervals have passed without a frame …"""
SILENT_MIN_S = 300.0
"""… and at least so much time; …"""
SILENT_UNKNOWN_S = 3_600.0
"""… or after so much, while its usual interval is not known. The cloud's default is the same."""

_FADES_SHARE = 0.5
_FEW = 12
"""Up to so many ordinary sensors are simply shown; more fold away."""


class State(StrEnum):
    """A sensor's state, in the order in which one wants to see them."""

    SILENT = "silent"
    REFUSED = "refused"
    FAIL = "fail"
    SUSPECT = "suspect"
    ANOMALOUS = "anomalous"
    WAITING = "waiting"
    ORDINARY = "ordinary"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """One sensor in words.

    Attributes:
        level: its newest level, a number without its unit; None without any.
        notes: short facts: what was heard, how well, the battery.
        hint: what is wrong and what to do about it.
        freshness: ``fresh``, ``fading`` or ``old``.
    """

    name: str
    state: State
    level: str | None
    level_note: str
    notes: tuple[str, ...]
    hint: str
    freshness: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesView:
    """All sensors: those that need a look or are few, and the ordinary rest, which folds away."""

    shown: tuple[DeviceView, ...]
    folded: tuple[DeviceView, ...]

    def count(self, state: State) -> int:
        """How many are in a state."""
        return sum(device.state is state for device in (*self.shown, *self.folded))


def devices_view(
    names: Iterable[str],
    journal: Journal,
    newest: Callable[[str], Verdict | None],
    started_at: datetime,
    now: datetime,
    t: Words,
) -> DevicesView:
    """The sensors by state, and then by name."""
    found = [_device(name, journal.last_heard(name), newest(name), started_at, now, t) for name in names]
    found.sort(key=lambda device: (list(State).index(device.state), device.name))
    notable = [device for device in found if device.state is not State.ORDINARY]
    ordinary = [device for device in found if device.state is State.ORDINARY]
    if len(ordinary) <= _FEW:
        return DevicesView(shown=tuple(found), folded=())
    return DevicesView(shown=tuple(notable), folded=tuple(ordinary))


def _device(
    name: str, last: LastHeard, verdict: Verdict | None, started_at: datetime, now: datetime, t: Words
) -> DeviceView:
    # What was heard before a restart is known by the level that is remembered.
    heard_at = last.time or (verdict.time if verdict is not None else None)
    limit_s = max(SILENT_MIN_S, SILENT_INTERVALS * last.interval_s) if last.interval_s else SILENT_UNKNOWN_S
    age_s = None if heard_at is None else _age_s(heard_at, now)
    state = _state(last, verdict, age_s, limit_s, _age_s(started_at, now))
    share = 2.0 if age_s is None else age_s / limit_s
    return DeviceView(
        name=name,
        state=state,
        level=None if verdict is None else t.number(verdict.level_m, 3),
        level_note=_level_note(verdict, state, now, t),
        notes=tuple(_notes(last, age_s, started_at, now, t)),
        hint=_hint(state, last, verdict, heard_at, t),
        freshness="fresh" if share < _FADES_SHARE else "fading" if share <= 1.0 else "old",
    )


def _age_s(time: datetime, now: datetime) -> float:
    return max(0.0, (now - time).total_seconds())


def _state(last: LastHeard, verdict: Verdict | None, age_s: float | None, limit_s: float, running_s: float) -> State:
    if last.refused is not None:
        return State.REFUSED
    if age_s is None:
        return State.WAITING if running_s < SILENT_UNKNOWN_S else State.SILENT
    if age_s > limit_s:
        return State.SILENT
    if verdict is not None and verdict.flag in (Flag.SUSPECT, Flag.FAIL):
        return State.FAIL if verdict.flag is Flag.FAIL else State.SUSPECT
    return State.ANOMALOUS if verdict is not None and verdict.is_anomalous else State.ORDINARY


def _level_note(verdict: Verdict | None, state: State, now: datetime, t: Words) -> str:
    if verdict is None:
        return t("device.no_level")
    measured = t("device.level_at", time=clock_time(verdict.time, now))
    if state is State.SILENT:
        return measured
    parts = [measured]
    if verdict.rise_m_per_h is not None:
        parts.insert(0, t.rise(verdict.rise_m_per_h))
    if verdict.next_m is not None and verdict.next_time is not None and verdict.next_time > now:
        level = t("unit.m", n=t.number(verdict.next_m, 3))
        parts.append(t("device.next", level=level, time=clock_time(verdict.next_time, now)))
    return " · ".join(parts)


def _notes(last: LastHeard, age_s: float | None, started_at: datetime, now: datetime, t: Words) -> Iterable[str]:
    if age_s is None:
        yield t("device.never", age=t.age(_age_s(started_at, now)))
        return
    yield t("device.last", age=t.age(age_s))
    if last.interval_s is not None:
        yield t("device.usual", duration=t.duration(last.interval_s))
    if last.heard is not None and (signal := signal_text(last.heard.rssi_dbm, last.heard.snr_db, t)):
        yield signal
    if last.battery_percent is not None:
        yield t("battery.percent", n=t.number(last.battery_percent, 0))
    if last.battery_v is not None:
        yield t("battery.v", n=t.number(last.battery_v, 2))


def _hint(state: State, last: LastHeard, verdict: Verdict | None, heard_at: datetime | None, t: Words) -> str:
    if state is State.REFUSED and last.refused is not None:
        return _refusal(last.refused, t)
    if state is State.SILENT:
        return t("device.check" if heard_at is not None else "device.check_never")
    if state is State.WAITING:
        return t("device.check_never")
    if state in (State.FAIL, State.SUSPECT) and verdict is not None:
        return t.reason(verdict.reason)
    return ""


def _refusal(heard: Heard, t: Words) -> str:
    return f"{t(f'outcome.{heard.outcome}')}. {t.get(f'next.{heard.outcome}') or ''}".strip()
