"""Local alarms: when the gateway calls for a person by itself.

What a duty officer minds is a false alarm at night and, much more, one that did not come. So:

* Only the newest reading of a device counts, and only if its flag is good. A suspect or failed one neither raises an alarm nor
  ends one.
* A reading that leaps away (``Verdict.sudden``) may be a spike. It raises an alarm once the next good reading passes the rule
  too. If the sensor falls silent instead, for one and a half of its steps, the alarm is raised all the same and says that it
  is not confirmed: a flood that takes the sensor away is the worst time to wait for it.
* Once raised, an alarm stays open until a good reading is clearly back: the level by ``LEVEL_MARGIN_M`` below the bound, the
  rise below ``RISE_SHARE`` of it, the score below ``SCORE_SHARE`` of it; any of the rule's bounds is enough. A sudden drop
  ends it only when the next reading says the same. While it is open it is not raised again.
* Between two raisings of one rule lies a quiet period. A rule that is due earlier waits for its end and is raised then if it
  is still due: water that plays about the bound is told of seldom, but it is told of.
* A rule for ``offline`` is due once the link to the cloud has been down for ``offline_after_s``: at once if the last reading
  passed it, without waiting for the next. What is open stays so when the link returns.

Nothing here rests on the system's clock, which may jump; only the times that are told do.
"""

import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.alarms.message import Raised
from gateway.configuration import Rule
from gateway.journal import AlarmNote
from gateway.judging.verdict import Verdict
from streamgauge.gateway_metrics import ALARMS

log = logging.getLogger("streamgauge.gateway.alarm")

OFFLINE_AFTER_S = 60.0
QUIET_S = 900.0
LEVEL_MARGIN_M = 0.02
RISE_SHARE = 0.8
SCORE_SHARE = 0.8

CONFIRM_STEPS = 1.5
CONFIRM_MIN_S, CONFIRM_MAX_S = 60.0, 5_400.0
"""A leap is confirmed by the next reading, or by silence of so many steps, within these bounds."""
CONFIRM_UNKNOWN_S = 900.0
"""… and this for a sensor whose step is not known yet."""
HOLDS_S = 3_600.0
"""For so long after a reading a rule that it passed is still due when the link goes down or the quiet period ends …"""
HOLDS_STEPS = 3.0
"""… or for so many of its steps, if that is longer."""

_MAGIC = b"SGA1"
_CRC_BYTES = 4


@dataclass(slots=True)
class _Due:
    """A reading that passed a rule, and when, by the monotonic clock."""

    verdict: Verdict
    since_s: float
    is_confirmed: bool = True


@dataclass(slots=True)
class _State:
    """One rule's state.

    Attributes:
        leapt: a sudden reading that passed the rule and is not confirmed yet.
        due: what passed it, while no alarm is open.
        raised: the open alarm.
        is_told: every way has taken it.
        is_clearing: a sudden reading was below the bounds.
        quiet_until_s: of the monotonic clock.
    """

    leapt: _Due | None = None
    due: _Due | None = None
    raised: Raised | None = None
    is_told: bool = False
    is_clearing: bool = False
    quiet_until_s: float = float("-inf")


