"""Reading the record of one device: as columns for charts, as rows for the API and tables."""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import DEVICE_NAME, FLOAT_FIELDS, QUANTITIES, from_microseconds, to_microseconds
from streamgauge.storage.corrections import apply_to_rows, corrected_flag_sql, corrected_sql, read_corrections

POSTGRES_EPOCH_US = to_microseconds(datetime(2000, 1, 1, tzinfo=UTC))
"""COPY BINARY writes a timestamptz as int64 microseconds since 2000-01-01 (PostgreSQL manual, "COPY", Binary Format)."""
COPY_HEADER_BYTES = 19
COPY_TRAILER = struct.pack(">h", -1)

SCORED = ("expected_m", "low_m", "high_m", "score")
LEVEL_FLAG = "level_flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A registered device as pages and the API show it."""

    id: int
    name: str
    display_name: str | None
    silence_limit_s: int
    registered_at: datetime
    gross_min_m: float | None
    gross_max_m: float | None
    time_zone: str
    datum: str | None
    latitude: float | None
    longitude: float | None
    dev_eui: str | None
    model: str | None
    decommissioned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """A stretch of one device's record by column, in order of time. NaN means absent."""

    time_us: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Extent:
    """First and last time of a device's record."""

    oldest: datetime
    newest: datetime


_DEVICE = (
    "SELECT id, name, display_name, silence_limit_s, registered_at, gross_min_m, gross_max_m, time_zone, datum, "
    "latitude, longitude, dev_eui, model, decommissioned_at FROM devices"
)
_ROW_FIELDS = ", ".join(
    (*FLOAT_FIELDS, "seq", "extra", "flags", "reasons", *SCORED, "surprise", "received_at", "stored_at")
)


def find_device(connection: Connection, name: str) -> Device | None:
    """The device of this name, or None; text that cannot be a device's name is none."""
    if not DEVICE_NAME.fullmatch(name):
        return None
    row = connection.execute(text(f"{_DEVICE} WHERE name = :name"), {"name": name}).mappings().one_or_none()
    return None if row is None else Device(**row)


def list_devices(connection: Connection, after_name: str, limit: int) -> list[Device]:
    """The first ``limit`` devices whose names sort after ``after_name`` ('' for the first page)."""
    query = text(f"{_DEVICE} WHERE name > :after ORDER BY name LIMIT :limit")
    return [Device(**row) for row in connection.execute(query, {"after": after_name, "limit": limit}).mappings()]


def read_extent(connection: Connection, device_id: int) -> Extent | None:
    """First and last time of a device's record, by two probes of the primary key; None while it is empty."""
    probe = "(SELECT time FROM readings WHERE device_id = :id ORDER BY time {} LIMIT 1)"
    row = connection.execute(
        text(f"SELECT {probe.format('ASC')} AS oldest, {probe.format('DESC')} AS newest"), {"id": device_id}
    ).one()
    return None if row.newest is None else Extent(oldest=row.oldest, newest=row.newest)


def count_readings(connection: Connection, device_id: int, start: datetime, end: datetime, at_most: int) -> int:
    """How many readings lie in [start, end], counting no further than ``at_most``."""
    query = text(
        "SELECT count(*) FROM "
        "(SELECT 1 FROM readings WHERE device_id = :id AND time >= :start AND time <= :end LIMIT :at_most) AS found"
    )
    return int(
        connection.execute(query, {"id": device_id, "start": start, "end": end, "at_most": at_most}).scalar_one()
    )


