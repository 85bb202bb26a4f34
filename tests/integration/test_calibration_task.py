"""Calibrations: made daily from stored rows, used live from their time on, and by re-scoring to the bit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.reading import to_microseconds
from streamgauge.scoring.calibration import SHIPPED, Calibration, Calibrations
from streamgauge.scoring.judge import judge
from streamgauge.storage.calibrations import StoredCalibration, keyed, read_calibrations, write_calibrations
from tasks.calibrate import LEAD, calibrate_due
from tasks.calibration_memory import REMEMBERED_S, CalibrationMemory
from tests.support import ingest
from tests.support.ingest import recorded, series, shipped_model

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
STEP = timedelta(minutes=5)
BEFORE, AFTER = 1_500, 60


def calibrations(engine: Engine) -> list[tuple[datetime, Calibration]]:
    with engine.connect() as connection:
        pair = connection.execute(text("SELECT devices.id, models.id FROM devices, models")).one()
        first = datetime(2000, 1, 1, tzinfo=UTC)
        return [(row.since, row.calibration) for row in read_calibrations(connection, [(pair[0], pair[1])], first)]


def test_a_station_is_calibrated_once_a_day_and_judged_so_from_then_on(engine: Engine, redis: "Redis") -> None:
    levels = [level for _, level in recorded()[4_000 : 4_000 + BEFORE + AFTER]]
    readings = series(levels, start=NOW - BEFORE * STEP)
    using = ingest.services(engine, redis)
    ingest.ingest(using, readings[:BEFORE])
    assert not calibrate_due(using, NOW)
    assert not calibrate_due(using, NOW + timedelta(hours=1))
    ((since, found),) = calibrations(engine)
    assert timedelta(0) <= since - NOW - LEAD <= timedelta(minutes=1)
    assert found != SHIPPED
    assert found.rows > 1_000

    using.calibrations.forget()
    ingest.ingest(using, readings[BEFORE:])
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT time, level_m, low_m, high_m, score FROM readings ORDER BY time")).all()
    time_us = np.array([to_microseconds(row.time) for row in rows])
    level_m = np.array([row.level_m for row in rows])
    valid = Calibrations([(0, to_microseconds(since), found)])
    station = np.zeros(len(rows), dtype=np.int64)
    again = judge(shipped_model(), station, time_us, level_m, np.arange(len(rows)), calibrations=valid)
    for name, column in (("low_m", again.expected.low_m), ("high_m", again.expected.high_m), ("score", again.score)):
        stored = np.array([getattr(row, name) for row in rows], dtype=np.float64)
        np.testing.assert_array_equal(stored, column, err_msg=name)
    without = judge(shipped_model(), station, time_us, level_m, np.arange(len(rows)))
    later = time_us >= to_microseconds(since)
    assert (without.expected.high_m[later] != again.expected.high_m[later]).any()
    np.testing.assert_array_equal(without.expected.high_m[~later], again.expected.high_m[~later])


def test_too_short_a_record_keeps_the_shipped_calibration(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis)
    ingest.ingest(using, series([1.0, 1.003] * 50, start=NOW - 100 * STEP))
    assert not calibrate_due(using, NOW)
    assert calibrations(engine) == []


def test_what_cannot_be_read_is_passed_over(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis)
    ingest.ingest(using, series([1.0, 1.003]))
    with engine.begin() as connection:
        device_id, model_id = connection.execute(text("SELECT devices.id, models.id FROM devices, models")).one()
        row = StoredCalibration(device_id, model_id, NOW, SHIPPED)
        write_calibrations(connection, [row, row])
        connection.execute(
            text("INSERT INTO calibrations (device_id, model_id, since, body, rows) VALUES (:d, :m, :s, '{}', 1)"),
            {"d": device_id, "m": model_id, "s": NOW - STEP},
        )
    with engine.connect() as connection:
        found = read_calibrations(connection, [(device_id, model_id)], NOW - 2 * STEP)
    assert keyed(found) == [(device_id, to_microseconds(NOW), SHIPPED)]


def test_what_a_worker_remembers_is_asked_again_after_minutes_and_old_readings_have_their_own(
    engine: Engine, redis: "Redis"
) -> None:
    ingest.ingest(ingest.services(engine, redis), series([1.0, 1.003]))
    clock_s = [0.0]
    memory = CalibrationMemory(now=lambda: NOW, monotonic_s=lambda: clock_s[0])
    now_us, long_ago_us = to_microseconds(NOW), to_microseconds(NOW - 400 * timedelta(days=1))
    with engine.begin() as connection:
        device_id, model_id = connection.execute(text("SELECT devices.id, models.id FROM devices, models")).one()
        model_of = {device_id: model_id}
        own = replace(SHIPPED, rows=7)
        assert memory.read(connection, model_of, now_us).at(device_id, now_us) == SHIPPED
        write_calibrations(connection, [StoredCalibration(device_id, model_id, NOW - timedelta(days=401), own)])
        assert memory.read(connection, model_of, now_us).at(device_id, now_us) == SHIPPED
        # What is judged long after its time is not judged by what is remembered of today.
        assert memory.read(connection, model_of, long_ago_us).at(device_id, long_ago_us) == own
        clock_s[0] += REMEMBERED_S
        assert memory.read(connection, model_of, now_us).at(device_id, now_us) == own
        assert memory.read(connection, {device_id: model_id + 1}, now_us).at(device_id, now_us) == SHIPPED
