"""Training gives the same bytes each time, its record is checked, and the card tells what was measured."""

import gzip
import json
import math
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from streamgauge.reading import to_microseconds
from streamgauge.scoring import evaluate as evaluation
from streamgauge.scoring import train as training_module
from streamgauge.scoring.card import forecast_table
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.training import CLEAN, ForecastTraining, all_examples
from streamgauge.scoring.model import ARTEFACT, CARD_FILE, FILES, Model
from streamgauge.scoring.records import InvalidRecord, Record, read_record
from streamgauge.scoring.train import MODEL_CARD_FILE, RECORD, UNSEEN, Training, train, train_nowcast, write_artefact

SMALL = Training(rounds=4, depth=3, forecast=ForecastTraining(rounds=2, tail_rounds=2))


@pytest.fixture(scope="module")
def small_record() -> Record:
    whole = read_record(RECORD)
    return whole.take(np.arange(152_500, 156_500))  # Some days on both sides of the split.


@pytest.fixture(scope="module")
def small_files(small_record) -> dict[str, bytes]:
    return train([small_record], SMALL)


def test_training_is_the_same_to_the_byte(small_record, small_files):
    assert train([small_record], SMALL) == small_files


def test_another_seed_is_another_model(small_record):
    assert train_nowcast([small_record], SMALL) != train_nowcast([small_record], replace(SMALL, seed=1))


def test_several_stations_train_one_model_and_the_card_names_them_all(small_record):
    usable = np.ones(len(small_record.time_us), dtype=np.bool_)
    usable[100:600] = False
    other = Record.from_arrays("other", small_record.time_us, small_record.level_m * 2.0, usable)
    card = Model.from_files(train([small_record, other], SMALL)).card
    assert [record["name"] for record in card["records"]] == [small_record.name, "other"]
    assert card["record"]["name"] == "2 stations"
    assert card["record"]["rows"] == 2 * len(usable)
    assert card["metrics"] == {}


def test_rows_that_are_not_ordinary_do_not_train(small_record):
    usable = np.ones(len(small_record.time_us), dtype=np.bool_)
    usable[700:900] = False
    level_m = small_record.level_m.copy()
    level_m[~usable] += 1.0
    same, changed = (
        Record.from_arrays("station", small_record.time_us, levels, usable)
        for levels in (small_record.level_m, level_m)
    )
    assert same.sha256 != changed.sha256
    assert train_nowcast([same], SMALL) == train_nowcast([changed], SMALL)


@pytest.mark.parametrize(
    ("time_us", "said"), [([0, 0, 1], "ascend"), ([2, 1, 3], "ascend"), ([1, 2], "different lengths")]
)
def test_arrays_that_are_no_record_are_refused(time_us, said):
    with pytest.raises(InvalidRecord, match=said):
        Record.from_arrays("station", np.array(time_us, dtype=np.int64), np.ones(3))


def test_what_comes_after_the_split_does_not_train(small_record):
    level_m = small_record.level_m.copy()
    level_m[small_record.time_us >= to_microseconds(SMALL.train_until)] += 1.0
    changed = replace(small_record, level_m=level_m)
    assert (level_m != small_record.level_m).any()
    assert train_nowcast([changed], SMALL) == train_nowcast([small_record], SMALL)
    ours, theirs = (
        all_examples([record], CLEAN, SMALL.train_until, SMALL.forecast) for record in (changed, small_record)
    )
    for name in ("values", "scale_m", "change_m", "weight"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=True)


def test_an_artefact_can_be_loaded_and_its_card_says_how_good_it_is(small_record, tmp_path):
    write_artefact(tmp_path / "new", small_record, None, SMALL)
    model = Model.load(tmp_path / "new")
    assert model.card["metrics"]["validation"]["overall"]["rows"] > 500
    assert len(model.card["metrics"]["validation"]["forecast"]["horizons"]) == 7
    assert "unseen_site" not in model.card["metrics"]
    assert model.sha256 in (tmp_path / "new" / MODEL_CARD_FILE).read_text()


