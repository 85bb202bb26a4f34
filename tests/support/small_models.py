"""Models that take a second to train, and stored history to train them on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from streamgauge.scoring.forecast.training import ForecastTraining
from streamgauge.scoring.records import Record, read_record
from streamgauge.scoring.retraining import Recipe, Trained, train_on
from streamgauge.scoring.train import UNSEEN, Training
from streamgauge.storage.partitions import make_partitions, month_of

RECORDED_UNTIL = datetime(2018, 6, 4, tzinfo=UTC)
QUICK = Recipe(
    training=Training(
        train_until=RECORDED_UNTIL,
        rounds=4,
        depth=3,
        leaf_rows=20,
        thinnings=(1,),
        forecast=ForecastTraining(rounds=2, tail_rounds=2),
    ),
    record=UNSEEN,
    judged_on=(),
)
"""Three days of a small stream, and hardly any trees."""

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEP = timedelta(minutes=20)


@cache
def water() -> NDArray[np.float64]:
    """A month of recorded levels, every five minutes, metres."""
    return read_record(UNSEEN).level_m


@cache
def small_model(seed: int) -> Trained:
    """One of several small models, none of them the shipped one."""
    time_us = np.arange(3_000, dtype=np.int64) * 300_000_000
    record = Record.from_arrays(f"made-up-{seed}", time_us, water()[:3_000] + 0.01 * seed)
    return train_on(
        [record], datetime(2026, 1, 1, tzinfo=UTC), replace(QUICK, training=replace(QUICK.training, seed=seed))
    )


def add_station(engine: Engine, name: str) -> int:
    """Register a device; returns its id."""
    with engine.begin() as connection:
        query = text("INSERT INTO devices (name) VALUES (:name) RETURNING id")
        return int(connection.execute(query, {"name": name}).scalar_one())


def store_history(
    engine: Engine, device_id: int, days: int, *, until: datetime = NOW, shift: int = 0, backwards: bool = False
) -> int:
    """Store so many days of the recorded water, ending before ``until``, all of it flagged good; returns how many rows.

    Args:
        engine: the database.
        device_id: the station.
        days: how many.
        until: the instant after the last reading.
        shift: begin so many rows into the water.
        backwards: write the rows in the opposite order, as backfill may.
    """
    count = days * round(timedelta(days=1) / STEP)
    level_m = np.resize(np.roll(water()[::4], -shift), count)
    rows = [
        {"device": device_id, "time": until - (count - place) * STEP, "level": float(level)}
        for place, level in enumerate(level_m.tolist())
    ]
    insert(engine, rows[::-1] if backwards else rows)
    return count


def insert(engine: Engine, rows: Sequence[dict[str, object]]) -> None:
    """Write rows of ``device``, ``time``, ``level``."""
    months = {month_of(row["time"]) for row in rows if isinstance(row["time"], datetime)}
    query = text("""
        INSERT INTO readings (device_id, time, level_m, flags, received_at)
        SELECT device, time, level, '{"level_m": 1}', time
        FROM unnest(CAST(:devices AS bigint[]), CAST(:times AS timestamptz[]), CAST(:levels AS double precision[]))
            AS made(device, time, level)
    """)
    columns = {f"{name}s": [row[name] for row in rows] for name in ("device", "time", "level")}
    with engine.begin() as connection:
        make_partitions(connection, months)
        connection.execute(query, columns)
