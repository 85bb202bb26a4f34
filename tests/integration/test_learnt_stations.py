"""What was learnt of a station, used from its time on, live and in re-scoring alike: limits of checks, sensors of a device."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import orjson
import pytest
from redis import Redis
from sqlalchemy import Engine, event, text

from streamgauge import metrics
from streamgauge.quality.multivariate import M_PER_KPA
from streamgauge.reading import Reading
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.learnt import Learnt
from streamgauge.scoring.multisensor import MultisensorProfile
from streamgauge.storage.learnt import StoredLearnt, read_learnt, write_learnt
from streamgauge.storage.rescore import create_run
from streamgauge.storage.rescore_plan import open_runs
from tasks.learn import LEAD, learn_due
from tasks.pipeline import Services
from tasks.rescore.chunk import ChunkScorer
from tasks.rescore.tend import tend_runs
from tests.support import ingest
from tests.support.ingest import recorded, series

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=12)
STEP = timedelta(minutes=5)
EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
VERDICT = "expected_m, low_m, high_m, score, surprise"
BEFORE, AFTER = 1_200, 90


@cache
def probed(level: bool = True) -> tuple[Reading, ...]:
    """A level, its probe's pressure and the water's temperature, with two numbers that are no sensors; quiet water."""
    rng = np.random.default_rng(7)
    readings = []
    for place, reading in enumerate(series([0.0] * (BEFORE + AFTER), start=NOW - BEFORE * STEP)):
        day = 2 * np.pi * place / 288
        level_m = round(float(0.8 + 0.02 * np.sin(day / 2) + rng.normal(0.0, 0.002)), 3)
        readings.append(
            replace(
                reading,
                level_m=level_m if level else None,
                pressure_kpa=round(float(101.3 + level_m / M_PER_KPA + rng.normal(0.0, 0.02)), 3),
                temperature_c=round(float(9.0 + np.sin(day) + rng.normal(0.0, 0.05)), 2),
                battery_v=3.6,
                extra={
                    "conductivity_us": round(float(300 + 20 * np.sin(day) + rng.normal(0.0, 2.0)), 1),
                    "count": place,
                },
            )
        )
    return tuple(readings)


def off(readings: Sequence[Reading], first: int, **amounts: float) -> list[Reading]:
    """The same with quantities changed from one reading on."""
    return [
        replace(reading, **{name: getattr(reading, name) + amount for name, amount in amounts.items()})
        if place >= first
        else reading
        for place, reading in enumerate(readings)
    ]


@pytest.fixture
def using(engine: Engine, redis: Redis) -> Services:
    return ingest.services(engine, redis)


def stored(using: Services, since: datetime | None = None) -> list[Any]:
    query = text(f"""SELECT time, (flags->>'level_m')::int AS level_flag, {VERDICT}, reasons->'score' AS reason, flags,
        reasons->'level_m'->>'check' AS failed FROM readings WHERE time >= :since ORDER BY device_id, time""")
    with using.engine.connect() as connection:
        return list(connection.execute(query, {"since": since or EVER[0]}))


def differences(using: Services) -> list[tuple[datetime, Any, Any]]:
    """Where re-scoring says something else than what is stored."""
    with using.engine.begin() as connection:
        create_run(
            connection, kind="on_demand", by="test", devices=None, since=EVER[0], until=EVER[1], model="champion"
        )
    scorer = ChunkScorer(using)
    tend_runs(using, scorer.models, 250)
    with using.engine.connect() as connection:
        (run,) = [run for run in open_runs(connection) if run.state == "running"]
    with using.engine.connect() as connection:
        while scorer.next_chunk(connection, run):
            pass
    columns = f"level_flag, {VERDICT}"
    with using.engine.connect() as connection:
        again = {
            row[:2]: tuple(row[2:])
            for row in connection.execute(text(f"SELECT device_id, time, {columns} FROM scores"))
        }
        live = connection.execute(
            text(
                f"SELECT device_id, time, COALESCE((flags->>'level_m')::int, 9) AS level_flag, {VERDICT} FROM readings"
            )
        )
        return [(row[1], tuple(row[2:]), again[row[:2]]) for row in live if tuple(row[2:]) != again[row[:2]]]


def learn(using: Services) -> Learnt:
    assert not learn_due(using, NOW)
    assert not learn_due(using, NOW + timedelta(hours=2))
    using.learnt.forget()
    with using.engine.connect() as connection:
        (row,) = read_learnt(connection, [1], NOW + timedelta(hours=1))
    assert timedelta(0) <= row.since - NOW - LEAD <= timedelta(minutes=1)
    return row.learnt


def test_a_sensor_that_goes_off_is_a_fault_and_named(using: Services) -> None:
    readings = off(probed(), BEFORE + 30, pressure_kpa=1.5)
    ingest.ingest(using, readings[:BEFORE])
    learnt = learn(using)
    assert learnt.profile is not None
    assert learnt.profile.names == ("level_m", "pressure_kpa", "temperature_c", "conductivity_us")
    for first in range(BEFORE, BEFORE + AFTER, 7):
        ingest.ingest(using, readings[first : first + 7])
    rows = stored(using, NOW)
    assert not any(row.surprise for row in rows[:30])
    found = rows[34:]
    assert {row.surprise for row in found} == {"fault"}
    assert {row.reason["why"] for row in found} == {"sensors_disagree"}
    assert {row.reason["channel"] for row in found} == {"pressure_kpa"}
    assert all(row.score >= ANOMALY_SCORE and row.level_flag == 1 for row in found)
    assert differences(using) == []


def test_the_water_s_doing_is_no_fault_of_the_sensors_beside(using: Services) -> None:
    flood = [
        replace(
            reading,
            level_m=round(reading.level_m + rise, 3),
            pressure_kpa=round(reading.pressure_kpa + rise / M_PER_KPA, 3),
            temperature_c=reading.temperature_c - 2 * rise,
        )
        for reading, rise in zip(
            probed(), [max(0.0, 0.03 * (place - BEFORE - 20)) for place in range(2_000)], strict=False
        )
        if reading.level_m is not None and reading.pressure_kpa is not None and reading.temperature_c is not None
    ]
    ingest.ingest(using, flood[:BEFORE])
    learn(using)
    ingest.ingest(using, flood[BEFORE:])
    assert "fault" not in {row.surprise for row in stored(using, NOW)}


@pytest.mark.parametrize("level", [True, False], ids=["with a level", "without a level"])
@pytest.mark.parametrize("late", [[40], [33, 52, 70]], ids=str)
def test_whatever_the_order_re_scoring_says_the_same(using: Services, late: list[int], level: bool) -> None:
    readings = off(probed(level=level), BEFORE + 45, temperature_c=6.0)
    ingest.ingest(using, readings[:BEFORE])
    learn(using)
    ingest.ingest(using, [reading for place, reading in enumerate(readings[BEFORE:]) if place not in late])
    for place in late:
        ingest.ingest(using, [readings[BEFORE + place]])
    rows = stored(using, NOW)
    judged = [row for row in rows if row.time >= NOW + timedelta(minutes=40)]
    assert all(row.score is not None and ("level_m" in row.flags) == level for row in judged)
    assert {row.reason and row.reason["channel"] for row in rows[60:]} == {"temperature_c"}
    assert differences(using) == []


def test_readings_made_by_hand_say_nothing_of_the_sensors(using: Services) -> None:
    readings = list(probed())
    for place in (BEFORE + 20, BEFORE + 21, BEFORE + 40):
        made = {**readings[place].extra, "simulated": 1.0}
        readings[place] = replace(readings[place], level_m=2.5, temperature_c=50.0, extra=made)
    ingest.ingest(using, readings[:BEFORE])
    learn(using)
    for reading in readings[BEFORE:]:
        ingest.ingest(using, [reading])
    assert "sensors_disagree" not in {row.reason and row.reason["why"] for row in stored(using, NOW)}
    assert differences(using) == []


def test_a_damaged_profile_is_told_and_costs_no_reading(using: Services) -> None:
    readings = off(probed(), BEFORE + 30, pressure_kpa=1.5)
    ingest.ingest(using, readings[:BEFORE])
    learn(using)
    with using.engine.begin() as connection:
        broken = "jsonb_set(jsonb_set(body, '{multisensor,levels}', '[1]'), '{quality}', '{\"flat_line_s\": -1, \"gap_s\": 60}')"
        connection.execute(text(f"UPDATE calibrations SET body = {broken} WHERE model_id = 0"))
    using.learnt.forget()
    before = metrics.LEARNT_PROBLEMS._value.get()
    assert not ingest.ingest(using, readings[BEFORE:]).lost
    assert metrics.LEARNT_PROBLEMS._value.get() - before == 2
    assert all(row.score is not None and row.surprise is None for row in stored(using, NOW))
    with using.engine.begin() as connection:
        connection.execute(text("UPDATE calibrations SET body = '[1]' WHERE model_id = 0"))
        assert [row.learnt for row in read_learnt(connection, [1], EVER[1])] == [Learnt()]


def test_stations_with_one_sensor_have_no_profile_and_cost_no_further_query(using: Services) -> None:
    readings = [replace(reading, pressure_kpa=None, temperature_c=None, extra={"state": 1}) for reading in probed()]
    ingest.ingest(using, readings[:BEFORE])
    assert learn(using).profile is None
    asked: list[str] = []
    event.listen(using.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    ingest.ingest(using, readings[BEFORE : BEFORE + 10])
    asked.clear()
    ingest.ingest(using, readings[BEFORE + 10 :])
    assert not any("calibrations" in statement or "value_0" in statement for statement in asked)


def stuck(count: int) -> list[Reading]:
    """A stream that moves with every second reading, and whose sensor sticks for an hour and a half in every five hours."""
    levels = [1.0 + 0.003 * (min(place % 60, 42) // 2 % 2) for place in range(count)]
    return series(levels, start=NOW - (count - AFTER) * STEP)


def test_learnt_limits_count_from_their_time_on_and_an_operator_s_before_them(using: Services) -> None:
    readings = stuck(600)
    ingest.ingest(using, readings[:300])
    since = readings[300].time
    quality = {"flat_restless_share": 0.3, "climatology": {"JJA": [-5, 50]}}
    with using.engine.begin() as connection:
        write_learnt(connection, StoredLearnt(1, since, Learnt(quality)))
    using.learnt.forget()
    for first in range(300, 600, 60):
        ingest.ingest(using, readings[first : first + 60])
    flat = [row.time for row in stored(using) if row.failed == "flat_line"]
    assert flat
    assert min(flat) >= since
    assert differences(using) == []

    with using.engine.begin() as connection:
        connection.execute(text("UPDATE devices SET quality = '{\"flat_restless_share\": 1.0}'"))
    using.directory.forget()
    later = [replace(reading, time=reading.time + timedelta(days=4)) for reading in readings]
    ingest.ingest(using, later)
    assert not [row for row in stored(using, later[0].time) if row.failed == "flat_line"]


def test_a_month_of_history_teaches_limits(using: Services) -> None:
    lively = np.random.default_rng(3).normal(0.0, 0.004, 29 * 144).cumsum() * 0.3 + 1.0
    readings = series(lively.round(3).tolist(), start=NOW - timedelta(days=29), step_s=600.0)
    for first in range(0, len(readings), 1_000):
        ingest.ingest(using, readings[first : first + 1_000])
    learnt = learn(using)
    assert set(learnt.quality) == {"flat_restless_share", "attenuated_s", "attenuated_range_m"}
    with using.engine.connect() as connection:
        (first,) = read_learnt(connection, [1], NOW + timedelta(hours=1))
        assert first.quality_at == NOW
    ingest.ingest(using, series([1.0, 1.001], start=NOW + timedelta(days=1)))
    learn_due(using, NOW + timedelta(days=1, hours=1))
    with using.engine.connect() as connection:
        (second,) = read_learnt(connection, [1], NOW + timedelta(days=1, hours=2))
    assert (second.learnt.quality, second.quality_at) == (learnt.quality, NOW)


def test_the_forecast_as_a_neighbour_makes_suspect_live_and_again(using: Services) -> None:
    levels = [level for _, level in recorded()[400:700]]
    with using.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO devices (name, quality) VALUES ('a', CAST(:q AS jsonb)), ('b', NULL)"),
            {"q": orjson.dumps({"forecast_widths": 2.0}).decode()},
        )
    for device in ("a", "b"):
        for first in range(0, 300, 11):
            ingest.ingest(using, series(levels, device=device)[first : first + 11])
    rows = stored(using)
    with_it, without = rows[:300], rows[300:]
    assert "forecast" in {row.failed for row in with_it}
    assert "forecast" not in {row.failed for row in without}
    assert {row.level_flag for row in with_it if row.failed == "forecast"} == {3}
    assert [tuple(row)[2:5] for row in with_it] == [tuple(row)[2:5] for row in without]
    assert differences(using) == []


def test_profiles_survive_the_table(using: Services) -> None:
    profile = MultisensorProfile.learn(np.random.default_rng(1).normal(size=(200, 3)), ("level_m", "x", "y"))
    row = StoredLearnt(1, NOW, Learnt({"gap_s": 60.0}, profile), NOW)
    with using.engine.begin() as connection:
        write_learnt(connection, row)
        write_learnt(connection, replace(row, learnt=Learnt()))
        assert read_learnt(connection, [1, 2], NOW) == [row]