def test_a_record_without_usable_readings_is_refused():
    empty = Record("few.csv", "0" * 64, np.arange(3, dtype=np.int64), np.full(3, np.nan))
    with pytest.raises(InvalidRecord, match=r"few\.csv has no usable readings"):
        train([empty], SMALL)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_shipped_artefact_is_what_training_gives(tmp_path):
    """On the platform and with the library versions that its card names; other ones may round sums differently."""
    shipped = json.loads((ARTEFACT / CARD_FILE).read_text())
    write_artefact(tmp_path, read_record(RECORD), read_record(UNSEEN))
    made = json.loads((tmp_path / CARD_FILE).read_text())
    if (made["platform"], made["libraries"]) != (shipped["platform"], shipped["libraries"]):
        assert made["metrics"]["validation"]["overall"]["skill"] == pytest.approx(
            shipped["metrics"]["validation"]["overall"]["skill"], abs=0.01
        )
        return
    for name in (*FILES, MODEL_CARD_FILE):
        assert (tmp_path / name).read_bytes() == (ARTEFACT / name).read_bytes(), name


def test_the_shipped_model_beats_persistence_where_its_card_says_so():
    shipped = json.loads((ARTEFACT / CARD_FILE).read_text())["metrics"]["unseen_site"]
    found = evaluation.evaluate(Model.load(), read_record(UNSEEN))
    assert found.overall.skill == pytest.approx(shipped["overall"]["skill"], abs=0.005)
    assert found.overall.skill > 0.15
    assert found.moving.skill > 0.3
    assert found.overall.coverage == pytest.approx(shipped["overall"]["coverage"], abs=0.005)


def assert_an_hour_ahead_is_as_promised(found, overall_skill, moving_skill):
    hour = next(horizon for horizon in found.forecast.horizons if horizon.horizon_s == 3_600)
    assert hour.overall.skill >= overall_skill
    assert hour.moving.skill >= moving_skill
    assert 0.88 <= hour.overall.coverage <= 0.92
    assert hour.moving.coverage >= 0.82
    for horizon in found.forecast.horizons:
        assert horizon.overall.shown_skill > 0.0
        assert horizon.moving.coverage >= 0.82


def test_forecasts_at_a_site_that_no_model_saw_are_as_good_as_promised():
    found = evaluation.evaluate(Model.load(), read_record(UNSEEN))
    assert_an_hour_ahead_is_as_promised(found, 0.20, 0.30)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_forecasts_at_the_trained_site_are_as_good_as_promised_after_training_ended():
    record = read_record(RECORD)
    until_us = to_microseconds(Training().train_until)
    whole = evaluation.evaluate(Model.load(), record, until_us)
    assert_an_hour_ahead_is_as_promised(whole, 0.32, 0.44)
    later = record.take(np.flatnonzero(record.time_us >= until_us))
    # It begins in the middle of rain, with nothing known of the days before.
    assert_an_hour_ahead_is_as_promised(evaluation.evaluate(Model.load(), later), 0.31, 0.43)


def rows_of(levels, minutes=5, start="2026-01-01T00:00:00"):
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return [f"{(first + timedelta(minutes=minutes * row)).isoformat()},{level}" for row, level in enumerate(levels)]


FLOOD = [1.0 + 0.3 * math.exp(-(((row - 60) / 15) ** 2)) for row in range(150)]


