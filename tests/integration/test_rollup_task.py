"""The roll-up as the batch worker and people run it: in steps, resumable, giving way, and for nothing where nothing is late."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import Engine, event, text

from streamgauge.queue import BATCH, LOOK_AGAIN_TASK, READINGS
from streamgauge.storage.context import lock_devices
from streamgauge.storage.devices import register_devices
from streamgauge.storage.hourly import floor_hour
from streamgauge.storage.partitions import make_partitions, month_of
from streamgauge.storage.rollup import (
    advance,
    count_pending,
    horizon,
    mark_hours,
    mark_readings,
    next_window,
    read_through,
    roll_up_marked,
)
from tasks.rollup import STEP_S, Pace, look_again, main, register, roll_on
from tests.integration.test_rollup import differences
from tests.support.ingest import ingest, series, services

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
OLD = NOW - timedelta(days=40)

_FILL = text("""
INSERT INTO readings (device_id, time, level_m, temperature_c, flags, score, received_at)
SELECT device_id, moment, sin(extract(epoch FROM moment) + device_id), 9, '{"level_m": 1}', 0.1, moment
FROM generate_series(CAST(:first AS timestamptz), now(), '20 min') AS moment
CROSS JOIN generate_series(1, :devices) AS device_id
""")


@pytest.fixture
def old_readings(engine: Engine) -> Engine:
    """What a database holds before the migration that brought the roll-up: 9,000 readings of three stations."""
    with engine.begin() as connection:
        register_devices(connection, [f"station-{number}" for number in range(3)])
        make_partitions(connection, {month_of(OLD + timedelta(days=day)) for day in range(0, 45, 5)})
        connection.execute(_FILL, {"first": OLD, "devices": 3})
    return engine


def reached(engine: Engine) -> bool:
    with engine.connect() as connection:
        return read_through(connection) == horizon(connection)


def test_old_readings_are_rolled_up_step_by_step_with_their_progress(old_readings: Engine) -> None:
    seen: list[datetime | None] = []
    rests: list[float] = []
    done = roll_on(old_readings, rest=rests.append, tell=lambda done: seen.append(done.through))
    assert not done.is_left
    assert done.readings > 8_500
    assert len(seen) > 3
    assert seen == sorted(moment for moment in seen if moment)
    assert len(rests) == done.steps
    assert reached(old_readings)
    assert differences(old_readings) == []
    assert roll_on(old_readings).steps == 0, "nothing is left"


def test_no_step_begins_without_time_or_while_live_readings_wait(old_readings: Engine) -> None:
    waiting = iter([False, False, True] + [True] * 9)
    done = roll_on(old_readings, gives_way=lambda: next(waiting), rest=lambda _s: None)
    assert (done.steps, done.is_left) == (1, True)
    assert roll_on(old_readings, budget_s=-1).steps == 0
    assert not reached(old_readings)


def test_a_roll_up_that_is_killed_in_the_middle_goes_on_where_it_was(old_readings: Engine, database_url: str) -> None:
    with old_readings.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'"
            )
        )
        connection.execute(text("CREATE TRIGGER slow AFTER INSERT ON readings_hourly EXECUTE FUNCTION slow()"))
    try:
        environ = {
            **os.environ,
            "STREAMGAUGE_DATABASE_URL": database_url,
            "STREAMGAUGE_REDIS_URL": "redis://127.0.0.1:1/0",
        }
        for _ in range(2):
            command = [sys.executable, "-m", "tasks.rollup", "--through"]
            with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
                wait_for_step(old_readings)
                process.send_signal(signal.SIGKILL)
    finally:
        with old_readings.begin() as connection:
            connection.execute(text("DROP FUNCTION slow CASCADE"))
    assert not reached(old_readings)
    roll_on(old_readings, rest=lambda _s: None)
    assert reached(old_readings)
    assert differences(old_readings) == []


def wait_for_step(engine: Engine) -> None:
    """Until one more step is committed than at the call."""
    deadline_s, before = time.monotonic() + 20, through(engine)
    while through(engine) == before:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def through(engine: Engine) -> datetime | None:
    with engine.connect() as connection:
        return read_through(connection)


def test_a_late_reading_whose_writer_is_still_at_work_is_not_missed(old_readings: Engine) -> None:
    roll_on(old_readings, rest=lambda _s: None)
    moment = NOW - timedelta(days=3, minutes=4)
    writer = old_readings.connect()
    with writer.begin():
        lock_devices(writer, [1])
        insert = "INSERT INTO readings (device_id, time, level_m, flags, received_at) VALUES (1, :t, 9.5, '{}', now())"
        writer.execute(text(insert), {"t": moment})
        mark_readings(writer, [1], [moment])
        assert roll_on(old_readings).steps == 0, "nobody sees it yet"
    writer.close()
    assert roll_on(old_readings, rest=lambda _s: None).steps == 1
    assert differences(old_readings) == []


def test_two_steps_at_once_take_turns(old_readings: Engine) -> None:
    first = old_readings.connect()
    transaction = first.begin()
    step = advance(first, 24)
    assert step is not None
    assert step.through is not None
    ended: list[bool] = []

    def second() -> None:
        with old_readings.begin() as connection:
            roll_up_marked(connection, 10)
            advance(connection, 24)
        ended.append(True)

    thread = threading.Thread(target=second)
    thread.start()
    time.sleep(0.3)
    assert not ended
    transaction.commit()
    first.close()
    thread.join(10)
    assert ended
    assert through(old_readings) == step.through + timedelta(hours=24)
    roll_on(old_readings, rest=lambda _s: None)
    assert differences(old_readings) == []


def test_a_correction_marks_what_is_rolled_up_and_no_hour_more(old_readings: Engine) -> None:
    ancient = datetime(1970, 1, 1, tzinfo=UTC)
    with old_readings.begin() as connection:
        register_devices(connection, ["never-heard"])
        make_partitions(connection, [ancient])
        insert = "INSERT INTO readings (device_id, time, level_m, flags, received_at) VALUES (1, :t, 9.5, '{}', now())"
        connection.execute(text(insert), {"t": ancient})
        mark_hours(connection, 1, ancient, NOW)
        assert count_pending(connection, 9) == 0, "steps see the correction when they come to these hours"
    roll_on(old_readings, rest=lambda _s: None)
    with old_readings.begin() as connection:
        mark_hours(connection, 4, datetime(1900, 1, 1, tzinfo=UTC), NOW)
        assert count_pending(connection, 9) == 0, "there is no reading of it"
        mark_hours(connection, 1, datetime(1900, 1, 1, tzinfo=UTC), NOW)
        assert 950 < count_pending(connection, 9_999) < 965
    with old_readings.begin() as connection:
        connection.execute(text("DROP TABLE readings_1970_01"))


def test_a_correction_is_not_missed_by_a_step_that_is_under_way(old_readings: Engine) -> None:
    writer = old_readings.connect()
    transaction = writer.begin()
    insert = (
        "INSERT INTO corrections (device_id, quantity, first, last, shift, note, made_by) "
        "VALUES (1, 'level_m', :first, :last, 5, '', '')"
    )
    mark_hours(writer, 1, OLD, NOW)
    writer.execute(text(insert), {"first": OLD, "last": NOW})
    ended: list[bool] = []

    def step() -> None:
        roll_on(old_readings, rest=lambda _s: None)
        ended.append(True)

    thread = threading.Thread(target=step)
    thread.start()
    time.sleep(0.3)
    assert not ended, "a step waits for the correction"
    transaction.commit()
    writer.close()
    thread.join(20)
    assert reached(old_readings)
    assert differences(old_readings) == []


def test_hours_without_readings_go_and_marks_that_are_early_do_too(old_readings: Engine) -> None:
    with old_readings.begin() as connection:
        hours = [NOW - timedelta(hours=number) for number in range(2, 900)]
        mark_readings(connection, [2] * len(hours), hours)
        assert count_pending(connection, 5_000) == 898
    roll_on(old_readings, rest=lambda _s: None)
    gone = NOW - timedelta(days=5)
    with old_readings.begin() as connection:
        until = gone + timedelta(hours=3)
        delete = "DELETE FROM readings WHERE device_id = 2 AND time BETWEEN :first AND :last"
        connection.execute(text(delete), {"first": gone, "last": until})
        mark_hours(connection, 2, gone, until)
        assert count_pending(connection, 9) == 4
    roll_on(old_readings, rest=lambda _s: None)
    assert differences(old_readings) == []


def test_a_live_reading_costs_the_roll_up_no_statement_and_a_late_one_is_marked(engine: Engine, redis: "Redis") -> None:
    statements: list[str] = []
    using = services(engine, redis)
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    ingest(using, series([1.0, 1.01, 1.02], start=NOW - timedelta(minutes=12)))
    assert not [statement for statement in statements if "rollup" in statement]
    ingest(using, series([1.0, 1.01, 1.02], start=NOW - timedelta(hours=7)))
    assert len([statement for statement in statements if "rollup" in statement]) == 1
    with engine.connect() as connection:
        assert 1 <= count_pending(connection, 9) <= 2


def test_a_step_takes_on_fewer_hours_where_there_are_more_readings(
    old_readings: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgauge.storage.rollup.MOST_READINGS", 60)
    begins = month_of(NOW)
    with old_readings.begin() as connection:
        window = next_window(connection, [1, 2, 3], begins - timedelta(days=9), 24 * 31)
        assert window is not None
        assert (window.until - window.since, window.fits) == (timedelta(hours=3), 3), "216, 54, 13, 3"
        alone = next_window(connection, [1], begins - timedelta(days=9), 40)
        assert alone is not None
        assert alone.fits == 10
        few = next_window(connection, [9], begins - timedelta(hours=5), 40)
        assert few is not None
        assert (few.until, few.fits) == (begins, 40), "the month's end says nothing of how much fits"
    done = roll_on(old_readings, rest=lambda _s: None)
    assert done.readings / done.steps < 61
    assert reached(old_readings)
    assert differences(old_readings) == []


def changed_by_the_program_before(engine: Engine) -> None:
    """What a worker that knows of no roll-up does: a late reading, one that goes, another verdict, nothing marked."""
    with engine.begin() as connection:
        day = NOW - timedelta(days=2)
        insert = "INSERT INTO readings (device_id, time, level_m, flags, received_at) VALUES (1, :t, 0.5, '{}', now())"
        connection.execute(text(insert), {"t": day + timedelta(seconds=7)})
        connection.execute(text(insert), {"t": OLD + timedelta(hours=3, seconds=7)})
        between = "device_id = 2 AND time BETWEEN :first AND :last"
        span = {"first": day, "last": day + timedelta(hours=2)}
        connection.execute(text(f"DELETE FROM readings WHERE {between}"), span)
        span = {"first": day + timedelta(hours=9), "last": day + timedelta(hours=9, minutes=59)}
        connection.execute(text(f"UPDATE readings SET level_m = level_m + 1e-6 WHERE {between}"), span)
        assert count_pending(connection, 9) == 0


def test_a_second_look_finds_what_nobody_marked(old_readings: Engine) -> None:
    assert look_again(old_readings, None, rest=lambda _s: None).steps == 0, "nothing is rolled up"
    roll_on(old_readings, rest=lambda _s: None)
    assert look_again(old_readings, None, rest=lambda _s: None).marked == 0
    changed_by_the_program_before(old_readings)
    rests: list[float] = []
    recent = look_again(old_readings, floor_hour(NOW - timedelta(days=7)), rest=rests.append)
    assert 1 + 2 + 1 <= recent.marked <= 1 + 3 + 2
    assert recent.readings < 3 * (7 * 72 + 9)
    assert len(rests) == recent.steps
    roll_on(old_readings, rest=lambda _s: None)
    assert look_again(old_readings, None, rest=lambda _s: None).marked == 1, "what is older than that"
    roll_on(old_readings, rest=lambda _s: None)
    assert differences(old_readings) == []


def test_a_second_look_gives_way_and_goes_on(old_readings: Engine) -> None:
    roll_on(old_readings, rest=lambda _s: None)
    changed_by_the_program_before(old_readings)
    waiting = iter([False, True])
    first = look_again(old_readings, None, gives_way=lambda: next(waiting), rest=lambda _s: None)
    assert (first.steps, first.is_left, first.marked) == (1, True, 0)
    rest = look_again(old_readings, first.through, rest=lambda _s: None)
    assert (rest.marked >= 5, rest.is_left) == (True, False)
    roll_on(old_readings, rest=lambda _s: None)
    assert differences(old_readings) == []


def test_the_nightly_look_goes_on_in_another_task_but_not_all_day(
    old_readings: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_on(old_readings, rest=lambda _s: None)
    changed_by_the_program_before(old_readings)
    settings = SimpleNamespace(rescore_give_way_tasks=1)
    holder = SimpleNamespace(settings=settings, get=lambda: SimpleNamespace(engine=old_readings, redis=redis))
    app, sent = Celery("test", set_as_current=False), list[dict[str, Any]]()
    register(app, holder)  # type: ignore[arg-type]
    task = app.tasks[LOOK_AGAIN_TASK]
    monkeypatch.setattr(task, "apply_async", lambda **given: sent.append(given))
    redis.rpush(READINGS, "a task")
    task()
    assert (sent[0]["queue"], sent[0]["countdown"]) == (BATCH, 30)
    redis.delete(READINGS)
    task(**orjson.loads(orjson.dumps(sent[0]["kwargs"])))
    assert len(sent) == 1
    with old_readings.connect() as connection:
        assert 4 <= count_pending(connection, 99) <= 6
    redis.rpush(READINGS, "a task")
    task(since=sent[0]["kwargs"]["since"], until=NOW.isoformat())
    assert len(sent) == 1, "the night is over"


def test_by_hand_everything_or_one_station_is_rolled_up_anew(
    old_readings: Engine,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", database_url)
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", redis_url)
    main([])
    assert orjson.loads(capsys.readouterr().out)["through"] is None
    main(["--through"])
    told = capsys.readouterr()
    state = orjson.loads(told.out)
    assert state["through"] == state["may_be"]
    assert "readings/s" in told.err
    for arguments in (["--device", "station-2"], ["--all"], ["--check"]):
        with old_readings.begin() as connection:
            connection.execute(text("UPDATE readings SET level_m = level_m + 1 WHERE device_id = 3"))
            connection.execute(text("DELETE FROM readings WHERE device_id = 3 AND extract(hour FROM time) = 3"))
        assert differences(old_readings)
        main(arguments)
        assert differences(old_readings) == []
    with pytest.raises(SystemExit, match="Not registered: nobody"):
        main(["--device", "nobody"])


def test_the_pace_finds_how_much_fits_into_a_step() -> None:
    pace = Pace(100, 1_000)
    for _ in range(9):
        pace.took(pace.amount / 400)
    assert pace.amount == 400
    pace.took(1e-9)
    assert pace.amount == 1_000
    for _ in range(9):
        pace.took(60)
    assert pace.amount == 1
    pace = Pace(700, 1_000)
    pace.took(STEP_S, fits=10)
    assert pace.amount == 10
