"""Times as people and programs write them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.times import BadTime, Fault, field_type, read_last, read_time, written

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PUT_BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""Berlin's clocks go from 03:00 to 02:00."""


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T12:00Z",
        "2026-11-21t12:00:00z",
        "2026-11-21 12:00:00.000Z",
        "2026-11-21T13:00:00+01:00",
        "2026-11-21T13:00:00 01:00",
        "2026-11-21 13:00 +01:00",
        "2026-11-21 13:00 01:00",
        "2026-11-21T12:00 Z",
        "20261121T120000Z",
        " 2026-11-21T13:00 ",
        "2026-11-21 13:00",
    ],
)
def test_ways_to_write_one_instant(text: str) -> None:
    assert read_time(text, BERLIN) == NOON


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.UNREADABLE),
        ("yesterday", Fault.UNREADABLE),
        ("2026-02-30T00:00", Fault.UNREADABLE),
        ("2026-11-21\x0012:00", Fault.UNREADABLE),
        ("2026-11-21T12:00Z\n", Fault.UNREADABLE),
        ("2026-11-21T12:00Z" + " " * 64, Fault.UNREADABLE),
        ("٢٠٢٦-١١-٢١", Fault.UNREADABLE),
        ("1899-12-31T22:59:59Z", Fault.OUT_OF_RANGE),
        ("2200-01-01T00:00:00.000001Z", Fault.OUT_OF_RANGE),
        ("0001-01-01T00:00", Fault.OUT_OF_RANGE),
        ("9999-12-31T23:59:59-14:00", Fault.OUT_OF_RANGE),
        ("2026-03-29T02:00", Fault.SKIPPED),
        ("2026-03-29T02:59:59.999999", Fault.SKIPPED),
    ],
)
def test_what_is_no_time_is_refused_with_its_fault(text: str, fault: Fault) -> None:
    with pytest.raises(BadTime) as bad:
        read_time(text, BERLIN)
    assert bad.value.fault == fault


def test_without_a_zone_there_must_be_an_offset() -> None:
    with pytest.raises(BadTime) as bad:
        read_time("2026-11-21T12:00")
    assert bad.value.fault == Fault.NO_OFFSET
    assert read_time("2026-11-21T12:00Z") == NOON


def test_a_time_that_is_shown_twice_is_the_earlier_as_a_beginning_and_the_later_as_an_end() -> None:
    assert read_time("2026-10-25T02:30", BERLIN) == PUT_BACK - timedelta(minutes=30)
    assert read_time("2026-10-25T02:30", BERLIN, is_end=True) == PUT_BACK + timedelta(minutes=30)
    assert read_time("2026-10-25T02:30+02:00", BERLIN, is_end=True) == PUT_BACK - timedelta(minutes=30)


def test_only_a_time_that_is_shown_twice_is_written_with_its_offset() -> None:
    assert written(NOON, BERLIN) == "2026-11-21T13:00"
    assert written(NOON, BERLIN, least="seconds") == "2026-11-21T13:00:00"
    assert written(NOON + timedelta(microseconds=5), BERLIN) == "2026-11-21T13:00:00.000005"
    assert written(PUT_BACK - timedelta(minutes=30), BERLIN) == "2026-10-25T02:30+02:00"
    assert written(PUT_BACK + timedelta(minutes=30), BERLIN) == "2026-10-25T02:30+01:00"


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("2026-11-21T13", NOON + timedelta(hours=1)),
        ("2026-11-21T13:00", NOON + timedelta(minutes=1)),
        ("2026-11-21T13:00+01:00", NOON + timedelta(minutes=1)),
        ("2026-11-21T12:00Z", NOON + timedelta(minutes=1)),
        ("2026-11-21T13:00:00+01:00", NOON + timedelta(seconds=1)),
        ("2026-11-21T13:00:00 01:00", NOON + timedelta(seconds=1)),
        ("2026-11-21T13:00:00.000000+01:00", NOON + timedelta(microseconds=1)),
        ("2026-10-25T02:59", PUT_BACK + timedelta(hours=1)),
    ],
)
def test_the_last_of_what_is_named(text: str, last: datetime) -> None:
    assert read_last(text, BERLIN) == last - timedelta(microseconds=1)


def test_a_day_has_no_last_time_here() -> None:
    with pytest.raises(BadTime):
        read_last("2026-11-21", BERLIN)


def test_a_day_begins_with_the_first_time_that_there_is() -> None:
    # Beirut's clocks go from 00:00 to 01:00.
    begins = datetime(2026, 3, 28, 22, tzinfo=UTC)
    for is_end in (False, True):
        assert read_time("2026-03-29", ZoneInfo("Asia/Beirut"), is_end=is_end) == begins


def test_a_picker_is_only_given_what_it_can_show() -> None:
    assert [field_type(text) for text in ("", "2026-11-21T12:00", "2026-11-21T12:00:05.125")] == ["datetime-local"] * 3
    assert [field_type(text) for text in ("soon", "2026-10-25T02:30+01:00", "2026-11-21T12:00:05.000005")] == [
        "text"
    ] * 3
