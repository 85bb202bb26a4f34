"""Which time a chart shows."""

from datetime import UTC, datetime, timedelta

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


@pytest.mark.parametrize("key", ["1h", "24h", "7d", "30d"])
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
    "arguments",
    [
        {"from": "yesterday", "to": "today"},
        {"from": "2018-06-23T00:00:00Z", "to": "2018-06-22T00:00:00Z"},
        {"from": "2018-06-23T00:00:00Z"},
        {"range": "<script>"},
        {"from": "9" * 400, "to": "1"},
    ],
)
def test_what_cannot_be_read_gives_the_default(arguments: dict[str, str]) -> None:
    assert choose_window(arguments, LIVE, NOW, 3600).key == "24h"


def test_a_range_of_a_thousand_years_is_cut() -> None:
    window = choose_window({"from": "0002-01-01T00:00:00Z", "to": "9998-01-01T00:00:00Z"}, LIVE, NOW, 3600)
    assert (window.start.year, window.end.year) == (1900, 2200)


def test_a_station_without_readings_has_a_window_too() -> None:
    assert choose_window({"range": "all"}, None, NOW, 3600).end >= NOW
