"""What is written of an instant is read back as that instant: over all zones, and most of all where their clocks are moved."""

import zoneinfo
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.times import BOUNDS, BadTime, Fault, field_type, read_last, read_time, written

ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
"""All that this machine knows."""
MOVED = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Asia/Ho_Chi_Minh",
)
"""By an hour, by half of one, by two, at midnight, by a whole day, and for good."""
FIRST, LAST = (bound.replace(tzinfo=None) for bound in BOUNDS)


def moves(zone: ZoneInfo, year: int) -> list[datetime]:
    """The instants of a year at which a zone's clocks are moved, to the second."""
    found = []
    day = datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        low, high = day, day + timedelta(days=1)
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
                    low = middle
                else:
                    high = middle
            found.append(high)
        day += timedelta(days=1)
    return found


def is_same(time: datetime, zone: ZoneInfo) -> None:
    for is_end in (False, True):
        for least in ("minutes", "seconds"):
            text = written(time, zone, least=least)
            assert read_time(text, zone, is_end=is_end) == time, (text, zone)
            # Where it is sent by an address whose "+" nobody encoded.
            assert read_time(text.replace("+", " "), zone, is_end=is_end) == time, (text, zone)
    if time.microsecond:
        assert read_last(written(time, zone), zone) == time


@given(time=st.datetimes(FIRST, LAST).map(lambda time: time.replace(tzinfo=UTC)), zone=st.sampled_from(ZONES))
@example(time=datetime(2026, 10, 25, 0, 30, tzinfo=UTC), zone="Europe/Berlin")
@example(time=datetime(2026, 10, 25, 1, 30, tzinfo=UTC), zone="Europe/Berlin")
def test_what_is_written_is_read_as_the_same_instant(time: datetime, zone: str) -> None:
    is_same(time, ZoneInfo(zone))


@pytest.mark.parametrize("name", MOVED)
@pytest.mark.parametrize("year", [1911, 1945, 1975, 2011, 2026])
def test_also_around_every_move_of_the_clocks(name: str, year: int) -> None:
    zone = ZoneInfo(name)
    for move in moves(zone, year):
        for minutes in range(-190, 191, 10):
            for microseconds in (-1, 0, 1):
                is_same(move + timedelta(minutes=minutes, microseconds=microseconds), zone)


@given(zone=st.sampled_from(MOVED), year=st.sampled_from([1975, 2011, 2026]), share=st.floats(0, 0.999))
def test_a_time_without_an_offset_is_all_that_the_clocks_show_as_it_or_is_refused(
    zone: str, year: int, share: float
) -> None:
    known = ZoneInfo(zone)
    for move in moves(known, year):
        before = (move - timedelta(seconds=1)).astimezone(known).utcoffset()
        after = move.astimezone(known).utcoffset()
        assert before is not None
        assert after is not None
        # What the clocks show between the old offset's reading of the move and the new one's: twice, or never.
        lower, upper = sorted((before, after))
        local = (move + lower + (upper - lower) * share).replace(tzinfo=None)
        if after < before:
            first = read_time(local.isoformat(), known)
            last = read_time(local.isoformat(), known, is_end=True)
            assert first < move <= last
            assert last - first == before - after
        else:
            for is_end in (False, True):
                with pytest.raises(BadTime) as bad:
                    read_time(local.isoformat(), known, is_end=is_end)
                assert bad.value.fault == Fault.SKIPPED


@given(st.text(max_size=80))
@example("2026-01-01\x0000:00")
@example("2026-01-01T00:00:00+14:00")
@example("0001-01-01T00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
def test_any_text_is_a_time_within_bounds_or_refused(text: str) -> None:
    with suppress(BadTime):
        assert BOUNDS[0] <= read_time(text, ZoneInfo("Europe/Berlin")) <= BOUNDS[1]
    with suppress(BadTime):
        assert BOUNDS[0] <= read_last(text, ZoneInfo("Asia/Beirut")) <= BOUNDS[1] + timedelta(hours=1)
    assert field_type(text) in {"text", "datetime-local"}
