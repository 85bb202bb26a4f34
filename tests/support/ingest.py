"""Tasks as workers carry them out, without a queue in between: readings in, rows in a real Postgres out."""

import csv
import gzip
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.quality.check import check_levels
from streamgauge.queue import Message, ingest_body
from streamgauge.reading import Reading, from_microseconds, to_microseconds
from streamgauge.scoring.model import Model
from streamgauge.wire import Rejected
from tasks.attribute import DeviceDirectory
from tasks.pipeline import Outcome, Services, ingest_each
from tasks.work import Work

RECORD = Path(__file__).parents[2] / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
RECEIVED = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
START = datetime(2026, 11, 1, tzinfo=UTC)
TOPIC = "streamgauge/v1/gateways/g/batches"


@cache
def shipped_model() -> Model:
    """The model of the product, loaded once."""
    return Model.load()


def services(engine: Engine, redis: "Redis", *, auto_register: bool = True) -> Services:
    """What a worker process holds."""
    directory = DeviceDirectory(auto_register=auto_register)
    return Services(engine=engine, redis=redis, model=shipped_model(), directory=directory, live_max_events=1_000)


def body(readings: Sequence[Reading], rejected: Sequence[Rejected] = ()) -> dict[str, Any]:
    """The body of one task that carries one message."""
    message = Message(TOPIC, "gateway", to_microseconds(RECEIVED))
    return ingest_body([message], [(0, reading) for reading in readings], [(0, item) for item in rejected])


def work(readings: Sequence[Reading], rejected: Sequence[Rejected] = ()) -> Work:
    """The same as a worker reads it."""
    return Work.from_body(body(readings, rejected))


def ingest(using: Services, readings: Sequence[Reading], rejected: Sequence[Rejected] = ()) -> Outcome:
    """Carry out one task."""
    return ingest_each(work(readings, rejected), using)


def series(
    levels: Iterable[float | None], *, device: str = "a", start: datetime = START, step_s: float = 300.0
) -> list[Reading]:
    """Readings at even steps; ``None`` becomes a reading with a pressure only."""
    return [
        Reading(
            device=device,
            time=start + timedelta(seconds=place * step_s),
            level_m=level,
            pressure_kpa=101.0 if level is None else None,
        )
        for place, level in enumerate(levels)
    ]


@cache
def recorded() -> tuple[tuple[datetime, float], ...]:
    """The times and levels of the Dead Run record."""
    with gzip.open(RECORD, "rt", newline="") as source:
        rows = [(datetime.fromisoformat(row["time"]), float(row["level_m"])) for row in csv.DictReader(source)]
    return tuple((moment.astimezone(UTC), level) for moment, level in rows)


def stored_levels(engine: Engine, device: str = "a") -> list[tuple[int, float | None, int | None]]:
    """(microseconds since 1970, level, flag) of every row of a device, in order of time."""
    query = text(
        "SELECT time, level_m, (flags->>'level_m')::int AS flag FROM readings "
        "JOIN devices ON devices.id = device_id WHERE devices.name = :name ORDER BY time"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"name": device}).all()
    return [(to_microseconds(row.time), row.level_m, row.flag) for row in rows]


def flags_of_the_whole(readings: Iterable[Reading]) -> list[tuple[int, float | None, int | None]]:
    """What ``stored_levels`` must be: the checks on the whole series of one device at once, in order of time."""
    ordered = sorted(readings, key=lambda reading: reading.time)
    time_us = np.array([to_microseconds(reading.time) for reading in ordered], dtype=np.int64)
    level_m = np.array([np.nan if reading.level_m is None else reading.level_m for reading in ordered])
    flags = check_levels(np.zeros(len(ordered), dtype=np.int64), time_us, level_m).flags
    return [
        (to_microseconds(reading.time), reading.level_m, None if reading.level_m is None else int(flag))
        for reading, flag in zip(ordered, flags, strict=True)
    ]


def differences(engine: Engine, readings: Iterable[Reading], device: str = "a") -> list[str]:
    """How the table differs from the checks on the whole series; empty if it does not."""
    found, wanted = stored_levels(engine, device), flags_of_the_whole(readings)
    if len(found) != len(wanted):
        return [f"{len(found)} rows, not {len(wanted)}"]
    return [
        f"{from_microseconds(want[0]):%d %H:%M:%S}: {got[1:]} is stored, {want[1:]} it must be"
        for got, want in zip(found, wanted, strict=True)
        if got != want
    ]


def count(engine: Engine, table: str) -> int:
    """How many rows a table has."""
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def dead(engine: Engine) -> dict[str, int]:
    """Dead letters by reason."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, count(*) FROM dead_letters GROUP BY reason")).all()
    return {row[0]: row[1] for row in rows}
