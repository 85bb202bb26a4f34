"""What the overview shows: every device with its newest reading, its trend and its last day, without scanning partitions.

Each part is one LATERAL probe of the primary key (device_id, time) per device. Postgres walks the monthly partitions from the
newest back and stops at the first row. As it has to plan for each partition that a statement may touch, ten years of them cost
more than the probes: the newest readings are looked for in the last weeks, and farther back only for stations without any there.

Levels and their flags are those that count: where an operator corrected something of a station's last day (one probe a station
tells), corrections are looked up for each of its readings there, and for no other station's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.reading import DEVICE_NAME, SIMULATED
from streamgauge.stages import Stage, sound_stages
from streamgauge.storage.corrections import corrected_flag_sql, corrected_reason_sql, corrected_sql

TREND_WINDOW_S = 1_800
"""The rate of change is a straight line through the undoubted readings of so much time before the newest one …"""
SPARSE_TREND_WINDOW_S = 10_800
"""… or through so much, for a station that reports less than three times in ``TREND_WINDOW_S``."""
RECENT = timedelta(days=35)
SPARKLINE_WINDOW_S = 86_400
SPARKLINE_BIN_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class StationNow:
    """One device and what is known of it now. All but the first six are None while it has never reported.

    ``simulated`` says whether the newest reading was made by hand (``streamgauge.reading.is_simulated``); ``surprise`` whether a
    marked one is the water's doing (``event``) or the sensor's (``fault``), and ``score_reason`` why.

    ``standing_m`` is the level that decides on the stage, of ``standing_at``: the newest level that is good or not evaluated, of
    the silence limit (at most ``SPARSE_TREND_WINDOW_S``) before the newest reading; without one the newest that is suspect there.
    ``standing_flag`` says which. A failed level never stands for the water.

    Levels, flags, the rate and the standing level are what counts. ``raw_level_m`` is what the sensor said where an operator
    corrected the newest level; ``is_corrected``: something of the day before the newest reading was corrected.

    ``decommissioned_at``: since then it is out of service, and nothing is expected of it; None for one in use.
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
    river: str | None = None
    description: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    stages: tuple[Stage, ...] = ()
    standing_m: float | None = None
    standing_at: datetime | None = None
    standing_flag: int | None = None
    raw_level_m: float | None = None
    is_corrected: bool = False
    decommissioned_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SparklineBin:
    """Lowest and highest usable level in one bin of ``SPARKLINE_BIN_S`` seconds; ``start_s``: its begin, seconds since 1970."""

    start_s: float
    low_m: float
    high_m: float


_CORRECTED = """EXISTS (SELECT FROM corrections WHERE device_id = d.id AND quantity = 'level_m' AND undone_at IS NULL
        AND first <= {newest} AND last > {newest} - make_interval(secs => :window_s))"""
