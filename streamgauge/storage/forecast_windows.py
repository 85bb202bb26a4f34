"""What a forecast is made from: which stations are due, and the newest stretch of each station's readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import from_microseconds
from streamgauge.scoring.forecast.horizons import BUCKET_S
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows
from streamgauge.storage.devices import Device, station_quality

FloatArray = NDArray[np.float64]

_STATIONS = """
SELECT devices.id, devices.name, devices.gross_min_m, devices.gross_max_m, devices.quality, newest.time, track.through,
  track.model_id
FROM devices LEFT JOIN forecast_tracks track ON track.device_id = devices.id
CROSS JOIN LATERAL (
  SELECT time FROM readings WHERE device_id = devices.id AND time {after} ORDER BY time DESC LIMIT 1) AS newest
WHERE devices.decommissioned_at IS NULL
"""
_DUE = text(f"""
{_STATIONS.format(after="> COALESCE(track.through, '-infinity')")}
  AND (track.through IS NULL OR newest.time >= track.through + :every)
ORDER BY track.through NULLS LAST, devices.id LIMIT :limit
""")
_BY_NAME = text(f"{_STATIONS.format(after='IS NOT NULL')} AND devices.name = ANY(:names) ORDER BY devices.name")
_NAMED = text("SELECT id, name FROM devices WHERE name = ANY(:names)")
_FLAG = "COALESCE((flags->>'level_m')::smallint, 9::smallint)"
_COLUMNS = f"""time, COALESCE(level_m, 'NaN') AS level_m, {_FLAG} AS flag,
       CASE WHEN {_FLAG} <= 2 OR ({_FLAG} = 3 AND reasons->'level_m'->>'check' IN ('site_range', 'climatology'))
            THEN 1::smallint ELSE 0::smallint END AS serves"""
_IS_REAL = "COALESCE(extra->>'simulated', '0') IN ('0', '0.0')"
_ROWS = f"""
SELECT wanted.device_id, near.* FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
     AS wanted(device_id, since, until)
CROSS JOIN LATERAL (
  SELECT {_COLUMNS}, {{others}} FROM readings
  WHERE device_id = wanted.device_id AND time >= wanted.since AND time <= wanted.until AND {_IS_REAL}
  ORDER BY time DESC LIMIT %s) AS near
"""
_SPARSE_ROWS = f"""
SELECT wanted.device_id, near.* FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
     AS wanted(device_id, since, until)
CROSS JOIN LATERAL generate_series(date_bin('{BUCKET_S} s', wanted.since, '2000-01-01+00'), wanted.until, '{BUCKET_S} s')
     AS bucket
CROSS JOIN LATERAL (
  SELECT {_COLUMNS}, {{others}} FROM readings
  WHERE device_id = wanted.device_id AND time >= bucket AND time < bucket + interval '{BUCKET_S} s'
    AND time >= wanted.since AND time < wanted.until AND level_m IS NOT NULL AND {_IS_REAL}
  ORDER BY time DESC LIMIT 1) AS near
"""
OTHERS = ("rainfall_mm", "temperature_c", "flow_m3_s")
"""Quantities that may help to forecast the level; NaN where they are absent or failed their check."""
_FIELDS = {"device_id": ">i8", "time": ">i8", "level_m": ">f8", "flag": ">i2", "serves": ">i2"} | dict.fromkeys(
    OTHERS, ">f8"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueStation:
    """A station that has readings which no forecast rests on yet.

    Attributes:
        device: the station, with what can be used of its settings.
        newest: time of its newest reading.
        through: up to where its readings have been seen; None for never.
        model_id: the model of its track; 0 where it has none yet.
    """

    device: Device
    newest: datetime
    through: datetime | None = None
    model_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A stretch of one station's readings in order of time, without simulated ones; NaN means absent.

    Attributes:
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n].
        flag: the level's stored quality flag, 9 without a level, int16[n].
        serves: a forecast may rest on the level as its newest: it is not suspect, or only for being extreme, as floods are,
            bool[n].
        others: by ``OTHERS``, float64[n].
    """

    time_us: NDArray[np.int64]
    level_m: FloatArray
    flag: NDArray[np.int16]
    serves: NDArray[np.bool_]
    others: Mapping[str, FloatArray]

    def until(self, count: int) -> "Rows":
        """The first ``count`` rows."""
        return self.joined([self], slice(0, count))

    @staticmethod
    def joined(parts: Sequence["Rows"], rows: slice = slice(None)) -> "Rows":
        """The rows of several stretches that follow each other, or some of them."""
        return Rows(
            time_us=np.concatenate([part.time_us for part in parts])[rows],
            level_m=np.concatenate([part.level_m for part in parts])[rows],
            flag=np.concatenate([part.flag for part in parts])[rows],
            serves=np.concatenate([part.serves for part in parts])[rows],
            others={name: np.concatenate([part.others[name] for part in parts])[rows] for name in OTHERS},
        )


