"""Challengers in the shadow: compared with the champion on readings that trained neither, scored where nobody looks, judged."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from streamgauge.storage.model_aliases import (
    GENERAL,
    MoveRefused,
    alias_of,
    challenge,
    latest_gate,
    promote,
)
from streamgauge.storage.models import ModelFacts, ensure_model
from streamgauge.storage.rescore import SHADOW, list_runs
from tasks.shadow import ask_for_scores, shadow
from tests.support.small_models import NOW, add_station, small_model, store_history

CRITERIA = {"readings", "days", "still water", "better", "nowhere worse", "coverage", "marked", "floods"}


def store(engine: Engine, seed: int, broken: bool = False) -> int:
    trained = small_model(seed)
    files = {name: content[:100] if broken else content for name, content in trained.files.items()}
    until = NOW - timedelta(days=20)
    facts = ModelFacts(features_sha256=trained.card["features_sha256"], data_until=until)
    with engine.begin() as connection:
        return ensure_model(connection, trained.sha256, trained.card, files, facts)


@pytest.fixture
def challenged(engine: Engine) -> tuple[int, int]:
    """A champion, a challenger, and a station with readings that trained neither; the models' ids."""
    store_history(engine, add_station(engine, "plumtree-01"), 45)
    champion, challenger = store(engine, 1), store(engine, 2)
    with engine.begin() as connection:
        promote(connection, device_id=GENERAL, model_id=champion, by="anna", reason="test")
        challenge(connection, device_id=GENERAL, model_id=challenger, by="retraining")
    return champion, challenger


def test_the_gate_s_verdict_is_kept_with_its_figures(engine: Engine, challenged: tuple[int, int]) -> None:
    champion, challenger = challenged
    assert set(shadow(engine, NOW)) == {GENERAL}
    with engine.connect() as connection:
        gate = latest_gate(connection, challenger)
    assert gate
    assert gate["champion_id"] == champion
    assert {criterion["name"] for criterion in gate["criteria"]} == CRITERIA
    # From the twentieth day before, when both had been trained, in steps of twenty minutes: enough.
    assert 1_300 < gate["figures"]["readings"] <= 20 * 72
    assert gate["passed"] is False
    assert "readings of" not in gate["why_not"]
    assert len(gate["figures"]["compared"]) == 8
    with pytest.raises(MoveRefused, match="not let"), engine.begin() as connection:
        promote(connection, device_id=GENERAL, model_id=challenger, by="anna")


def test_the_challenger_is_asked_for_its_scores_once(engine: Engine, challenged: tuple[int, int]) -> None:
    (run_id,) = ask_for_scores(engine, now=NOW)
    assert ask_for_scores(engine, now=NOW) == []
    with engine.connect() as connection:
        (run,) = list_runs(connection, kind=SHADOW)
    assert run.id == run_id
    assert run.parameters["model"] == small_model(2).sha256
    assert run.parameters["from"].startswith("2026-11-01")


def test_a_challenger_that_cannot_be_loaded_takes_no_other_with_it(engine: Engine, challenged: tuple[int, int]) -> None:
    broken = store(engine, 3, broken=True)
    with engine.begin() as connection:
        station = connection.execute(text("SELECT id FROM devices")).scalar_one()
        challenge(connection, device_id=station, model_id=broken, by="retraining")
        assert alias_of(connection, station, "challenger") == broken
    assert set(shadow(engine, NOW)) == {GENERAL}


def test_a_challenger_that_does_not_fit_keeps_no_other_from_its_scores(
    engine: Engine, challenged: tuple[int, int]
) -> None:
    other = add_station(engine, "other-01")
    unfit = store(engine, 3)
    with engine.begin() as connection:
        challenge(connection, device_id=other, model_id=unfit, by="anna")
        # The first in the list, and made for other features.
        connection.execute(text("UPDATE model_aliases SET device_id = -1 WHERE model_id = :id"), {"id": unfit})
        connection.execute(text("UPDATE models SET features_sha256 = 'ff' WHERE id = :id"), {"id": unfit})
    assert len(ask_for_scores(engine, now=NOW)) == 1


def test_without_challengers_nothing_happens(engine: Engine) -> None:
    assert shadow(engine, NOW) == {}
    assert ask_for_scores(engine, now=NOW) == []
