"""What an address asks of the history: from its parameters to stations, instants, quantities and a mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict

from app.i18n import Words
from app.preferences import UTC_NAME, zone_of
from app.times import BadTime, read_time, written
from streamgauge.reading import QUANTITIES
from streamgauge.storage.history import MARKS, STEP, Selection
from streamgauge.storage.read_readings import Device, find_device, read_extent

SPANS: Mapping[str, timedelta] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=366),
}
ALL, BETWEEN = "all", "between"
DEFAULT_SPAN = "7d"
MOST_STATIONS = 20
MAX_CHARACTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an address says.

    Attributes:
        devices: the stations that there are.
        added: what was typed as one more station and is none.
        span: one of ``SPANS``, ``ALL`` or ``BETWEEN``; ``first`` and ``until`` as the form shows them.
        zone: in which the times were read, and are told.
        selection: None as long as no station is chosen or anything is wrong.
        is_past: the span ends at the newest reading, which is long ago.
        problems: by field, what is wrong, in words.
    """

    devices: tuple[Device, ...]
    added: str
    span: str
    first: str
    until: str
    quantities: tuple[str, ...]
    mark: str
    zone: ZoneInfo
    selection: Selection | None
    is_past: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)


def read_asked(connection: Connection, arguments: MultiDict[str, str], now: datetime, t: Words) -> Asked:
    """Read an address; what it says stays in the form, whatever is wrong with it."""
    problems: dict[str, str] = {}
    devices, unknown = _stations(connection, arguments.getlist("device"))
    if unknown:
        problems["device"] = t("history.error.device", name=unknown)
    elif len(devices) > MOST_STATIONS:
        problems["device"] = t("history.error.stations", n=t.number(MOST_STATIONS, 0))
    quantities = tuple(name for name in QUANTITIES if name in arguments.getlist("quantity")) or QUANTITIES
    if set(arguments.getlist("quantity")) - set(QUANTITIES):
        problems["quantity"] = t("history.error.quantity")
    mark = arguments.get("mark", "")[:MAX_CHARACTERS]
    if mark not in {"", *MARKS}:
        problems["mark"] = t("history.error.mark")
    zones = {device.time_zone for device in devices}
    zone = zone_of(zones.pop()) if len(zones) == 1 else ZoneInfo(UTC_NAME)
    span, first, until = (arguments.get(name, "").strip()[:MAX_CHARACTERS] for name in ("range", "from", "to"))
    span = span or (BETWEEN if first or until else DEFAULT_SPAN)
    start, end, is_past = now, now, False
    if span == BETWEEN:
        if not first and not until:
            # Just chosen: there is something to start from.
            minute = now.replace(second=0, microsecond=0)
            first, until = written(minute - SPANS[DEFAULT_SPAN], zone), written(minute, zone)
        start, first = _time(first, zone, "from", now, t, problems)
        end, until = _time(until, zone, "to", now, t, problems) if until else (now, until)
        if not {"from", "to"} & set(problems) and start >= end:
            problems["to"] = t("history.error.order")
    elif span in SPANS or span == ALL:
        start, end, is_past = _span(connection, devices, span, now)
    else:
        problems["range"] = t("history.error.range")
    chosen = Selection(devices=devices, start=start, end=end, quantities=quantities, mark=mark)
    return Asked(
        devices=devices,
        added=unknown,
        span=span,
        first=first,
        until=until,
        quantities=quantities,
        mark=mark,
        zone=zone,
        selection=chosen if devices and not problems else None,
        is_past=is_past,
        problems=problems,
    )


def _stations(connection: Connection, names: Sequence[str]) -> tuple[tuple[Device, ...], str]:
    """The stations of these names, each once, and the first name that is none's."""
    found: dict[str, Device] = {}
    for name in names[: 2 * MOST_STATIONS]:
        text = name.strip()[:MAX_CHARACTERS]
        if not text or text in found:
            continue
        device = find_device(connection, text)
        if device is None:
            return tuple(found.values()), text
        found[text] = device
    return tuple(found.values()), ""


def _span(
    connection: Connection, devices: Sequence[Device], span: str, now: datetime
) -> tuple[datetime, datetime, bool]:
    """A span that ends now, or, where there is nothing in it, at the newest reading before."""
    extents = [extent for device in devices if (extent := read_extent(connection, device.id)) is not None]
    if not extents:
        return now - SPANS[DEFAULT_SPAN], now, False
    oldest, newest = min(extent.oldest for extent in extents), max(extent.newest for extent in extents)
    if span == ALL:
        return oldest, newest + STEP, False
    if newest < now - SPANS[span]:
        return newest - SPANS[span], newest + STEP, True
    return now - SPANS[span], max(now, newest + STEP), False


def _time(
    text: str, zone: ZoneInfo, name: str, now: datetime, t: Words, problems: dict[str, str]
) -> tuple[datetime, str]:
    """A time of the form or of an address, and how the form shows it: as the zone's clocks do, however it was written."""
    try:
        time = read_time(text, zone, is_end=name == "to")
    except BadTime as bad:
        problems[name] = t(bad.key)
        return now, text
    return time, written(time, zone)
