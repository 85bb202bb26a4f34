"""A database as years of operation leave it: 1,000 stations in the real partitions, ten of them with ten years of readings.

``python -m tests.benchmarks.big_database --folder DIR [--readings N]`` makes it, or goes on where it was interrupted, brings it
up to this minute and rolls it up. Postgres makes the readings itself, in order of time over all stations, as they come in real
operation: a station's readings lie scattered over the pages of its month. What is random is seeded.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from sqlalchemy import Connection, Engine, text

from embedded.settings import EmbeddedSettings
from embedded.stack import Stack, temporary_stack
from streamgauge.scoring.model import Model
from streamgauge.storage.engine import INDEX_LOOKUPS_ONLY, make_engine
from streamgauge.storage.models import ensure_model
from streamgauge.storage.partitions import make_partitions, month_of, next_month
from tasks.rollup import Done, roll_on
from tests.benchmarks.big_stations import make_stations
from tests.benchmarks.report import say
from tests.support.system import System

READINGS, STATIONS, LONG_STATIONS = 20_000_000, 1_000, 10
STEP = timedelta(minutes=15)
TEN_YEARS = 350_640
"""Readings of ten years at ``STEP``: 365.25 days each."""
ROWS_AT_ONCE = 400_000
SEED = 0.2026
GROUPS = ("long", "others")
TELL_S = 5.0

_TABLE = """
CREATE TABLE IF NOT EXISTS bench_plan (name text PRIMARY KEY, since timestamptz NOT NULL, until timestamptz NOT NULL, plan jsonb)
"""
_FILL = text("""
INSERT INTO readings (device_id, time, level_m, temperature_c, rainfall_mm, battery_v, rssi_dbm, snr_db, seq, flags, reasons,
    expected_m, low_m, high_m, score, model_id, received_at, stored_at, surprise)
SELECT device_id, moment, round(CAST(CASE WHEN chance < 0.0003 THEN water + 40 WHEN chance < 0.003 THEN water + 0.3
        ELSE water END AS numeric), 3),
    temperature, CASE WHEN rain < 0.9 THEN 0 ELSE floor((rain - 0.9) * 100) * 0.2 END,
    3.6 - 0.2 * phase / 6.3, -80 - 30 * rain, 9 - 8 * rain, CAST(number AS bigint),
    CASE WHEN chance < 0.0003 THEN CAST('{"level_m": 4, "temperature_c": 1, "rainfall_mm": 1}' AS jsonb)
        WHEN chance < 0.003 THEN CAST('{"level_m": 3, "temperature_c": 1, "rainfall_mm": 1}' AS jsonb)
        ELSE CAST('{"level_m": 1, "temperature_c": 1, "rainfall_mm": 1}' AS jsonb) END,
    CASE WHEN chance < 0.0003 THEN CAST('{"level_m": {"check": "gross_range", "measured_m": 41.2, "limit_m": 20.0}}' AS jsonb)
        WHEN chance < 0.003 THEN CAST('{"level_m": {"check": "spike", "measured_m": 0.3, "limit_m": 0.15}}' AS jsonb) END,
    water + 0.004 * (rain - 0.5), water - 0.02, water + 0.02,
    CASE WHEN chance > 0.9999 THEN 0.99 ELSE round(CAST(0.9 * power(rain, 4) AS numeric), 3) END,
    CAST(:model AS integer), moment + interval '2 seconds', moment + interval '3 seconds',
    CASE WHEN chance > 0.9999 THEN 'event' END