def read_columns(
    connection: Connection, device_id: int, start: datetime, end: datetime, names: Sequence[str]
) -> Columns:
    """Read [start, end] of a device's record as it came, as arrays, about a million values a second.

    COPY BINARY gives every row the same width once NULL is written as NaN, so that numpy takes the bytes as they are.

    Args:
        connection: an open connection to Postgres through psycopg2.
        device_id: ``devices.id``.
        start: first time, aware.
        end: last time, aware.
        names: of ``QUANTITIES`` (a value whose flag is 4, fail, is NaN except for ``level_m``), ``SCORED`` or ``LEVEL_FLAG``; or
            what ``raw_column`` and ``flag_column`` call a quantity's values, failed ones too, and its flags.

    Raises:
        KeyError: a name that is none of these.
    """
    expressions = ", ".join(_column_expression(name) for name in names)
    query = f"SELECT time, {expressions} FROM readings WHERE device_id = %s AND time >= %s AND time <= %s ORDER BY time"
    buffer = io.BytesIO()
    cursor = connection.connection.cursor()
    try:
        bound = cursor.mogrify(query, (device_id, start, end)).decode()
        cursor.copy_expert(f"COPY ({bound}) TO STDOUT (FORMAT BINARY)", buffer)
    finally:
        cursor.close()
    return _parse_copy(buffer.getbuffer(), names)


def _column_expression(name: str) -> str:
    known = {
        name: f"coalesce(CASE WHEN flags->>'{name}' = '4' THEN NULL ELSE {name} END, 'NaN')::float8"
        for name in QUANTITIES
    }
    for quantity in QUANTITIES:
        known[raw_column(quantity)] = f"coalesce({quantity}, 'NaN')::float8"
        known[flag_column(quantity)] = f"coalesce((flags->>'{quantity}')::float8, 'NaN')"
    known.update({name: f"coalesce({name}, 'NaN')::float8" for name in SCORED})
    return known[name]


def raw_column(quantity: str) -> str:
    """What ``read_columns`` calls a quantity's values, failed ones too."""
    return quantity if quantity == "level_m" else f"{quantity}_raw"


def flag_column(quantity: str) -> str:
    """What ``read_columns`` calls a quantity's flags."""
    return LEVEL_FLAG if quantity == "level_m" else f"{quantity}_flag"


