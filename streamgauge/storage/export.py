"""A selection of the record as CSV or Parquet, in one stream of bounded chunks, however long it is.

Each chunk is a question of its own by the primary key, and a connection is held only while it is answered: a reader that is
slow holds neither a connection nor a snapshot, and one that goes away ends everything with the chunk under way. Postgres
writes the CSV itself (COPY): more than half a million rows a second.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from streamgauge.reading import DEVICE_FIELDS, FLOAT_FIELDS, QUANTITIES, SIMULATED
from streamgauge.storage.history import (
    FIRST_STRETCH,
    STEP,
    Selection,
    conditions,
    corrected_column,
    corrected_quantities,
    flag_column,
    next_stretch,
)
from streamgauge.storage.read_readings import SCORED, Device, read_extent

CHUNK_ROWS = 20_000
PLAIN_COLUMNS = (
    "time",
    *FLOAT_FIELDS,
    "seq",
    *(f"{name}_flag" for name in QUANTITIES),
    *SCORED,
    *(f"{name}_corrected" for name in QUANTITIES),
)
"""The columns of the API's CSV; those that came later stand at the end."""
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A cell of text that begins with one of these is a formula to a spreadsheet (OWASP, "CSV Injection")."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is: rows written, and which share of the stations' time is behind, 0 to 1."""

    rows: int
    share: float


Told = Callable[[Progress], None]


def stream_csv(
    engine: Engine,
    selection: Selection,
    *,
    columns: Sequence[str] = PLAIN_COLUMNS,
    preamble: bytes = b"",
    in_local_time: bool = False,
    told: Told | None = None,
) -> Iterator[bytes]:
    """Readings as CSV with a line of names, station by station, each oldest first; close the iterator to end it early.

    For the API: ``stream_csv(engine, Selection(devices=(device,), start=start, end=end))``.

    Args:
        engine: connections are taken from it for one chunk each.
        selection: which readings.
        columns: of ``PLAIN_COLUMNS``, or ``full_columns``; ``time`` must be among the first two.
        preamble: what stands before the line of names: see ``streamgauge.storage.export_head``.
        in_local_time: times in each station's zone with their offset, instead of UTC.
        told: called after each chunk.
    """
    yield preamble + (",".join(columns) + "\r\n").encode()
    for chunk in chunks(engine, selection, columns, in_local_time=in_local_time, told=told):
        yield chunk.content


def full_columns(quantities: Sequence[str] = QUANTITIES) -> tuple[str, ...]:
    """Everything that is known of readings: raw and corrected values with flags, the device's own, what was expected, why."""
    values = [f"{name}{ending}" for name in quantities for ending in ("", "_corrected", "_flag")]
    scored = (*SCORED, "surprise") if "level_m" in quantities else ()
    return ("device", "time", *values, *scored, *DEVICE_FIELDS, "seq", "simulated", "extra", "reasons")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of CSV, of one device."""

    device: Device
    content: bytes
    rows: int


def chunks(
    engine: Engine,
    selection: Selection,
    columns: Sequence[str],
    *,
    in_local_time: bool = False,
    told: Told | None = None,
) -> Iterator[Chunk]:
    """The lines of ``stream_csv``, chunk by chunk, without a line of names. No chunk is empty."""
    rows, count = 0, len(selection.devices)
    for place, device in enumerate(selection.devices):
        zone = _zone(engine, device) if in_local_time else "UTC"
        for chunk, share in _chunks_of(engine, selection, device, columns, zone):
            rows += chunk.rows
            if told is not None:
                told(Progress(rows, (place + share) / count))
            if chunk.rows:
                yield chunk
    if told is not None:
        told(Progress(rows, 1.0))


def _chunks_of(
    engine: Engine, selection: Selection, device: Device, columns: Sequence[str], zone: str
) -> Iterator[tuple[Chunk, float]]:
    with engine.connect() as connection:
        extent = read_extent(connection, device.id)
        corrected = corrected_quantities(connection, [device], selection.start, selection.end)
    if extent is None:
        return
    first, end = max(selection.start, extent.oldest), min(selection.end, extent.newest + STEP)
    query = _query(selection, columns, corrected, zone)
    start, stretch = first, FIRST_STRETCH
    while start < end:
        until, asked_s = (start + stretch if end - start > stretch else end), time.monotonic()
        with engine.connect() as connection:
            content, rows = _copy(connection, query, device, zone, start, until)
        if rows == CHUNK_ROWS:
            start = _last_time(content, columns.index("time")) + STEP
        else:
            start, stretch = until, next_stretch(stretch, time.monotonic() - asked_s)
        yield Chunk(device, content, rows), min(1.0, (start - first) / (end - first))


def _query(selection: Selection, columns: Sequence[str], corrected: frozenset[str], zone: str) -> str:
    expressions = ", ".join(_expression(name, corrected, zone) for name in columns)
    where = f"device_id = %(id)s AND time >= %(start)s AND time < %(end)s{conditions(selection, corrected)}"
    return f"COPY (SELECT {expressions} FROM readings WHERE {where} ORDER BY time LIMIT {CHUNK_ROWS}) TO STDOUT (FORMAT CSV)"


def _expression(name: str, corrected: frozenset[str], zone: str) -> str:
    """A column as SQL.

    Raises:
        KeyError: there is no such column.
    """
    # to_json writes offsets of the nineteenth century with their seconds; to_char does not.
    utc = "to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    known = {
        "device": "%(device)s",
        "time": utc if zone == "UTC" else "to_json(time)#>>'{}'",
        "simulated": f"CASE WHEN extra ? '{SIMULATED}' THEN 1 END",
        **{column: column for column in (*FLOAT_FIELDS, "seq", *SCORED, "surprise", "extra", "reasons")},
        **{f"{quantity}_flag": flag_column(quantity, corrected) for quantity in QUANTITIES},
        **{
            f"{quantity}_corrected": corrected_column(quantity) if quantity in corrected else "NULL"
            for quantity in QUANTITIES
        },
    }
    return known[name]


def _copy(
    connection: Connection, query: str, device: Device, zone: str, start: datetime, end: datetime
) -> tuple[bytes, int]:
    if zone != "UTC":
        connection.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": zone})
    buffer = io.BytesIO()
    cursor = connection.connection.cursor()
    try:
        values = {"id": device.id, "device": safe_cell(device.name), "start": start, "end": end}
        cursor.copy_expert(cursor.mogrify(query, values).decode(), buffer)
        return buffer.getvalue(), cursor.rowcount
    finally:
        cursor.close()


def _last_time(content: bytes, place: int) -> datetime:
    # Only names and times stand before the time, and neither holds a line's end; what comes after may, in quotes.
    last_line = content[:-1].rpartition(b"\n")[2]
    return datetime.fromisoformat(last_line.split(b",", place + 1)[place].decode())


def _zone(engine: Engine, device: Device) -> str:
    """The device's zone, or UTC if Postgres does not know it."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": device.time_zone})
    except DBAPIError:
        return "UTC"
    return device.time_zone


def safe_cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula: one that begins like one gets an apostrophe before it."""
    return f"'{value}" if value.startswith(FORMULA_SIGNS) else value