FROM (
    SELECT device_id, moment, number, phase, random() AS chance, random() AS rain,
        base + 0.25 * sin(year + phase) + 0.03 * sin(day + 3 * phase) + 0.003 * random()
            + height * power(greatest(0, sin(2 * pi() * seconds / period + phase)), 30) AS water,
        round(CAST(24 + 5 * sin(year) + 2 * sin(day + phase) AS numeric), 1) AS temperature
    FROM (
        SELECT moment, seconds, seconds / 900 AS number, 2 * pi() * seconds / 31557600 AS year, 2 * pi() * seconds / 86400 AS day
        FROM (SELECT moment, date_part('epoch', moment) AS seconds
            FROM generate_series(CAST(:since AS timestamptz), CAST(:until AS timestamptz) - interval '1 s', :step) AS moment)
            AS moments) AS times
    CROSS JOIN (SELECT * FROM bench_stations WHERE is_long = :is_long ORDER BY device_id) AS stations
    WHERE moment < COALESCE(silent_since, 'infinity')
    OFFSET 0) AS made
ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much there is to be: numbers of stations, and of readings of each."""

    stations: int
    long_stations: int
    long_readings: int
    other_readings: int

    @property
    def readings(self) -> int:
        """All of them, apart from those of stations that fell silent."""
        others = self.stations - self.long_stations
        return self.long_stations * self.long_readings + others * self.other_readings


def plan_of(readings: int, stations: int = STATIONS) -> Plan:
    """Ten stations of ten years and the rest evenly; where the readings are few, one station with a fifth of them."""
    long_stations = LONG_STATIONS if readings >= 5 * LONG_STATIONS * TEN_YEARS else 1
    long_readings = min(TEN_YEARS, readings // 5 // long_stations)
    rest = readings - long_stations * long_readings
    return Plan(
        stations=stations,
        long_stations=long_stations,
        long_readings=long_readings,
        other_readings=max(1, rest // (stations - long_stations)),
    )


def fill(engine: Engine, readings: int, now: datetime | None = None) -> Plan:
    """Make stations and readings, or go on with them, and bring them up to this minute.

    Raises:
        ValueError: there is another plan's database here.
    """
    now = now or datetime.now(UTC)
    plan = _begin(engine, plan_of(readings), now)
    with engine.begin() as connection:
        model = Model.load()
        model_id = ensure_model(connection, model.sha256, dict(model.card))
    for group in GROUPS:
        _fill_group(engine, plan, group, now, model_id)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) readings"))
    return plan


def _begin(engine: Engine, plan: Plan, now: datetime) -> Plan:
    with engine.begin() as connection:
        connection.execute(text(_TABLE))
        known = connection.execute(text("SELECT plan FROM bench_plan LIMIT 1")).scalar_one_or_none()
        if known is not None:
            if known != asdict(plan):
                raise ValueError(f"here is a database of another plan: {known}; take another folder")
            return plan
        end = _floor(now)
        make_stations(connection, plan.stations, plan.long_stations, end)
        for group, count in zip(GROUPS, (plan.long_readings, plan.other_readings), strict=True):
            since = end - count * STEP
            values = {"name": group, "since": since, "plan": orjson.dumps(asdict(plan)).decode()}
            insert = "INSERT INTO bench_plan VALUES (:name, :since, :since, CAST(:plan AS jsonb))"
            connection.execute(text(insert), values)
    return plan


def _fill_group(engine: Engine, plan: Plan, group: str, now: datetime, model_id: int) -> None:
    is_long = group == "long"
    stations = plan.long_stations if is_long else plan.stations - plan.long_stations
    with engine.connect() as connection:
        since, until = connection.execute(
            text("SELECT since, until FROM bench_plan WHERE name = :n"), {"n": group}
        ).one()
    end, began, made = _floor(now) + STEP, time.monotonic(), 0
    while until < end:
        steps = max(1, ROWS_AT_ONCE // stations)
        before = min(end, next_month(month_of(until)), until + steps * STEP)
        with engine.begin() as connection:
            made += _fill(connection, until, before, is_long, model_id)
            connection.execute(text("UPDATE bench_plan SET until = :u WHERE name = :n"), {"u": before, "n": group})
        until = before
        share = (until - since) / (end - since)
        say(f"readings, {group}: {100 * share:.0f} %, {made / (time.monotonic() - began):,.0f} readings/s")


def _fill(connection: Connection, since: datetime, until: datetime, is_long: bool, model_id: int) -> int:
    make_partitions(connection, [month_of(since)])
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    # Each piece has a seed of its own, so that it is the same whether or not it was interrupted before it.
    connection.execute(text("SELECT setseed(:seed)"), {"seed": (SEED + since.timestamp() / 1e10) % 1.0})
    values = {"since": since, "until": until, "step": STEP, "is_long": is_long, "model": model_id}
    return int(connection.execute(_FILL, values).rowcount)


def _floor(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


@contextmanager
def big_system(directory: Path, readings: int, folder: Path | None = None) -> Iterator[System]:
    """A system whose database is big; nothing but the servers runs.

    Args:
        directory: for logs.
        readings: about how many.
        folder: where the database stays, for the next time; by default it is deleted at the end.
    """
    settings = EmbeddedSettings(home=folder) if folder else None
    with Stack(folder, settings=settings) if folder else temporary_stack() as stack:
        system = System(stack, directory)
        try:
            system.migrate()
            fill(system.engine, readings)
            roll_up(system.engine)
            yield system
        finally:
            system.stop()


def roll_up(engine: Engine) -> None:
    """Roll up what there is, as the batch worker does, without resting."""
    told = [time.monotonic()]

    def tell(done: Done) -> None:
        if time.monotonic() - told[0] > TELL_S:
            told[0] = time.monotonic()
            say(f"rolled up: {done.readings:,} readings, through {done.through:%Y-%m-%d}")

    steady = make_engine(engine.url.render_as_string(hide_password=False), planner=INDEX_LOOKUPS_ONLY)
    done = roll_on(steady, float("inf"), rest=lambda _seconds: None, tell=tell)
    steady.dispose()
    if done.readings > ROWS_AT_ONCE:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE) readings_hourly, readings_daily"))


def main(arguments: list[str] | None = None) -> None:
    """Make the database in a folder and say how it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.big_database", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where it stays")
    parser.add_argument("--readings", type=int, default=READINGS, help=f"how many (default: {READINGS:,})")
    parser.add_argument("--serve", action="store_true", help="keep the servers until Enter, with their addresses")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    with big_system(given.folder, given.readings, given.folder) as system:
        size = system.scalar("SELECT pg_database_size(current_database())")
        say(
            f"{system.scalar('SELECT sum(reltuples) FROM pg_class WHERE relkind = :k', k='r'):,.0f} rows, {size / 2**30:.1f} GiB"
        )
        if given.serve:
            print(orjson.dumps(system.stack.addresses.as_environment()).decode(), flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    main()
