"""What the board keeps of one station: what was read of it, and what can be said of that without knowing the time."""

import math
import unicodedata
from dataclasses import dataclass

from app.verdict import State, stage_of, state_when_heard, urgency
from streamgauge.quality.flags import Flag
from streamgauge.stages import Stage, stage_above
from streamgauge.storage.read_overview import StationNow

QUALITIES = ("good", "unchecked", "suspect", "fail", "missing")
"""How good a newest level may be, by name."""
_QUALITY_OF: dict[int, str] = dict(
    zip((Flag.GOOD, Flag.NOT_EVALUATED, Flag.SUSPECT, Flag.FAIL), QUALITIES, strict=False)
)
_UNLIKE = str.maketrans({"đ": "d", "Đ": "D"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One station on the board.

    Attributes:
        station: what was read.
        heard_state: its state as long as it is not silent.
        stage: the stage that it is over, or was over when it fell silent.
        silent_from_s: from then on it is silent, seconds since 1970.
        title: what people call it.
        folded_title: the same for sorting.
        searched: everything that a search looks through, folded.
        quality: one of ``QUALITIES``.
        margin_m: how far it stands below its next stage; -inf over the highest one, inf where nothing is known.
        heard_urgency: its place in the order of need as long as it is not silent.
        silent_urgency: and from then on.
    """

    station: StationNow
    heard_state: State
    stage: Stage | None
    silent_from_s: float
    title: str
    folded_title: str
    searched: str
    quality: str
    margin_m: float
    heard_urgency: int
    silent_urgency: int

    def state_at(self, now_s: float) -> State:
        """The station's state at a time, seconds since 1970."""
        return State.SILENT if now_s > self.silent_from_s else self.heard_state

    def urgency_at(self, now_s: float) -> int:
        """Its place in the order of need."""
        return self.silent_urgency if now_s > self.silent_from_s else self.heard_urgency


def make_entry(station: StationNow) -> Entry:
    """The entry of a station."""
    title = station.display_name or station.name
    parts = (station.name, station.display_name, station.river, station.description)
    heard_state, stage = state_when_heard(station), stage_of(station)
    return Entry(
        station=station,
        heard_state=heard_state,
        stage=stage,
        silent_from_s=station.time.timestamp() + station.silence_limit_s if station.time else -math.inf,
        title=title,
        folded_title=fold(title),
        searched=fold("\n".join(part for part in parts if part)),
        quality=_QUALITY_OF.get(station.level_flag or Flag.MISSING, "missing") if station.time else "missing",
        margin_m=_margin_m(station),
        heard_urgency=urgency(heard_state, stage),
        silent_urgency=urgency(State.SILENT, stage),
    )


def fold(text: str) -> str:
    """A text as a search compares it: without case and accents, so that "cau long bien" finds "Cầu Long Biên"."""
    decomposed = unicodedata.normalize("NFD", text.translate(_UNLIKE))
    return "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()


def _margin_m(station: StationNow) -> float:
    if not station.stages or station.standing_m is None:
        return math.inf
    above = stage_above(station.standing_m, station.stages)
    return -math.inf if above is None else above.level_m - station.standing_m
