"""What all the sensors of some devices said: for those devices only whose sensors are judged together."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.quality.series import IntArray
from streamgauge.reading import FLOAT_FIELDS, QUANTITIES
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.sensors import SENSOR_GAP_S, SENSOR_ROWS, SensorRows
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows
from streamgauge.storage.context import MOST_ROWS_BETWEEN, timestamps
from streamgauge.units import MICROSECONDS_PER_SECOND

REACH_US = int(SENSOR_ROWS * SENSOR_GAP_S) * MICROSECONDS_PER_SECOND
"""No row before or after that matters to a reading is further away."""

_REAL = "COALESCE(extra->>'simulated', '0') IN ('0', '0.0')"
_NEAR = f"""
SELECT segment.device_id, segment.number, near.*
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
     AS segment(device_id, since, first, last, until, number)
CROSS JOIN LATERAL (
  (SELECT {{columns}} FROM readings WHERE device_id = segment.device_id AND time >= segment.since AND time < segment.first
     AND {_REAL} ORDER BY time DESC LIMIT %s)
  UNION ALL
  (SELECT {{columns}} FROM readings WHERE device_id = segment.device_id AND time >= segment.first AND time <= segment.last
     AND {_REAL} ORDER BY time LIMIT %s)
  UNION ALL
  (SELECT {{columns}} FROM readings WHERE device_id = segment.device_id AND time > segment.last AND time <= segment.until
     AND {_REAL} ORDER BY time LIMIT %s)
) AS near
"""
_SPAN = f"""
SELECT device_id, 1::bigint, {{columns}} FROM readings WHERE device_id = %s AND time >= %s AND time < %s AND {_REAL}
UNION ALL
(SELECT device_id, 1::bigint, {{columns}} FROM readings WHERE device_id = %s AND time >= %s AND time < %s AND {_REAL}
 ORDER BY time DESC LIMIT %s)
"""
_HISTORY = f"""
SELECT device_id, 1::bigint, {{columns}} FROM readings WHERE device_id = %s AND time >= %s AND time < %s AND {_REAL}
ORDER BY time DESC LIMIT %s
"""
_MARKED = f"""CASE WHEN score >= {ANOMALY_SCORE} THEN 1::smallint ELSE 0::smallint END,
  CASE WHEN jsonb_path_exists(COALESCE(flags, '{{{{}}}}'), '$.* ? (@ == 3 || @ == 4)') THEN 1::smallint ELSE 0::smallint END"""
_NEWEST = text(f"""
SELECT {", ".join(QUANTITIES)}, extra FROM readings WHERE device_id = :device_id AND time >= :first AND time < :until AND {_REAL}
ORDER BY time DESC LIMIT :most
""")
_KEYS = {"device_id": ">i8", "segment": ">i8", "time": ">i8"}


def read_sensors_near(connection: Connection, station: IntArray, time_us: IntArray, names: Sequence[str]) -> SensorRows:
    """The stored rows near some new readings: the ``SENSOR_ROWS`` before and after, and all between.

    Args:
        connection: a connection in a transaction that holds the devices' locks.
        station: device ids of the new readings, sorted by (station, time), int64[n].
        time_us: their times, microseconds since 1970, int64[n].
        names: quantities and names in ``extra``.
    """
    if not len(station):
        return SensorRows(station, time_us, tuple(names), np.empty((0, len(names))))
    begins = np.ones(len(station), dtype=np.bool_)
    begins[1:] = (station[1:] != station[:-1]) | (time_us[1:] - time_us[:-1] > REACH_US)
    found = _read_segments(connection, station, time_us, begins, names)
    crowded = np.bincount(found["segment"], minlength=np.count_nonzero(begins) + 1) >= MOST_ROWS_BETWEEN
    if crowded.any():
        begins |= crowded[np.cumsum(begins)]
        found = _read_segments(connection, station, time_us, begins, names)
    return _rows(found, names)


def read_sensors_within(
    connection: Connection, device_id: int, first: datetime, until: datetime, names: Sequence[str]
) -> SensorRows:
    """One device's rows in [first, until) and the ``SENSOR_ROWS`` before."""
    span = (device_id, first, until)
    before = (device_id, _earlier(first), first, SENSOR_ROWS)
    columns, values = _columns(names)
    query = _SPAN.format(columns=columns)
    return _rows(copy_rows(connection, query, (*values, *span, *values, *before), _fields(names)), names)


