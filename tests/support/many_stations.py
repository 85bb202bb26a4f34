"""Many stations at once, straight into the tables: for pages that show a thousand, and for figures."""

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from streamgauge.storage.partitions import make_partitions, month_of

RIVERS = ("Sông Hồng", "Sông Cầu", "Dead Run", "Gwynns Falls", "Sông Mã", "Patapsco", "Sông Lô", "Mill Brook")
STAGES = [
    {"name": "BĐ I", "level_m": 2.0, "severity": 1},
    {"name": "BĐ II", "level_m": 2.5, "severity": 2},
    {"name": "BĐ III", "level_m": 3.0, "severity": 3},
]

_DEVICES = text("""
INSERT INTO devices (name, display_name, river, description, latitude, longitude, time_zone, silence_limit_s, stages)
SELECT 'station-' || lpad(n::text, 5, '0'),
       (CAST(:rivers AS text[]))[1 + n % :rivers_n] || ' ' || n, (CAST(:rivers AS text[]))[1 + n % :rivers_n],
       'Station number ' || n,
       CASE WHEN n % 50 = 0 THEN NULL ELSE 8.6 + 14.4 * ((n * 7919) % 10000) / 10000.0 END,
       CASE WHEN n % 50 = 0 THEN NULL ELSE 104.0 + 4.5 * ((n * 104729) % 10000) / 10000.0 END,
       'Asia/Ho_Chi_Minh', 3600, CAST(:stages AS jsonb)
FROM generate_series(1, :stations) AS n
""")
_READINGS = text("""
INSERT INTO readings (device_id, time, level_m, battery_v, flags, score, received_at)
SELECT d.id, moment, level_m, 3.6, jsonb_build_object('level_m', CASE WHEN is_last AND d.id % 101 = 1 THEN 3 ELSE 1 END),
       CASE WHEN is_last AND d.id % 211 = 1 THEN 0.99 ELSE 0.1 END, moment
FROM devices d
CROSS JOIN generate_series(0, :steps - 1) AS step
CROSS JOIN LATERAL (
    SELECT CAST(:now AS timestamptz) - make_interval(secs => step * :step_s) AS moment,
           step = 0 AS is_last,
           CASE WHEN d.id % 31 = 2 THEN 2.1 + (d.id % 3) * 0.5
                WHEN d.id % 53 = 3 THEN 1.0 + greatest(0, 0.9 - step * :step_s / 3600.0 * 0.5)
                ELSE 1.0 + 0.2 * sin(d.id + step / 30.0) END AS level_m
) made
WHERE NOT (d.id % 41 = 4 AND moment > CAST(:now AS timestamptz) - interval '3 hours')
""")


def fill(
    connection: Connection, stations: int, *, hours: float = 25, step_s: int = 900, now: datetime | None = None
) -> None:
    """Stations in every state, each with readings up to now: some over a stage, rising, silent, suspect, anomalous."""
    now = now or datetime.now(UTC)
    make_partitions(connection, {month_of(now - timedelta(hours=before)) for before in (0, hours)})
    connection.execute(
        _DEVICES,
        {"stations": stations, "rivers": list(RIVERS), "rivers_n": len(RIVERS), "stages": json.dumps(STAGES)},
    )
    connection.execute(_READINGS, {"now": now, "steps": int(hours * 3600 / step_s), "step_s": step_s})
