"""The next reading judged as live: a station's own calibration, and nothing of what comes later."""

import json
from pathlib import Path

import numpy as np
import pytest

from streamgauge.quality.check import check_levels
from streamgauge.reading import format_time, from_microseconds
from streamgauge.scoring import evaluate as evaluation
from streamgauge.scoring.evaluate_next import judge_next, moved
from streamgauge.scoring.model import Model
from streamgauge.scoring.records import Record, read_record

MINUTE_US = 60_000_000


def noisy(step_min: int, days: int, noise_m: float) -> Record:
    """A slow wave seen by a sensor whose noise no training record has."""
    time_us = np.arange(0, days * 1440, step_min, dtype=np.int64) * MINUTE_US
    level_m = 2.0 + 0.05 * np.sin(time_us / (4e9 * 60)) + np.random.default_rng(7).normal(0.0, noise_m, len(time_us))
    return Record("noisy.csv", "0" * 64, time_us, np.round(level_m, 4))


def judged(record: Record, from_us: int | None = None):
    checked = check_levels(record.station, record.time_us, record.level_m)
    return judge_next(Model.load(), record, checked, from_us)


def test_a_stations_own_calibration_makes_its_noise_ordinary() -> None:
    record = noisy(10, 9, 0.02)
    found = judged(record, int(record.time_us[len(record.time_us) // 2]))
    assert found.calibrations >= 4
    assert found.overall.coverage is not None
    assert 0.85 <= found.overall.coverage <= 0.96
    assert found.overall.faults == 0.0


def test_what_comes_later_changes_no_judgement() -> None:
    record = noisy(10, 6, 0.01)
    half = len(record.time_us) // 2
    other = record.level_m.copy()
    other[half:] += 3.0
    changed = record.with_rows(record.time_us, other)
    first, second = (each.take(np.arange(half)) for each in (record, changed))
    assert judged(first) == judged(second)
    whole = judged(record, int(record.time_us[half]))
    assert whole.overall.rows == len(record.time_us) - half


@pytest.mark.parametrize("step_min", [1, 5, 15])
def test_water_moves_however_often_the_sensor_reports(step_min: int) -> None:
    time_us = np.arange(0, 600, step_min, dtype=np.int64) * MINUTE_US
    level_m = 1.0 + np.maximum(time_us / MINUTE_US - 300.0, 0.0) * 0.002
    record = Record("ramp.csv", "0" * 64, time_us, level_m)
    checked = check_levels(record.station, record.time_us, record.level_m)
    found = moved(record, checked, np.arange(len(time_us)))
    minutes = time_us / MINUTE_US
    assert not found[minutes <= 300].any()
    assert found[minutes > 330].all()


def test_the_command_says_what_of_the_file_it_did_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = noisy(5, 1, 0.001)
    rows = [
        f"{format_time(from_microseconds(int(moment)))},{level}"
        for moment, level in zip(record.time_us, record.level_m, strict=True)
    ]
    path = tmp_path / "odd.csv"
    path.write_text("time,level_m\n" + "\n".join([*rows, *rows[:10]]) + "\n", encoding="utf-8")
    assert evaluation.main([str(path), "--json", "--from", "1970-01-01T12:00"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["notes"] == [
        "10 of 298 rows repeat an instant; the first of each counts",
        "time goes back 1 times in the file; rows were put in the order of time",
    ]
    assert found["next_as_live"]["overall"]["rows"] == 144
    assert read_record(path).notes


def test_an_empty_record_is_nothing_to_judge() -> None:
    nothing = Record("none.csv", "0" * 64, np.empty(0, dtype=np.int64), np.empty(0))
    assert judged(nothing).overall.rows == 0
