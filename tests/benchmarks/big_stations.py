"""The stations of the big database: places, rivers, stages, and the water that the generator makes for each."""

from datetime import datetime, timedelta

import numpy as np
import orjson
from sqlalchemy import Connection, text

RIVERS = (
    "Sông Hồng", "Sông Đà", "Sông Lô", "Sông Thao", "Sông Cầu", "Sông Thương", "Sông Lục Nam", "Sông Thái Bình", "Sông Đáy",
    "Sông Mã", "Sông Chu", "Sông Cả", "Sông La", "Sông Gianh", "Sông Nhật Lệ", "Sông Thạch Hãn", "Sông Hương", "Sông Bồ",
    "Sông Vu Gia", "Sông Thu Bồn", "Sông Trà Khúc", "Sông Vệ", "Sông Kôn", "Sông Ba", "Sông Cái", "Sông Đồng Nai",
    "Sông Bé", "Sông Sài Gòn", "Sông Tiền", "Sông Hậu", "Sê San", "Srêpôk",
)  # fmt: skip
SEED = 20_261_121
OVER_SHARE, SILENT_SHARE, UNPLACED_SHARE = 0.03, 0.02, 0.01

_TABLE = """
CREATE TABLE IF NOT EXISTS bench_stations (
    device_id bigint PRIMARY KEY, is_long boolean NOT NULL, base float8, height float8, period float8, phase float8,
    silent_since timestamptz)
"""
_DEVICES = text("""
INSERT INTO devices (name, display_name, river, latitude, longitude, time_zone, datum, silence_limit_s, stages, description,
    registered_at)
SELECT name, display_name, river, latitude, longitude, 'Asia/Ho_Chi_Minh', 'VN-2000', 3600, stages, description, :registered_at
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS station(name text, display_name text, river text, latitude float8,
    longitude float8, stages jsonb, description text)
ORDER BY name RETURNING id
""")
_WATER = text("""
INSERT INTO bench_stations (device_id, is_long, base, height, period, phase, silent_since)
SELECT device_id, is_long, base, height, period, phase, silent_since
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS water(device_id bigint, is_long boolean, base float8, height float8,
    period float8, phase float8, silent_since timestamptz)
""")


def make_stations(connection: Connection, count: int, long_stations: int, end: datetime) -> None:
    """Register stations ``station-0001`` … and note each one's water; the first ``long_stations`` have the long records.

    Args:
        connection: a connection in a transaction.
        count: how many.
        long_stations: how many of them have a long record.
        end: until when their readings go at first; a few are silent since two days before.
    """
    random = np.random.default_rng(SEED)
    connection.execute(text(_TABLE))
    base, height = random.uniform(0.5, 8.0, count).round(2), random.uniform(0.8, 4.0, count).round(2)
    rivers = random.integers(len(RIVERS), size=count)
    rows = [
        _station(random, number, RIVERS[rivers[number]], float(base[number]), float(height[number]))
        for number in range(count)
    ]
    values = {"rows": orjson.dumps(rows).decode(), "registered_at": end - timedelta(days=4_000)}
    ids = list(connection.execute(_DEVICES, values).scalars())
    water = [
        {
            "device_id": device_id,
            "is_long": number < long_stations,
            "base": float(base[number]),
            "height": float(height[number]),
            "period": float(random.uniform(9, 40) * 86_400),
            "phase": float(random.uniform(0, 2 * np.pi)),
            "silent_since": (end - timedelta(days=2)).isoformat() if is_silent(number, long_stations) else None,
        }
        for number, device_id in enumerate(ids)
    ]
    connection.execute(_WATER, {"rows": orjson.dumps(water).decode()})


def is_silent(number: int, long_stations: int) -> bool:
    """Whether a station has fallen silent."""
    return number >= long_stations and number % round(1 / SILENT_SHARE) == 7


def _station(random: np.random.Generator, number: int, river: str, base_m: float, height_m: float) -> dict[str, object]:
    is_over = random.random() < OVER_SHARE
    first = base_m - 1.0 if is_over else base_m + 0.5 * height_m
    # A station that is over its first stage is not over all of them.
    stages = [
        {
            "name": name,
            "level_m": round(first + 0.25 * place * height_m + (2.0 if is_over and place else 0.0), 2),
            "severity": place + 1,
        }
        for place, name in enumerate(("BĐ I", "BĐ II", "BĐ III"))
    ]
    placed = random.random() >= UNPLACED_SHARE
    return {
        "name": f"station-{number + 1:04}",
        "display_name": f"{river} {number + 1:04}",
        "river": river,
        "latitude": round(float(random.uniform(8.6, 23.3)), 5) if placed else None,
        "longitude": round(float(random.uniform(102.2, 109.4)), 5) if placed else None,
        "stages": stages,
        "description": "Generated for a benchmark",
    }
