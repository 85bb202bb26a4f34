"""Stations that name a barometer, neighbours or their probe's pressure are judged by them; the others pay nothing."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from redis import Redis
from sqlalchemy import Engine, event, text

from streamgauge.quality.multivariate import M_PER_KPA
from streamgauge.reading import Reading
from tests.support import ingest
from tests.support.ingest import series


def configure(engine: Engine, device: str, quality: Mapping[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO devices (name, quality) VALUES (:name, CAST(:quality AS jsonb))"),
            {"name": device, "quality": orjson.dumps(quality).decode()},
        )


def reasons(engine: Engine, device: str) -> list[str | None]:
    query = text(
        "SELECT reasons->'level_m'->>'check' FROM readings JOIN devices ON id = device_id WHERE name = :name ORDER BY time"
    )
    with engine.connect() as connection:
        return list(connection.execute(query, {"name": device}).scalars())


def with_pressure(readings: Sequence[Reading], pressures: Sequence[float]) -> list[Reading]:
    return [replace(reading, pressure_kpa=value) for reading, value in zip(readings, pressures, strict=True)]


def leaping(count: int = 40) -> list[Reading]:
    return series([1.0 if place < 20 else 1.4 for place in range(count)], device="leaps")


@pytest.mark.parametrize("together", [True, False], ids=["in one task", "in tasks of their own"])
def test_a_leap_is_suspect_where_no_neighbour_moved(engine: Engine, redis: "Redis", together: bool) -> None:
    configure(engine, "leaps", {"neighbours": ["still", "unknown"]})
    still = series([2.0 + 0.001 * (place % 2) for place in range(40)], device="still")
    using = ingest.services(engine, redis)
    if together:
        ingest.ingest(using, leaping() + still)
    else:
        for part in (still, leaping()[:21], leaping()[21:]):
            ingest.ingest(using, part)
    assert reasons(engine, "leaps")[21:25] == ["neighbour"] * 4
    assert not any(reasons(engine, "still"))


def test_a_leap_is_no_fault_where_a_neighbour_moved(engine: Engine, redis: "Redis") -> None:
    configure(engine, "leaps", {"neighbours": ["still", "moves"]})
    moves = series([2.0 + 0.02 * place for place in range(40)], device="moves")
    ingest.ingest(ingest.services(engine, redis), leaping() + moves)
    assert "neighbour" not in reasons(engine, "leaps")


def test_a_level_that_leaves_its_probe_is_suspect_also_reading_by_reading(engine: Engine, redis: "Redis") -> None:
    configure(engine, "probed", {"pressure": "probe"})
    levels = [1.0 if place < 20 else 1.0 + 0.03 * (place - 20) for place in range(40)]
    stuck = [101.3 + min(level, 1.0) / M_PER_KPA for level in levels]
    using = ingest.services(engine, redis)
    for reading in with_pressure(series(levels, device="probed"), stuck):
        ingest.ingest(using, [reading])
    assert reasons(engine, "probed")[30:] == ["pressure"] * 10


def test_a_level_that_follows_the_barometer_is_suspect(engine: Engine, redis: "Redis") -> None:
    configure(engine, "unvented", {"barometer": "mast"})
    rng = random.Random(1)
    air = [101.0, 101.0]
    while len(air) < 100:
        air.append(air[-1] + 0.6 * (air[-1] - air[-2]) + rng.gauss(0.0, 0.03))
    mast = [
        replace(reading, level_m=None, pressure_kpa=value)
        for reading, value in zip(series([0.0] * 100, device="mast"), air, strict=True)
    ]
    using = ingest.services(engine, redis)
    ingest.ingest(using, mast)
    levels = [1.0 + (value - 101.0) * M_PER_KPA for value in air]
    ingest.ingest(using, series(levels, device="unvented"))
    assert reasons(engine, "unvented").count("follows_barometer") > 40
    ingest.ingest(using, series(levels, device="vented"))
    assert not any(reasons(engine, "vented"))


def test_settings_that_cannot_be_used_lose_no_reading(engine: Engine, redis: "Redis") -> None:
    configure(engine, "leaps", {"flat_line_s": -5, "neighbours": 3, "spike_m": 1})
    outcome = ingest.ingest(ingest.services(engine, redis), leaping())
    assert not outcome.lost
    assert len(reasons(engine, "leaps")) == 40


def test_ordinary_stations_cost_no_further_query(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis)
    ingest.ingest(using, leaping()[:10])
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    ingest.ingest(using, leaping()[10:])
    assert asked
    assert not any(
        "wanted" in statement and "pressure_kpa" in statement and "LATERAL" in statement for statement in asked
    )
