"""Where the stations are: what the map is drawn from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from app.i18n import Words
from app.measures import Measures
from app.overview.entries import Entry
from app.overview.listing import is_placed
from app.verdict import STATES_IN_USE, State
from streamgauge.stages import SEVERITIES

DECIMALS = 5
"""Of degrees: a metre."""
MAX_UNPLACED = 200


def kinds(t: Words) -> list[dict[str, str | int]]:
    """The kinds of markers by urgency, the most urgent first: class, icon and word."""
    over = [
        {"key": f"stage-{severity}", "icon": "stage", "word": t("overview.severity", n=severity)}
        for severity in reversed(SEVERITIES)
    ]
    gone = {"key": "silent-over", "icon": "silent", "word": t("overview.silent_was_over")}
    others = [{"key": str(state), "icon": str(state), "word": t(f"state.{state}")} for state in STATES_IN_USE]
    return [*over, gone, *others[1:]]  # type: ignore[list-item]


def kind_of(entry: Entry, now_s: float) -> int:
    """Which of ``kinds`` a station's marker is."""
    state = entry.state_at(now_s)
    if entry.stage is not None and state is State.STAGE:
        return SEVERITIES[-1] - entry.stage.severity
    if entry.stage is not None and state is State.SILENT:
        return len(SEVERITIES)
    return len(SEVERITIES) + state.rank


def make_places(entries: Sequence[Entry], now: datetime, t: Words) -> dict[str, Any]:
    """Stations with a position as ``[name, title, latitude, longitude, kind, stage that it is over, level_m]``; others by name.

    ``factor`` makes metres into the shown length, ``unit`` is its unit.
    """
    now_s, measures = now.timestamp(), Measures(t)
    unplaced = [entry for entry in entries if not is_placed(entry)]
    return {
        "kinds": kinds(t),
        "factor": measures.factor,
        "unit": measures.level_unit,
        "stations": [_place(entry, now_s) for entry in entries if is_placed(entry)],
        "unplaced": [[entry.station.name, entry.title] for entry in unplaced[:MAX_UNPLACED]],
        "unplaced_count": len(unplaced),
    }


def _place(entry: Entry, now_s: float) -> list[str | float | int | None]:
    station = entry.station
    over = entry.stage.name if entry.stage and entry.state_at(now_s) is State.STAGE else ""
    level_m = None if station.level_m is None else round(station.level_m, 3)
    latitude, longitude = round(station.latitude or 0.0, DECIMALS), round(station.longitude or 0.0, DECIMALS)
    return [station.name, entry.title, latitude, longitude, kind_of(entry, now_s), over, level_m]


def tiles_origin(address: str) -> str:
    """From where a map's tiles come, for the page's policy; ``{s}`` stands for any first part of the host's name."""
    parts = urlsplit(address.replace("{s}", "*"))
    return f"{parts.scheme}://{parts.netloc}"