def read_sensor_history(
    connection: Connection, device_id: int, first: datetime, until: datetime, names: Sequence[str], most: int
) -> tuple[SensorRows, NDArray[np.bool_], NDArray[np.bool_]]:
    """One device's newest rows in [first, until), which of them were marked, and which have a suspect or failed quantity."""
    columns, values = _columns(names)
    query = _HISTORY.format(columns=f"{columns}, {_MARKED.format()}")
    fields = {**_fields(names), "marked": ">i2", "flagged": ">i2"}
    found = copy_rows(connection, query, (*values, device_id, first, until, most), fields)
    found = found[np.argsort(found["time"], kind="stable")]
    return _rows(found, names), found["marked"] == 1, found["flagged"] == 1


def newest_numbers(
    connection: Connection, device_id: int, first: datetime, until: datetime, most: int
) -> list[dict[str, float]]:
    """What one device's newest readings hold, quantities and ``extra`` by name, oldest first."""
    values = {"device_id": device_id, "first": first, "until": until, "most": most}
    return [
        {
            **{name: row[name] for name in QUANTITIES if row[name] is not None},
            **{name: value for name, value in (row["extra"] or {}).items() if _is_number(value)},
        }
        for row in connection.execute(_NEWEST, values).mappings().all()[::-1]
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_segments(
    connection: Connection, station: IntArray, time_us: IntArray, begins: NDArray[np.bool_], names: Sequence[str]
) -> NDArray[np.void]:
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(station)) - 1
    first, last = time_us[firsts], time_us[lasts]
    spans = [timestamps(moment) for moment in (first - REACH_US, first, last, last + REACH_US)]
    columns, values = _columns(names)
    parameters: list[object] = [station[firsts].tolist(), *spans]
    for most in (SENSOR_ROWS, MOST_ROWS_BETWEEN, SENSOR_ROWS):
        parameters += [*values, most]
    return copy_rows(connection, _NEAR.format(columns=columns), tuple(parameters), _fields(names))


def _columns(names: Sequence[str]) -> tuple[str, list[str]]:
    """The columns of a query and the values of its placeholders: names in ``extra`` are not ours."""
    texts, values = ["time"], []
    for name in names:
        if name in FLOAT_FIELDS:
            texts.append(f"COALESCE({name}, 'NaN')")
        else:
            texts.append("CASE WHEN jsonb_typeof(extra->%s) = 'number' THEN (extra->>%s)::float8 ELSE 'NaN' END")
            values += [name, name]
    return ", ".join(f"{column} AS value_{place}" for place, column in enumerate(texts)), values


def _fields(names: Sequence[str]) -> dict[str, str]:
    return {**_KEYS, **{f"value_{place}": ">f8" for place in range(len(names))}}


def _rows(found: NDArray[np.void], names: Sequence[str]) -> SensorRows:
    """Sorted by (station, time), each once."""
    station, time_us = found["device_id"].astype(np.int64), found["time"].astype(np.int64) + POSTGRES_EPOCH_US
    order = np.lexsort((time_us, station))
    keep = np.ones(len(order), dtype=np.bool_)
    keep[1:] = (np.diff(station[order]) != 0) | (np.diff(time_us[order]) != 0)
    rows = order[keep]
    values = np.empty((len(rows), len(names)))
    for place in range(len(names)):
        values[:, place] = found[f"value_{place}"][rows]
    return SensorRows(station[rows], time_us[rows], tuple(names), values)


def _earlier(first: datetime) -> datetime:
    return first - timedelta(microseconds=REACH_US)
