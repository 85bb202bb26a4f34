"""``python -m app import-devices`` on a real database: the demo's table, all or none, what is there stays."""

import argparse
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from app.devices.command import add_arguments, import_devices
from streamgauge.stages import read_stages

DEMO = Path(__file__).parents[2] / "simulator" / "data" / "demo_stations.csv"


def run(engine: Engine, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return import_devices(engine, parser.parse_args(arguments))


def rows(engine: Engine) -> dict[str, tuple[str | None, list[object] | None]]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name, display_name, stages FROM devices"))
        return {row.name: (row.display_name, row.stages) for row in found}


def test_the_demos_stations_have_places_and_stages(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(engine, str(DEMO), "--only-new") == 0
    found = rows(engine)
    assert set(found) == {"dead-run", "harbour-tide", "mill-brook", "north-quay", "old-weir", "town-tank"}
    assert all(len(read_stages(stages)) >= 2 for _, stages in found.values())
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {item["outcome"] for item in said} == {"new"}


def test_what_somebody_has_changed_stays_with_only_new(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    run(engine, str(DEMO))
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET display_name = 'Mine' WHERE name = 'dead-run'"))
    assert run(engine, str(DEMO), "--only-new") == 0
    assert rows(engine)["dead-run"][0] == "Mine"
    assert run(engine, str(DEMO), "--dry-run") == 0
    assert rows(engine)["dead-run"][0] == "Mine"
    assert run(engine, str(DEMO)) == 0
    assert rows(engine)["dead-run"][0] == "Dead Run at Franklintown"


def test_a_wrong_line_is_told_and_nothing_is_written(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("name,latitude\nweir,95\nmill,50\n", encoding="utf-8")
    assert run(engine, str(table)) == 1
    assert rows(engine) == {}
    complaint = capsys.readouterr().err
    assert "line 2" in complaint
    assert "Nothing was changed" in complaint
    table.write_bytes(b"\xff\xfe\x00")
    assert run(engine, str(table)) == 1
    assert run(engine, str(tmp_path / "none.csv")) == 1
    assert "cannot be read" in capsys.readouterr().err
