"""The generated database of the benchmarks: as many readings as were asked for, topped up, rolled up, and not made twice."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from streamgauge.storage.read_chart import read_chart
from tests.benchmarks.big_database import fill, plan_of, roll_up

NOW = datetime.now(UTC)
COUNT = text("SELECT count(*), count(DISTINCT device_id), max(time) FROM readings")


@pytest.fixture
def empty(engine: Engine) -> Iterator[Engine]:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS bench_plan, bench_stations"))
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS bench_plan, bench_stations"))


def test_it_holds_what_was_planned_and_is_brought_up_to_the_minute(empty: Engine) -> None:
    plan = fill(empty, 30_000, NOW - timedelta(hours=3))
    with empty.connect() as connection:
        before, stations, _ = connection.execute(COUNT).one()
    assert plan.stations == 1_000
    assert stations == 980, "a few fell silent before their first reading"
    assert 0.95 * plan.readings < before < 1.1 * plan.readings
    fill(empty, 30_000, NOW)
    roll_up(empty)
    with empty.connect() as connection:
        after, _, newest = connection.execute(COUNT).one()
        assert 10 * 980 <= after - before <= 14 * 1_000
        assert NOW - newest < timedelta(minutes=30)
        chart = read_chart(connection, 1, NOW - timedelta(days=60), NOW)
    assert chart.lines["level_m"].readings > 0.9 * plan.long_readings
    with pytest.raises(ValueError, match="another plan"):
        fill(empty, 40_000, NOW)


def test_twenty_million_are_ten_stations_of_ten_years_and_the_rest_evenly() -> None:
    plan = plan_of(20_000_000)
    assert (plan.stations, plan.long_stations, plan.long_readings) == (1_000, 10, 350_640)
    assert abs(plan.readings - 20_000_000) < 1_000
    assert plan_of(100_000_000).long_readings == 350_640
