"""``/stations/<device>``: the page, its history for a range of time, and its head while it is live."""

from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, abort, render_template, request
from sqlalchemy import Connection

from app.connections import connections
from app.i18n import words
from app.live.routes import current_live_id
from app.session import login_required
from app.stations.chart import make_chart
from app.stations.presenter import make_head, make_table
from app.stations.window import ALL, RANGES, Window, choose_window
from streamgauge.storage.read_overview import StationNow, read_stations_now
from streamgauge.storage.read_readings import Device, find_device, read_extent, read_newest_rows

TABLE_ROWS = 50

blueprint = Blueprint("stations", __name__)


@blueprint.get("/stations/<device>")
@login_required
def show(device: str) -> str:
    """The page; to HTMX the history (range buttons, chart, table) only."""
    live_id = current_live_id()
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        extent = read_extent(connection, known.id)
        window = choose_window(request.args, extent, now, known.silence_limit_s)
        history = _history(connection, known, window, live_id, now)
    template = "stations/_history.html" if "HX-Request" in request.headers else "stations/station.html"
    return render_template(template, head=make_head(station, now, words()), live_id=live_id, **history)


@blueprint.get("/stations/<device>/now")
@login_required
def head(device: str) -> str:
    """The head and the table's newest rows, each to be put in its place."""
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        extent = read_extent(connection, known.id)
        window = choose_window(request.args, extent, now, known.silence_limit_s)
        rows = read_newest_rows(connection, known.id, window.start, window.end, TABLE_ROWS)
    table = make_table(rows, known.time_zone, now, words())
    return render_template("stations/_now.html", head=make_head(station, now, words()), table=table)


def _find(connection: Connection, name: str) -> tuple[Device, StationNow]:
    device = find_device(connection, name)
    if device is None:
        abort(404)
    return device, read_stations_now(connection, [name])[0]


def _history(connection: Connection, device: Device, window: Window, live_id: str, now: datetime) -> dict[str, Any]:
    chart = make_chart(connection, device, window, live_id, words())
    rows = read_newest_rows(connection, device.id, window.start, window.end, TABLE_ROWS)
    # "<" would end the script element that the object stands in; JSON may write it as an escape.
    content = orjson.dumps(chart.content).decode().replace("<", "\\u003c")
    return {
        "window": window,
        "ranges": [*RANGES, ALL],
        "has_readings": chart.has_readings,
        "chart_json": content,
        "table": make_table(rows, device.time_zone, now, words()),
    }
