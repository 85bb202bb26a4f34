"""The life of a model in a running worker: trained by a task, promoted and rolled back without a restart."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from streamgauge.queue import RETRAIN_TASK, enqueue_batch, enqueue_ingest, make_producer, new_task_id
from streamgauge.storage.model_aliases import GENERAL, promote, roll_back
from streamgauge.storage.models import ModelFacts, ensure_model
from tasks.models_in_use import REFRESH_S
from tests.support.ingest import START, body, series
from tests.support.small_models import small_model
from tests.support.system import System, running_system, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def system(_no_settings_of_the_caller: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One worker with one process, so that it is known who has asked for the champions."""
    with running_system(tmp_path_factory.mktemp("models"), worker_processes=1) as running:
        running.worker.start()
        yield running


def model_of(system: System, device: str) -> int | None:
    """Send a reading of a new device; returns the model that has judged it."""
    producer = make_producer(system.stack.addresses.redis_url)
    enqueue_ingest(producer, new_task_id(), "test", body(series([0.1], device=device, start=START)))
    query = "SELECT model_id FROM readings JOIN devices ON devices.id = device_id WHERE devices.name = :name"
    wait_until(lambda: system.scalar(query, name=device) is not None, "nothing was stored", explain=system.worker.tail)
    return int(system.scalar(query, name=device))


def test_promotion_and_roll_back_reach_a_running_worker(system: System) -> None:
    first = model_of(system, "before")
    trained = small_model(1)
    facts = ModelFacts(features_sha256=trained.card["features_sha256"])
    with system.engine.begin() as connection:
        second = ensure_model(connection, trained.sha256, trained.card, trained.files, facts)
        promote(connection, device_id=GENERAL, model_id=second, by="anna", reason="test")
    numbers = iter(range(1_000))
    told = lambda wanted: lambda: model_of(system, f"device-{next(numbers)}") == wanted  # noqa: E731
    wait_until(told(second), "the promotion was not noticed", REFRESH_S + 20, system.worker.tail)
    with system.engine.begin() as connection:
        assert roll_back(connection, device_id=GENERAL, by="anna") == first
    wait_until(told(first), "the roll-back was not noticed", REFRESH_S + 20, system.worker.tail)


def test_a_training_that_is_asked_for_is_carried_out_and_written_down(system: System) -> None:
    system.batch_worker.start()
    enqueue_batch(make_producer(system.stack.addresses.redis_url), RETRAIN_TASK, {"devices": None, "by": "anna"})
    query = text("SELECT after->>'outcome' FROM audit_log WHERE action = 'models.retrain' AND actor = 'anna'")

    def outcome() -> str | None:
        with system.engine.connect() as connection:
            return connection.execute(query).scalar()

    wait_until(lambda: outcome() is not None, "nothing was trained", 60, system.batch_worker.tail)
    assert outcome() == "too_little"
