"""Retraining on stored history: what trains, what does not, the same bytes from the same rows, and what becomes of the model."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from streamgauge.scoring.model import Model
from streamgauge.storage.model_aliases import (
    CHALLENGER,
    CHAMPION,
    GENERAL,
    RETRAINED_REASON,
    alias_of,
    challenge,
    withdraw,
)
from streamgauge.storage.models import RETRAINED, ModelFacts, ensure_model, read_files, read_model
from streamgauge.storage.retrainings import one_at_a_time, retrainings
from tasks.retrain import AlreadyTraining, Bounds, Outcome, retrain
from tests.support.small_models import NOW, QUICK, add_station, small_model, store_history

FEW = Bounds(site_days=60, sites_max=0)


def run(engine: Engine, bounds: Bounds = FEW, devices: list[str] | None = None, days_later: int = 0) -> list[Outcome]:
    now = NOW + timedelta(days=days_later)
    return retrain(engine, bounds, by="anna", devices=devices, now=now, recipe=QUICK)


def files_of(engine: Engine, model_id: int | None) -> dict[str, bytes]:
    assert model_id is not None
    with engine.connect() as connection:
        return read_files(connection, model_id)


def execute(engine: Engine, query: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(query))


@pytest.fixture
def station(engine: Engine) -> int:
    device_id = add_station(engine, "plumtree-01")
    store_history(engine, device_id, 40)
    return device_id


def test_the_same_rows_give_the_same_bytes_and_nothing_changes(engine: Engine, station: int) -> None:
    (first,) = run(engine)
    (again,) = run(engine)
    assert (first.outcome, again.outcome, again.model_id) == ("challenger", "unchanged", first.model_id)
    before = files_of(engine, first.model_id)

    # Everything is forgotten, and the same rows come in another order: the same model, to the byte.
    execute(engine, "TRUNCATE model_aliases, model_promotions, model_files, models, readings RESTART IDENTITY CASCADE")
    store_history(engine, station, 40, backwards=True)
    (anew,) = run(engine)
    assert anew.outcome == "challenger"
    assert files_of(engine, anew.model_id) == before


def test_the_model_is_written_down_with_all_that_made_it_and_can_be_used(engine: Engine, station: int) -> None:
    (outcome,) = run(engine)
    assert outcome.model_id is not None
    with engine.connect() as connection:
        model = read_model(connection, outcome.model_id)
        assert alias_of(connection, GENERAL, CHALLENGER) == outcome.model_id
        assert alias_of(connection, GENERAL, CHAMPION) is None
        (written,) = retrainings(connection)
    assert model is not None
    assert (model.origin, model.device_id, model.usable) == (RETRAINED, None, True)
    assert model.data_until == NOW.replace(hour=0) - timedelta(days=14)
    assert model.snapshot_sha256
    assert model.quality_rules
    assert model.seed == QUICK.training.seed
    assert {"xgboost", "numpy"} <= set(model.card["libraries"])
    assert Model.from_files(files_of(engine, outcome.model_id)).sha256 == model.sha256
    assert (written.by, written.scope, written.outcome, written.model_id) == (
        "anna",
        "all stations",
        "challenger",
        outcome.model_id,
    )


def test_what_was_flagged_or_marked_as_a_fault_does_not_train_but_a_flood_does(engine: Engine, station: int) -> None:
    (clean,) = run(engine)
    # Ten readings each, in the part that trains.
    early = NOW - timedelta(days=30)
    several = f"device_id = {station} AND time >= '{early.isoformat()}' AND time < '{{}}'"
    ten = several.format((early + timedelta(minutes=200)).isoformat())
    execute(engine, f"UPDATE readings SET surprise = 'event', score = 0.99 WHERE {ten}")
    assert run(engine)[0].outcome == "unchanged"
    execute(engine, f"UPDATE readings SET surprise = 'fault' WHERE {ten}")
    (without,) = run(engine)
    assert without.outcome == "challenger"
    assert without.model_id != clean.model_id
    # Which levels they had makes no difference any more, nor why they are left out.
    changed = """surprise = NULL, flags = '{"level_m": 3}', level_m = level_m + 3"""
    execute(engine, f"UPDATE readings SET {changed} WHERE {ten}")
    assert run(engine)[0].model_id == without.model_id


def test_a_challenger_that_a_person_put_there_is_not_replaced(engine: Engine, station: int) -> None:
    other = small_model(3)
    facts = ModelFacts(origin=RETRAINED, features_sha256=other.card["features_sha256"])
    with engine.begin() as connection:
        chosen = ensure_model(connection, other.sha256, other.card, dict(other.files), facts)
        challenge(connection, device_id=GENERAL, model_id=chosen, by="anna")
    (outcome,) = run(engine)
    assert outcome.outcome == "kept"
    with engine.begin() as connection:
        assert alias_of(connection, GENERAL, CHALLENGER) == chosen
        assert outcome.model_id is not None
        assert read_model(connection, outcome.model_id) is not None
        withdraw(connection, device_id=GENERAL, by="anna")
        challenge(connection, device_id=GENERAL, model_id=chosen, by="schedule", reason=RETRAINED_REASON)
    assert run(engine)[0].outcome == "challenger"


def test_the_newest_two_weeks_do_not_train(engine: Engine, station: int) -> None:
    (first,) = run(engine)
    held_out = (NOW.replace(hour=0) - timedelta(days=14)).isoformat()
    execute(engine, f"UPDATE readings SET level_m = level_m * 2 WHERE time >= '{held_out}'")
    assert run(engine)[0].model_id == first.model_id


def test_too_little_history_is_said_and_trains_nothing(engine: Engine) -> None:
    (nothing,) = run(engine)
    store_history(engine, add_station(engine, "young"), 20)
    (young,) = run(engine)
    (named,) = run(engine, devices=["young"])
    assert [outcome.outcome for outcome in (nothing, young, named)] == ["too_little"] * 3
    assert "60 days" in named.detail
    with engine.connect() as connection:
        assert [entry.scope for entry in retrainings(connection)] == ["young", "all stations", "all stations"]
        assert connection.execute(text("SELECT count(*) FROM models")).scalar() == 0


@pytest.mark.slow
def test_stations_with_enough_history_get_models_of_their_own_in_turn(engine: Engine) -> None:
    bounds = Bounds(site_days=15, sites_max=1)
    for number in range(2):
        store_history(engine, add_station(engine, f"station-{number}"), 31, shift=1_000 * number)
    first, second = run(engine, bounds), run(engine, bounds)
    assert first[0].scope == "all stations"
    assert {first[1].scope, second[1].scope} == {"station-0", "station-1"}
    (asked,) = run(engine, bounds, devices=["station-0"])
    assert asked.outcome == "unchanged"
    with engine.connect() as connection:
        model = read_model(connection, asked.model_id or 0)
        assert model
        assert model.device == "station-0"
        assert alias_of(connection, model.device_id or 0, CHALLENGER) == model.id


def test_only_one_training_at_a_time(engine: Engine) -> None:
    with one_at_a_time(engine) as free:
        assert free
        with pytest.raises(AlreadyTraining):
            run(engine)
    assert run(engine)[0].outcome == "too_little"
