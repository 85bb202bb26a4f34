"""What the page of one station reads beside its readings: its site, its newest frames, and what was forecast for a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import DEVICE_FIELDS, to_microseconds
from streamgauge.stages import Stage, sound_stages

MAX_SEARCH_CHARACTERS = 80

_SITE = text("""
SELECT river, description, latitude, longitude, stages, installation, codec_parameters, decommissioned_at, auto_registered
FROM devices WHERE id = :device_id
""")
_FRAMES = text(f"""
SELECT time, received_at, seq, {", ".join(DEVICE_FIELDS)} FROM readings
WHERE device_id = :device_id ORDER BY time DESC LIMIT :limit
""")
_PAST = text("""
SELECT issued_at, expected_m, low_m, high_m, baseline_m FROM forecasts
WHERE device_id = :device_id AND horizon_s = :horizon_s AND issued_at >= :first AND issued_at <= :last
ORDER BY issued_at
""")
_HORIZONS = text("""
SELECT horizon_s FROM forecasts WHERE device_id = :device_id
  AND issued_at = (SELECT issued_at FROM forecasts WHERE device_id = :device_id ORDER BY issued_at DESC LIMIT 1)
ORDER BY horizon_s
""")
_FIND = text(r"""
SELECT name, display_name, river FROM devices
WHERE decommissioned_at IS NULL
  AND (name ILIKE :pattern ESCAPE '\' OR display_name ILIKE :pattern ESCAPE '\' OR river ILIKE :pattern ESCAPE '\')
ORDER BY lower(coalesce(display_name, name)), name LIMIT :limit
""")
_LONG_MEAN = text("""
WITH span AS (
    SELECT CAST(:start AS timestamptz) AS start, least(CAST(:end AS timestamptz), coalesce(min(through), :start)) AS until,
        date_trunc('day', CAST(:start AS timestamptz) + interval '24 hours', 'UTC') AS first_day,
        date_trunc('day', least(CAST(:end AS timestamptz), coalesce(min(through), :start)), 'UTC') AS last_day
    FROM rollup_state),
parts AS (
    SELECT n, mean FROM span, readings_daily
    WHERE device_id = :device_id AND quantity = 'level_m' AND day >= first_day AND day < last_day
    UNION ALL
    SELECT n, mean FROM span, readings_hourly
    WHERE device_id = :device_id AND quantity = 'level_m' AND hour >= start AND hour < least(first_day, until)
    UNION ALL
    SELECT n, mean FROM span, readings_hourly
    WHERE device_id = :device_id AND quantity = 'level_m' AND hour >= greatest(first_day, last_day) AND hour < until
    UNION ALL
    SELECT 1, level_m FROM span, readings
    WHERE device_id = :device_id AND time >= greatest(start, until) AND time <= :end AND level_m IS NOT NULL
      AND coalesce(flags->>'level_m', '2') <> '4')
SELECT sum(n * mean) / nullif(sum(n) FILTER (WHERE mean IS NOT NULL), 0) FROM parts
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where and how a station stands.

    ``installation`` and ``codec_parameters`` are of its LoRaWAN sensor, None for none. ``stages`` are empty where what is
    stored cannot be used.
    """

    river: str | None
    description: str | None
    latitude: float | None
    longitude: float | None
    stages: tuple[Stage, ...]
    installation: Mapping[str, Any] | None
    codec_parameters: Mapping[str, Any] | None
    decommissioned_at: datetime | None
    auto_registered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a device said of itself and its radio with one reading; None for what it did not say."""

    time: datetime
    received_at: datetime
    seq: int | None
    battery_v: float | None
    rssi_dbm: float | None
    snr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastForecasts:
    """What was forecast at one horizon, by the time that it was forecast for; columns of equal length, in order of time."""

    time_us: NDArray[np.int64]
    expected_m: NDArray[np.float64]
    low_m: NDArray[np.float64]
    high_m: NDArray[np.float64]
    baseline_m: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A station that was looked for."""

    name: str
    display_name: str | None
    river: str | None


def read_site(connection: Connection, device_id: int) -> Site:
    """Where and how a station stands."""
    row = dict(connection.execute(_SITE, {"device_id": device_id}).mappings().one())
    return Site(**{**row, "stages": sound_stages(row["stages"])})


def read_frames(connection: Connection, device_id: int, limit: int) -> list[Frame]:
    """The newest frames of a device, newest first."""
    rows = connection.execute(_FRAMES, {"device_id": device_id, "limit": limit})
    return [Frame(**row) for row in rows.mappings()]


def read_horizons(connection: Connection, device_id: int) -> list[int]:
    """How many seconds ahead the newest forecast of a station reaches, shortest first; none before its first one."""
    return [int(value) for value in connection.execute(_HORIZONS, {"device_id": device_id}).scalars()]


def read_past_forecasts(
    connection: Connection, device_id: int, horizon_s: int, start: datetime, end: datetime
) -> PastForecasts:
    """What was forecast ``horizon_s`` seconds before each time of [start, end]."""
    ahead = timedelta(seconds=horizon_s)
    values = {"device_id": device_id, "horizon_s": horizon_s, "first": start - ahead, "last": end - ahead}
    rows = connection.execute(_PAST, values).all()
    numbers = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), 4)
    expected_m, low_m, high_m, baseline_m = numbers.T
    return PastForecasts(
        time_us=np.array([to_microseconds(row[0] + ahead) for row in rows], dtype=np.int64),
        expected_m=expected_m,
        low_m=low_m,
        high_m=high_m,
        baseline_m=baseline_m,
    )


def find_stations(connection: Connection, wanted: str, limit: int) -> Sequence[Found]:
    """Stations in use whose name, title or river has this text in it, by title; none for text that no name can hold."""
    wanted = wanted.strip()[:MAX_SEARCH_CHARACTERS]
    if "\0" in wanted:
        return []
    pattern = wanted.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    rows = connection.execute(_FIND, {"pattern": f"%{pattern}%", "limit": limit})
    return [Found(**row) for row in rows.mappings()]


def read_long_mean(connection: Connection, device_id: int, start: datetime, end: datetime) -> float | None:
    """The mean usable level of [start, end]; None for none.

    Days and hours as far as they are rolled up (a part of an hour at the beginning is left out), else readings.
    """
    found = connection.execute(_LONG_MEAN, {"device_id": device_id, "start": start, "end": end}).scalar_one()
    return None if found is None else float(found)