def due_stations(connection: Connection, every: timedelta, limit: int) -> list[DueStation]:
    """Stations whose newest reading, of whatever quantity, is at least ``every`` newer than what has been seen of them.

    Those that have waited longest come first, new ones last. Two probes of indices per station, whatever it sends: partitions
    with nothing but readings that have been seen are not looked at.
    """
    return [_station(row) for row in connection.execute(_DUE, {"every": every, "limit": limit})]


def find_stations(connection: Connection, names: Sequence[str]) -> list[DueStation]:
    """The stations of these names that have readings, due or not, by name; unknown names are left out."""
    return [_station(row) for row in connection.execute(_BY_NAME, {"names": list(names)})]


def _station(row: Any) -> DueStation:
    quality = station_quality(row.name, row.quality, {"gross_min_m": row.gross_min_m, "gross_max_m": row.gross_max_m})
    return DueStation(
        device=Device(row.id, row.name, dict(quality.parameters), quality),
        newest=row.time,
        through=row.through,
        model_id=row.model_id or 0,
    )


def find_ids(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The numbers of the devices of these names; unknown names are left out."""
    return {row.name: row.id for row in connection.execute(_NAMED, {"names": list(names)})} if names else {}


def read_rows(connection: Connection, until: Mapping[int, datetime], *, reach: timedelta, most: int) -> dict[int, Rows]:
    """The newest stretch of some stations' readings.

    Of a sensor that reports so often that ``most`` rows do not reach back far enough, the time before them is told by the last
    reading with a level of each five minutes: forecasts look at no more of it (``horizons.BUCKET_S``).

    Args:
        connection: a connection in a transaction.
        until: by station, the time of the last row that is wanted.
        reach: how far back from there.
        most: rows of each station, the newest ones.

    Returns:
        By station; one without any row has empty columns.
    """
    stations = sorted(until)
    since = {station: until[station] - reach for station in stations}
    found = _read(connection, _ROWS, since, until, most)
    counts = np.bincount(np.searchsorted(stations, found["device_id"]), minlength=len(stations))
    crowded = [station for station, count in zip(stations, counts.tolist(), strict=True) if count >= most]
    if crowded:
        oldest = {station: _oldest(found, station) for station in crowded}
        found = np.concatenate([found, _read(connection, _SPARSE_ROWS, since, oldest)])
    found = found[np.lexsort((found["time"], found["device_id"]))]
    edges = np.searchsorted(found["device_id"], [*stations, np.iinfo(np.int64).max]).tolist()
    return {station: _rows(found[first:last]) for station, (first, last) in zip(stations, pairwise(edges), strict=True)}


def _read(
    connection: Connection, query: str, since: Mapping[int, datetime], until: Mapping[int, datetime], *limits: int
) -> NDArray[Any]:
    stations = sorted(until)
    spans = ([since[station] for station in stations], [until[station] for station in stations])
    statement = query.format(others=", ".join(map(_other, OTHERS)))
    return copy_rows(connection, statement, (stations, *spans, *limits), _FIELDS)


def _oldest(found: NDArray[Any], station: int) -> datetime:
    oldest_us = int(found["time"][found["device_id"] == station].min())
    return from_microseconds(oldest_us + POSTGRES_EPOCH_US)


def _other(name: str) -> str:
    return f"CASE WHEN (flags->>'{name}')::smallint = 4 THEN 'NaN' ELSE COALESCE({name}, 'NaN') END AS {name}"


def _rows(found: NDArray[Any]) -> Rows:
    return Rows(
        time_us=found["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        level_m=found["level_m"].astype(np.float64),
        flag=found["flag"].astype(np.int16),
        serves=found["serves"] == 1,
        others={name: found[name].astype(np.float64) for name in OTHERS},
    )