class Alarms:
    """Watches verdicts and raises what is due. Threads may share it.

    Args:
        rules: when alarms are due.
        send: hands a raised alarm on; must not wait (``gateway.alarms.notify.Messenger.send``).
        note: is told of what became of alarms (``Journal.record_alarm``).
        gateway: our name, which an alarm carries.
        offline_after_s: the link counts as down when it has been so for so long.
        quiet_s: the quiet period.
        monotonic_s: a clock that never jumps, seconds.
        now: the time that is told, aware UTC.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        send: Callable[[Raised], None],
        *,
        note: Callable[[AlarmNote], None] = lambda _: None,
        gateway: str = "",
        offline_after_s: float = OFFLINE_AFTER_S,
        quiet_s: float = QUIET_S,
        monotonic_s: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._states = {rule.name: _State() for rule in rules}
        self._send = send
        self._note = note
        self._gateway = gateway
        self._offline_after_s = offline_after_s
        self._quiet_s = quiet_s
        self._monotonic_s = monotonic_s
        self._now = now
        self._down_since_s: float | None = None
        self._revision = 0
        self._lock = threading.RLock()

    @property
    def revision(self) -> int:
        """Grows with each change that ``memory`` would hold: whoever keeps it need not write it otherwise."""
        return self._revision

    def consider(self, verdict: Verdict, offline: bool) -> None:
        """Look at a verdict on a reading that is committed.

        Args:
            verdict: of any device.
            offline: the link to the cloud is down now.
        """
        with self._lock:
            if verdict.newest and verdict.is_good:
                for rule in self._rules.values():
                    if rule.device == verdict.device:
                        self._weigh(rule, self._states[rule.name], verdict)
            self.tick(offline)

    def tick(self, offline: bool) -> None:
        """Look at the time: call it about once a second.

        Args:
            offline: the link to the cloud is down now.
        """
        with self._lock:
            now_s = self._monotonic_s()
            if not offline:
                self._down_since_s = None
            elif self._down_since_s is None:
                self._down_since_s = now_s
            for rule in self._rules.values():
                self._wait(self._states[rule.name], now_s)
                self._raise_if_due(rule, self._states[rule.name], now_s)

    def told(self, alarm_id: str) -> None:
        """Every way has taken this alarm: it need not be sent again after a restart."""
        with self._lock:
            for state in self._states.values():
                if state.raised is not None and state.raised.id == alarm_id and not state.is_told:
                    state.is_told = True
                    self._revision += 1

    def open(self) -> list[Raised]:
        """The alarms that are open, the oldest first."""
        with self._lock:
            found = [state.raised for state in self._states.values() if state.raised is not None]
        return sorted(found, key=lambda raised: raised.raised_at)

    def memory(self) -> bytes:
        """What must survive a restart: open alarms, whether they were told, and what is left of quiet periods."""
        with self._lock:
            now_s = self._monotonic_s()
            kept = {
                name: {
                    "raised": None if state.raised is None else state.raised.as_json(),
                    "is_told": state.is_told,
                    "quiet_s": max(0.0, state.quiet_until_s - now_s),
                }
                for name, state in self._states.items()
                if state.raised is not None or state.quiet_until_s > now_s
            }
        body = _MAGIC + json.dumps(kept, sort_keys=True).encode()
        return body + zlib.crc32(body).to_bytes(_CRC_BYTES, "little")

    def restore(self, content: bytes) -> bool:
        """Take up what ``memory`` gave: open alarms stay open, and those that were not told everywhere are sent again.

        Damaged bytes are told in the log and change nothing; rules that are gone are passed over.

        Returns:
            Whether the bytes were sound.
        """
        kept = _read(content)
        if kept is None:
            log.warning("what was remembered of local alarms is damaged", extra={"bytes": len(content)})
            return False
        with self._lock:
            for name in kept.keys() & self._rules.keys():
                self._restore_one(self._states[name], kept[name])
        return True

    def _restore_one(self, state: _State, kept: "_Kept") -> None:
        state.raised, state.is_told = kept.raised, kept.is_told
        state.quiet_until_s = self._monotonic_s() + min(kept.quiet_s, self._quiet_s)
        if state.raised is not None and not state.is_told:
            self._send(state.raised)

    def _weigh(self, rule: Rule, state: _State, verdict: Verdict) -> None:
        now_s = self._monotonic_s()
        if state.raised is not None:
            self._weigh_end(rule, state, verdict)
        elif not _passes(rule, verdict):
            state.leapt = state.due = None
        elif verdict.sudden and state.leapt is None and state.due is None:
            state.leapt = _Due(verdict, now_s, is_confirmed=False)
        else:
            state.leapt, state.due = None, _Due(verdict, now_s)

    def _weigh_end(self, rule: Rule, state: _State, verdict: Verdict) -> None:
        if not _clears(rule, verdict):
            state.is_clearing = False
        elif verdict.sudden and not state.is_clearing:
            state.is_clearing = True
        else:
            self._count(rule, "cleared", f"{verdict.level_m:.3f} m")
            state.raised, state.is_told, state.is_clearing = None, False, False
            self._revision += 1

    def _wait(self, state: _State, now_s: float) -> None:
        """Silence confirms a leap; and a reading is not for ever what the water does now."""
        if state.leapt is not None and now_s - state.leapt.since_s >= _confirm_s(state.leapt.verdict):
            state.due, state.leapt = replace(state.leapt, since_s=now_s), None
        if state.due is not None and now_s - state.due.since_s > _holds_s(state.due.verdict):
            state.due = None

    def _raise_if_due(self, rule: Rule, state: _State, now_s: float) -> None:
        if state.due is None or state.raised is not None or now_s < state.quiet_until_s:
            return
        down_s = None if self._down_since_s is None else now_s - self._down_since_s
        if rule.when == "offline" and (down_s is None or down_s < self._offline_after_s):
            return
        raised = Raised.of(
            rule,
            state.due.verdict,
            gateway=self._gateway,
            raised_at=self._now(),
            is_confirmed=state.due.is_confirmed,
            is_offline=down_s is not None,
        )
        state.raised, state.due, state.is_told = raised, None, False
        state.quiet_until_s = now_s + self._quiet_s
        self._revision += 1
        self._count(rule, "raised", raised.text["en"])
        self._send(raised)

    def _count(self, rule: Rule, outcome: str, detail: str) -> None:
        ALARMS.labels(outcome).inc()
        log.warning(
            "local alarm", extra={"rule": rule.name, "device": rule.device, "outcome": outcome, "detail": detail}
        )
        self._note(AlarmNote(time=self._now(), rule=rule.name, device=rule.device, outcome=outcome, detail=detail))


def _bounds(rule: Rule, verdict: Verdict) -> list[tuple[float | None, float, float]]:
    """(value, bound, where it is clearly below) of each bound that the rule sets."""
    found: list[tuple[float | None, float, float]] = []
    if rule.level_above_m is not None:
        found.append((verdict.level_m, rule.level_above_m, rule.level_above_m - LEVEL_MARGIN_M))
    if rule.rise_above_m_per_h is not None:
        # Of a negative bound a share would lie above it.
        margin = abs(rule.rise_above_m_per_h) * (1.0 - RISE_SHARE)
        found.append((verdict.rise_m_per_h, rule.rise_above_m_per_h, rule.rise_above_m_per_h - margin))
    if rule.score_above is not None:
        found.append((verdict.score, rule.score_above, rule.score_above * SCORE_SHARE))
    return found


def _passes(rule: Rule, verdict: Verdict) -> bool:
    bounds = _bounds(rule, verdict)
    return bool(bounds) and all(value is not None and value > bound for value, bound, _ in bounds)


def _clears(rule: Rule, verdict: Verdict) -> bool:
    return any(value is not None and value <= clear for value, _, clear in _bounds(rule, verdict))


def _confirm_s(verdict: Verdict) -> float:
    if verdict.step_s is None:
        return CONFIRM_UNKNOWN_S
    return min(max(CONFIRM_STEPS * verdict.step_s, CONFIRM_MIN_S), CONFIRM_MAX_S)


def _holds_s(verdict: Verdict) -> float:
    return max(HOLDS_S, HOLDS_STEPS * (verdict.step_s or 0.0))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was remembered of one rule."""

    raised: Raised | None
    is_told: bool
    quiet_s: float


def _read(content: bytes) -> dict[str, _Kept] | None:
    body = content[:-_CRC_BYTES]
    if not body.startswith(_MAGIC) or zlib.crc32(body).to_bytes(_CRC_BYTES, "little") != content[-_CRC_BYTES:]:
        return None
    try:
        kept = json.loads(body[len(_MAGIC) :])
        return {name: _kept(found) for name, found in kept.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _kept(found: Mapping[str, Any]) -> _Kept:
    raised = None if found["raised"] is None else Raised.from_json(found["raised"])
    return _Kept(raised, bool(found["is_told"]), float(found["quiet_s"]))
