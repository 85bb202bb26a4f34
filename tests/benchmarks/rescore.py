"""Stored readings scored again per second: read from Postgres, judged, written, by two processes of the batch worker."""

from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import text

from streamgauge.queue import TEND_RUNS_TASK, enqueue_batch, make_producer
from streamgauge.reading import from_microseconds
from streamgauge.scoring.model import Model
from streamgauge.storage.devices import register_devices
from streamgauge.storage.models import ensure_model
from streamgauge.storage.partitions import make_partitions, month_of
from streamgauge.storage.rescore import Run, create_run, read_run
from streamgauge.storage.write_readings import JudgedReadings, insert_readings
from tests.benchmarks.bench import Bench, BenchFailed
from tests.benchmarks.processes import cpu_by_part, spent_s
from tests.benchmarks.report import Result, median_result, say
from tests.support.ingest import recorded
from tests.support.system import System, wait_until

STATIONS = 40
TARGET = 20_000.0
UNIT = "readings/s"
TIMES_PER_INSERT = 250
TIMEOUT_S = 300.0
SEED = 4


def run(bench: Bench) -> Result:
    """Runs over the same history, each with an empty table of scores, and one more that replaces what the last one wrote."""
    system = bench.system
    rows = len(recorded()) if bench.sizes.rounds > 1 else 1_000
    fill(system, rows)
    system.batch_worker.start()
    rates, parts, detail = [], {"batch_worker": system.batch_worker.pid, "postgres": system.stack.postgres.pid}, {}
    for number in range(bench.sizes.rounds):
        empty_scores(system)
        before = cpu_by_part(parts)
        done = _round(system, STATIONS * rows)
        cpu = spent_s(before, cpu_by_part(parts))
        rates.append(round(_rate(done)))
        per_reading = round(1e6 * sum(cpu.values()) / done.readings_done, 1)
        detail = {"readings": done.readings_done, "cpu_s": cpu, "cpu_us_per_reading": per_reading}
        say(f"rescore {number + 1}: {rates[-1]:,} {UNIT}, {per_reading} µs of CPU each")
    again = round(_rate(_round(system, STATIONS * rows)))
    system.batch_worker.stop()
    detail |= {"replacing_per_s": again, "stations": STATIONS}
    result = median_result("rescore", UNIT, rates, target=f"at least {TARGET:,.0f}", detail=detail)
    result.met = result.value >= TARGET
    return result


def fill(system: System, rows: int) -> None:
    """Many stations' readings of a recorded month with a millimetre's noise, in the order in which they would have come live."""
    record = recorded()[:rows]
    time_us = np.array([moment.timestamp() * 1e6 for moment, _ in record], dtype=np.int64)
    level_m = np.array([level for _, level in record])
    random = np.random.default_rng(SEED)
    names = [f"history-{number:02}" for number in range(STATIONS)]
    model = Model.load()
    with system.engine.begin() as connection:
        connection.execute(text("TRUNCATE readings, scores"))
        register_devices(connection, names)
        find = text("SELECT id FROM devices WHERE name = ANY(:names) ORDER BY id")
        ids = np.array(list(connection.execute(find, {"names": names}).scalars()))
        model_id = ensure_model(connection, model.sha256, dict(model.card))
    with system.engine.begin() as connection:
        make_partitions(connection, {month_of(from_microseconds(moment)) for moment in time_us.tolist()})
    for first in range(0, rows, TIMES_PER_INSERT):
        times, levels = time_us[first : first + TIMES_PER_INSERT], level_m[first : first + TIMES_PER_INSERT]
        together = STATIONS * len(times)
        noisy = np.repeat(levels, STATIONS) + random.normal(0.0, 0.001, together).round(3)
        with system.engine.begin() as connection:
            insert_readings(connection, _judged(np.tile(ids, len(times)), np.repeat(times, STATIONS), noisy, model_id))
    # As autovacuum does in a system that has run for a while.
    with system.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE readings"))


def empty_scores(system: System) -> None:
    """No scores."""
    with system.engine.begin() as connection:
        connection.execute(text("TRUNCATE scores"))


def _judged(station: np.ndarray, time_us: np.ndarray, level_m: np.ndarray, model_id: int) -> JudgedReadings:
    ordinary = np.full(len(station), 0.1)
    return JudgedReadings(
        device_id=station,
        time_us=time_us,
        received_us=time_us,
        values={"level_m": level_m, "temperature_c": ordinary, "battery_v": ordinary},
        seq=None,
        extra={},
        flags=['{"level_m":1}'] * len(station),
        reasons={},
        expected_m=level_m,
        low_m=level_m - 0.01,
        high_m=level_m + 0.01,
        score=ordinary,
        surprise=np.zeros(len(station), dtype=np.int8),
        model_id=np.full(len(station), model_id),
    )


def _round(system: System, readings: int) -> Run:
    until = datetime.now(UTC) + timedelta(days=1)
    with system.engine.begin() as connection:
        devices = [f"history-{number:02}" for number in range(STATIONS)]
        made = create_run(
            connection,
            kind="on_demand",
            by="benchmark",
            devices=devices,
            since=until - timedelta(days=36_500),
            until=until,
            model="champion",
        )
    enqueue_batch(make_producer(system.stack.addresses.redis_url), TEND_RUNS_TASK)

    def ended() -> bool:
        return not _read(system, made.run_id).open

    wait_until(ended, "the run has not ended", TIMEOUT_S, system.batch_worker.tail)
    done = _read(system, made.run_id)
    written = system.scalar("SELECT count(*) FROM scores")
    if done.state != "done" or done.readings_done != readings or written != readings:
        raise BenchFailed(
            f"run {done.state}: {done.readings_done} of {readings} readings, {written} scores; {done.error}"
        )
    return done


def _rate(run: Run) -> float:
    assert run.started_at is not None
    assert run.ended_at is not None
    # From the request on: planning is part of it.
    return run.readings_done / (run.ended_at - run.created_at).total_seconds()


def _read(system: System, run_id: int) -> Run:
    with system.engine.connect() as connection:
        found = read_run(connection, run_id)
    assert found is not None
    return found
