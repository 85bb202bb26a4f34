"""``/stations/<device>``: the page, its history for a range of time, its head while it is live, and its panels."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import orjson
from flask import Blueprint, make_response, render_template, request
from flask.wrappers import Response
from sqlalchemy import Connection

from app.addresses import named_device
from app.alerts.presenter import AlertView, digest, make_alerts
from app.connections import connections
from app.i18n import words
from app.live.routes import current_live_id
from app.measures import measures
from app.preferences import zone_of
from app.session.roles import has_role, needs_role
from app.stations.chart import make_chart
from app.stations.forecast import Outlook, Record, make_outlook, make_record
from app.stations.presenter import Head, Table, make_head, make_table
from app.stations.signal import READ, make_signal
from app.stations.site import site_facts
from app.stations.window import ALL, CLOSER, MOVE_SHARE, RANGES, WIDER, Window, address, choose_window
from app.stations.worth import make_worth
from app.times import written
from streamgauge.storage.alerts import ACKNOWLEDGED, OPEN, RESOLVED, list_alerts
from streamgauge.storage.forecasts import forecast_record, newest_forecast
from streamgauge.storage.read_overview import StationNow, read_stations_now
from streamgauge.storage.read_readings import Device, read_extent, read_newest_rows
from streamgauge.storage.station import read_frames, read_site

TABLE_ROWS = 50
URGENT_ALERTS, PAST_ALERTS = 5, 8
"""As a form's field for a time wants it, in the zone that the page tells times in."""

blueprint = Blueprint("stations", __name__)


@blueprint.get("/stations/<device>")
@needs_role("viewer")
def show(device: str) -> Response:
    """The page; to HTMX the history (range buttons, chart, table) only."""
    live_id = current_live_id()
    now = datetime.now(UTC)
    is_part = "HX-Request" in request.headers
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        zone = zone_of(known.time_zone)
        window = _window(connection, known, zone, now)
        outlook, record = _forecast(connection, known, now)
        chart = make_chart(connection, known, zone, window, outlook, station.stages, live_id, words())
        table = _table(connection, known, window, now)
        beside = {} if is_part else _beside(connection, known, zone, now)
    content = {
        "head": _head(station, outlook, zone, now),
        "live_id": live_id,
        "has_readings": chart.has_readings,
        "chart_json": json_in_page(chart.content),
        "table": table,
        "outlook": outlook,
        "record": record,
        "printed_at": words().when(now, zone),
        **_history(device, window, zone),
        **beside,
    }
    response = make_response(
        render_template("stations/_history.html" if is_part else "stations/station.html", **content)
    )
    if is_part and not window.key:
        # What a form sent without an offset has the same address for everybody from here on.
        response.headers["HX-Push-Url"] = content["here"]
    return response


@blueprint.get("/stations/<device>/now")
@needs_role("viewer")
def show_now(device: str) -> str:
    """The head, the alerts, the forecast and the table's newest rows, each to be put in its place."""
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        zone = zone_of(known.time_zone)
        window = _window(connection, known, zone, now)
        table = _table(connection, known, window, now)
        outlook, record = _forecast(connection, known, now)
        beside = _beside(connection, known, zone, now)
    return render_template(
        "stations/_now.html",
        head=_head(station, outlook, zone, now),
        table=table,
        outlook=outlook,
        record=record,
        **_history(device, window, zone),
        **beside,
    )


@blueprint.get("/stations/<device>/worth")
@needs_role("viewer")
def show_worth(device: str) -> str:
    """What the station's forecasts were worth, at one horizon (``?horizon=`` seconds), over the page's range of time."""
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        zone = zone_of(known.time_zone)
        window = _window(connection, known, zone, now)
        worth = make_worth(connection, known, request.args.get("horizon"), window, zone, words())
    content = worth.content if worth else None
    template = "stations/_worth.html" if "HX-Request" in request.headers else "stations/worth.html"
    return render_template(
        template,
        worth=worth,
        title=station.display_name or station.name,
        device=station.name,
        range_query=_range_query(window),
        worth_json=json_in_page(content) if content else "",
    )


