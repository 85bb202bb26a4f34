"""Calibrations: made daily from stored rows, used live from their time on, and by re-scoring to the bit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.reading import to_microseconds
from streamgauge.scoring.calibration import SHIPPED, UNCALIBRATED, Calibration, Calibrations
from streamgauge.scoring.judge import judge
from streamgauge.storage.calibrations import StoredCalibration, by_model, read_calibrations, write_calibrations
from streamgauge.storage.model_aliases import GENERAL, promote
from streamgauge.storage.models import ModelFacts, ensure_model
from tasks.calibrate import LEAD, calibrate_due
from tasks.calibration_memory import REMEMBERED_S, CalibrationMemory
from tests.support import ingest
from tests.support.ingest import recorded, series, shipped_model
from tests.support.small_models import small_model

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
STEP = timedelta(minutes=5)
BEFORE, AFTER = 1_500, 60


def calibrations(engine: Engine) -> list[tuple[datetime, Calibration]]:
    with engine.connect() as connection:
        pair = connection.execute(text("SELECT devices.id, models.id FROM devices, models")).one()
        first = datetime(2000, 1, 1, tzinfo=UTC)
        return [
            (row.since, row.calibration) for row in read_calibrations(connection, {(pair[0], pair[1]): (first, None)})
        ]


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
        found = read_calibrations(connection, {(device_id, model_id): (NOW - 2 * STEP, None)})
    assert found == [row]


def test_what_a_worker_remembers_is_asked_again_after_minutes_and_old_readings_have_their_own(
    engine: Engine, redis: "Redis"
) -> None:
    ingest.ingest(ingest.services(engine, redis), series([1.0, 1.003]))
    clock_s = [0.0]
    memory = CalibrationMemory(now=lambda: NOW, monotonic_s=lambda: clock_s[0])
    now_us, long_ago_us = to_microseconds(NOW), to_microseconds(NOW - 400 * timedelta(days=1))
    with engine.begin() as connection:
        device_id, model_id = connection.execute(text("SELECT devices.id, models.id FROM devices, models")).one()
        own = replace(SHIPPED, rows=7)

        def at(moment_us: int) -> Calibration:
            found = memory.read(connection, {(device_id, model_id): (moment_us, moment_us)})
            return found.get(model_id, UNCALIBRATED).at(device_id, moment_us)

        assert at(now_us) == SHIPPED
        write_calibrations(connection, [StoredCalibration(device_id, model_id, NOW - timedelta(days=401), own)])
        assert at(now_us) == SHIPPED
        # What is judged long after its time is not judged by what is remembered of today.
        assert at(long_ago_us) == own
        # One station's old reading asks nothing anew of the others.
        other = (device_id + 1, model_id)
        memory.read(connection, {other: (now_us, now_us)})
        write_calibrations(connection, [StoredCalibration(*other, NOW - timedelta(days=401), own)])
        spans = {other: (now_us, now_us), (device_id, model_id): (long_ago_us, long_ago_us)}
        found = memory.read(connection, spans)[model_id]
        assert found.at(device_id, long_ago_us) == own
        assert found.at(other[0], now_us) == SHIPPED
        clock_s[0] += REMEMBERED_S
        assert at(now_us) == own


def test_until_a_model_has_its_own_calibration_it_has_the_newest_of_another(engine: Engine, redis: "Redis") -> None:
    def row(model_id: int, hours: int) -> StoredCalibration:
        made = replace(SHIPPED, rows=100 * model_id + hours)
        return StoredCalibration(1, model_id, NOW + timedelta(hours=hours), made)

    rows = [row(3, 1), row(4, 1), row(3, 5), row(5, 8), row(3, 9)]
    with engine.begin() as connection:
        write_calibrations(connection, rows)
        connection.execute(
            text("INSERT INTO calibrations (device_id, model_id, since, body, rows) VALUES (1, 0, :since, '{}', 0)"),
            {"since": NOW},
        )
        spans = {(1, 5): (NOW, NOW + timedelta(hours=9)), (1, 6): (NOW + timedelta(hours=6), None)}
        found = by_model(read_calibrations(connection, spans))

    def at(model_id: int, hours: int) -> int:
        return found[model_id].at(1, to_microseconds(NOW + timedelta(hours=hours))).rows

    assert [at(5, hours) for hours in (0, 1, 5, 7, 8, 9)] == [SHIPPED.rows, 401, 305, 305, 508, 508]
    assert [at(6, hours) for hours in (6, 8, 9)] == [305, 508, 309]


def verdicts(engine: Engine) -> dict[datetime, tuple[object, ...]]:
    query = "SELECT time, model_id, expected_m, low_m, high_m, score, surprise FROM readings ORDER BY time"
    with engine.connect() as connection:
        return {row.time: tuple(row)[1:] for row in connection.execute(text(query))}


def test_a_promotion_keeps_calibrations_and_a_late_reading_keeps_who_judged(engine: Engine, redis: "Redis") -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.03, 1_500)
    readings = series((1.0 + noise).tolist(), start=NOW - 1_300 * STEP)
    using = ingest.services(engine, redis)
    ingest.ingest(using, readings[:1_300])
    calibrate_due(using, NOW)
    using.calibrations.forget()
    ingest.ingest(using, readings[1_310:1_390] + readings[1_391:1_400])
    first = using.models.general.id
    shipped = shipped_model()
    with engine.begin() as connection:
        facts = ModelFacts(features_sha256=shipped.card["features_sha256"])
        trained = small_model(1)
        second = ensure_model(connection, trained.sha256, trained.card, trained.files, facts)
        promote(connection, device_id=GENERAL, model_id=second, by="x", reason="r")
    using.models.forget()
    ingest.ingest(using, readings[1_400:])
    before = verdicts(engine)
    new = [verdict for verdict in before.values() if verdict[0] == second]
    assert len(new) == 100
    assert sum(verdict[-1] is not None for verdict in new) < 20

    ingest.ingest(using, [readings[1_390]])
    after = verdicts(engine)
    assert after.pop(readings[1_390].time)[0] == second
    assert {moment: verdict[0] for moment, verdict in after.items()} == {moment: v[0] for moment, v in before.items()}
    changed = [moment for moment in before if before[moment] != after[moment]]
    assert any(before[moment][0] == first for moment in changed)

    # A model that is not there any more says nothing new: only flags change.
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM model_files WHERE model_id = :id"), {"id": second})
        connection.execute(text("UPDATE models SET sha256 = repeat('e', 64) WHERE id = :id"), {"id": second})
        promote(connection, device_id=GENERAL, model_id=first, by="x", reason="r")
    again = ingest.services(engine, redis)
    place = 1_450
    spike = replace(readings[place], time=readings[place].time + STEP / 2, level_m=9.0)
    assert ingest.ingest(again, [spike]).stored[0].changed
    last = verdicts(engine)
    assert last.pop(spike.time)[0] == first
    kept = [moment for moment, verdict in last.items() if verdict[0] == second and moment != readings[1_390].time]
    assert len(kept) == 100
    assert [last[moment] for moment in kept] == [after[moment] for moment in kept]


def test_a_station_that_cannot_be_calibrated_stops_no_other_and_the_next_call_goes_on(
    engine: Engine, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    using = ingest.services(engine, redis)
    for device in "abc":
        ingest.ingest(using, series([1.0, 1.003], device=device, start=NOW - 2 * STEP))
    begun: list[str] = []

    def calibrate_station(_connection: object, _device_id: int, name: str, *_: object) -> None:
        begun.append(name)
        if name == "a":
            raise ValueError("what is stored of it cannot be")

    monkeypatch.setattr("tasks.calibrate.calibrate_station", calibrate_station)
    assert calibrate_due(using, NOW) is None
    assert begun == ["a", "b", "c"]
    assert calibrate_due(using, NOW, budget_s=-1.0, after=1) == 1
    assert calibrate_due(using, NOW, after=1) is None
    assert begun[3:] == ["b", "c"]
