"""Which time a chart shows."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.stations.window import choose_window
from streamgauge.storage.read_readings import Extent

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIVE = Extent(oldest=NOW - timedelta(days=400), newest=NOW - timedelta(minutes=2))
RECORD_2018 = Extent(oldest=datetime(2018, 6, 1, tzinfo=UTC), newest=datetime(2018, 7, 1, tzinfo=UTC))


def test_default_is_the_day_until_now() -> None:
    window = choose_window({}, LIVE, NOW, 3600)
    assert (window.start, window.end, window.key, window.follows) == (NOW - timedelta(days=1), NOW, "24h", True)
    assert not window.is_past


@pytest.mark.parametrize("key", ["1h", "24h", "7d", "30d", "1y", "10y"])
def test_ranges_of_an_old_record_end_at_its_newest_reading(key: str) -> None:
    window = choose_window({"range": key}, RECORD_2018, NOW, 3600)
    assert window.end == RECORD_2018.newest
    assert window.is_past


def test_all_is_the_whole_record() -> None:
    window = choose_window({"range": "all"}, RECORD_2018, NOW, 3600)
    assert (window.start, window.end) == (RECORD_2018.oldest, RECORD_2018.newest)


def test_chosen_times_win() -> None:
    window = choose_window(
        {"from": "2018-06-22T00:00:00Z", "to": "2018-06-23T07:00:00+07:00", "range": "1h"}, LIVE, NOW, 3600
    )
    assert (window.start, window.end) == (datetime(2018, 6, 22, tzinfo=UTC), datetime(2018, 6, 23, tzinfo=UTC))
    assert not window.follows


@pytest.mark.parametrize(
    ("arguments", "ignored"),
    [
        ({"from": "yesterday", "to": "today"}, "times"),
        ({"from": "2018-06-23T00:00:00Z\0", "to": "2018-06-24T00:00:00Z"}, "times"),
        ({"from": "' OR 1=1 --", "to": "<b>"}, "times"),
        ({"from": "9" * 400, "to": "1"}, "times"),
        ({"from": "2018-06-23T00:00:00Z", "to": "2018-06-22T00:00:00Z"}, "order"),
        ({"from": "2018-06-23T00:00:00Z"}, "half"),
        ({"to": "2018-06-23T00:00:00Z", "from": ""}, "half"),
        ({"from": "2018-06-23T00:00:00Z", "to": "2018-06-23T00:00:01Z"}, "short"),
        ({"range": "<script>"}, "range"),
    ],
)
def test_what_cannot_be_followed_gives_the_default_and_is_named(arguments: dict[str, str], ignored: str) -> None:
    window = choose_window(arguments, LIVE, NOW, 3600)
    assert (window.key, window.ignored) == ("24h", (ignored,))


def test_what_was_followed_names_nothing() -> None:
    assert choose_window({}, LIVE, NOW, 3600).ignored == ()
    assert choose_window({"range": "10y"}, LIVE, NOW, 3600).ignored == ()


def test_a_thousand_years_are_the_whole_record() -> None:
    window = choose_window({"from": "0002-01-01T00:00:00Z", "to": "9998-01-01T00:00:00Z"}, LIVE, NOW, 3600)
    assert (window.start, window.end, window.key, window.ignored) == (LIVE.oldest, NOW, "all", ("long",))


def test_times_of_a_form_are_times_of_the_page_s_zone() -> None:
    arguments = {"from": "2018-06-22T07:00", "to": "2018-06-22T08:00"}
    window = choose_window(arguments, LIVE, NOW, 3600, ZoneInfo("Asia/Ho_Chi_Minh"))
    assert (window.start, window.end) == (datetime(2018, 6, 22, 0, tzinfo=UTC), datetime(2018, 6, 22, 1, tzinfo=UTC))


def test_an_hour_that_the_clocks_show_twice_is_whole_and_one_that_they_skip_is_named() -> None:
    zone = ZoneInfo("Europe/Berlin")
    window = choose_window({"from": "2026-10-25T02:00", "to": "2026-10-25T02:30"}, LIVE, NOW, 3600, zone)
    assert (window.start, window.end) == (
        datetime(2026, 10, 25, 0, 0, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    )
    skipped = choose_window({"from": "2026-03-29T02:30", "to": "2026-03-29T05:00"}, LIVE, NOW, 3600, zone)
    assert (skipped.key, skipped.ignored) == ("24h", ("skipped",))


def test_steps_move_by_a_quarter_and_zoom_by_two() -> None:
    free = choose_window({"from": "2018-06-22T00:00:00Z", "to": "2018-06-22T04:00:00Z"}, LIVE, NOW, 3600)
    assert free.moved(-0.25) == {"from": "2018-06-21T23:00:00.000Z", "to": "2018-06-22T03:00:00.000Z"}
    assert free.stretched(2.0) == {"from": "2018-06-21T22:00:00.000Z", "to": "2018-06-22T06:00:00.000Z"}
    assert free.stretched(0.5) == {"from": "2018-06-22T01:00:00.000Z", "to": "2018-06-22T03:00:00.000Z"}
    following = choose_window({"range": "24h"}, LIVE, NOW, 3600)
    assert following.stretched(0.5) == {"from": "2026-11-21T00:00:00.000Z", "to": "2026-11-21T12:00:00.000Z"}
    widest = choose_window({"from": "1900-01-01T00:00:00Z", "to": "1999-01-01T00:00:00Z"}, LIVE, NOW, 3600)
    assert widest.moved(-0.25)["from"] == "1900-01-01T00:00:00.000Z"
    assert choose_window(widest.stretched(2.0), LIVE, NOW, 3600).ignored == ()


def test_a_station_without_readings_has_a_window_too() -> None:
    assert choose_window({"range": "all"}, None, NOW, 3600).end >= NOW
