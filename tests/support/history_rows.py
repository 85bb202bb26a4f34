"""Devices and readings straight into the tables: for exports and SensorThings, which only read."""

from datetime import UTC, datetime

from sqlalchemy import Engine, text

from streamgauge.storage.partitions import make_partitions, month_of, next_month

BEGIN = datetime(2026, 9, 29, tzinfo=UTC)


def add_device(engine: Engine, name: str, **fields: object) -> int:
    """A device; returns its number."""
    columns = ", ".join(["name", *fields])
    values = ", ".join([":name", *(f":{field}" for field in fields)])
    with engine.begin() as connection:
        query = text(f"INSERT INTO devices ({columns}) VALUES ({values}) RETURNING id")
        return int(connection.execute(query, {"name": name, **fields}).scalar_one())


def add_readings(engine: Engine, device_id: int, rows: int, *, begin: datetime = BEGIN, step_s: float = 900) -> None:
    """Readings at even steps, numbered from 0: level 1.000, 1.001 …; 3, 13 … are suspect, 7, 17 … failed."""
    with engine.begin() as connection:
        months = [month_of(begin)]
        while len(months) <= rows * step_s // (28 * 86_400) + 1:
            months.append(next_month(months[-1]))
        make_partitions(connection, months)
        connection.execute(
            text("""
            INSERT INTO readings (device_id, time, level_m, temperature_c, seq, flags, reasons, expected_m, score, received_at)
            SELECT :id, CAST(:begin AS timestamptz) + n * make_interval(secs => :step_s), 1 + n / 1000.0,
                CASE WHEN n % 2 = 0 THEN 20.5 END, n,
                jsonb_build_object('level_m', CASE n % 10 WHEN 3 THEN 3 WHEN 7 THEN 4 ELSE 1 END)
                || CASE WHEN n % 2 = 0 THEN '{"temperature_c": 1}' ELSE '{}' END::jsonb,
                CASE WHEN n % 10 = 3 THEN '{"level_m": {"check": "spike", "measured_m": 0.5, "limit_m": 0.1}}'::jsonb END,
                1, CASE WHEN n % 50 = 49 THEN 0.99 ELSE 0.1 END, now()
            FROM generate_series(0, :rows - 1) AS n
            """),
            {"id": device_id, "begin": begin, "step_s": step_s, "rows": rows},
        )
