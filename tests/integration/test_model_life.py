"""The life of a model in a real Postgres: written down, challenger, champion, rolled back; who did it and why."""

import pytest
from sqlalchemy import Connection, Engine, text

from app import create_app
from streamgauge.scoring.shipped import shipped_card
from streamgauge.settings import WebSettings
from streamgauge.storage.model_aliases import (
    CHALLENGER,
    CHAMPION,
    GENERAL,
    MoveOutdated,
    MoveRefused,
    Seen,
    adopt_shipped,
    alias_of,
    aliases,
    challenge,
    champion_of,
    latest_gate,
    promote,
    promotions,
    roll_back,
    save_gate,
    withdraw,
)
from streamgauge.storage.models import ensure_model, find_model, list_models, read_files, read_model

FEATURES = shipped_card()["features_sha256"]
STATION = 7


def add(connection: Connection, name: str, features: str = FEATURES, files: dict[str, bytes] | None = None) -> int:
    """A model of which nothing but its identity counts here."""
    sha256 = name.encode().hex().ljust(64, "0")
    return ensure_model(
        connection, sha256, {"features_sha256": features}, {"model.ubj": b"x"} if files is None else files
    )


def audit(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT actor, action, subject FROM audit_log ORDER BY id")).all()
    return [(row.actor, row.action, row.subject) for row in rows]


def test_a_model_is_written_down_once_and_completed_by_whoever_knows_more(engine: Engine) -> None:
    with engine.begin() as connection:
        first = add(connection, "a", files={})
        bare = read_model(connection, first)
        again = add(connection, "a", files={"card.json": b"{}", "model.ubj": b"\0x"})
        whole = read_model(connection, first)
        assert read_files(connection, first) == {"card.json": b"{}", "model.ubj": b"\0x"}
        assert find_model(connection, "61") == whole
        assert find_model(connection, "6%") is None
    assert again == first
    assert bare
    assert whole
    assert (bare.usable, whole.usable) == (False, True)


def test_the_shipped_model_is_champion_on_the_first_start_and_challenger_after_an_upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        old, new = add(connection, "old"), add(connection, "new")
        assert "champion" in str(adopt_shipped(connection, old))
        assert adopt_shipped(connection, old) is None
        assert "challenger" in str(adopt_shipped(connection, new))
        assert adopt_shipped(connection, new) is None
        withdraw(connection, device_id=GENERAL, by="anna", reason="not now")
        assert adopt_shipped(connection, new) is None
        assert [(row.alias, row.model_id) for row in aliases(connection)] == [(CHAMPION, old)]


def test_a_champion_of_other_features_is_replaced_by_the_shipped_model_which_says_so(engine: Engine) -> None:
    with engine.begin() as connection:
        old, new = add(connection, "old", features="0" * 64), add(connection, "new")
        adopt_shipped(connection, old)
        assert "takes over" in str(adopt_shipped(connection, new))
        assert alias_of(connection, GENERAL, CHAMPION) == new
        assert "other features" in promotions(connection)[0].gate["reason"]  # type: ignore[index]
        with pytest.raises(MoveRefused, match="other features"):
            roll_back(connection, device_id=GENERAL, by="anna")


def test_a_program_that_was_rolled_back_goes_on_with_the_last_champion_that_fits_it(engine: Engine) -> None:
    with engine.begin() as connection:
        shipped, approved, later = add(connection, "v1"), add(connection, "good"), add(connection, "v2", "0" * 64)
        adopt_shipped(connection, shipped)
        promote(connection, device_id=GENERAL, model_id=approved, by="anna", reason="good")
        connection.execute(text("UPDATE model_aliases SET model_id = :id"), {"id": later})  # the newer program's doing
        assert f"model {approved}" in str(adopt_shipped(connection, shipped))
        assert alias_of(connection, GENERAL, CHAMPION) == approved


def test_promotion_needs_the_gate_against_the_present_champion_or_a_reason(engine: Engine) -> None:
    with engine.begin() as connection:
        old, new, third = (add(connection, name) for name in ("old", "new", "third"))
        adopt_shipped(connection, old)
        challenge(connection, device_id=GENERAL, model_id=new, by="retraining")
        with pytest.raises(MoveRefused, match="has not judged"):
            promote(connection, device_id=GENERAL, model_id=new, by="anna")
        save_gate(connection, new, GENERAL, {"passed": False, "champion_id": old})
        with pytest.raises(MoveRefused, match="has not let"):
            promote(connection, device_id=GENERAL, model_id=new, by="anna")
        save_gate(connection, new, GENERAL, {"passed": True, "champion_id": third})
        with pytest.raises(MoveRefused, match="not the champion any more"):
            promote(connection, device_id=GENERAL, model_id=new, by="anna")
        with pytest.raises(MoveRefused, match="name"):
            promote(connection, device_id=GENERAL, model_id=new, by=" ", reason="because")
        save_gate(connection, new, GENERAL, {"passed": True, "champion_id": old})
        promote(connection, device_id=GENERAL, model_id=new, by="anna")
        assert [(row.alias, row.model_id) for row in aliases(connection)] == [(CHAMPION, new)]
        promote(connection, device_id=GENERAL, model_id=third, by="binh", reason="the gate lacks a flood")
        facts = {model.id: (model.approved_by, model.retired_at is None) for model in list_models(connection)}
        newest, before = promotions(connection, 2)
        assert latest_gate(connection, new) == {"passed": True, "champion_id": old}
    assert facts == {old: ("first start", False), new: ("anna", False), third: ("binh", True)}
    assert newest.gate == {"reason": "the gate lacks a flood"}
    assert before.gate == {"passed": True, "champion_id": old}
    assert audit(engine)[-2:] == [
        ("anna", "models.promote", "champion of all stations"),
        ("binh", "models.promote", "champion of all stations"),
    ]


def test_roll_back_goes_one_champion_further_back_each_time(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second, third = (add(connection, name) for name in ("1", "2", "3"))
        adopt_shipped(connection, first)
        for model in (second, third):
            promote(connection, device_id=GENERAL, model_id=model, by="anna", reason="tried")
        assert roll_back(connection, device_id=GENERAL, by="binh") == second
        assert roll_back(connection, device_id=GENERAL, by="binh") == first
        with pytest.raises(MoveRefused, match="first champion"):
            roll_back(connection, device_id=GENERAL, by="binh")
        assert alias_of(connection, GENERAL, CHAMPION) == first
        retired = {model.id for model in list_models(connection) if model.retired_at}
    assert retired == {second, third}


def test_what_somebody_saw_before_it_changed_moves_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second, third = (add(connection, name) for name in ("1", "2", "3"))
        adopt_shipped(connection, first)
        promote(connection, device_id=GENERAL, model_id=second, by="anna", reason="so", seen=Seen(first))
        challenge(connection, device_id=GENERAL, model_id=third, by="anna")
        assert roll_back(connection, device_id=GENERAL, by="anna", seen=Seen(second)) == first
        with pytest.raises(MoveOutdated, match=f"model {first} is now"):
            roll_back(connection, device_id=GENERAL, by="ben", seen=Seen(second))
        with pytest.raises(MoveOutdated):
            promote(connection, device_id=GENERAL, model_id=third, by="ben", reason="so", seen=Seen(second))
        with pytest.raises(MoveOutdated):
            withdraw(connection, device_id=GENERAL, by="ben", seen=Seen(second))
        promote(connection, device_id=STATION, model_id=third, by="ben", reason="so", seen=Seen(first))
        assert champion_of(connection, STATION) == third


def test_a_station_whose_own_champion_does_not_fit_goes_with_the_general_one(engine: Engine) -> None:
    with engine.begin() as connection:
        general, own = add(connection, "general"), add(connection, "own")
        adopt_shipped(connection, general)
        promote(connection, device_id=STATION, model_id=own, by="anna", reason="so")
        connection.execute(text("UPDATE models SET features_sha256 = 'ff' WHERE id = :id"), {"id": own})
        assert champion_of(connection, STATION) == general


def test_a_station_has_a_champion_of_its_own_until_that_is_rolled_back(engine: Engine) -> None:
    with engine.begin() as connection:
        general, own = add(connection, "general"), add(connection, "own")
        adopt_shipped(connection, general)
        challenge(connection, device_id=STATION, model_id=own, by="retraining")
        assert champion_of(connection, STATION) == general
        save_gate(connection, own, STATION, {"passed": True, "champion_id": general})
        promote(connection, device_id=STATION, model_id=own, by="anna")
        assert (champion_of(connection, STATION), champion_of(connection, 8)) == (own, general)
        assert alias_of(connection, STATION, CHALLENGER) is None
        assert roll_back(connection, device_id=STATION, by="anna") is None
        assert champion_of(connection, STATION) == general
        assert promotions(connection)[0].model_id is None


def test_a_model_without_files_or_unknown_gets_no_alias(engine: Engine) -> None:
    with engine.begin() as connection:
        bare = add(connection, "bare", files={})
        for model, words in ((bare, "files of model"), (99, "There is no model 99")):
            with pytest.raises(MoveRefused, match=words):
                promote(connection, device_id=GENERAL, model_id=model, by="anna", reason="because")
            with pytest.raises(MoveRefused, match=words):
                challenge(connection, device_id=GENERAL, model_id=model, by="anna")
        assert aliases(connection) == []


def test_prometheus_is_told_which_models_are_in_use_and_whether_the_gate_opens(
    engine: Engine, redis_url: str, database_url: str
) -> None:
    with engine.begin() as connection:
        old, new, newer = (add(connection, name) for name in ("old", "new", "newer"))
        adopt_shipped(connection, old)
        challenge(connection, device_id=GENERAL, model_id=new, by="retraining")
        save_gate(connection, new, GENERAL, {"passed": True, "champion_id": old})
    app = create_app(WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40))
    scraped = app.test_client().get("/metrics").text
    app.extensions["streamgauge_connections"].close()
    assert f'streamgauge_model_info{{alias="champion",model="{old}",scope="all",sha256="6f6c64' in scraped
    assert f'streamgauge_challenger_gate_passed{{model="{new}",scope="all"}} 1.0' in scraped
    # A verdict against a champion that has been replaced counts for nothing.
    with engine.begin() as connection:
        promote(connection, device_id=GENERAL, model_id=newer, by="anna", reason="test")
    app = create_app(WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40))
    scraped = app.test_client().get("/metrics").text
    app.extensions["streamgauge_connections"].close()
    assert f'streamgauge_challenger_gate_passed{{model="{new}",scope="all"}} 0.0' in scraped
