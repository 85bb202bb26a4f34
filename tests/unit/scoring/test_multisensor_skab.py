"""The benchmark on several sensors: it reads what comes, never looks ahead or at a clock, and beats its baselines."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from streamgauge.scoring.multisensor import MIN_ROWS
from tests.benchmarks import skab
from tests.benchmarks.skab_files import Unreadable, find_files, read
from tests.benchmarks.skab_like import CHANNELS, recordings

FILES = Path(__file__).parents[2] / "data" / "skab_like"
LEARN_ROWS = 180


def read_one(name: str):
    return read(FILES / name, FILES)


def run(folder: Path, tmp_path: Path, *others: str) -> int:
    decisions = tmp_path / "decisions.csv"
    return skab.main([str(folder), "--decisions", str(decisions), "--learn-rows", str(LEARN_ROWS), *others])


def test_a_file_as_skab_writes_it() -> None:
    recording = read_one("valve1/0.csv")
    assert recording.channels == CHANNELS
    assert recording.group == "valve1"
    assert recording.values.shape == (300, 8)
    assert recording.times[:2] == ("2026-03-09 10:00:00", "2026-03-09 10:00:01")
    assert recording.labels is not None
    assert recording.labels.sum() == 90
    assert recording.odd_cells == 0


def test_byte_order_mark_decimal_commas_and_no_changepoint() -> None:
    recording = read_one("valve2/1.csv")
    assert recording.channels == CHANNELS
    assert np.isfinite(recording.values).all()
    assert recording.values[0, 0] == pytest.approx(0.028, abs=0.001)
    assert recording.labels is not None


def test_no_labels_other_delimiter_and_counting_columns() -> None:
    recording = read_one("other/deeper/2.csv")
    assert recording.channels == CHANNELS, "a row number or an elapsed time would give the answer away"
    assert recording.labels is None
    assert recording.odd_cells == 1
    assert np.isnan(recording.values[20, 7])
    assert len(recording.values) == 300


def test_files_are_found_in_any_folder_in_order(tmp_path) -> None:
    for name in ("b/10.csv", "b/2.csv", "a/x/1.CSV", ".hidden.csv", "a/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)] == [
        "a/x/1.CSV",
        "b/2.csv",
        "b/10.csv",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"datetime;Pressure;anomaly\n", "no rows"),
        (b"1;2;3\n4;5;6\n", "names of the columns"),
        (b"datetime;note\n2020-01-01;a\n2020-01-02;b\n", "none of its columns"),
        (b"time;a;a\n1;x;y\n", "none of its columns"),
        (b"row;anomaly\n1;0\n2;0\n3;1\n", "none of its columns"),
        (bytes(range(256)) * 20, "no rows|none of its columns|names of the columns|no CSV"),
    ],
)
def test_a_file_without_a_recording_is_a_clear_error(tmp_path, content, message) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(Unreadable, match=message):
        read(tmp_path / "x.csv", tmp_path)


def test_decisions_rest_on_nothing_that_comes_later() -> None:
    values = read_one("valve1/0.csv").values
    before = skab.decide(values, LEARN_ROWS)
    for now in (0, 100, LEARN_ROWS, 250):
        changed = values.copy()
        changed[max(now, LEARN_ROWS) + 1 :] *= -3  # what the detector learns from is before any decision of an alarm
        after = skab.decide(changed, LEARN_ROWS)
        np.testing.assert_array_equal(after.score[: now + 1], before.score[: now + 1])
        np.testing.assert_array_equal(after.alarm[: now + 1], before.alarm[: now + 1])
    assert not before.alarm[:LEARN_ROWS].any()
    np.testing.assert_array_equal(skab.decide(values * 0 + 1, LEARN_ROWS).alarm[:LEARN_ROWS], before.alarm[:LEARN_ROWS])


def test_it_beats_its_baselines_on_made_up_files() -> None:
    counts = {name: skab.Counts() for name in (skab.OURS, *skab.BASELINES)}
    for _, values, labels in recordings(11, {"valve1": 5, "valve2": 2, "other": 5}):
        counts[skab.OURS].add(labels, skab.decide(values).alarm)
        for name, baseline in skab.BASELINES.items():
            counts[name].add(labels, baseline(values, skab.LEARN_ROWS))
    figures = {name: count.figures() for name, count in counts.items()}
    ours = figures.pop(skab.OURS)
    assert ours["f1"] > 0.8
    assert ours["j"] > 0.7
    assert all(ours["f1"] > other["f1"] + 0.05 and ours["j"] > other["j"] + 0.05 for other in figures.values())


def test_figures() -> None:
    counts = skab.Counts()
    counts.add(np.array([1, 1, 0, 0, 0], dtype=bool), np.array([1, 0, 1, 0, 0], dtype=bool))
    figures = counts.figures()
    assert figures["f1"] == pytest.approx(0.5)
    assert figures["far"] == pytest.approx(1 / 3)
    assert figures["mar"] == pytest.approx(0.5)
    assert figures["j"] == pytest.approx(1 / 6)
    assert skab.Counts().figures()["f1"] is None


def test_the_command_writes_a_decision_per_row_and_figures(tmp_path, capsys) -> None:
    assert run(FILES, tmp_path, "--json") == 0
    out = capsys.readouterr()
    report = json.loads(out.out)
    assert report["files"] == 4
    assert report["unlabelled"] == ["anomaly-free/anomaly-free.csv", "other/deeper/2.csv"]
    assert report["skipped"] == {}
    assert set(report["detectors"]) == {"streamgauge", *skab.BASELINES}
    assert report["detectors"]["always alarm"]["all"]["far"] == 1
    assert report["detectors"]["always alarm"]["all"]["j"] == 0
    assert "valve1/0.csv: 300 rows" in out.err
    with (tmp_path / "decisions.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["file", "row", "time", "score", "decision"]
    assert len(lines) == 1200
    own = [line for line in lines if line["file"] == "valve1/0.csv"]
    assert [line["row"] for line in own] == [str(row) for row in range(300)]
    assert {line["decision"] for line in own} == {"0", "1"}
    assert all(line["score"] == "" and line["decision"] == "0" for line in own[:LEARN_ROWS])
    assert all(0 <= float(line["score"]) <= 1 for line in own[LEARN_ROWS:])


def test_the_table_for_people(tmp_path, capsys) -> None:
    assert run(FILES, tmp_path) == 0
    table = capsys.readouterr().out
    for words in ("streamgauge", "moving-average chart", "always alarm", "F1", "FAR", "MAR", "J", "after learning"):
        assert words in table


def test_what_cannot_be_judged_is_named(tmp_path, capsys) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "empty.csv").touch()
    (folder / "short.csv").write_text("datetime;a\n" + "2020-01-01;1.5\n" * (MIN_ROWS - 1), encoding="utf-8")
    assert run(folder, tmp_path, "--json") == 1
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert "no rows" in skipped["empty.csv"]
    assert "127 readings" in skipped["short.csv"]


def test_a_file_that_is_too_short_to_decide_anything_is_warned_of(tmp_path, capsys) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    lines = (FILES / "valve1/0.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "short.csv").write_text("".join(lines[: LEARN_ROWS + 1]), encoding="utf-8")
    assert run(folder, tmp_path, "--json") == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["undecided_rows"] == {"short.csv": LEARN_ROWS}
    assert "short.csv: NOTHING DECIDED" in out.err
    assert "WARNING: 1 of 1 files" in out.err


def test_what_is_packed_or_no_text_puts_no_raw_bytes_on_the_terminal(tmp_path, capsys) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "packed.csv").write_bytes(gzip.compress((FILES / "valve1/0.csv").read_bytes()))
    (folder / "noise.csv").write_bytes(b"\x1b[31m\x07\xff\x00abc\n\x1b]0;x\x07\n" * 5)
    assert run(folder, tmp_path, "--json") == 1
    out = capsys.readouterr()
    assert json.loads(out.out)["skipped"]["packed.csv"] == "it is packed: unpack it first"
    assert (out.out + out.err).replace("\n", "").isprintable()


@pytest.mark.filterwarnings("error")
def test_values_near_the_largest_float_warn_of_nothing(tmp_path, capsys) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(400, 2)).astype(str)
    values[[50, 300], 0], values[[51, 301], 0] = "1e308", "-1e308"
    folder = tmp_path / "files"
    folder.mkdir()
    rows = "".join(f"2020-01-01;{first};{second};0\n" for first, second in values)
    (folder / "wild.csv").write_text("datetime;a;b;anomaly\n" + rows, encoding="utf-8")
    assert run(folder, tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["undecided_rows"] == {}


def test_its_own_decisions_are_no_recording(tmp_path, capsys) -> None:
    (tmp_path / "x.csv").write_bytes((FILES / "valve1/0.csv").read_bytes())
    assert [run(tmp_path, tmp_path, "--json") for _ in range(2)] == [0, 0]
    assert [json.loads(line)["files"] for line in capsys.readouterr().out.splitlines()] == [1, 1]


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_files_is_a_clear_error(tmp_path, capsys, folder) -> None:
    assert run(tmp_path / folder, tmp_path) == 1
    assert "FAILED" in capsys.readouterr().err
