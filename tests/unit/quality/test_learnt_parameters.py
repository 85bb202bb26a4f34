"""What is learnt from one year helps in the next, on the real stream; and what cannot be learnt is not made up."""

from datetime import UTC, datetime

import numpy as np
import pytest

from streamgauge.quality.check import check_levels
from streamgauge.quality.flags import Flag
from streamgauge.quality.learn import learn_parameters
from streamgauge.quality.parameters import DEFAULTS, StationParameters, parameters_per_row
from streamgauge.reading import to_microseconds
from streamgauge.scoring.records import Record, read_record
from streamgauge.scoring.train import RECORD

NEW_YEAR_US = to_microseconds(datetime(2017, 1, 1, tzinfo=UTC))
STUCK_ROWS = 24


@pytest.fixture(scope="module")
def record() -> Record:
    whole = read_record(RECORD)
    there = ~np.isnan(whole.level_m)
    return Record(whole.name, whole.sha256, whole.time_us[there], whole.level_m[there])


@pytest.fixture(scope="module")
def learnt(record) -> dict:
    first = record.time_us < NEW_YEAR_US
    flags = check_levels(record.station[first], record.time_us[first], record.level_m[first]).flags
    return learn_parameters(record.time_us[first], record.level_m[first], flags)


def per_row(rows: int, settings: dict) -> StationParameters:
    return parameters_per_row(np.zeros(rows, dtype=np.int64), {0: settings})


def found_stuck(record: Record, places: np.ndarray, settings: dict) -> float:
    """The share of places at which a probe that sticks for two hours is found within them."""
    found = 0
    for place in places.tolist():
        rows = slice(place - 60, place + STUCK_ROWS + 1)
        level_m = record.level_m[rows].copy()
        level_m[60:] = level_m[60]
        parameters = per_row(len(level_m), settings) if settings else DEFAULTS
        flags = check_levels(np.zeros(len(level_m), dtype=np.int64), record.time_us[rows], level_m, parameters).flags
        found += bool((flags[60:] == Flag.SUSPECT).any())
    return found / len(places)


def test_a_coarse_display_needs_less_restlessness_and_finds_more_in_the_year_after(record, learnt) -> None:
    assert 0.25 <= learnt["flat_restless_share"] < DEFAULTS.flat_restless_share
    assert "attenuated_range_m" not in learnt  # Its water stands still.
    moving = np.flatnonzero(np.abs(record.level_m[12:] - record.level_m[:-12]) > 0.02) + 12
    moving = moving[(record.time_us[moving] > NEW_YEAR_US) & (moving < len(record.level_m) - 100)]
    places = np.random.default_rng(3).choice(moving, 150, replace=False)
    assert found_stuck(record, places, learnt) >= 0.75
    assert found_stuck(record, places, learnt) >= found_stuck(record, places, {}) + 0.1


def test_the_year_after_has_no_more_false_flags_than_promised(record, learnt) -> None:
    after = record.time_us >= NEW_YEAR_US
    rows = int(np.count_nonzero(after))
    checked = check_levels(record.station[after], record.time_us[after], record.level_m[after], per_row(rows, learnt))
    assert (checked.flags != Flag.GOOD).mean() < 0.001
    assert not (checked.flags == Flag.FAIL).any()


def test_a_year_gives_every_month_its_range(record, learnt) -> None:
    assert set(learnt["climatology"]) == {str(month) for month in range(1, 13)}
    for low_m, high_m in learnt["climatology"].values():
        assert low_m < high_m


def test_a_fine_probe_learns_how_little_it_ever_moves(record) -> None:
    level_m = (record.level_m[:12_000] + np.random.default_rng(1).normal(0.0, 0.0015, 12_000)).round(3)
    learnt = learn_parameters(record.time_us[:12_000], level_m, np.ones(12_000, dtype=np.uint8))
    assert 0.0005 < learnt["attenuated_range_m"] < 0.003
    assert learnt["attenuated_s"] == 7200.0
    assert "climatology" not in learnt


@pytest.mark.parametrize("rows", [0, 1, 100, 1_999])
def test_too_little_history_teaches_nothing(rows) -> None:
    time_us = np.arange(rows, dtype=np.int64) * 3_600_000_000
    assert learn_parameters(time_us, np.ones(rows), np.ones(rows, dtype=np.uint8)) == {}


@pytest.mark.parametrize("level", [1.0, np.nan, np.inf, 1e308, -1e308])
@pytest.mark.parametrize("step_us", [0, 1, 300_000_000, 90_000_000_000])
def test_any_history_gives_parameters_that_the_checks_take(level, step_us) -> None:
    time_us = np.arange(12_000, dtype=np.int64) * step_us
    level_m = np.where(np.arange(12_000) % 3 == 0, level, 1.0)
    settings = learn_parameters(time_us, level_m, np.ones(12_000, dtype=np.uint8))
    parameters_per_row(np.zeros(1, dtype=np.int64), {0: settings})


def test_an_unsorted_history_is_refused() -> None:
    with pytest.raises(ValueError, match="sorted"):
        learn_parameters(np.array([2, 1]), np.ones(2), np.ones(2, dtype=np.uint8))
