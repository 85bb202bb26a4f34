"""What state a station is in, and how its newest reading is said in words: the same on every page and in every fragment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.i18n import Words
from app.measures import Measures
from streamgauge.quality.flags import Flag
from streamgauge.quality.reasons import CHECKS
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.stages import SEVERITIES, Stage, stage_at
from streamgauge.storage.corrections import BY_OPERATOR
from streamgauge.storage.read_overview import StationNow

RISING_FAST_M_PER_H = 0.20
"""From so much a station counts as rising fast, until alert rules bring their own thresholds."""
STEADY_M_PER_H = 0.01
"""Below so much a level is steady: what a gauge that shows 3 mm steps gives in still water."""
SURPRISES = ("event", "fault")
RATED = ("rising_like_water", "falling_like_water", "falls_faster_than_water")
"""Reasons that are said with the rate of change."""
FADING_SHARE = 0.5
"""A reading begins to fade when so much of its station's silence limit is over."""


class State(StrEnum):
    """A station's state, in the order in which a duty officer wants to see them."""

    STAGE = "stage"
    RISING = "rising"
    SILENT = "silent"
    SUSPECT = "suspect"
    ANOMALOUS = "anomalous"
    ORDINARY = "ordinary"
    DECOMMISSIONED = "decommissioned"

    @property
    def rank(self) -> int:
        """0 comes first."""
        return list(State).index(self)


STATES_IN_USE: tuple[State, ...] = tuple(state for state in State if state is not State.DECOMMISSIONED)
"""The states of stations that are in service: the overview shows no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a level is: a key for its icon, a short word, and the sentence that says why."""

    key: str
    word: str
    sentence: str


def state_of(station: StationNow, now: datetime) -> State:
    """The one state of a station. Silence outranks everything: what is not known any more cannot be rising.

    Of a station that is out of service nothing is expected: it is neither silent nor over a stage.

    A station that fell silent over a stage stays silent, and comes right after those that are over one: see ``urgency``.
    """
    if station.decommissioned_at is not None:
        return State.DECOMMISSIONED
    if station.time is None or age_s(station, now) > station.silence_limit_s:
        return State.SILENT
    return state_when_heard(station)


def state_when_heard(station: StationNow) -> State:
    """The state of a station as long as it is not silent."""
    if stage_of(station) is not None:
        return State.STAGE
    if station.rate_m_per_h is not None and station.rate_m_per_h >= RISING_FAST_M_PER_H:
        return State.RISING
    if station.level_flag in {Flag.SUSPECT, Flag.FAIL}:
        return State.SUSPECT
    if station.score is not None and station.score >= ANOMALY_SCORE:
        return State.ANOMALOUS
    return State.ORDINARY


def stage_of(station: StationNow) -> Stage | None:
    """The highest stage that a station's standing level has reached; of a silent station the last one that is known.

    The standing level is the newest usable one; a suspect one counts only where no usable one is known
    (``streamgauge.storage.read_overview``). A failed one never does.
    """
    if station.decommissioned_at is not None:
        return None
    return stage_at(station.standing_m, station.stages)


def urgency(state: State, stage: Stage | None) -> int:
    """The order of stations, 0 first: over a stage, the severest first; silent since over a stage, likewise; then by state."""
    if stage is not None and state in {State.STAGE, State.SILENT}:
        return SEVERITIES[-1] - stage.severity + (len(SEVERITIES) if state is State.SILENT else 0)
    return 2 * len(SEVERITIES) + state.rank


def age_s(station: StationNow, now: datetime) -> float:
    """Age of the newest reading in seconds, never negative (clocks differ).

    Raises:
        ValueError: the station has never reported.
    """
    if station.time is None:
        raise ValueError(f"{station.name} has no reading")
    return max(0.0, (now - station.time).total_seconds())


