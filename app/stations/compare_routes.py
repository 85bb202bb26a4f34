"""``/compare?device=a&device=b``: up to six stations on one time axis, and the search that adds one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import render_template, request
from sqlalchemy import Connection

from app.connections import connections
from app.i18n import words
from app.preferences import UTC_NAME, zone_of
from app.session.roles import needs_role
from app.stations.compare import MODES, MOST, joint_extent, make_comparison, title_of
from app.stations.presenter import zone_text
from app.stations.routes import blueprint, json_in_page, steps_of
from app.stations.window import ALL, RANGES, Window, address, choose_window
from streamgauge.storage.read_readings import Device, find_device, read_extent
from streamgauge.storage.station import MAX_SEARCH_CHARACTERS, Found, find_stations

FOUND = 8
MOST_NAMES = 50
"""An address with more names than this is made up; only so many are looked for."""


@blueprint.get("/compare")
@needs_role("viewer")
def show_comparison() -> str:
    """The page; to HTMX what is below its title."""
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        devices, ignored = _chosen(connection)
        mode = request.args.get("as", MODES[0])
        if mode not in MODES:
            mode, ignored = MODES[0], [*ignored, "mode"]
        zone = _common_zone(devices)
        window = _window(connection, devices, zone, now)
        comparison = make_comparison(connection, devices, window, mode, zone, words())
        found = _search(connection, devices)
    window = replace(window, ignored=(*window.ignored, *ignored))
    names = [device.name for device in devices]
    content = {
        **_addresses(names, window, mode),
        "devices": devices,
        "rows": comparison.rows,
        "chart_json": json_in_page(comparison.content),
        "mode": mode,
        "modes": MODES,
        "window": window,
        "ranges": [*RANGES, ALL],
        "zone": zone_text(now, zone),
        "names": words().list([title_of(device) for device in devices]),
        **found,
    }
    is_part = "HX-Request" in request.headers
    return render_template("stations/_compare.html" if is_part else "stations/compare.html", **content)


@blueprint.get("/compare/find")
@needs_role("viewer")
def show_found() -> str:
    """The stations that ``find`` names, each with the address that adds it to those of ``device``."""
    with connections().engine.connect() as connection:
        devices, _ = _chosen(connection)
        found = _search(connection, devices)
        window = _window(connection, devices, _common_zone(devices), datetime.now(UTC))
    mode = request.args.get("as", "")
    names = [device.name for device in devices]
    addresses = _addresses(names, window, mode if mode in MODES else MODES[0])
    return render_template("stations/_found.html", devices=devices, **addresses, **found)


def _chosen(connection: Connection) -> tuple[list[Device], list[str]]:
    """The stations of the address, each once, and what of it was ignored."""
    names = list(dict.fromkeys(request.args.getlist("device")))
    known = [found for name in names[:MOST_NAMES] if (found := find_device(connection, name))]
    devices = known[:MOST]
    return devices, [] if len(devices) == len(names) else ["devices"]


def _common_zone(devices: Sequence[Device]) -> ZoneInfo:
    """The zone of all of them, or UTC where they are in several."""
    zones = {device.time_zone for device in devices}
    return zone_of(zones.pop() if len(zones) == 1 else UTC_NAME)


def _window(connection: Connection, devices: Sequence[Device], zone: ZoneInfo, now: datetime) -> Window:
    extent = joint_extent([read_extent(connection, device.id) for device in devices])
    silence_s = max((device.silence_limit_s for device in devices), default=0)
    return choose_window(request.args, extent, now, silence_s, zone)


def _search(connection: Connection, devices: Sequence[Device]) -> dict[str, Any]:
    wanted = request.args.get("find", "").replace("\0", "").strip()[:MAX_SEARCH_CHARACTERS]
    shown = {device.name for device in devices}
    found: Sequence[Found] = find_stations(connection, wanted, FOUND + MOST) if wanted else ()
    others = [one for one in found if one.name not in shown]
    return {
        "wanted": wanted,
        "found": others[:FOUND],
        "has_only_shown": bool(found) and not others,
        "most": MOST,
    }


def _addresses(names: Sequence[str], window: Window, mode: str) -> dict[str, Any]:
    """Functions that write an address of this page with one thing changed."""
    span = {"range": window.key} if window.key else dict(address(window.start, window.end))

    def to(**changed: Any) -> str:
        parts = {"device": list(names), "as": mode, **span, **changed}
        if "span" in changed:
            parts = {"device": list(names), "as": mode, **changed["span"]}
        return f"/compare?{urlencode(parts, doseq=True)}"

    return {
        "span": span,
        "to_range": lambda key: to(span={"range": key}),
        "to_mode": lambda key: to(**{"as": key}),
        "to_add": lambda name: to(device=[*names, name]),
        "to_remove": lambda name: to(device=[one for one in names if one != name]),
        "steps": {name: to(span=dict(span_of)) for name, span_of in steps_of(window)},
    }