_LEVEL = f"CASE WHEN {{touched}} THEN {corrected_sql('level_m', 'r')} ELSE r.level_m END"
_FLAG = (
    f"CASE WHEN {{touched}} THEN {corrected_flag_sql('level_m', 'r')} ELSE CAST(r.flags->>'level_m' AS smallint) END"
)
_NOW = f"""
SELECT d.id AS device_id, d.name, d.display_name, d.silence_limit_s, d.time_zone, d.datum,
       n.time, n.level_m, n.level_flag, n.level_reason, n.score, coalesce(n.simulated, 0) <> 0 AS simulated,
       n.surprise, n.score_reason,
       CASE WHEN trend.dense_count >= 3 THEN trend.dense ELSE trend.sparse END AS rate_m_per_h,
       d.river, d.description, d.latitude, d.longitude, d.stages, d.decommissioned_at,
       CASE WHEN n.usable THEN n.level_m ELSE standing.level_m END AS standing_m,
       CASE WHEN n.usable THEN n.time ELSE standing.time END AS standing_at,
       CASE WHEN n.usable THEN coalesce(n.level_flag, 2) ELSE standing.flag END AS standing_flag,
       CASE WHEN n.level_m <> n.raw_level_m THEN n.raw_level_m END AS raw_level_m,
       coalesce(n.touched, false) AS is_corrected
FROM devices d
LEFT JOIN LATERAL (
    SELECT counting.*, level_m IS NOT NULL AND coalesce(level_flag, 2) IN (1, 2) AS usable
    FROM (
        SELECT r.time, r.level_m AS raw_level_m, r.touched, r.score, r.surprise, r.reasons->'score' AS score_reason,
               (r.extra->>'{SIMULATED}')::float8 AS simulated,
               {_LEVEL.format(touched="r.touched")} AS level_m, {_FLAG.format(touched="r.touched")} AS level_flag,
               CASE WHEN r.touched THEN {corrected_reason_sql("level_m", "r")} ELSE r.reasons->'level_m' END AS level_reason
        FROM (
            SELECT newest.*, {_CORRECTED.format(newest="newest.time")} AS touched
            FROM (
                SELECT r.* FROM readings r
                WHERE r.device_id = d.id AND r.time >= CAST(:since AS timestamptz) ORDER BY r.time DESC LIMIT 1
            ) newest OFFSET 0
        ) r OFFSET 0
    ) counting
) n ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE age_h > -:dense_h) AS dense_count,
           regr_slope(level_m, age_h) FILTER (WHERE age_h > -:dense_h) AS dense,
           regr_slope(level_m, age_h) AS sparse
    FROM (
        SELECT {_LEVEL.format(touched="n.touched")} AS level_m,
               extract(epoch FROM r.time - n.time)::float8 / 3600 AS age_h
        FROM readings r
        WHERE r.device_id = d.id AND r.time > n.time - make_interval(secs => :sparse_s) AND r.time <= n.time
          AND r.time >= CAST(:before AS timestamptz)
          AND r.level_m IS NOT NULL AND coalesce({_FLAG.format(touched="n.touched")}, 2) IN (1, 2)
        ORDER BY r.time DESC LIMIT 400
    ) recent
) trend ON n.time IS NOT NULL
LEFT JOIN LATERAL (
    SELECT counting.level_m, counting.time, counting.flag
    FROM (
        SELECT {_LEVEL.format(touched="n.touched")} AS level_m, r.time,
               coalesce({_FLAG.format(touched="n.touched")}, 2) AS flag
        FROM readings r
        WHERE NOT n.usable AND r.device_id = d.id AND r.time <= n.time AND r.time >= CAST(:before AS timestamptz)
          AND r.time > n.time - make_interval(secs => least(d.silence_limit_s, :sparse_s))
          AND r.level_m IS NOT NULL
        OFFSET 0
    ) counting
    WHERE counting.flag IN (1, 2, 3)
    ORDER BY counting.flag = 3, counting.time DESC LIMIT 1
) standing ON true
"""

_SPARKLINES = f"""
SELECT d.id AS device_id, bins.start_s, bins.low_m, bins.high_m
FROM unnest(cast(:device_ids AS bigint[])) AS d(id)
CROSS JOIN LATERAL (
    SELECT newest.time, {_CORRECTED.format(newest="newest.time")} AS touched
    FROM (SELECT r.time FROM readings r WHERE r.device_id = d.id ORDER BY r.time DESC LIMIT 1) newest OFFSET 0
) n
CROSS JOIN LATERAL (
    SELECT array_agg(start_s ORDER BY start_s) AS start_s, array_agg(low_m ORDER BY start_s) AS low_m,
           array_agg(high_m ORDER BY start_s) AS high_m
    FROM (
        SELECT floor(extract(epoch FROM r.time)::float8 / :bin_s) * :bin_s AS start_s,
               min({_LEVEL.format(touched="n.touched")}) AS low_m, max({_LEVEL.format(touched="n.touched")}) AS high_m
        FROM readings r
        WHERE r.device_id = d.id AND r.time > n.time - make_interval(secs => :window_s) AND r.time <= n.time
          AND r.level_m IS NOT NULL AND coalesce({_FLAG.format(touched="n.touched")}, 2) <> 4
        GROUP BY 1
    ) one
) bins
WHERE bins.start_s IS NOT NULL
"""


