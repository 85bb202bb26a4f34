"""What the overview's address asks for, and what it gets, in which order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.overview.board import Snapshot
from app.overview.entries import fold, make_entry
from app.overview.listing import PAGE_CARDS, Choice, Listing, choose, read_choice
from app.overview.places import kind_of, make_places, tiles_origin
from app.verdict import STATES_IN_USE, State
from streamgauge.stages import Stage
from streamgauge.storage.read_overview import Registered, StationNow

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOW = Stage(name="BĐ I", level_m=2.0, severity=1)
HIGH = Stage(name="BĐ III", level_m=3.0, severity=3)
CALM = StationNow(
    device_id=1,
    name="calm",
    display_name=None,
    silence_limit_s=3600,
    time_zone="UTC",
    datum=None,
    time=NOW - timedelta(minutes=5),
    level_m=1.0,
    level_flag=1,
    level_reason=None,
    score=0.1,
    rate_m_per_h=0.0,
    stages=(LOW, HIGH),
    standing_m=1.0,
)
LONG_AGO = NOW - timedelta(hours=5)


def station(name: str, **changes: Any) -> StationNow:
    return replace(CALM, name=name, **changes)


STATIONS = [
    station("calm"),
    station("over-low", standing_m=2.4, river="Sông Cầu"),
    station("over-high", standing_m=3.4),
    station("gone", time=LONG_AGO),
    station("gone-over", time=LONG_AGO, standing_m=3.1),
    station("rising", rate_m_per_h=0.5, standing_m=1.9),
    station("odd", level_flag=3),
    station("event", score=0.99, description="at the old mill"),
    station("never", time=None, level_m=None, level_flag=None, standing_m=None, rate_m_per_h=None),
]


def snapshot(stations: list[StationNow]) -> Snapshot:
    entries = {item.name: make_entry(item) for item in stations}
    return Snapshot(position="0-0", entries=entries, registered=Registered(devices=len(entries), stamp=0), rows={})


def found(**parameters: str) -> Listing:
    return choose(snapshot(STATIONS), read_choice(parameters), NOW.timestamp())


def names(listing: Listing) -> list[str]:
    return [entry.station.name for entry in listing.entries]


def test_the_order_is_that_of_need() -> None:
    order = ["over-high", "over-low", "gone-over", "rising", "gone", "never", "odd", "event", "calm"]
    assert names(found()) == order


def test_a_station_falls_silent_by_the_clock_alone() -> None:
    later = choose(snapshot([CALM]), Choice(), (NOW + timedelta(hours=2)).timestamp())
    assert (later.counts[State.SILENT], later.counts[State.ORDINARY]) == (1, 0)


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"state": "stage"}, ["over-high", "over-low"]),
        ({"state": "silent"}, ["gone-over", "gone", "never"]),
        ({"river": "Sông Cầu"}, ["over-low"]),
        ({"q": "song cau"}, ["over-low"]),
        ({"q": "  MILL   old "}, ["event"]),
        ({"q": "over gone"}, ["gone-over"]),
        ({"quality": "suspect"}, ["odd"]),
        ({"quality": "missing"}, ["never"]),
        ({"q": "%' OR 1=1 --"}, []),
        ({"sort": "near", "q": "r"}, ["over-high", "over-low", "gone-over", "rising", "never"]),
        ({"sort": "rate", "state": "rising"}, ["rising"]),
        ({"sort": "name", "q": "o"}, ["gone", "gone-over", "odd", "over-high", "over-low", "event"]),
    ],
)
def test_choices(parameters: dict[str, str], wanted: list[str]) -> None:
    listing = found(**parameters)
    if parameters.get("sort") == "name":
        assert names(listing) == sorted(names(listing))
        assert set(names(listing)) == {*wanted, "gone-over"}
    elif parameters.get("sort") == "near":
        assert names(listing)[:3] == sorted(names(listing)[:3])
        assert names(listing)[-1] == "never"
    else:
        assert names(listing) == wanted


def test_longest_unheard_comes_first_when_asked_for() -> None:
    assert names(found(sort="age"))[0] == "never"
    assert set(names(found(sort="age"))[1:3]) == {"gone", "gone-over"}


def test_counts_are_of_all_states_within_the_other_choices() -> None:
    listing = found(state="silent", q="over")
    assert listing.total == 3
    assert (listing.counts[State.STAGE], listing.counts[State.SILENT]) == (2, 1)
    assert names(listing) == ["gone-over"]


@given(
    st.dictionaries(
        st.sampled_from(["state", "q", "river", "quality", "sort", "view", "page"]), st.text(max_size=200), max_size=7
    )
)
def test_any_address_is_read_and_written_again(parameters: dict[str, str]) -> None:
    choice = read_choice(parameters)
    assert choice.page >= 1
    assert choose(snapshot(STATIONS), choice, NOW.timestamp()).pages >= 1
    assert choice.address().startswith("/")


def test_what_is_not_chosen_is_not_in_the_address() -> None:
    assert Choice().address() == "/"
    assert Choice(state=State.SILENT).address() == "/?state=silent"
    choice = read_choice({"q": "a&b", "view": "list", "page": "3"})
    assert choice.address() == "/?q=a%26b&view=list"
    assert choice.address(page=4) == "/?q=a%26b&view=list&page=4"
    assert (
        read_choice({"page": "-1"}).page == read_choice({"page": "9" * 30}).page == read_choice({"page": "²"}).page == 1
    )


def test_pages_say_when_other_stations_stand_on_them() -> None:
    many = [station(f"s-{number:03}") for number in range(2 * PAGE_CARDS + 5)]
    before = choose(snapshot(many), Choice(), NOW.timestamp())
    assert before.pages == 3
    assert [len(before.page(number)) for number in (1, 2, 3, 4)] == [PAGE_CARDS, PAGE_CARDS, 5, 0]
    many[PAGE_CARDS + 3] = replace(many[PAGE_CARDS + 3], standing_m=2.5)
    after = choose(snapshot(many), Choice(), NOW.timestamp())
    assert [before.token(number) == after.token(number) for number in (1, 2, 3)] == [False, False, True]


def test_accents_and_case_do_not_matter_in_a_search() -> None:
    assert fold("Cầu Long Biên ĐÀ") == "cau long bien da"


def test_the_map_knows_the_worst_first_and_who_has_no_position() -> None:
    from app.i18n import Words

    here = station("here", latitude=21.0123456, longitude=105.8, standing_m=3.2)
    places = make_places([make_entry(here), make_entry(CALM)], NOW, Words("en"))
    assert places["stations"] == [["here", "here", 21.01235, 105.8, 1, "BĐ III", 1.0]]
    assert (places["unplaced"], places["unplaced_count"]) == ([["calm", "calm"]], 1)
    kinds = [kind_of(make_entry(item), NOW.timestamp()) for item in STATIONS]
    keys = [places["kinds"][kind]["key"] for kind in kinds]
    assert keys == [
        "ordinary",
        "stage-1",
        "stage-3",
        "silent",
        "silent-over",
        "rising",
        "suspect",
        "anomalous",
        "silent",
    ]
    assert {kind["icon"] for kind in places["kinds"]} == {str(state) for state in STATES_IN_USE}


def test_tiles_are_allowed_by_their_origin() -> None:
    assert tiles_origin("https://{s}.tiles.example:8443/{z}/{x}/{y}.png") == "https://*.tiles.example:8443"