def _parse_copy(content: memoryview, names: Sequence[str]) -> Columns:
    fields = [("count", ">i2"), ("time_bytes", ">i4"), ("time", ">i8")]
    for name in names:
        fields += [(f"{name}_bytes", ">i4"), (name, ">f8")]
    layout = np.dtype(fields)
    body = content[COPY_HEADER_BYTES:]
    rows = np.frombuffer(body[: len(body) - len(COPY_TRAILER)], dtype=layout)
    return Columns(
        time_us=rows["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        values={name: rows[name].astype(np.float64) for name in names},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Why a reading is marked: the reasons of its level's flag and of its score, and what the surprise was."""

    level_reason: dict[str, Any] | None
    score_reason: dict[str, Any] | None
    surprise: str | None


def read_marks(connection: Connection, device_id: int, times: Sequence[datetime]) -> dict[datetime, Mark]:
    """Why the readings at these times are marked; only those of which anything is said."""
    if not times:
        return {}
    rows = connection.execute(
        text(
            # One look-up each: with all times in one condition every month's partition is searched for all of them.
            "SELECT mark.* FROM unnest(cast(:times AS timestamptz[])) AS wanted(moment) CROSS JOIN LATERAL ("
            "SELECT time, reasons->'level_m' AS level_reason, reasons->'score' AS score_reason, surprise FROM readings "
            "WHERE device_id = :id AND time = wanted.moment AND time >= :first AND time <= :last "
            "AND (reasons ?| ARRAY['level_m', 'score'] OR surprise IS NOT NULL) LIMIT 1) AS mark"
        ),
        {"id": device_id, "times": list(times), "first": min(times), "last": max(times)},
    )
    return {
        row.time: Mark(level_reason=row.level_reason, score_reason=row.score_reason, surprise=row.surprise)
        for row in rows
    }


def read_newest_rows(
    connection: Connection, device_id: int, start: datetime, end: datetime, limit: int
) -> Sequence[Mapping[str, Any]]:
    """The newest ``limit`` readings of [start, end], newest first, with flags, reasons and corrections (``apply_to_rows``)."""
    query = text(
        f"SELECT time, {_ROW_FIELDS} FROM readings "
        "WHERE device_id = :id AND time >= :start AND time <= :end ORDER BY time DESC LIMIT :limit"
    )
    values = {"id": device_id, "start": start, "end": end, "limit": limit}
    rows = [dict(row) for row in connection.execute(query, values).mappings()]
    apply_to_rows(connection, device_id, rows)
    return rows


def read_page(
    connection: Connection, device_id: int, start: datetime, end: datetime, limit: int
) -> Sequence[Mapping[str, Any]]:
    """The first ``limit`` readings of [start, end), oldest first: one page of the API, whose next begins after the last row.

    What was corrected stands beside what came (``apply_to_rows``).
    """
    query = text(
        f"SELECT time, {_ROW_FIELDS} FROM readings "
        "WHERE device_id = :id AND time >= :start AND time < :end ORDER BY time LIMIT :limit"
    )
    values = {"id": device_id, "start": start, "end": end, "limit": limit}
    rows = [dict(row) for row in connection.execute(query, values).mappings()]
    apply_to_rows(connection, device_id, rows)
    return rows


def read_bins(
    connection: Connection, device_id: int, start: datetime, end: datetime, bin_s: int, limit: int
) -> list[Mapping[str, Any]]:
    """Bins of ``bin_s`` seconds, aligned to 2000-01-01 UTC, oldest first.

    Each has its number of readings, the highest score, and per quantity the lowest, the mean and the highest value.

    Values are those that count, corrected where operators said so; of which the flag is 4 (fail), they are absent. The first and
    last bin may hold less than their whole width.
    """
    corrected, values = _corrected_spans(connection, device_id, start, end)
    columns = {name: _counting_columns(name, is_corrected=name in corrected) for name in QUANTITIES}
    usable = {name: f"{value}) FILTER (WHERE coalesce({flag}, '2') <> '4'" for name, (value, flag) in columns.items()}
    parts = ", ".join(
        f"min({usable[n]}) AS {n}_min, avg({usable[n]}) AS {n}_mean, max({usable[n]}) AS {n}_max" for n in QUANTITIES
    )
    query = text(
        f"SELECT date_bin(make_interval(secs => :bin_s), time, '2000-01-01T00:00:00Z') AS time, count(*) AS readings, "
        f"max(score) AS score_max, {parts} FROM readings "
        "WHERE device_id = :id AND time >= :start AND time < :end GROUP BY 1 ORDER BY 1 LIMIT :limit"
    )
    values |= {"id": device_id, "start": start, "end": end, "bin_s": bin_s, "limit": limit}
    return [dict(row) for row in connection.execute(query, values).mappings()]


def _corrected_spans(
    connection: Connection, device_id: int, start: datetime, end: datetime
) -> tuple[set[str], dict[str, Any]]:
    """The quantities that were corrected in [start, end), and as parameters between which times each was."""
    found = read_corrections(connection, [device_id], start, end)
    names, spans = {one.quantity for one in found}, dict[str, Any]()
    for name in names:
        first_us = min(one.first_us for one in found if one.quantity == name)
        last_us = max(one.last_us for one in found if one.quantity == name)
        spans |= {f"{name}_first": from_microseconds(first_us), f"{name}_last": from_microseconds(last_us)}
    return names, spans


def _counting_columns(name: str, *, is_corrected: bool) -> tuple[str, str]:
    """Value and flag (a text) as they count, in SQL: corrections are looked up between the times of ``_corrected_spans``."""
    flag = f"flags->>'{name}'"
    if not is_corrected:
        return name, flag
    between = f"CASE WHEN time BETWEEN :{name}_first AND :{name}_last THEN {{}} ELSE {{}} END"
    return between.format(corrected_sql(name), name), between.format(f"CAST({corrected_flag_sql(name)} AS text)", flag)