def read_stations_now(
    connection: Connection, names: Sequence[str] | None = None, *, device_ids: Sequence[int] | None = None
) -> list[StationNow]:
    """Devices with their newest reading and rate of change (m/h), sorted by name.

    Args:
        connection: a connection.
        names: these devices, also decommissioned ones.
        device_ids: these, as far as they are in use. Without either: every device that is in use.
    """
    values: dict[str, Any] = {
        "dense_h": TREND_WINDOW_S / 3600,
        "sparse_s": SPARSE_TREND_WINDOW_S,
        "window_s": SPARKLINE_WINDOW_S,
    }
    chosen = "d.decommissioned_at IS NULL"
    if names is not None:
        chosen = "d.name = ANY(:names)"
        values["names"] = [name for name in names if DEVICE_NAME.fullmatch(name)]
    elif device_ids is not None:
        chosen += " AND d.id = ANY(CAST(:device_ids AS bigint[]))"
        values["device_ids"] = list(device_ids)
    stations = _read_now(connection, chosen, values, datetime.now(UTC) - RECENT)
    if silent := [station.device_id for station in stations if station.time is None]:
        # Heard long ago, or never.
        further = {**values, "silent": silent}
        found = _read_now(connection, "d.id = ANY(CAST(:silent AS bigint[]))", further, None)
        heard = {station.device_id: station for station in found}
        stations = [heard.get(station.device_id, station) for station in stations]
    return stations


def _read_now(connection: Connection, chosen: str, values: dict[str, Any], since: datetime | None) -> list[StationNow]:
    """The chosen devices with their newest reading since a time; None: of the whole record."""
    before = since - timedelta(seconds=SPARSE_TREND_WINDOW_S) if since else "-infinity"
    bounds = {"since": since or "-infinity", "before": before}
    rows = connection.execute(text(f"{_NOW} WHERE {chosen} ORDER BY d.name"), values | bounds)
    return [StationNow(**{**row, "stages": sound_stages(row["stages"])}) for row in rows.mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The devices in use, as one number that is another after any change to any device's row."""

    devices: int
    stamp: int


_REGISTERED = text("""
SELECT count(*) FILTER (WHERE decommissioned_at IS NULL) AS devices,
       coalesce(sum(xmin::text::bigint * (id % 8191 + 1)), 0) AS stamp
FROM devices
""")
_ROWS = text("SELECT id, name, xmin::text AS stamp FROM devices WHERE decommissioned_at IS NULL")


def read_registered(connection: Connection) -> Registered:
    """Whether the devices' own rows are still those that were read before; a scan of that table alone."""
    row = connection.execute(_REGISTERED).one()
    return Registered(devices=row.devices, stamp=int(row.stamp))


def read_device_rows(connection: Connection) -> dict[int, tuple[str, str]]:
    """Name, and a stamp that changes with the row, of every device in use, by its id."""
    return {row.id: (row.name, row.stamp) for row in connection.execute(_ROWS)}


def read_sparklines(connection: Connection, device_ids: Sequence[int]) -> dict[int, list[SparklineBin]]:
    """The day that ends at each device's newest reading, in bins that keep every usable peak, by time; empty bins are absent."""
    if not device_ids:
        return {}
    values = {"device_ids": list(device_ids), "window_s": SPARKLINE_WINDOW_S, "bin_s": SPARKLINE_BIN_S}
    return {
        row.device_id: [
            SparklineBin(start_s=start_s, low_m=low_m, high_m=high_m)
            for start_s, low_m, high_m in zip(row.start_s, row.low_m, row.high_m, strict=True)
        ]
        for row in connection.execute(text(_SPARKLINES), values)
    }


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
