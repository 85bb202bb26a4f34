"""``GET /api/v1/devices/<device>/readings``."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from flask import Response, request
from msgspec import Meta, Struct, field
from sqlalchemy import Connection, Engine
from werkzeug.exceptions import BadRequest, NotFound

from app.api.answers import json_answer
from app.api.declare import JSON, Answer, endpoint
from app.api.parameters import MAX_BIN_S, decode_time_cursor, encode_time_cursor, read_range
from app.api.schemas import DEFAULT_PAGE, MAX_PAGE, BinPage, Cursor, ReadingPage, Time
from app.connections import connections
from app.downloads import send_file
from streamgauge.reading import SIMULATED, is_simulated
from streamgauge.storage.export import stream_csv
from streamgauge.storage.export_parquet import stream_parquet
from streamgauge.storage.history import Selection
from streamgauge.storage.read_readings import Device, count_readings, find_device, read_bins, read_extent, read_page

STEP = timedelta(microseconds=1)
AUTO_BINS_S = (60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800)
AUTO_ROWS = 2_000
"""``resolution=auto`` gives raw readings if there are at most so many, else the finest bins that are at most so many."""
BIN_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
"""Bins are counted from here (``read_bins``)."""
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
FORMATS = {"json": JSON, "csv": CSV, "parquet": PARQUET}
_RESOLUTION = r"^(raw|auto|[1-9][0-9]{0,7})$"


class ReadingsQuery(Struct, kw_only=True):
    """Which readings, and how."""

    from_: Annotated[Time | None, Meta(description="The first time; absent: from the beginning.")] = field(
        default=None, name="from"
    )
    to: Annotated[Time | None, Meta(description="The time after the last; absent: to the end.")] = None
    resolution: Annotated[
        str,
        Meta(
            description="`raw`; bins of so many seconds; `auto`: raw if there are few readings, else bins that fit a screen.",
            pattern=_RESOLUTION,
            extra={"must": f"be raw, auto or a whole number of seconds from 1 to {MAX_BIN_S}"},
        ),
    ] = "raw"
    format: Annotated[
        Literal["json", "csv", "parquet"] | None,
        Meta(description="Absent: what `Accept` prefers, else `json`. `csv` and `parquet` hold the whole range, raw."),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Of one JSON page.")] = DEFAULT_PAGE
    cursor: Cursor | None = None


@endpoint(
    "GET",
    "/devices/<device>/readings",
    scope="read",
    tag="Readings",
    summary="Readings of a device: raw or in bins, by pages or as one stream",
    query=ReadingsQuery,
    answers={
        200: Answer(
            "A page, or the whole range as a file.",
            {JSON: (ReadingPage, BinPage), CSV: (str,), PARQUET: (bytes,)},
            {"Content-Disposition": "For csv and parquet: a name for the file."},
        )
    },
    problems=(400, 404),
)
def get_readings(device: str, query: ReadingsQuery) -> Response:
    """Readings of [from, to), oldest first, with flags, reasons, what was expected and how surprising they were."""
    start, end = read_range(request.args)
    if query.cursor:
        start = max(start, decode_time_cursor(query.cursor) + STEP)
    engine = connections().engine
    with engine.connect() as connection:
        known = find_device(connection, device)
    if known is None:
        raise NotFound("No device of this name is registered.")
    kind = query.format or _preferred_format()
    if kind != "json":
        if query.resolution != "raw":
            raise BadRequest(f"format={kind} gives raw readings: leave resolution out, or set it to raw")
        return _file_answer(engine, known, start, end, kind)
    return _json_page(engine, known, start, end, query.limit, _resolution(engine, known, start, end, query.resolution))


def _preferred_format() -> str:
    wanted = request.accept_mimetypes.best_match(list(FORMATS.values()), JSON)
    return next(name for name, kind in FORMATS.items() if kind == wanted)


def _resolution(engine: Engine, device: Device, start: datetime, end: datetime, text: str) -> int | None:
    """The width of the bins in seconds; None for raw readings."""
    if text == "raw":
        return None
    if text != "auto":
        if int(text) > MAX_BIN_S:
            raise BadRequest(f"resolution must be raw, auto or a whole number of seconds from 1 to {MAX_BIN_S}")
        return int(text)
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
            rows = _read_bins(connection, device.id, start, end, bin_s, limit + 1)
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


def _read_bins(
    connection: Connection, device_id: int, start: datetime, end: datetime, bin_s: int, limit: int
) -> list[Mapping[str, Any]]:
    """The first ``limit`` bins, out of few more readings than they need: stretches of the record, longer in gaps."""
    extent = read_extent(connection, device_id)
    if extent is None:
        return []
    start, end = max(start, extent.oldest), min(end, extent.newest + STEP)
    rows, width = list[Mapping[str, Any]](), timedelta(seconds=bin_s)
    bins = limit
    while start < end and len(rows) < limit:
        # A stretch ends where a bin does, so that none is cut in two.
        until = min(end, BIN_ORIGIN + ((start - BIN_ORIGIN) // width + bins) * width)
        rows += read_bins(connection, device_id, start, until, bin_s, limit - len(rows))
        start, bins = until, min(bins * 4, (end - until) // width + 1)
    return rows


def _reading_object(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what is absent; ``"simulated": true`` marks a reading that no sensor made."""
    present = {name: value for name, value in row.items() if value is not None}
    return present | {SIMULATED: True} if is_simulated(row.get("extra")) else present


def _file_answer(engine: Engine, device: Device, start: datetime, end: datetime, kind: str) -> Response:
    selection = Selection(devices=(device,), start=start, end=end)
    streams: dict[str, Callable[[], Iterator[bytes]]] = {
        "csv": lambda: stream_csv(engine, selection),
        "parquet": lambda: stream_parquet(engine, selection, now=datetime.now(UTC)),
    }
    name = f"{device.name.replace(':', '_')}.{kind}"
    content_type = f"{CSV}; charset=utf-8" if kind == "csv" else FORMATS[kind]
    return send_file(streams[kind](), content_type, name)
