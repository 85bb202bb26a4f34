"""Which model a worker judges with: the champions of the database, taken over without a restart, and never one that is broken."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import Engine, text

from streamgauge.scoring.model import MODEL_FILE
from streamgauge.storage.model_aliases import CHAMPION, GENERAL, adopt_shipped, alias_of, promote, roll_back
from streamgauge.storage.models import ModelFacts, ensure_model, list_models, lock_models, read_files
from tasks.models_in_use import REFRESH_S, RETRY_S, SITE_MODELS_KEPT, ModelsInUse
from tests.support.ingest import shipped_model
from tests.support.small_models import small_model

STATION = 7


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refreshed(models: ModelsInUse, engine: Engine) -> ModelsInUse:
    with engine.begin() as connection:
        models.refresh(connection)
    return models


def store(engine: Engine, seed: int, changed: Mapping[str, bytes] | None = None) -> int:
    trained = small_model(seed)
    facts = ModelFacts(features_sha256=trained.card["features_sha256"])
    with engine.begin() as connection:
        return ensure_model(connection, trained.sha256, trained.card, {**trained.files, **(changed or {})}, facts)


def make_champion(engine: Engine, model_id: int, device_id: int = GENERAL) -> None:
    with engine.begin() as connection:
        promote(connection, device_id=device_id, model_id=model_id, by="anna", reason="test")


def test_the_first_worker_writes_the_shipped_model_down_with_its_files(engine: Engine, clock: Clock) -> None:
    for _ in range(2):
        models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    with engine.connect() as connection:
        (stored,) = list_models(connection)
        files = read_files(connection, stored.id)
        assert alias_of(connection, GENERAL, CHAMPION) == models.general.id == stored.id
    assert files == shipped_model().files()
    assert stored.sha256 == shipped_model().sha256
    assert stored.data_until
    assert stored.data_from
    assert stored.snapshot_sha256
    assert stored.usable


def test_a_promotion_reaches_a_running_worker_and_so_does_the_roll_back(engine: Engine, clock: Clock) -> None:
    models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    shipped = models.general
    other = store(engine, 1)
    make_champion(engine, other)
    assert refreshed(models, engine).general.id == shipped.id  # not asked yet
    clock.now_s += REFRESH_S
    assert refreshed(models, engine).general.id == other
    assert models.general.model.sha256 == small_model(1).sha256
    with engine.begin() as connection:
        roll_back(connection, device_id=GENERAL, by="anna")
    clock.now_s += REFRESH_S
    assert refreshed(models, engine).general == shipped
    old = models.with_id(other)
    assert old
    assert (old.id, models.with_id(9_999)) == (other, None)
    assert refreshed(models, engine).with_id(other) is old


def test_a_station_goes_with_its_own_champion(engine: Engine, clock: Clock) -> None:
    models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    own = store(engine, 1)
    make_champion(engine, own, STATION)
    clock.now_s += REFRESH_S
    refreshed(models, engine)
    assert models.of(STATION).id == own
    assert models.of(STATION + 1) == models.general
    assert models.ids(np.array([STATION, 1])).tolist() == [own, models.general.id]


@pytest.mark.parametrize("scope", [GENERAL, STATION])
def test_a_champion_that_cannot_be_loaded_changes_nothing_until_it_can(
    engine: Engine, clock: Clock, scope: int, caplog: pytest.LogCaptureFixture
) -> None:
    models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    good = store(engine, 1)
    make_champion(engine, good, scope)
    clock.now_s += REFRESH_S
    assert refreshed(models, engine).of(STATION).id == good
    whole = small_model(2).files[MODEL_FILE]
    broken = store(engine, 2, {MODEL_FILE: whole[: len(whole) // 2]})
    make_champion(engine, broken, scope)
    for _ in range(3):
        clock.now_s += REFRESH_S
        assert refreshed(models, engine).of(STATION).id == good
    assert sum("last good model goes on" in record.message for record in caplog.records) == 1
    clock.now_s += RETRY_S
    refreshed(models, engine).of(STATION)
    assert sum("last good model goes on" in record.message for record in caplog.records) == 2


def test_a_new_worker_that_cannot_load_the_champion_judges_with_the_shipped_model(engine: Engine, clock: Clock) -> None:
    refreshed(ModelsInUse(shipped_model(), clock), engine)
    broken = store(engine, 1, {MODEL_FILE: b""})
    make_champion(engine, broken)
    models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    assert models.general.model is shipped_model()


def test_a_stations_own_model_is_loaded_when_it_is_asked_for_and_few_are_kept(engine: Engine, clock: Clock) -> None:
    models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    own, stations = store(engine, 1), range(1, SITE_MODELS_KEPT + 6)
    for station in stations:
        make_champion(engine, own, station)
    clock.now_s += REFRESH_S
    refreshed(models, engine)
    assert (len(models.site_ids), len(models.by_device)) == (len(stations), 0)
    assert set(models.ids(np.array(stations)).tolist()) == {own}
    assert len(models.by_device) == len(stations)  # all that one task needs
    assert models.of(1).id == own
    refreshed(models, engine)
    assert len(models.by_device) == SITE_MODELS_KEPT
    assert 1 in models.by_device


def test_a_worker_that_starts_writes_apart_and_sends_what_is_there_no_second_time(engine: Engine, clock: Clock) -> None:
    models = refreshed(ModelsInUse(shipped_model(), clock), engine)
    models.forget()
    with engine.begin() as ingesting:
        models.refresh(ingesting)
        with engine.begin() as other:  # a promotion need not wait until what the worker takes in is stored
            other.execute(text("SET LOCAL lock_timeout = '2s'"))
            lock_models(other)
        before = engine.connect()
        with before.begin():
            before.execute(text("SET LOCAL lock_timeout = '2s'"))
            lock_models(before)
            models.forget()
            models.refresh(ingesting)  # nothing is lacking: it neither writes nor waits
        before.close()


def test_a_promotion_and_a_worker_that_completes_a_model_do_not_wait_for_each_other_for_good(engine: Engine) -> None:
    first, second = store(engine, 1), store(engine, 2)
    make_champion(engine, first)
    trained = small_model(1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE models SET seed = NULL WHERE id = :id"), {"id": first})
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as worker:
            facts = ModelFacts(features_sha256=trained.card["features_sha256"], seed=7)
            ensure_model(worker, trained.sha256, trained.card, dict(trained.files), facts)
            promoting = pool.submit(make_champion, engine, second)
            time.sleep(0.3)
            adopt_shipped(worker, second)
        promoting.result(timeout=5)
    with engine.connect() as connection:
        assert alias_of(connection, GENERAL, CHAMPION) == second


def test_what_a_rolled_back_transaction_wrote_is_written_again(engine: Engine, clock: Clock) -> None:
    models = ModelsInUse(shipped_model(), clock)
    with engine.connect() as connection:
        models.refresh(connection)
        connection.rollback()
    models.forget()
    general = refreshed(models, engine).general
    with engine.connect() as connection:
        assert [model.id for model in list_models(connection)] == [general.id]
