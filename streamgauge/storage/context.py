"""What the pipeline must know of the past before it judges new readings: each station's neighbouring rows, under a lock."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows

LOCK_SPACE = 0x5347
"""Our key space ("SG") among Postgres's two-key advisory locks."""
LOCK_BUCKETS = 1_024
"""Devices share this many locks, so that a task over many devices cannot exhaust Postgres's lock table."""
MOST_ROWS_BETWEEN = 10_000
"""Most stored rows that are read between the first and the last new reading of one segment; where there are more, each new
reading becomes a segment of its own."""

_LOCK = text("SELECT pg_advisory_xact_lock(:space, bucket) FROM unnest(CAST(:buckets AS integer[])) AS bucket")

_COLUMNS = "time, COALESCE(level_m, 'NaN') AS level_m, COALESCE((flags->>'level_m')::smallint, 9::smallint) AS flag"
_QUERY = f"""
SELECT segment.device_id, segment.number, near.time, near.level_m, near.flag
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
     AS segment(device_id, since, first, last, until, number)
CROSS JOIN LATERAL (
  (SELECT {_COLUMNS} FROM readings
   WHERE device_id = segment.device_id AND time >= segment.since AND time < segment.first AND level_m IS NOT NULL
   ORDER BY time DESC LIMIT %s)
  UNION ALL
  (SELECT {_COLUMNS} FROM readings
   WHERE device_id = segment.device_id AND time >= segment.first AND time <= segment.last
   ORDER BY time LIMIT %s)
  UNION ALL
  (SELECT {_COLUMNS} FROM readings
   WHERE device_id = segment.device_id AND time > segment.last AND time <= segment.until AND level_m IS NOT NULL
   ORDER BY time LIMIT %s)
) AS near
"""
_FIELDS = {"device_id": ">i8", "segment": ">i8", "time": ">i8", "level_m": ">f8", "flag": ">i2"}


@dataclass(frozen=True, slots=True)
class Context:
    """Stored rows near the new ones, without repeats, sorted by (station, time).

    Attributes:
        station: device ids, int64[n].
        time_us: microseconds since 1970, int64[n].
        level_m: metres, NaN where a row has no level, float64[n].
        flag: the level's stored flag, int16[n].
    """

    station: NDArray[np.int64]
    time_us: NDArray[np.int64]
    level_m: NDArray[np.float64]
    flag: NDArray[np.int16]


def lock_devices(connection: Connection, device_ids: Iterable[int]) -> None:
    """Take the devices' locks until the transaction ends, so that tasks over the same device run one after the other.

    Without it, two workers that handle consecutive readings of one station at once would each judge without the other's.
    Locks are taken in ascending order: two tasks cannot wait for each other.
    """
    buckets = sorted({device_id % LOCK_BUCKETS for device_id in device_ids})
    connection.execute(_LOCK, {"space": LOCK_SPACE, "buckets": buckets})


def read_context(
    connection: Connection,
    station: NDArray[np.int64],
    time_us: NDArray[np.int64],
    *,
    rows: int,
    reach_us: int,
) -> Context:
    """Read the stored rows that the verdict on these new readings, or whose own verdict, can depend on.

    Args:
        connection: a connection in a transaction that holds the devices' locks.
        station: device ids of the new readings, sorted by (station, time), int64[n].
        time_us: their times, microseconds since 1970, int64[n].
        rows: how many rows before and after may matter.
        reach_us: how far back and forth in time they may lie.
    """
    begins = np.ones(len(station), dtype=np.bool_)
    # New readings of one station that lie further apart than any check reaches are separate segments: the rows
    # between them need not be read.
    begins[1:] = (station[1:] != station[:-1]) | (time_us[1:] - time_us[:-1] > reach_us)
    found = _read_segments(connection, station, time_us, begins, rows, reach_us)
    crowded = np.bincount(found["segment"], minlength=np.count_nonzero(begins) + 1) >= MOST_ROWS_BETWEEN
    if crowded.any():
        begins |= crowded[np.cumsum(begins)]
        found = _read_segments(connection, station, time_us, begins, rows, reach_us)
    context = Context(
        station=found["device_id"].astype(np.int64),
        time_us=found["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        level_m=found["level_m"].astype(np.float64),
        flag=found["flag"].astype(np.int16),
    )
    return _sorted_without_repeats(context)


def _read_segments(
    connection: Connection,
    station: NDArray[np.int64],
    time_us: NDArray[np.int64],
    begins: NDArray[np.bool_],
    rows: int,
    reach_us: int,
) -> NDArray[Any]:
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(station)) - 1
    first, last = time_us[firsts], time_us[lasts]
    times = [timestamps(moment) for moment in (first - reach_us, first, last, last + reach_us)]
    parameters = (station[firsts].tolist(), *times, rows + 1, MOST_ROWS_BETWEEN, rows + 1)
    return copy_rows(connection, _QUERY, parameters, _FIELDS)


def _sorted_without_repeats(context: Context) -> Context:
    order = np.lexsort((context.time_us, context.station))
    station, time_us = context.station[order], context.time_us[order]
    keep = np.ones(len(order), dtype=np.bool_)
    keep[1:] = (station[1:] != station[:-1]) | (time_us[1:] != time_us[:-1])
    rows = order[keep]
    return Context(context.station[rows], context.time_us[rows], context.level_m[rows], context.flag[rows])


def timestamps(time_us: NDArray[np.int64]) -> list[str]:
    """Microseconds since 1970 as Postgres reads them."""
    return [f"{moment}+00" for moment in np.datetime_as_string(time_us.astype("datetime64[us]"), unit="us").tolist()]
