import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.demo_places import DEAD_RUN_FILE
from simulator.errors import InputFault
from simulator.records import read_record


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_record_is_read_whole_and_unrounded() -> None:
    record = read_record(DEAD_RUN_FILE, "dead-run")
    lines = gzip.decompress(DEAD_RUN_FILE.read_bytes()).decode().splitlines()[1:]
    assert len(record.readings) == len(lines) == 8_928
    for line, reading in zip(lines, record.readings, strict=True):
        time, level_m, flow_m3_s = line.split(",")
        assert reading.time == datetime.fromisoformat(time)
        assert (reading.level_m, reading.flow_m3_s) == (float(level_m), float(flow_m3_s))


def test_order_gaps_offsets_and_sequence_numbers_are_kept(tmp_path: Path) -> None:
    text = (
        "\ufefftime, level_m,seq\n2020-01-01T02:00:00+01:00,1.5,7\n\n2020-01-01T00:00:00Z,,8\n2019-01-01T00:00:00Z,2,\n"
    )
    record = read_record(write(tmp_path / "a.csv", text), "a")
    assert [(r.time, r.level_m, r.seq) for r in record.readings] == [
        (datetime(2020, 1, 1, 1, tzinfo=UTC), 1.5, 7),
        (datetime(2019, 1, 1, tzinfo=UTC), 2.0, None),
    ]
    assert record.empty_rows == 1


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("time,level", "column 'level' is not known"),
        ("level_m", "column 'time' is missing"),
        ("time,battery_v", "no quantity"),
        ("time,level_m,level_m", "column 'level_m' is there twice"),
        ("time,device,level_m", "--device"),
        ("", "column 'time' is missing"),
    ],
)
def test_bad_columns_are_named(tmp_path: Path, header: str, sentence: str) -> None:
    with pytest.raises(InputFault, match=sentence):
        read_record(write(tmp_path / "a.csv", f"{header}\n"), "a")


def test_every_bad_row_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [
        "2020-01-01T00:00:00Z,1.0",
        "2020-01-01T00:05:00,1.0",
        "yesterday,1.0",
        "2020-01-01T00:15:00Z,nan",
        "2020-01-01T00:20:00Z,1e999",
        "2020-01-01T00:25:00Z,1_0",
        "2020-01-01T00:30:00Z,1.0,9",
        ",1.0",
    ]
    with pytest.raises(InputFault) as caught:
        read_record(write(tmp_path / "a.csv", "time,level_m\n" + "\n".join(rows) + "\n"), "a")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [f"line {n}" for n in range(3, 10)]


def test_a_file_of_errors_is_not_listed_without_end(tmp_path: Path) -> None:
    with pytest.raises(InputFault) as caught:
        read_record(write(tmp_path / "a.csv", "time,level_m\n" + "x,1\n" * 1_000), "a")
    assert len(caught.value.problems) == 21
    assert "980 more" in caught.value.problems[-1]


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8bnot gzip",
        gzip.compress(b"time,level_m\n", mtime=0)[:-9],
        b"time,level_m\n\xff,1\n",
        b'time,level_m\n"open',
        b"time,level_m\n",
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputFault):
        read_record(path, "a")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="No such file"):
        read_record(tmp_path / "none.csv", "a")