def trend_of(rate_m_per_h: float | None) -> str:
    """``rising``, ``falling``, ``steady`` or ``unknown``."""
    if rate_m_per_h is None:
        return "unknown"
    if abs(rate_m_per_h) < STEADY_M_PER_H:
        return "steady"
    return "rising" if rate_m_per_h > 0 else "falling"


def quality_of(flag: int | None, reason: Mapping[str, Any] | None, t: Words) -> Quality:
    """A level's quality in words: "Suspect: jumped 0.42 m (limit 0.10 m)"."""
    key = {1: "good", 2: "unchecked", 3: "suspect", 4: "fail"}.get(flag or 9, "missing")
    word = t(f"quality.{key}")
    because = reason_text(reason, t)
    return Quality(key=key, word=word, sentence=f"{word}: {because}" if because else word)


def reason_text(reason: Mapping[str, Any] | None, t: Words) -> str:
    """Why a level was flagged, as a clause; empty for no reason, and for a check that has no words yet its name."""
    if not reason:
        return ""
    check = str(reason.get("check", ""))
    measured, limit = _amount(reason, "measured", t), _amount(reason, "limit", t)
    if check == BY_OPERATOR["check"]:
        return t("reason.operator")
    if check not in CHECKS[1:]:
        return check.replace("_", " ")
    if measured is None or limit is None:
        return t(f"reason.{check}.bare")
    return t(f"reason.{check}", measured=measured, limit=limit)


def surprise_of(
    score: float | None, surprise: str | None, reason: Mapping[str, Any] | None, t: Words
) -> Quality | None:
    """What a marked reading was, as in "Event: the water rose faster than expected"; None for a reading that is not marked.

    A reading from before surprises were told apart is ``anomalous``, without a reason.
    """
    if surprise not in SURPRISES:
        surprise = str((reason or {}).get("surprise", ""))
    if surprise not in SURPRISES:
        if score is None or not score >= ANOMALY_SCORE:
            return None
        surprise = "anomalous"
    word = t(f"state.{surprise}")
    because = why_text(reason, t)
    return Quality(key=surprise, word=word, sentence=f"{word}: {because}" if because else word)


def why_text(reason: Mapping[str, Any] | None, t: Words) -> str:
    """Why a reading counts as event or fault, as a clause; empty for no reason, and for one that has no words here."""
    found = reason or {}
    key, rate = f"why.{found.get('why', '')}", found.get("rate_m_per_h")
    if not t.knows(key):
        return ""
    if found.get("channel"):
        return t("why.with_channel", why=t(key), channel=channel_name(str(found["channel"]), t))
    with_rate = found["why"] in RATED and isinstance(rate, int | float)
    return t("why.with_rate", why=t(key), rate=rate_text(rate, t)) if with_rate else t(key)


def channel_name(channel: str, t: Words) -> str:
    """What a sensor measures, in words; what a device calls it where there are none."""
    key = f"quantity.{channel}"
    return t(key) if t.knows(key) else channel.replace("_", " ")


def state_key(state: State, surprise: Quality | None) -> str:
    """What the state's chip shows: for an anomalous station whether it is an event or a fault, where that is known."""
    return surprise.key if state is State.ANOMALOUS and surprise else str(state)


def _amount(reason: Mapping[str, Any], what: str, t: Words) -> str | None:
    measures = Measures(t)
    for unit, write in (("m", measures.length), ("m_per_h", measures.length_per_hour), ("s", t.duration)):
        value = reason.get(f"{what}_{unit}")
        if isinstance(value, int | float):
            return write(value)
    return None


def rate_text(rate_m_per_h: float | None, t: Words) -> str:
    """The rate in the user's units, as in "+12 cm/h"; a dash if it is not known."""
    return Measures(t).rate(rate_m_per_h)


def freshness(station: StationNow, now: datetime) -> str:
    """``fresh``, ``fading`` or ``old``: old data never looks live."""
    if station.time is None:
        return "old"
    share = age_s(station, now) / station.silence_limit_s
    return "fresh" if share < FADING_SHARE else "fading" if share <= 1 else "old"