@pytest.mark.parametrize(
    "rows",
    [
        rows_of([1.0]),
        rows_of([1.0] * 200),
        rows_of([""] * 20),
        rows_of(["nan", "inf", "-inf", "1e308", "-1e308", "5e-324"] * 20),
        rows_of(FLOOD) + rows_of(FLOOD, start="2026-09-01T00:00:00"),
        rows_of(FLOOD) + rows_of(FLOOD, start="1970-01-01T00:00:00") + rows_of(FLOOD, start="9999-12-01T00:00:00"),
        rows_of(FLOOD) + rows_of(FLOOD[::-1]),
        rows_of(FLOOD, minutes=1),
        rows_of(FLOOD, minutes=15),
        rows_of(FLOOD, minutes=90),
    ],
    ids=[
        "one",
        "constant",
        "empty",
        "extremes",
        "gap",
        "clocks",
        "twice",
        "each minute",
        "each quarter",
        "each 90 minutes",
    ],
)
def test_odd_records_get_a_clear_answer(tmp_path, capsys, rows):
    path = tmp_path / "odd.csv"
    path.write_text("time,level_m\n" + "\n".join(rows) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluation.main([str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [horizon["horizon_s"] for horizon in found["forecast"]["horizons"]] == list(HORIZONS_S)
        assert evaluation.main([str(path)]) == 0
        assert "odd.csv" in capsys.readouterr().out


def test_the_documents_table_is_the_cards():
    metrics = json.loads((ARTEFACT / CARD_FILE).read_text())["metrics"]
    document = (Path(__file__).parents[3] / "docs" / "forecast.md").read_text(encoding="utf-8")
    assert "\n".join(forecast_table(metrics)) in document, (
        "copy the table from streamgauge/scoring/artefact/MODEL_CARD.md"
    )


def test_the_evaluate_command_prints_json(tmp_path):
    path = tmp_path / "record.csv"
    lines = [
        "time,level_m,extra",
        *(f"2026-01-01T{row // 12:02}:{row % 12 * 5:02}:00+00:00,1.0,x" for row in range(60)),
    ]
    path.write_text("\n".join(lines))
    # Its own process: the command is what the contract names.
    command = [sys.executable, "-m", "streamgauge.scoring.evaluate", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    found = json.loads(done.stdout)
    assert found["overall"]["rows"] == 57
    assert found["overall"]["skill"] is None  # Persistence was never wrong.
    assert found["moving"]["rows"] == 0


def test_commands_tell_in_text_too_and_refuse_what_is_no_record(tmp_path, capsys):
    path = tmp_path / "record.csv"
    path.write_text("time,level_m\n" + "".join(f"2026-01-01T00:{row:02}:00Z,1.{row}\n" for row in range(30)))
    assert evaluation.main([str(path)]) == 0
    assert "all readings: 27 rows" in capsys.readouterr().out
    assert evaluation.main([str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    assert training_module.main(["--record", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 2
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no column"),
        (b"time,stage\n", "no column level_m"),
        (b"time,level_m\n", "no rows"),
        (b"time,level_m\n2026-01-01T00:00:00,1\n", "line 2.*offset"),
        (b"time,level_m\n2026-01-01T00:00:00Z,high\n", "line 2.*high"),
        (b"time,level_m\n2026-01-01T00:00:00Z\n", "line 2"),
        (b"\xff\xfe", "cannot be read"),
        (gzip.compress(b"time,level_m\n", mtime=0)[:-6], "cannot be read"),
    ],
)
def test_files_that_are_no_records_are_refused_with_the_place(tmp_path, content, said):
    path = tmp_path / "record.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidRecord, match=said):
        read_record(path)


def test_records_are_sorted_and_each_instant_counts_once(tmp_path):
    path = tmp_path / "record.csv.gz"
    text = "time,level_m\n2026-01-01T00:05:00Z,2\n2026-01-01T01:00:00+01:00,1\n2026-01-01T00:05:00Z,3\n2026-01-01T00:10:00Z,\n"
    path.write_bytes(gzip.compress(text.encode()))
    record = read_record(path)
    assert record.level_m[:2].tolist() == [1.0, 2.0]
    assert np.isnan(record.level_m[2])
    assert np.diff(record.time_us).tolist() == [300_000_000] * 2