@blueprint.get("/stations/<device>/site")
@needs_role("viewer")
def show_site(device: str) -> str:
    """Where and how the station stands, with what people keep of it: a page, and to HTMX the part of the station's page."""
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        site = read_site(connection, known.id)
    zone = zone_of(known.time_zone)
    return render_template(
        "stations/_site.html" if "HX-Request" in request.headers else "stations/site.html",
        title=station.display_name or station.name,
        device=known,
        site=site,
        stages=station.stages,
        zone=zone,
        facts=site_facts(known, site, words()),
    )


def json_in_page(content: object) -> str:
    """JSON for a script element: "<" would end it, so it is written as an escape."""
    return orjson.dumps(content).decode().replace("<", "\\u003c")


def _find(connection: Connection, name: str) -> tuple[Device, StationNow]:
    device = named_device(connection, name)
    return device, read_stations_now(connection, [name])[0]


def _window(connection: Connection, device: Device, zone: ZoneInfo, now: datetime) -> Window:
    # Nothing is awaited of a station that is out of service: its chart ends where its record does.
    silence_s = 0 if device.decommissioned_at else device.silence_limit_s
    return choose_window(request.args, read_extent(connection, device.id), now, silence_s, zone)


def _forecast(connection: Connection, device: Device, now: datetime) -> tuple[Outlook | None, Record | None]:
    zone = zone_of(device.time_zone)
    outlook = make_outlook(newest_forecast(connection, device.id), device.silence_limit_s, zone, now, words())
    return outlook, make_record(forecast_record(connection, device.id), zone, words())


def _head(station: StationNow, outlook: Outlook | None, zone: ZoneInfo, now: datetime) -> Head:
    is_current = outlook is not None and outlook.freshness != "old" and station.decommissioned_at is None
    return make_head(station, outlook.issue if outlook and is_current else None, zone, now, words())


def _table(connection: Connection, device: Device, window: Window, now: datetime) -> Table:
    rows = read_newest_rows(connection, device.id, window.start, window.end, TABLE_ROWS)
    return make_table(rows, zone_of(device.time_zone), now, words())


def _beside(connection: Connection, device: Device, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """Alerts and signal: what does not depend on the range of time."""
    urgent = list_alerts(connection, states=(OPEN, ACKNOWLEDGED), device_id=device.id, limit=URGENT_ALERTS)
    past = list_alerts(connection, states=(RESOLVED,), device_id=device.id, limit=PAST_ALERTS)
    views: list[list[AlertView]] = [make_alerts(alerts, now, words(), measures()) for alerts in (urgent, past)]
    views[0].sort(key=lambda alert: (alert.state != OPEN, -alert.severity))
    return {
        "urgent_alerts": views[0],
        "alerts_digest": digest(views[0]),
        "past_alerts": views[1],
        "may_act": has_role("operator"),
        "signal": make_signal(read_frames(connection, device.id, READ), zone, now, words()),
    }


def _history(device: str, window: Window, zone: ZoneInfo) -> dict[str, Any]:
    """The window's own addresses: the ranges, the steps beside it, and the form for a free choice."""
    page = f"/stations/{device}"
    return {
        "window": window,
        "zone_name": zone.key,
        "ranges": [*RANGES, ALL],
        "here": f"{page}?{_range_query(window)}",
        "range_query": _range_query(window),
        "history_query": urlencode(
            {
                "device": device,
                "range": "between",
                "from": written(_minute(window.start), zone),
                # Nothing of the last minute is left out.
                "to": written(_minute(window.end) + timedelta(minutes=1), zone),
            }
        ),
        "steps": {name: f"{page}?{urlencode(to)}" for name, to in steps_of(window)},
        "typed_from": written(_minute(window.start), zone),
        "typed_to": written(_minute(window.end), zone),
    }


def _minute(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def steps_of(window: Window) -> list[tuple[str, Mapping[str, str]]]:
    """The stretches of time beside, within and around a window: name, and ``from`` and ``to``."""
    return [
        ("earlier", window.moved(-MOVE_SHARE)),
        ("closer", window.stretched(CLOSER)),
        ("wider", window.stretched(WIDER)),
        ("later", window.moved(MOVE_SHARE)),
    ]


def _range_query(window: Window) -> str:
    return f"range={window.key}" if window.key else urlencode(address(window.start, window.end))
