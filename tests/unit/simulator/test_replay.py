from datetime import UTC, datetime, timedelta

import pytest

from simulator.errors import InputFault
from simulator.replay import parse_shift, planned, shifted, station_names
from streamgauge.reading import Reading

START = datetime(2018, 6, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
READINGS = [Reading(device="d", time=START + timedelta(minutes=5 * n), level_m=0.1 * n) for n in range(4)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("none", START),
        ("now", NOW - timedelta(minutes=15)),
        ("start-now", NOW),
        ("1d12h", START + timedelta(hours=36)),
        ("-90s", START - timedelta(seconds=90)),
        ("2020-02-02T02:00:00+02:00", datetime(2020, 2, 2, tzinfo=UTC)),
    ],
)
def test_shifts_move_the_record_as_a_whole(text: str, first: datetime) -> None:
    moved = shifted(READINGS, parse_shift(text)(READINGS, NOW))
    assert moved[0].time == first
    assert [r.time - first for r in moved] == [r.time - START for r in READINGS]
    assert [r.level_m for r in moved] == [r.level_m for r in READINGS]


@pytest.mark.parametrize("text", ["", "yesterday", "3", "2020-01-01T00:00:00", "5y"])
def test_what_is_no_shift_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no shift"):
        parse_shift(text)


def test_a_shift_out_of_the_calendar_is_refused() -> None:
    with pytest.raises(InputFault):
        shifted(READINGS, timedelta(days=365 * 9_000))


def test_station_names_are_numbered_and_valid() -> None:
    assert station_names("a", 1) == ["a"]
    assert station_names("a", 2) == ["a-001", "a-002"]
    assert station_names("a", 1_000)[-1] == "a-1000"
    with pytest.raises(InputFault):
        station_names("a" * 64, 2)


def test_each_reading_leaves_for_all_stations_before_the_next() -> None:
    plan = list(planned(READINGS, ["a", "b"], timedelta()))
    assert [(r.device, r.level_m) for r in plan[:4]] == [("a", 0.0), ("b", 0.0), ("a", 0.1), ("b", 0.1)]
    assert len(plan) == 8


def test_a_stagger_moves_each_station_and_readings_leave_in_order_of_time() -> None:
    plan = list(planned(READINGS, ["a", "b", "c"], timedelta(minutes=7)))
    assert [r.time for r in plan] == sorted(r.time for r in plan)
    assert [r.time for r in plan if r.device == "c"] == [r.time + timedelta(minutes=14) for r in READINGS]
    assert len(plan) == 12


def test_a_limit_ends_the_plan() -> None:
    assert len(list(planned(READINGS, ["a", "b"], timedelta(), limit=3))) == 3
