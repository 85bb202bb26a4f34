"""What the overview shows: every device with its newest reading, its trend and its last day, without scanning partitions.

Each part is one LATERAL probe of the primary key (device_id, time) per device. Postgres walks the monthly partitions from the
newest back and stops at the first row, so the cost grows with the number of devices and not with the age of the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.reading import DEVICE_NAME, SIMULATED

TREND_WINDOW_S = 1_800
"""The rate of change is a straight line through the undoubted readings of so much time before the newest one …"""
SPARSE_TREND_WINDOW_S = 10_800
"""… or through so much, for a station that reports less than three times in ``TREND_WINDOW_S``."""
SPARKLINE_WINDOW_S = 86_400
SPARKLINE_BIN_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class StationNow:
    """One device and what is known of it now. All but the first six are None while it has never reported.

    ``simulated`` says whether the newest reading was made by hand (``streamgauge.reading.is_simulated``); ``surprise`` whether a
    marked one is the water's doing (``event``) or the sensor's (``fault``), and ``score_reason`` why.
    """

    device_id: int
    name: str
    display_name: str | None
    silence_limit_s: int
    time_zone: str
    datum: str | None
    time: datetime | None
    level_m: float | None
    level_flag: int | None
    level_reason: dict[str, Any] | None
    score: float | None
    rate_m_per_h: float | None
    simulated: bool = False
    surprise: str | None = None
    score_reason: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SparklineBin:
    """Lowest and highest usable level in one bin of ``SPARKLINE_BIN_S`` seconds; ``start_s`` counts from the window's start."""

    start_s: float
    low_m: float
    high_m: float


_NOW = f"""
SELECT d.id AS device_id, d.name, d.display_name, d.silence_limit_s, d.time_zone, d.datum,
       n.time, n.level_m, n.level_flag, n.level_reason, n.score, coalesce(n.simulated, 0) <> 0 AS simulated,
       n.surprise, n.score_reason,
       CASE WHEN trend.dense_count >= 3 THEN trend.dense ELSE trend.sparse END AS rate_m_per_h
FROM devices d
LEFT JOIN LATERAL (
    SELECT r.time, r.level_m, (r.flags->>'level_m')::int AS level_flag, r.reasons->'level_m' AS level_reason, r.score,
           r.surprise, r.reasons->'score' AS score_reason, (r.extra->>'{SIMULATED}')::float8 AS simulated
    FROM readings r WHERE r.device_id = d.id ORDER BY r.time DESC LIMIT 1
) n ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE age_h > -:dense_h) AS dense_count,
           regr_slope(level_m, age_h) FILTER (WHERE age_h > -:dense_h) AS dense,
           regr_slope(level_m, age_h) AS sparse
    FROM (
        SELECT r.level_m, extract(epoch FROM r.time - n.time)::float8 / 3600 AS age_h
        FROM readings r
        WHERE r.device_id = d.id AND r.time > n.time - make_interval(secs => :sparse_s) AND r.time <= n.time
          AND r.level_m IS NOT NULL AND coalesce(r.flags->>'level_m', '2') IN ('1', '2')
        ORDER BY r.time DESC LIMIT 400
    ) recent
) trend ON n.time IS NOT NULL
"""

_SPARKLINES = """
SELECT d.id AS device_id, bins.start_s, bins.low_m, bins.high_m
FROM unnest(cast(:device_ids AS bigint[])) AS d(id)
CROSS JOIN LATERAL (SELECT r.time FROM readings r WHERE r.device_id = d.id ORDER BY r.time DESC LIMIT 1) n
CROSS JOIN LATERAL (
    SELECT floor((:window_s - extract(epoch FROM n.time - r.time)::float8) / :bin_s) * :bin_s AS start_s,
           min(r.level_m) AS low_m, max(r.level_m) AS high_m
    FROM readings r
    WHERE r.device_id = d.id AND r.time > n.time - make_interval(secs => :window_s) AND r.time <= n.time
      AND r.level_m IS NOT NULL AND coalesce(r.flags->>'level_m', '2') <> '4'
    GROUP BY 1
) bins
ORDER BY d.id, bins.start_s
"""


def read_stations_now(connection: Connection, names: Sequence[str] | None = None) -> list[StationNow]:
    """Every device, or those that are named, with the newest reading and the rate of change (m/h), sorted by name."""
    chosen = "" if names is None else "WHERE d.name = ANY(:names)"
    values: dict[str, Any] = {"dense_h": TREND_WINDOW_S / 3600, "sparse_s": SPARSE_TREND_WINDOW_S}
    if names is not None:
        values["names"] = [name for name in names if DEVICE_NAME.fullmatch(name)]
    rows = connection.execute(text(f"{_NOW} {chosen} ORDER BY d.name"), values)
    return [StationNow(**row) for row in rows.mappings()]


def read_sparklines(connection: Connection, device_ids: Sequence[int]) -> dict[int, list[SparklineBin]]:
    """The day that ends at each device's newest reading, in bins that keep every usable peak; bins without a level are absent."""
    if not device_ids:
        return {}
    values = {"device_ids": list(device_ids), "window_s": SPARKLINE_WINDOW_S, "bin_s": SPARKLINE_BIN_S}
    lines: dict[int, list[SparklineBin]] = {}
    for row in connection.execute(text(_SPARKLINES), values):
        lines.setdefault(row.device_id, []).append(
            SparklineBin(start_s=row.start_s, low_m=row.low_m, high_m=row.high_m)
        )
    return lines


def read_newest_times(connection: Connection, limit: int) -> dict[str, datetime]:
    """Time of the newest reading of the first ``limit`` registered devices (by id) that have one: the age metric's source."""
    rows = connection.execute(
        text(
            "SELECT d.name, n.time FROM (SELECT id, name FROM devices ORDER BY id LIMIT :limit) d "
            "CROSS JOIN LATERAL (SELECT r.time FROM readings r WHERE r.device_id = d.id ORDER BY r.time DESC LIMIT 1) n"
        ),
        {"limit": limit},
    )
    return {row.name: row.time for row in rows}
