"""The same readings give the same flags in the table, in whatever order they arrive and however they are divided into tasks."""

import random
import threading
from datetime import timedelta

import pytest
from redis import Redis
from sqlalchemy import Engine

from streamgauge.reading import Reading
from tests.conftest import empty_tables
from tests.support import ingest
from tests.support.ingest import differences, recorded, series

STUCK_AT = 1.0


def flood(first: int, count: int) -> list[Reading]:
    """A stretch of the recorded flood with oddities: spikes, a stuck sensor, a gap, an impossible value, no level."""
    levels: list[float | None] = [level for _, level in recorded()[first : first + count]]
    for place, value in ((20, 9.0), (50, 0.0), (51, 4.0), (90, None), (91, 2.9), (130, 150.0), (131, 3.3)):
        if place < count:
            levels[place] = value
    rng = random.Random(1)
    for place in range(150, min(count, 190)):
        levels[place] = 0.5 + 0.003 * rng.random() if place < 166 else 0.5
    readings = series(levels)
    return [reading for place, reading in enumerate(readings) if not 100 <= place < 114]


def spread(count: int, step_s: float) -> list[Reading]:
    """A restless series with stuck stretches and spikes, at another step."""
    rng = random.Random(2)
    levels = [1.0 + 0.01 * rng.random() for _ in range(count)]
    for begin in range(20, count, 70):
        levels[begin : begin + 26] = [STUCK_AT] * len(levels[begin : begin + 26])
    for place in range(7, count, 31):
        levels[place] += 0.9
    return series(levels, step_s=step_s)


SERIES = {
    "flood": flood(400, 220),
    "quick": spread(200, 60.0),
    "slow": spread(160, 1_700.0),
    "hourly": spread(120, 3_600.0),
}


def ingest_in_parts(engine: Engine, redis: "Redis", readings: list[Reading], rng: random.Random, most: int) -> None:
    using = ingest.services(engine, redis)
    rest = list(readings)
    while rest:
        size = rng.randint(1, most)
        outcome = ingest.ingest(using, rest[:size])
        assert not outcome.lost
        rest = rest[size:]


def arranged(readings: list[Reading], how: str, rng: random.Random) -> list[Reading]:
    if how == "shuffled":
        return rng.sample(readings, len(readings))
    if how == "reversed":
        return readings[::-1]
    if how == "halves swapped":
        return readings[len(readings) // 2 :] + readings[: len(readings) // 2]
    if how == "odd ones late":
        return readings[::2] + readings[1::2]
    if how == "nearly in order":
        return sorted(readings, key=lambda reading: reading.time + timedelta(seconds=rng.uniform(0, 2_000)))
    return readings


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize(
    "how", ["in order", "nearly in order", "shuffled", "reversed", "halves swapped", "odd ones late"]
)
def test_flags_do_not_depend_on_order_or_division(shared_engine: Engine, redis: "Redis", name: str, how: str) -> None:
    rng = random.Random(f"{name} {how}")
    readings = SERIES[name]
    empty_tables(shared_engine)
    ingest_in_parts(shared_engine, redis, arranged(readings, how, rng), rng, most=rng.choice([4, 60]))
    assert differences(shared_engine, readings) == []


def test_two_late_readings_far_apart_in_one_task_leave_the_flags_between_alone(engine: Engine, redis: "Redis") -> None:
    readings = spread(700, 300.0)
    late = {100, 695}
    using = ingest.services(engine, redis)
    ingest.ingest(using, [reading for place, reading in enumerate(readings) if place not in late])
    ingest.ingest(using, [readings[place] for place in sorted(late)])
    assert differences(engine, readings) == []


@pytest.mark.parametrize("gap", [1, 48, 49, 50])
def test_a_late_reading_leaves_the_flags_at_the_edge_of_its_reach_alone(
    engine: Engine, redis: "Redis", gap: int
) -> None:
    levels = [1.0 + 0.001 * (place % 3) for place in range(120)]
    levels[60 + gap] += 0.8
    readings = series(levels)
    using = ingest.services(engine, redis)
    ingest.ingest(using, readings[:60] + readings[61:])
    ingest.ingest(using, [readings[60]])
    assert differences(engine, readings) == []


def test_more_stored_rows_between_than_are_read_at_once(
    engine: Engine, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgauge.storage.context.MOST_ROWS_BETWEEN", 40)
    readings = spread(600, 60.0)
    late = set(range(5, 600, 59))
    using = ingest.services(engine, redis)
    ingest.ingest(using, [reading for place, reading in enumerate(readings) if place not in late])
    again = [readings[place] for place in (300, 301, 590)]
    outcome = ingest.ingest(using, [*(readings[place] for place in sorted(late)), *again])
    assert sum(stored.duplicates for stored in outcome.stored) == len(again)
    assert differences(engine, readings) == []


def test_two_workers_at_once_on_the_same_stations_lose_nothing(engine: Engine, redis: "Redis") -> None:
    readings = {name: [replace_device(reading, name) for reading in SERIES["flood"]] for name in ("a", "b", "c")}
    parts: list[list[Reading]] = []
    for place in range(0, len(SERIES["flood"]), 7):
        parts.append([reading for station in readings.values() for reading in station[place : place + 7]])
    failures: list[BaseException] = []

    def worker(mine: list[list[Reading]]) -> None:
        try:
            using = ingest.services(engine, redis)
            for part in mine:
                assert not ingest.ingest(using, part).lost
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    # Both also carry some of each other's parts: the same reading at the same moment.
    shares = (parts[0::2] + parts[1:20:4], parts[1::2] + parts[0:20:4])
    threads = [threading.Thread(target=worker, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    for name, station in readings.items():
        assert differences(engine, station, name) == []


def replace_device(reading: Reading, device: str) -> Reading:
    return Reading(device=device, time=reading.time, level_m=reading.level_m, pressure_kpa=reading.pressure_kpa)
