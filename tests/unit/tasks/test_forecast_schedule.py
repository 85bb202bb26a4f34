"""Forecasts have the pace of their settings, and go where nobody waits behind batch work."""

import pytest

from streamgauge.errors import SettingsError
from streamgauge.queue import ALERTS, BATCH, DELETE_FORECASTS_TASK, DRIFT_TASK, FORECAST_TASK
from streamgauge.settings import WorkerSettings, load
from tasks.celery_app import create_celery

URLS = {"STREAMGAUGE_DATABASE_URL": "postgresql://h/n", "STREAMGAUGE_REDIS_URL": "redis://127.0.0.1:1/0"}


def test_a_tick_is_not_begun_when_the_next_one_is_due() -> None:
    conf = create_celery(load(WorkerSettings, URLS | {"STREAMGAUGE_FORECAST_TICK_S": "5"})).conf
    entry = conf.beat_schedule["forecast"]
    assert entry["task"] == FORECAST_TASK
    assert entry["schedule"] == entry["options"]["expires"] == 5.0
    assert conf.task_routes[FORECAST_TASK]["queue"] == entry["options"]["queue"] == ALERTS


def test_what_may_take_its_time_waits_in_batch() -> None:
    app = create_celery(load(WorkerSettings, URLS))
    assert {FORECAST_TASK, DRIFT_TASK, DELETE_FORECASTS_TASK} <= set(app.tasks)
    for task in (DRIFT_TASK, DELETE_FORECASTS_TASK):
        assert app.conf.task_routes[task]["queue"] == BATCH


@pytest.mark.parametrize("name", ["FORECAST_TICK_S", "FORECAST_EVERY_S", "FORECAST_KEEP_DAYS"])
def test_a_pace_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(WorkerSettings, URLS | {f"STREAMGAUGE_{name}": "0"})
