"""Late and out-of-order readings: what is stored in the end is one pass over the whole history, to the last bit."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.quality.reasons import describe
from streamgauge.reading import Reading, to_microseconds
from streamgauge.scoring.judge import judge
from tests.conftest import empty_tables
from tests.support import ingest
from tests.support.ingest import recorded, series

STORED = text(
    "SELECT time, level_m, (flags->>'level_m')::int AS flag, reasons->'level_m' AS reason, expected_m, low_m, high_m, score "
    "FROM readings JOIN devices ON devices.id = device_id WHERE devices.name = :name ORDER BY time"
)


def differences(engine: Engine, readings: Sequence[Reading], device: str = "a") -> list[str]:
    """How flags, reasons, expectations and scores in the table differ from those of one pass; empty if they do not."""
    ordered = sorted(readings, key=lambda reading: reading.time)
    time_us = np.array([to_microseconds(reading.time) for reading in ordered], dtype=np.int64)
    level_m = np.array([np.nan if reading.level_m is None else reading.level_m for reading in ordered])
    rows = np.arange(len(ordered))
    whole = judge(ingest.shipped_model(), np.zeros(len(rows), dtype=np.int64), time_us, level_m, rows)
    with engine.connect() as connection:
        stored = connection.execute(STORED, {"name": device}).all()
    assert len(stored) == len(ordered)
    found = []
    for row, there in zip(rows.tolist(), stored, strict=True):
        if np.isnan(level_m[row]):
            continue
        checked = whole.checked
        numbers = (float(checked.measured[row]), float(checked.limit[row]))
        flag, reason = int(checked.flags[row]), describe(int(checked.reason_check[row]), *numbers)
        expected = [getattr(whole.expected, name)[row] for name in ("expected_m", "low_m", "high_m")]
        wanted = [None if np.isnan(value) else float(value) for value in (*expected, whole.score[row])]
        wanted = [flag, reason, *wanted]
        if list(there)[2:] != wanted:
            found.append(f"{there.time:%d %H:%M}: {list(there)[2:]} is stored, {wanted} it must be")
    return found


def restless_flood(count: int) -> list[Reading]:
    """The recorded flood with spikes that fail, a leap, a stuck stretch and a gap."""
    levels: list[float | None] = [level for _, level in recorded()[400 : 400 + count]]
    for place, value in ((20, 9.0), (50, 0.0), (51, 4.0), (90, None), (91, 2.9), (130, 150.0), (131, 3.3)):
        levels[place] = value
    rng = random.Random(1)
    for place in range(150, min(count, 190)):
        levels[place] = 0.5 + 0.003 * rng.random() if place < 166 else 0.5
    readings = series(levels)
    return [reading for place, reading in enumerate(readings) if not 100 <= place < 114]


@pytest.mark.parametrize("late", [[19], [20], [21], [49, 50], [60], [131], [5, 60, 175]])
def test_a_late_reading_leaves_what_one_pass_gives(shared_engine: Engine, redis: "Redis", late: list[int]) -> None:
    readings = restless_flood(220)
    empty_tables(shared_engine)
    using = ingest.services(shared_engine, redis)
    ingest.ingest(using, [reading for place, reading in enumerate(readings) if place not in late])
    for place in late:
        ingest.ingest(using, [readings[place]])
    assert differences(shared_engine, readings) == []


@pytest.mark.parametrize("seed", range(4))
def test_any_order_in_any_parts_ends_in_one_pass(shared_engine: Engine, redis: "Redis", seed: int) -> None:
    rng = random.Random(seed)
    readings = restless_flood(220)
    order = readings[::-1] if seed == 0 else rng.sample(readings, len(readings))
    empty_tables(shared_engine)
    using = ingest.services(shared_engine, redis)
    while order:
        size = rng.randint(1, 30)
        assert not ingest.ingest(using, order[:size]).lost
        order = order[size:]
    assert differences(shared_engine, readings) == []


def test_readings_far_apart_judge_again_only_what_they_reach(engine: Engine, redis: "Redis") -> None:
    readings = series([1.0 + 0.001 * (place % 5) for place in range(300)])
    using = ingest.services(engine, redis)
    ingest.ingest(using, readings[:100] + readings[101:])
    outcome = ingest.ingest(using, [readings[100]])
    assert (
        len(outcome.stored[0].changed) == 44
    )  # Those whose features, or whose search for faults, look back as far as the late one.
    assert differences(engine, readings) == []


def test_a_reading_in_its_turn_changes_no_stored_one(engine: Engine, redis: "Redis") -> None:
    readings = series([1.0 + 0.001 * (place % 5) for place in range(120)])
    using = ingest.services(engine, redis)
    ingest.ingest(using, readings[:100])
    for reading in readings[100:]:
        assert not ingest.ingest(using, [reading]).stored[0].changed
