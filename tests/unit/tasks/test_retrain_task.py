"""Retraining and comparing as Celery sees them: acknowledged early, with limits of their own, on the queue that delays nobody."""

import pytest

from streamgauge.queue import BATCH, QUEUE_OF_TASK, RETRAIN_TASK, SHADOW_TASK
from streamgauge.settings import WorkerSettings, load
from tasks.celery_app import create_celery
from tasks.retrain import Bounds

URLS = {"STREAMGAUGE_DATABASE_URL": "postgresql://h/n", "STREAMGAUGE_REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.mark.parametrize("name", [RETRAIN_TASK, SHADOW_TASK])
def test_long_tasks_have_limits_of_their_own_and_are_not_delivered_twice(name: str) -> None:
    app = create_celery(load(WorkerSettings, URLS | {"STREAMGAUGE_RETRAIN_HARD_LIMIT_S": "900"}))
    task = app.tasks[name]
    # A task that is acknowledged late and outlasts the visibility timeout would run a second time beside itself.
    assert task.acks_late is False
    assert task.reject_on_worker_lost is False
    assert (task.soft_time_limit, task.time_limit) == (870, 900)
    assert QUEUE_OF_TASK[name] == BATCH
    assert [entry["options"]["queue"] for entry in app.conf.beat_schedule.values() if entry["task"] == name] == [BATCH]


def test_how_much_trains_is_a_setting() -> None:
    settings = load(WorkerSettings, URLS | {"STREAMGAUGE_RETRAIN_SITES_MAX": "0", "STREAMGAUGE_RETRAIN_DAYS": "90"})
    assert Bounds.of(settings) == Bounds(days=90, site_days=60, sites_max=0)
