"""The form that asks for a re-scoring run: from the words of a person to stations, instants and a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.preferences import known_zone
from app.times import BadTime, read_time
from streamgauge.storage.read_readings import Device

SPANS: Mapping[str, timedelta] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
ALL, BETWEEN = "all", "between"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
BOUNDS = BEGINNING, datetime(2200, 1, 1, tzinfo=UTC)
CHAMPION = "champion"
MAX_CHARACTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form says. ``problems``: by field, the key of the text that says what is wrong; nothing may be made with any."""

    device: str
    span: str
    first: str
    until: str
    model: str
    devices: tuple[str, ...] | None = None
    since_time: datetime = BEGINNING
    until_time: datetime = BEGINNING
    problems: Mapping[str, str] = field(default_factory=dict)


def empty_form() -> Asked:
    """The form before anybody has filled it in."""
    return Asked(device="", span="7d", first="", until="", model=CHAMPION)


def read_form(form: Mapping[str, str], stations: Sequence[Device], now: datetime) -> Asked:
    """Read a form; what was typed stays in it, whatever is wrong.

    Times are read in the chosen station's zone; in UTC if all stations are chosen.

    Args:
        form: device ("" for all), span (one of ``SPANS``, ``all`` or ``between``), from and until (local), model.
        stations: those that there are.
        now: the end of the spans that end now.
    """
    device, span, first, until, model = (
        form.get(name, "").strip()[:MAX_CHARACTERS] for name in ("device", "span", "from", "until", "model")
    )
    problems: dict[str, str] = {}
    chosen = next((station for station in stations if station.name == device), None)
    if device and chosen is None:
        problems["device"] = "rescore.error.device"
    since_time, until_time = BEGINNING, now
    if span in SPANS:
        since_time = now - SPANS[span]
    elif span == BETWEEN:
        zone = known_zone(chosen.time_zone if chosen else "UTC")
        try:
            since_time = read_time(first, zone, bounds=BOUNDS)
        except BadTime as bad:
            problems["from"] = bad.key
        try:
            until_time = read_time(until, zone, is_end=True, bounds=BOUNDS)
        except BadTime as bad:
            problems["until"] = bad.key
        if not problems and since_time >= until_time:
            problems["until"] = "rescore.error.order"
    elif span != ALL:
        problems["span"] = "rescore.error.span"
    return Asked(
        device=device,
        span=span,
        first=first,
        until=until,
        model=model or CHAMPION,
        devices=(device,) if device else None,
        since_time=since_time,
        until_time=until_time,
        problems=problems,
    )
