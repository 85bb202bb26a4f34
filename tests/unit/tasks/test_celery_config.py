"""What Celery is told: delivery that survives a worker's death, JSON only, queues of our own, limits that agree."""

import pytest

from streamgauge.queue import INGEST_TASK, MAKE_PARTITIONS_TASK, QUEUES, make_producer
from streamgauge.settings import WorkerSettings, load
from tasks.celery_app import create_celery, worker_config

URLS = {"STREAMGAUGE_DATABASE_URL": "postgresql://h/n", "STREAMGAUGE_REDIS_URL": "redis://127.0.0.1:1/0"}


def settings(**changes: str) -> WorkerSettings:
    return load(WorkerSettings, URLS | {f"STREAMGAUGE_{name}": value for name, value in changes.items()})


def test_a_worker_s_death_loses_no_task() -> None:
    conf = create_celery(settings()).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_soft_shutdown_timeout > 0
    assert conf.task_soft_time_limit < conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]


def test_only_json_is_accepted_and_events_are_on() -> None:
    conf = create_celery(settings()).conf
    assert (conf.accept_content, conf.task_serializer, conf.result_serializer) == (["json"], "json", "json")
    assert conf.worker_send_task_events
    assert not conf.task_create_missing_queues


def test_the_queues_of_the_contract_have_an_exchange_each() -> None:
    app = create_celery(settings())
    assert {queue.name for queue in app.conf.task_queues} == set(QUEUES) == {"readings", "alerts", "batch"}
    assert len({queue.exchange.name for queue in app.conf.task_queues}) == len(QUEUES)


def test_enqueuing_parts_and_workers_agree() -> None:
    worker, producer = create_celery(settings()).conf, make_producer(URLS["STREAMGAUGE_REDIS_URL"]).conf
    for name in ("task_serializer", "task_routes", "task_default_queue", "accept_content"):
        assert worker[name] == producer[name]


def test_the_tasks_have_their_names_and_beat_knows_its_own() -> None:
    app = create_celery(settings())
    assert {INGEST_TASK, MAKE_PARTITIONS_TASK} <= set(app.tasks)
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled <= set(app.tasks)


def test_limits_that_contradict_each_other_are_asserted_where_they_matter() -> None:
    good = settings()
    bad = type(good)(
        **{**{name: getattr(good, name) for name in good.__dataclass_fields__}, "visibility_timeout_s": 10}
    )
    with pytest.raises(AssertionError):
        worker_config(bad)
