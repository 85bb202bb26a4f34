"""The tasks around the chunks: how many there are, that lost ones are made good, that they give way. Real Postgres and Redis."""

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import Engine

from streamgauge.queue import BATCH, READINGS, RESCORE_TASK, TEND_RUNS_TASK, make_producer, queue_length
from streamgauge.settings import WorkerSettings, load
from streamgauge.storage.rescore import create_run, read_run, request_cancel
from tasks.celery_app import create_celery
from tasks.pipeline import Services
from tasks.rescore import Rescoring
from tasks.rescore.lanes import KEY
from tests.support.ingest import ingest, series, services

TASKS, GIVE_WAY = 3, 4


class Holder:
    """The services of a worker process, with the tests' own model and connections."""

    def __init__(self, settings: WorkerSettings, using: Services) -> None:
        self.settings = settings
        self._using = using

    def get(self) -> Services:
        return self._using


@pytest.fixture
def settings(database_url: str, redis_url: str) -> WorkerSettings:
    chosen = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RESCORE_TASKS": str(TASKS)}
    chosen |= {"RESCORE_GIVE_WAY_TASKS": str(GIVE_WAY), "RESCORE_CHUNK_READINGS": "10"}
    return load(WorkerSettings, {f"STREAMGAUGE_{name}": value for name, value in chosen.items()})


@pytest.fixture
def rescoring(engine: Engine, redis: Redis, settings: WorkerSettings) -> Rescoring:
    using = services(engine, redis)
    ingest(using, series([1.0 + 0.001 * n for n in range(100)]))
    return Rescoring(make_producer(settings.redis_url), Holder(settings, using))  # type: ignore[arg-type]


def ask(engine: Engine, days: int = 0) -> int:
    with engine.begin() as connection:
        return create_run(
            connection,
            kind="on_demand",
            by="test",
            devices=None,
            since=datetime(2000, 1, 1 + days, tzinfo=UTC),
            until=datetime(2050, 1, 1, tzinfo=UTC),
            model="champion",
        ).run_id


def state(engine: Engine, run_id: int) -> tuple[str, int]:
    with engine.connect() as connection:
        run = read_run(connection, run_id)
    assert run is not None
    return run.state, run.chunks_done


def take(redis: Redis) -> dict[str, Any]:
    """The next chunk task's arguments, off the queue."""
    message: Any = orjson.loads(redis.rpop(BATCH))  # type: ignore[arg-type]
    assert message["headers"]["task"] == RESCORE_TASK
    arguments: dict[str, Any] = orjson.loads(base64.b64decode(message["body"]))[1]
    return arguments


def test_so_many_chains_and_no_more_however_often_runs_are_tended(
    engine: Engine, redis: Redis, rescoring: Rescoring
) -> None:
    rescoring.tend(schedule=False, fresh=False)
    assert queue_length(redis, BATCH) == 0
    ask(engine)
    for _ in range(4):
        rescoring.tend(schedule=False, fresh=False)
        assert queue_length(redis, BATCH) == TASKS
    assert sorted(take(redis)["lane"] for _ in range(TASKS)) == list(range(TASKS))


def test_a_chain_does_all_there_is_and_frees_its_lane(engine: Engine, redis: Redis, rescoring: Rescoring) -> None:
    runs = [ask(engine), ask(engine, days=1)]
    rescoring.tend(schedule=False, fresh=False)
    tasks = 0
    while queue_length(redis, BATCH):
        rescoring.work(**take(redis))
        tasks += 1
    assert [state(engine, run) for run in runs] == [("done", 10), ("done", 10)]
    assert tasks <= TASKS + 2
    assert list(redis.scan_iter(KEY.format("*"))) == []


def test_a_lost_chain_is_begun_anew_and_the_old_one_ends(engine: Engine, redis: Redis, rescoring: Rescoring) -> None:
    run = ask(engine)
    rescoring.tend(schedule=False, fresh=False)
    lost = take(redis)
    redis.delete(BATCH, *(KEY.format(lane) for lane in range(TASKS)))  # As when leases have run out.
    rescoring.tend(schedule=False, fresh=False)
    assert queue_length(redis, BATCH) == TASKS
    rescoring.work(**lost)
    assert (state(engine, run), queue_length(redis, BATCH)) == (("running", 0), TASKS)
    rescoring.work(**take(redis))
    assert state(engine, run) == ("done", 10)


def test_a_worker_that_starts_takes_runs_up_at_once(engine: Engine, redis: Redis, rescoring: Rescoring) -> None:
    ask(engine)
    rescoring.tend(schedule=False, fresh=False)
    redis.delete(BATCH)  # What the killed worker had, nobody has any more; its leases still stand.
    rescoring.tend(schedule=False, fresh=False)
    assert queue_length(redis, BATCH) == 0
    rescoring.tend(schedule=False, fresh=True)
    assert queue_length(redis, BATCH) == TASKS


def test_live_readings_that_wait_go_first(engine: Engine, redis: Redis, rescoring: Rescoring) -> None:
    run = ask(engine)
    rescoring.tend(schedule=False, fresh=False)
    task = take(redis)
    redis.lpush(READINGS, *(["{}"] * GIVE_WAY))
    rescoring.work(**task)
    assert (state(engine, run), queue_length(redis, BATCH)) == (("running", 0), TASKS - 1)
    redis.rpop(READINGS)
    rescoring.work(**take(redis))
    assert state(engine, run) == ("done", 10)


def test_a_cancelled_run_ends_at_the_next_chunk(engine: Engine, redis: Redis, rescoring: Rescoring) -> None:
    run = ask(engine)
    rescoring.tend(schedule=False, fresh=False)
    with engine.begin() as connection:
        request_cancel(connection, run)
    rescoring.work(**take(redis))
    assert state(engine, run) == ("cancelled", 0)


def test_a_run_that_waits_is_cancelled_without_being_planned(
    engine: Engine, redis: Redis, rescoring: Rescoring
) -> None:
    run = ask(engine)
    with engine.begin() as connection:
        request_cancel(connection, run)
    rescoring.tend(schedule=False, fresh=False)
    assert (state(engine, run), queue_length(redis, BATCH)) == (("cancelled", 0), 0)


def test_the_tasks_are_registered_and_scheduled(settings: WorkerSettings) -> None:
    app: Celery = create_celery(settings)
    assert {RESCORE_TASK, TEND_RUNS_TASK} <= set(app.tasks)
    entries = [entry for entry in app.conf.beat_schedule.values() if entry["task"] == TEND_RUNS_TASK]
    assert [entry.get("kwargs") for entry in entries] == [None, {"schedule": True}]
    assert all(entry["options"]["queue"] == BATCH for entry in entries)
