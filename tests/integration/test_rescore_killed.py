"""Re-scoring by real workers: the batch worker is killed in the middle of a run, live readings go on, the command follows."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import psutil
import pytest
from redis import Redis

from streamgauge.queue import TEND_RUNS_TASK, enqueue_batch, make_producer
from streamgauge.reading import Reading
from streamgauge.storage.rescore import Run, create_run, read_run
from tests.support.ingest import ingest, recorded, services
from tests.support.system import PROJECT, System, running_system, wait_until

RECORD = PROJECT / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
STATIONS = ("upper", "lower")
ROWS = 3_000
CHUNK = 50
FROM = "2018-01-01T00:00:00Z"
SCORES = (
    "SELECT device_id, time, model_id, level_flag, expected_m, low_m, high_m, score, surprise FROM scores ORDER BY 1, 2"
)


@pytest.fixture(scope="module")
def stored(_no_settings_of_the_caller: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Servers with two stations' readings; small chunks, so that a run takes long enough to be killed in."""
    settings = {"STREAMGAUGE_RESCORE_CHUNK_READINGS": str(CHUNK), "STREAMGAUGE_RESCORE_TASKS": "2"}
    with running_system(tmp_path_factory.mktemp("rescore"), **settings) as system:
        redis = Redis.from_url(system.stack.addresses.redis_url)
        using = services(system.engine, redis)
        for device in STATIONS:
            readings = [Reading(device=device, time=moment, level_m=level) for moment, level in recorded()[:ROWS]]
            for first in range(0, ROWS, 500):
                ingest(using, readings[first : first + 500])
        redis.close()
        yield system


def begin(system: System, *, kind: str = "on_demand", until: datetime | None = None) -> int:
    with system.engine.begin() as connection:
        created = create_run(
            connection,
            kind=kind,
            by="test",
            devices=None,
            since=datetime.fromisoformat(FROM),
            until=until or datetime.now(UTC),
            model="champion",
        )
    enqueue_batch(make_producer(system.stack.addresses.redis_url), TEND_RUNS_TASK)
    return created.run_id


def run_of(system: System, run_id: int) -> Run:
    with system.engine.connect() as connection:
        run = read_run(connection, run_id)
    assert run is not None
    return run


def wait_for_end(system: System, run_id: int) -> Run:
    wait_until(
        lambda: not run_of(system, run_id).open,
        "the run has not ended",
        90,
        lambda: f"{run_of(system, run_id)}\n{system.batch_worker.tail()}",
    )
    return run_of(system, run_id)


def wait_for_chunks(system: System, run_id: int, more_than: int) -> int:
    wait_until(
        lambda: run_of(system, run_id).chunks_done > more_than,
        "nothing moves",
        60,
        system.batch_worker.tail,
    )
    return run_of(system, run_id).chunks_done


def forget_scores(system: System) -> list[Any]:
    found = system.rows(SCORES)
    with system.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE scores")
    return found


def test_a_killed_worker_leaves_no_chunk_half_done_and_none_is_done_twice(stored: System) -> None:
    system = stored
    # Each write of a chunk's rows is counted by the database itself.
    with system.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE written (device_id bigint, time timestamptz, run_id bigint)")
        connection.exec_driver_sql(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO written VALUES (NEW.device_id, NEW.time, NEW.run_id); RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER note AFTER INSERT OR UPDATE ON scores FOR EACH ROW EXECUTE FUNCTION note()"
        )
    run_id, done = begin(system), 0
    for everything in (False, True, False):
        if not system.batch_worker.alive:
            system.batch_worker.start()
        done = wait_for_chunks(system, run_id, done)
        assert run_of(system, run_id).open
        if everything:
            system.batch_worker.kill()
        else:
            # A child alone, as the kernel does when memory runs out: the worker replaces it and the task comes back.
            for child in psutil.Process(system.batch_worker.pid).children():
                os.kill(child.pid, signal.SIGKILL)
        assert run_of(system, run_id).open
    run = wait_for_end(system, run_id)
    expected = len(STATIONS) * ROWS
    assert (run.state, run.error, run.chunks_failed) == ("done", None, 0)
    assert (run.chunks, run.chunks_done, run.readings_done) == (expected // CHUNK, expected // CHUNK, expected)
    assert run.report is not None
    assert (run.report["readings"], run.report["newly_marked"], run.report["no_longer_marked"]) == (expected, 0, 0)
    assert system.scalar("SELECT count(*) FROM written") == expected, "a chunk was written twice"
    assert system.scalar("SELECT count(*) FROM scores") == expected
    with system.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER note ON scores")
    interrupted = forget_scores(system)
    followed = orjson.loads(system.run("-m", "tasks.rescore", "--from", FROM, "--json").stdout)
    undisturbed = run_of(system, followed["id"])
    assert undisturbed.id != run_id
    assert undisturbed.report is not None
    assert {**undisturbed.report} == {**run.report}
    assert system.rows(SCORES) == interrupted
    in_readings = system.rows(
        "SELECT device_id, time, model_id, (flags->>'level_m')::int, expected_m, low_m, high_m, score, surprise "
        "FROM readings ORDER BY 1, 2"
    )
    assert in_readings == interrupted


@pytest.mark.slow
def test_live_readings_go_on_and_another_worker_takes_them(stored: System) -> None:
    system = stored
    if not system.batch_worker.alive:
        system.batch_worker.start()
    system.worker.start()
    system.subscriber.start()
    run_id = begin(system, kind="scheduled")
    wait_for_chunks(system, run_id, 0)
    before = system.scalar("SELECT count(*) FROM readings")
    replay = ("replay", str(RECORD), "--device", "live", "--rate", "max", "--limit", "500")
    system.run("-m", "simulator", *replay)
    # The simulator returns once all is committed: the run, which began earlier, has not held it up.
    assert system.scalar("SELECT count(*) FROM readings") == before + 500
    assert system.batch_worker.said("streamgauge.rescore.chunk")
    assert not system.worker.said("streamgauge.rescore.chunk")
    nice = {
        process: psutil.Process(process.pid).nice() for process in psutil.Process(system.batch_worker.pid).children()
    }
    assert set(nice.values()) == {min(19, psutil.Process(system.worker.pid).nice() + 10)}
    assert wait_for_end(system, run_id).state == "done"
