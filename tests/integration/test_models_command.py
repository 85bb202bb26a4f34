"""``python -m tasks.models``: what it prints, what it does, and how it refuses."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from streamgauge.storage.model_aliases import CHALLENGER, CHAMPION, GENERAL, adopt_shipped, alias_of, promotions
from streamgauge.storage.models import ensure_model, facts_of_card, read_files
from tasks.models import main
from tests.support.ingest import shipped_model
from tests.support.small_models import add_station, small_model

Output = pytest.CaptureFixture[str]


@pytest.fixture
def shipped(engine: Engine, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The shipped model, champion."""
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", database_url)
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", redis_url)
    model = shipped_model()
    with engine.begin() as connection:
        model_id = ensure_model(
            connection, model.sha256, dict(model.card), model.files(), facts_of_card(dict(model.card))
        )
        adopt_shipped(connection, model_id)
    return model_id


def lines(output: Output) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.readouterr().out.splitlines()]


def test_a_model_goes_from_a_folder_to_champion_and_back(
    engine: Engine, shipped: int, tmp_path: Path, capsys: Output
) -> None:
    trained = small_model(1)
    for name, content in trained.files.items():
        (tmp_path / name).write_bytes(content)
    assert main(["import", str(tmp_path), "--by", "anna", "--challenge"]) == 0
    (brought,) = lines(capsys)
    model_id = int(str(brought["model"]))
    assert main(["list"]) == 0
    listed = {line["id"]: line for line in lines(capsys)}
    assert listed[model_id]["aliases"] == ["challenger of all stations"]
    assert (listed[model_id]["origin"], listed[model_id]["usable"]) == ("imported", True)
    assert listed[shipped]["aliases"] == ["champion of all stations"]

    assert main(["promote", str(model_id), "--by", "anna"]) == 2
    assert "The gate has not judged" in capsys.readouterr().err
    assert main(["promote", trained.sha256[:12], "--by", "anna", "--force", "tried elsewhere"]) == 0
    assert main(["roll-back", "--by", "binh", "--reason", "worse on floods"]) == 0
    with engine.connect() as connection:
        assert alias_of(connection, GENERAL, CHAMPION) == shipped
        moves = [(move.action, move.moved_by, (move.gate or {}).get("reason")) for move in promotions(connection, 2)]
    assert moves == [("roll_back", "binh", "worse on floods"), ("promote", "anna", "tried elsewhere")]


def test_a_card_is_shown_and_files_are_written(engine: Engine, shipped: int, tmp_path: Path, capsys: Output) -> None:
    assert main(["show", str(shipped)]) == 0
    shown = capsys.readouterr().out
    assert shipped_model().sha256 in shown
    assert "promote as champion by first start" in shown
    assert main(["show", str(shipped), "--json"]) == 0
    assert lines(capsys)[0]["usable"] is True
    assert main(["export", str(shipped), str(tmp_path / "out")]) == 0
    with engine.connect() as connection:
        files = read_files(connection, shipped)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_a_station_s_challenger_is_made_and_withdrawn(engine: Engine, shipped: int, capsys: Output) -> None:
    device_id = add_station(engine, "plumtree-01")
    assert main(["challenge", str(shipped), "--by", "anna", "--device", "plumtree-01"]) == 0
    with engine.connect() as connection:
        assert alias_of(connection, device_id, CHALLENGER) == shipped
    assert main(["withdraw", "--by", "anna", "--device", "plumtree-01"]) == 0
    assert main(["withdraw", "--by", "anna", "--device", "plumtree-01"]) == 2
    assert main(["withdraw", "--by", "anna", "--device", "nowhere"]) == 2
    assert main(["show", "ffffffff"]) == 2
    assert main(["import", "/nowhere", "--by", "anna"]) == 2
    complaints = capsys.readouterr().err
    assert "no challenger" in complaints
    assert "'nowhere'" in complaints
    assert "cannot be read" in complaints
