"""Stored history as training takes it: one station's levels in order of time, and which stations have enough of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, text

from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows
from streamgauge.storage.devices import station_quality

_IS_REAL = "COALESCE(extra->>'simulated', '0') IN ('0', '0.0')"
_STATIONS = text(f"""
SELECT devices.id, devices.name, devices.quality, devices.gross_min_m, devices.gross_max_m, first.time AS first, last.time AS last
FROM devices
CROSS JOIN LATERAL (SELECT time FROM readings WHERE device_id = devices.id AND time >= :since AND time < :until
    AND level_m IS NOT NULL AND {_IS_REAL} ORDER BY time LIMIT 1) AS first
CROSS JOIN LATERAL (SELECT time FROM readings WHERE device_id = devices.id AND time >= :since AND time < :until
    AND level_m IS NOT NULL AND {_IS_REAL} ORDER BY time DESC LIMIT 1) AS last
WHERE devices.decommissioned_at IS NULL AND (CAST(:names AS text[]) IS NULL OR devices.name = ANY(CAST(:names AS text[])))
ORDER BY last.time - first.time DESC, devices.id LIMIT :most
""")
_LEVELS = f"""
SELECT time, level_m, COALESCE((flags->>'level_m')::smallint, 9::smallint) AS flag,
       COALESCE(surprise = 'fault', false)::int::smallint AS fault
FROM readings WHERE device_id = %s AND time >= %s AND time < %s AND level_m IS NOT NULL AND {_IS_REAL}
ORDER BY time DESC LIMIT %s
"""
_FIELDS = {"time": ">i8", "level_m": ">f8", "flag": ">i2", "fault": ">i2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StationHistory:
    """How much is stored of a station.

    Attributes:
        device_id: its id.
        name: the wire's.
        first: time of its first reading with a level, within what was asked for.
        last: of its last.
        limits: parameters of the quality checks that differ from the defaults.
    """

    device_id: int
    name: str
    first: datetime
    last: datetime
    limits: Mapping[str, Any]

    @property
    def span(self) -> timedelta:
        """From the first to the last."""
        return self.last - self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """One station's stored levels in order of time, each instant once, made by sensors.

    Attributes:
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n], none missing.
        flag: the stored quality flag, int16[n].
        fault: whether the reading was marked and the sensor was blamed, bool[n].
    """

    time_us: NDArray[np.int64]
    level_m: NDArray[np.float64]
    flag: NDArray[np.int16]
    fault: NDArray[np.bool_]


def stations_with_history(
    connection: Connection, since: datetime, until: datetime, names: list[str] | None = None, most: int = 1_000
) -> list[StationHistory]:
    """Stations with readings of the level in [since, until), those with the longest history first; not decommissioned ones.

    Args:
        connection: a connection; four look-ups in the index per station.
        since: first instant.
        until: the instant after the last.
        names: only these.
        most: at most so many.
    """
    values = {"since": since, "until": until, "names": names, "most": most}
    return [_history(row) for row in connection.execute(_STATIONS, values).mappings()]


def read_levels(connection: Connection, device_id: int, since: datetime, until: datetime, most: int) -> Levels:
    """The newest ``most`` levels of a station in [since, until), in order of time."""
    rows = copy_rows(connection, _LEVELS, (device_id, since, until, most), _FIELDS)[::-1]
    return Levels(
        time_us=rows["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        level_m=rows["level_m"].astype(np.float64),
        flag=rows["flag"].astype(np.int16),
        fault=rows["fault"] != 0,
    )


def _history(row: RowMapping) -> StationHistory:
    site = {name: row[name] for name in ("gross_min_m", "gross_max_m")}
    limits = dict(station_quality(row["name"], row["quality"], site).parameters)
    return StationHistory(device_id=row["id"], name=row["name"], first=row["first"], last=row["last"], limits=limits)
