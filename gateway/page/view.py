"""The installer's page in words: whether everything is all right, then sensors, then frames."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway.journal import ACCEPTED, AlarmNote, Journal
from gateway.judging.verdict import Verdict
from gateway.page.devices import DevicesView, State, devices_view
from gateway.page.frames import FrameView, clock_time, frame_view
from gateway.page.i18n import Words
from gateway.page.state import ForwarderState, GatewayState

FRAMES_SHOWN = 50
ALARM_NOTES_SHOWN = 6
FORWARDER_SILENT_S = 300.0
"""Packet forwarders report every 10 to 30 seconds; one that has not for so long is gone."""
NOT_STORED_S = 120.0
"""With readings waiting so long although the link is up, something beyond the broker is wrong."""
NEARLY_FULL_SHARE = 0.8

_SHARE_SAID = 0.01
_WAITED_SAID_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not all right; ``is_grave``: it needs somebody now."""

    text: str
    is_grave: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A line of the gateway's own state; ``note`` is what is said below it."""

    name: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderView:
    """A packet forwarder in words."""

    eui: str
    is_silent: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that the template shows."""

    verdict: str
    problems: tuple[Problem, ...]
    facts: tuple[Fact, ...]
    alarms: tuple[tuple[str, str], ...]
    alarm_notes: tuple[tuple[str, AlarmNote], ...]
    devices: DevicesView
    hears_radio: bool
    forwarders: tuple[ForwarderView, ...]
    frames: tuple[FrameView, ...]
    counts: str
    running: str
    zone: str


def make_view(
    state: GatewayState,
    journal: Journal,
    newest: Callable[[str], Verdict | None],
    now: datetime,
    t: Words,
    *,
    only_refused: bool,
) -> View:
    """The page's content.

    Args:
        state: of the gateway.
        journal: what was heard.
        newest: the verdict on a sensor's newest level.
        now: aware UTC.
        t: the words.
        only_refused: of the frames, show those that were refused.
    """
    devices = devices_view(state.devices, journal, newest, state.started_at, now, t)
    problems = tuple(_problems(state, devices, now, t))
    counts = journal.counts()
    accepted = sum(number for outcome, number in counts.items() if outcome in ACCEPTED)
    refused = sum(counts.values()) - accepted
    heard = [frame for frame in journal.newest() if not (only_refused and frame.is_accepted)]
    return View(
        verdict="act" if any(problem.is_grave for problem in problems) else "mind" if problems else "well",
        problems=problems,
        facts=tuple(_facts(state, now, t)),
        alarms=tuple(
            (raised.text.get(t.language, raised.rule), t("alarms.since", time=clock_time(raised.raised_at, now)))
            for raised in state.alarms
        ),
        alarm_notes=tuple((clock_time(note.time, now), note) for note in journal.newest_alarms(ALARM_NOTES_SHOWN)),
        devices=devices,
        hears_radio=state.hears_radio,
        forwarders=tuple(_forwarder(forwarder, now, t) for forwarder in state.forwarders),
        frames=tuple(
            frame_view(frame, now, t, names_forwarder=len(state.forwarders) != 1) for frame in heard[:FRAMES_SHOWN]
        ),
        counts=t("frames.counts", accepted=t.number(accepted, 0), refused=t.number(refused, 0)),
        running=t("frame.version", version=state.version, duration=t.duration(_since_s(state.started_at, now))),
        zone=t("frame.zone", offset=_offset(now)),
    )


def _since_s(time: datetime, now: datetime) -> float:
    return max(0.0, (now - time).total_seconds())


def _offset(now: datetime) -> str:
    text = now.astimezone().strftime("%z")
    return f"{text[:3]}:{text[3:5]}".replace("-", "\N{MINUS SIGN}")


def _problems(state: GatewayState, devices: DevicesView, now: datetime, t: Words) -> list[Problem]:
    found = [*_buffer_problems(state, t)]
    if state.alarms:
        found.append(Problem(text=t.count("problem.alarm", len(state.alarms)), is_grave=True))
    if not state.clock_ok:
        found.append(Problem(text=t("problem.clock"), is_grave=True))
    found += _link_problems(state, now, t)
    if state.forwarders and all(_is_silent(forwarder, now) for forwarder in state.forwarders):
        seen = [forwarder.last_seen for forwarder in state.forwarders if forwarder.last_seen is not None]
        duration = t.duration(_since_s(max(seen, default=state.started_at), now))
        found.append(Problem(text=t("problem.forwarder", duration=duration), is_grave=True))
    if not state.devices:
        found.append(Problem(text=t("problem.no_devices"), is_grave=False))
    for which in (State.SILENT, State.REFUSED):
        if number := devices.count(which):
            found.append(Problem(text=t.count(f"problem.{which}", number), is_grave=False))
    return sorted(found, key=lambda problem: not problem.is_grave)


def _buffer_problems(state: GatewayState, t: Words) -> list[Problem]:
    found = []
    if state.buffer_trouble is not None:
        found.append(Problem(text=t("problem.unwritable", reason=state.buffer_trouble), is_grave=True))
    if state.dropped:
        found.append(Problem(text=t.count("problem.dropped", state.dropped), is_grave=True))
    if _share(state) >= NEARLY_FULL_SHARE:
        found.append(Problem(text=t("problem.full", percent=_percent(state, t)), is_grave=True))
    if state.damaged_files:
        found.append(Problem(text=t.count("problem.damaged", state.damaged_files), is_grave=False))
    return found


def _link_problems(state: GatewayState, now: datetime, t: Words) -> list[Problem]:
    link = state.link
    if not link.connected:
        if link.since is None:
            return [Problem(text=t("problem.link_never"), is_grave=False)]
        return [Problem(text=t("problem.link", duration=t.duration(_since_s(link.since, now))), is_grave=False)]
    waited_s = min(state.oldest_s or 0.0, _since_s(link.since or now, now))
    silent_s = _since_s(link.last_stored_at or link.since or now, now)
    if state.buffered and min(waited_s, silent_s) > NOT_STORED_S:
        return [Problem(text=t("problem.not_stored", duration=t.duration(silent_s)), is_grave=False)]
    return []


def _share(state: GatewayState) -> float:
    return state.buffer_bytes / state.buffer_max_bytes if state.buffer_max_bytes else 0.0


def _percent(state: GatewayState, t: Words) -> str:
    return t.number(100.0 * _share(state), 0)


def _buffered(state: GatewayState, t: Words) -> str:
    if not state.buffered:
        return t("fact.buffered.none")
    number = t.number(state.buffered, 0)
    if (state.oldest_s or 0.0) < _WAITED_SAID_S:
        return number
    return t("fact.buffered.some", n=number, duration=t.duration(state.oldest_s or 0.0))


def _facts(state: GatewayState, now: datetime, t: Words) -> list[Fact]:
    link = state.link
    error = t("fact.link.error", error=link.last_error) if link.last_error and not link.connected else ""
    stored = t.age(_since_s(link.last_stored_at, now)) if link.last_stored_at else t("fact.stored.never")
    sizes = {"size": t.size(state.buffer_bytes), "most": t.size(state.buffer_max_bytes)}
    share = t("fact.buffer.share", percent=_percent(state, t)) if _share(state) >= _SHARE_SAID else ""
    return [
        Fact(name=t("fact.link"), text=_link_text(state, now, t), note=error),
        Fact(name=t("fact.stored"), text=stored),
        Fact(name=t("fact.buffered"), text=_buffered(state, t)),
        Fact(name=t("fact.buffer"), text=t("fact.buffer.size", **sizes), note=share),
        Fact(
            name=t("fact.clock"),
            text=t("fact.clock.good" if state.clock_ok else "fact.clock.bad", time=clock_time(now, now)),
            note=_clock_step(state, now, t),
        ),
    ]


def _link_text(state: GatewayState, now: datetime, t: Words) -> str:
    word = "up" if state.link.connected else "down"
    if state.link.since is None:
        return t("fact.link.up_now" if state.link.connected else "fact.link.down_ever")
    return t(f"fact.link.{word}", duration=t.duration(_since_s(state.link.since, now)))


def _clock_step(state: GatewayState, now: datetime, t: Words) -> str:
    if state.clock_step_s is None or state.clock_step_at is None:
        return ""
    sign = "\N{MINUS SIGN}" if state.clock_step_s < 0 else "+"
    by = sign + t.duration(abs(state.clock_step_s))
    return t("fact.clock.step", by=by, age=t.age(_since_s(state.clock_step_at, now)))


def _is_silent(forwarder: ForwarderState, now: datetime) -> bool:
    return forwarder.last_seen is None or _since_s(forwarder.last_seen, now) > FORWARDER_SILENT_S


def _forwarder(forwarder: ForwarderState, now: datetime, t: Words) -> ForwarderView:
    age = t("age.never") if forwarder.last_seen is None else t.age(_since_s(forwarder.last_seen, now))
    notes = [t("forwarder.seen", age=age), t("forwarder.frames", n=t.number(forwarder.frames, 0))]
    if forwarder.rssi_dbm is not None:
        notes.append(t("signal.rssi", rssi=t.number(forwarder.rssi_dbm, 0)))
    return ForwarderView(eui=forwarder.eui, is_silent=_is_silent(forwarder, now), notes=tuple(notes))
