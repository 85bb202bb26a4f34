"""What a forecast is made from: which stations are due, and the newest stretch of each station's readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows
from streamgauge.storage.devices import Device

FloatArray = NDArray[np.float64]

_DUE = text("""
SELECT devices.id, devices.name, devices.quality, newest.time, track.through
FROM devices LEFT JOIN forecast_tracks track ON track.device_id = devices.id
CROSS JOIN LATERAL (
  SELECT time FROM readings
  WHERE device_id = devices.id AND time > COALESCE(track.through, '-infinity')
  ORDER BY time DESC LIMIT 1) AS newest
WHERE devices.decommissioned_at IS NULL
  AND (track.through IS NULL OR newest.time >= track.through + :every)
ORDER BY track.through NULLS LAST, devices.id LIMIT :limit
""")
_NAMED = text("SELECT id, name FROM devices WHERE name = ANY(:names)")
_ROWS = """
SELECT wanted.device_id, near.* FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
     AS wanted(device_id, since, until)
CROSS JOIN LATERAL (
  SELECT time, COALESCE(level_m, 'NaN') AS level_m, COALESCE((flags->>'level_m')::smallint, 9::smallint) AS flag,
         {others}
  FROM readings WHERE device_id = wanted.device_id AND time >= wanted.since AND time <= wanted.until
    AND COALESCE(extra->>'simulated', '0') IN ('0', '0.0')
  ORDER BY time DESC LIMIT %s) AS near
"""
OTHERS = ("rainfall_mm", "temperature_c", "flow_m3_s")
"""Quantities that may help to forecast the level; NaN where they are absent or failed their check."""
_FIELDS = {"device_id": ">i8", "time": ">i8", "level_m": ">f8", "flag": ">i2"} | dict.fromkeys(OTHERS, ">f8")


@dataclass(frozen=True, slots=True, kw_only=True)
class DueStation:
    """A station that has readings which no forecast rests on yet.

    Attributes:
        device: the station; its ``limits`` are all that ``devices.quality`` holds, parameters of the checks and names alike.
        newest: time of its newest reading.
        through: up to where its readings have been seen; None for never.
    """

    device: Device
    newest: datetime
    through: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A stretch of one station's readings in order of time, without simulated ones; NaN means absent.

    Attributes:
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n].
        flag: the level's stored quality flag, 9 without a level, int16[n].
        others: by ``OTHERS``, float64[n].
    """

    time_us: NDArray[np.int64]
    level_m: FloatArray
    flag: NDArray[np.int16]
    others: Mapping[str, FloatArray]

    def until(self, count: int) -> "Rows":
        """The first ``count`` rows."""
        others = {name: column[:count] for name, column in self.others.items()}
        return Rows(time_us=self.time_us[:count], level_m=self.level_m[:count], flag=self.flag[:count], others=others)


def due_stations(connection: Connection, every: timedelta, limit: int) -> list[DueStation]:
    """Stations whose newest reading, of whatever quantity, is at least ``every`` newer than what has been seen of them.

    Those that have waited longest come first, new ones last. Two probes of indices per station, whatever it sends: partitions
    with nothing but readings that have been seen are not looked at.
    """
    rows = connection.execute(_DUE, {"every": every, "limit": limit})
    return [
        DueStation(
            device=Device(row.id, row.name, dict(row.quality or {})),
            newest=row.time,
            through=row.through,
        )
        for row in rows
    ]


def find_ids(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The numbers of the devices of these names; unknown names are left out."""
    return {row.name: row.id for row in connection.execute(_NAMED, {"names": list(names)})} if names else {}


def read_rows(connection: Connection, until: Mapping[int, datetime], *, reach: timedelta, most: int) -> dict[int, Rows]:
    """The newest stretch of some stations' readings.

    Args:
        connection: a connection in a transaction.
        until: by station, the time of the last row that is wanted.
        reach: how far back from there.
        most: rows of each station, the newest ones.

    Returns:
        By station; one without any row has empty columns.
    """
    stations = sorted(until)
    moments = [until[station] for station in stations]
    parameters = (stations, [moment - reach for moment in moments], moments, most)
    found = copy_rows(connection, _ROWS.format(others=", ".join(map(_other, OTHERS))), parameters, _FIELDS)
    found = found[np.lexsort((found["time"], found["device_id"]))]
    edges = np.searchsorted(found["device_id"], [*stations, np.iinfo(np.int64).max])
    return {
        station: _rows(found[first:last])
        for station, first, last in zip(stations, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    }


def _other(name: str) -> str:
    return f"CASE WHEN (flags->>'{name}')::smallint = 4 THEN 'NaN' ELSE COALESCE({name}, 'NaN') END AS {name}"


def _rows(found: NDArray[Any]) -> Rows:
    return Rows(
        time_us=found["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        level_m=found["level_m"].astype(np.float64),
        flag=found["flag"].astype(np.int16),
        others={name: found[name].astype(np.float64) for name in OTHERS},
    )
