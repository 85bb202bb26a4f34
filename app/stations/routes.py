"""``/stations/<device>``: the page, its history for a range of time, and its head while it is live."""

from datetime import UTC, datetime

import orjson
from flask import Blueprint, abort, render_template, request
from sqlalchemy import Connection

from app.connections import connections
from app.i18n import words
from app.live.routes import current_live_id
from app.preferences import zone_of
from app.session import login_required
from app.stations.chart import make_chart
from app.stations.forecast import Outlook, Record, make_outlook, make_record
from app.stations.presenter import Table, make_head, make_table
from app.stations.window import ALL, RANGES, Window, choose_window
from streamgauge.storage.forecasts import forecast_record, newest_forecast
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
        window = choose_window(request.args, read_extent(connection, known.id), now, known.silence_limit_s)
        outlook, record = _forecast(connection, known, now)
        chart = make_chart(connection, known, zone_of(known.time_zone), window, outlook, live_id, words())
        table = _table(connection, known, window, now)
    template = "stations/_history.html" if "HX-Request" in request.headers else "stations/station.html"
    # "<" would end the script element that the object stands in; JSON may write it as an escape.
    content = orjson.dumps(chart.content).decode().replace("<", "\\u003c")
    return render_template(
        template,
        head=make_head(station, zone_of(known.time_zone), now, words()),
        live_id=live_id,
        window=window,
        ranges=[*RANGES, ALL],
        has_readings=chart.has_readings,
        chart_json=content,
        table=table,
        outlook=outlook,
        record=record,
    )


@blueprint.get("/stations/<device>/now")
@login_required
def show_now(device: str) -> str:
    """The head, the forecast and the table's newest rows, each to be put in its place."""
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        known, station = _find(connection, device)
        window = choose_window(request.args, read_extent(connection, known.id), now, known.silence_limit_s)
        table = _table(connection, known, window, now)
        outlook, record = _forecast(connection, known, now)
    head = make_head(station, zone_of(known.time_zone), now, words())
    return render_template("stations/_now.html", head=head, table=table, outlook=outlook, record=record)


def _find(connection: Connection, name: str) -> tuple[Device, StationNow]:
    device = find_device(connection, name)
    if device is None:
        abort(404)
    return device, read_stations_now(connection, [name])[0]


def _forecast(connection: Connection, device: Device, now: datetime) -> tuple[Outlook | None, Record | None]:
    zone = zone_of(device.time_zone)
    outlook = make_outlook(newest_forecast(connection, device.id), device.silence_limit_s, zone, now, words())
    return outlook, make_record(forecast_record(connection, device.id), zone, words())


def _table(connection: Connection, device: Device, window: Window, now: datetime) -> Table:
    rows = read_newest_rows(connection, device.id, window.start, window.end, TABLE_ROWS)
    return make_table(rows, zone_of(device.time_zone), now, words())
