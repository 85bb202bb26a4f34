"""``GET /api/v1/devices/<device>/readings``."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import Response, request
from sqlalchemy import Engine
from werkzeug.exceptions import BadRequest, NotAcceptable, NotFound

from app.api.access import needs
from app.api.answers import json_answer
from app.api.blueprint import blueprint
from app.api.parameters import (
    DEFAULT_PAGE,
    MAX_BIN_S,
    MAX_PAGE,
    decode_time_cursor,
    encode_time_cursor,
    read_range,
    read_whole,
)
from app.connections import connections
from streamgauge.reading import SIMULATED, is_simulated
from streamgauge.storage.read_readings import (
    Device,
    count_readings,
    find_device,
    read_bins,
    read_extent,
    read_page,
    stream_csv,
)

STEP = timedelta(microseconds=1)
AUTO_BINS_S = (60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800)
AUTO_ROWS = 2_000
"""``resolution=auto`` gives raw readings if there are at most so many, else the finest bins that are at most so many."""


@blueprint.get("/devices/<device>/readings")
@needs("read")
def get_readings(device: str) -> Response:
    """Readings of [from, to), raw or in bins, as JSON by pages or as CSV in one stream."""
    start, end = read_range(request.args)
    kind = request.args.get("format", "json")
    if kind == "parquet":
        raise NotAcceptable("format=parquet is not offered yet: use json or csv")
    if kind not in {"json", "csv"}:
        raise BadRequest("format must be json or csv")
    limit = read_whole(request.args, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
    cursor = request.args.get("cursor")
    if cursor:
        start = max(start, decode_time_cursor(cursor) + STEP)
    engine = connections().engine
    with engine.connect() as connection:
        known = find_device(connection, device)
    if known is None:
        raise NotFound("No device of this name is registered.")
    bin_s = _resolution(engine, known, start, end)
    if kind == "csv":
        if bin_s is not None:
            raise BadRequest("format=csv gives raw readings: leave resolution out, or set it to raw")
        return _csv_answer(engine, known, start, end)
    return _json_page(engine, known, start, end, limit, bin_s)


def _resolution(engine: Engine, device: Device, start: datetime, end: datetime) -> int | None:
    text = request.args.get("resolution", "raw")
    if text == "raw":
        return None
    if text != "auto":
        return read_whole(request.args, "resolution", 1, 1, MAX_BIN_S)
    with engine.connect() as connection:
        extent = read_extent(connection, device.id)
        if extent is None or count_readings(connection, device.id, start, end, AUTO_ROWS + 1) <= AUTO_ROWS:
            return None
    span_s = (min(end, extent.newest) - max(start, extent.oldest)).total_seconds()
    return next((bin_s for bin_s in AUTO_BINS_S if span_s / bin_s <= AUTO_ROWS), AUTO_BINS_S[-1])


def _json_page(
    engine: Engine, device: Device, start: datetime, end: datetime, limit: int, bin_s: int | None
) -> Response:
    with engine.connect() as connection:
        if bin_s is None:
            rows = read_page(connection, device.id, start, end, limit + 1)
        else:
            rows = read_bins(connection, device.id, start, end, bin_s, limit + 1)
    page = rows[:limit]
    following = None
    if len(rows) > limit:
        # A cursor stands before the next page's first row, so that a bin is never cut in two.
        following = encode_time_cursor(rows[limit]["time"] - STEP)
    body = {
        "device": device.name,
        "resolution_s": bin_s,
        "readings": [_reading_object(row) for row in page],
        "next": following,
    }
    return json_answer(body)


def _reading_object(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what is absent; ``"simulated": true`` marks a reading that no sensor made."""
    present = {name: value for name, value in row.items() if value is not None}
    return present | {SIMULATED: True} if is_simulated(row.get("extra")) else present


def _csv_answer(engine: Engine, device: Device, start: datetime, end: datetime) -> Response:
    def stream() -> Iterator[bytes]:
        with engine.connect() as connection:
            yield from stream_csv(connection, device.id, start, end)

    headers = {"Content-Disposition": f'attachment; filename="{device.name.replace(":", "_")}.csv"'}
    return Response(stream(), content_type="text/csv; charset=utf-8", headers=headers)
