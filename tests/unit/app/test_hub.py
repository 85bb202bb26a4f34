"""Who gets what, when: every state of a browser, and what it is told when something cannot be had."""

import orjson
import pytest

from app.live.audiences import PACE_S
from app.live.client import State
from app.live.events import MOST_READINGS_OF_FRAME, EventLog, encode, frame_json, position
from app.live.routes import is_own_origin
from streamgauge.live.stream import Event
from tests.unit.app.live_scene import Scene, event

HUGE = 400_000
"""Bytes that no socket takes at once."""


def test_the_first_event_comes_at_once_and_the_next_ones_together() -> None:
    scene = Scene()
    scene.load()
    browser = scene.join()
    scene.put(event(1, "a"))
    assert browser.levels(browser.read()) == [1]
    for number in range(2, 7):
        scene.put(event(number, "a"))
    assert browser.read() == []
    scene.run(PACE_S)
    (frame,) = browser.read()
    assert (browser.levels([frame]), frame["id"]) == ([2, 3, 4, 5, 6], "6-0")


def test_no_browser_gets_more_than_four_frames_a_second() -> None:
    scene = Scene()
    scene.load()
    browsers = [scene.join(), scene.join("a"), scene.join("a", "b")]
    arrivals: dict[int, list[float]] = {number: [] for number in range(3)}
    for number in range(200):
        scene.put(event(number, "a"))
        scene.run(0.02, step=0.01)
        for place, browser in enumerate(browsers):
            arrivals[place] += [scene.now] * len(browser.read())
    for times in arrivals.values():
        assert len(times) >= 14
        # They are looked at 50 times a second.
        assert all(fifth - first > 1 - 0.03 for first, fifth in zip(times, times[4:], strict=False))


def test_what_is_equal_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.load()
    browsers = [scene.join() for _ in range(20)] + [scene.join("a") for _ in range(20)]
    rendered: list[bytes] = []

    def text_frame(message: bytes) -> bytes:
        rendered.append(message)
        return b"\x81\x02{}"

    monkeypatch.setattr("app.live.audiences.text_frame", text_frame)
    scene.put(event(1, "a"))
    assert len(rendered) == 2
    assert all(len(browser.read()) == 1 for browser in browsers)


def test_each_gets_only_the_devices_it_asked_for() -> None:
    scene = Scene()
    scene.load()
    one, other = scene.join("b"), scene.join("c")
    scene.put(event(7, "a", "b"))
    (frame,) = one.read()
    assert [reading["device"] for reading in frame["readings"]] == ["b"]
    assert other.read() == []


def test_a_quiet_station_is_not_told_of_a_gap_when_others_fill_the_log() -> None:
    scene = Scene(most_events=5)
    scene.load()
    browser = scene.join("quiet")
    for number in range(1, 50):
        scene.put(event(number, "loud"))
        scene.run(0.1)
    scene.put(event(50, "quiet"))
    scene.run(1.0)
    browser.read()
    assert (browser.kinds, browser.levels()) == (["readings"], [50])


def test_fresh_until_the_stream_is_found_then_catching_up_then_following() -> None:
    scene = Scene()
    browser = scene.join(after="2-0")
    assert browser.state() is State.FRESH
    scene.load(*(event(number, "a") for number in range(1, 6)))
    scene.audiences.settle_all(scene.now)
    assert browser.state() is State.CATCHING_UP
    scene.run()
    assert browser.state() is State.FOLLOWING
    assert browser.levels(browser.read()) == [3, 4, 5]


def test_who_knows_the_newest_follows_at_once() -> None:
    scene = Scene()
    scene.load(event(1, "a"))
    browser = scene.join(after="1-0")
    assert browser.state() is State.FOLLOWING
    assert browser.read() == []


def test_an_event_that_was_not_read_yet_is_waited_for() -> None:
    """A page can be newer than what our reader has read; but an id that never comes is of another time."""
    scene = Scene()
    scene.load(event(1, "a"))
    newer, nonsense = scene.join(after="3-0"), scene.join(after="99-0")
    assert newer.state() is State.FRESH
    scene.put(event(2, "a"))
    scene.put(event(3, "a"))
    scene.put(event(4, "a"))
    assert newer.state() is State.CATCHING_UP
    scene.run(3.0)
    assert newer.state() is State.FOLLOWING
    assert (newer.levels(newer.read()), newer.kinds) == ([4], ["readings"])
    nonsense.read()
    assert nonsense.kinds == ["gap"]
    assert nonsense.state() is State.FOLLOWING


@pytest.mark.parametrize("after", ["1-0", "nonsense", "9" * 50, "0-0", "²-0", "1-0-0"])
def test_what_came_after_an_unknown_event_is_a_gap(after: str) -> None:
    scene = Scene()
    scene.load(event(5, "a"), event(6, "a"), is_whole=False)
    browser = scene.join(after=after)
    scene.run(PACE_S)
    (gap,) = browser.read()
    assert gap == {"type": "gap", "id": "6-0"}


def test_who_knows_nothing_gets_all_of_a_stream_that_is_whole() -> None:
    scene = Scene()
    scene.load(event(5, "a"), event(6, "a"), is_whole=True)
    browser = scene.join(after="0-0")
    assert browser.levels(browser.read()) == [5, 6]


def test_a_long_way_to_catch_up_goes_in_frames_of_some_size_at_the_pace() -> None:
    scene = Scene()
    scene.load(*(event(number, "a", readings=900) for number in range(1, 10)))
    browser = scene.join(after="0-0")
    assert browser.state() is State.CATCHING_UP
    frames = browser.read()
    scene.put(event(10, "a"))
    while browser.state() is not State.FOLLOWING:
        scene.run(PACE_S)
        frames += scene.drain(browser)
    assert all(len(frame["readings"]) < MOST_READINGS_OF_FRAME + 900 for frame in frames)
    assert browser.levels() == [*sorted([*range(1, 10)] * 900), 10]


def test_a_stalled_browser_costs_nobody_and_gets_what_the_log_still_holds() -> None:
    scene = Scene()
    scene.load()
    stalled, other = scene.join(buffer_bytes=4_096), scene.join()
    scene.put(event(1, "a", padding=HUGE))
    assert stalled.state() is State.STALLED
    scene.drain(other)
    for number in range(2, 8):
        scene.run(PACE_S + 0.05)
        scene.put(event(number, "a"))
        assert other.levels(other.read()) == [number]
    assert stalled.state() is State.STALLED
    scene.drain(stalled)
    assert stalled.state() is State.CATCHING_UP
    scene.run(PACE_S)
    scene.drain(stalled)
    assert (stalled.levels(), stalled.state()) == ([1, 2, 3, 4, 5, 6, 7], State.FOLLOWING)
    scene.run(PACE_S)
    scene.put(event(8, "a"))
    assert stalled.levels(stalled.read()) == other.levels(other.read()) == [8]


def test_a_browser_that_stalled_for_too_long_is_told_of_a_gap_once() -> None:
    scene = Scene(most_events=3)
    scene.load()
    stalled = scene.join(buffer_bytes=4_096)
    scene.put(event(1, "a", padding=HUGE))
    for number in range(2, 10):
        scene.run(PACE_S)
        scene.put(event(number, "a"))
    scene.drain(stalled)
    scene.run(PACE_S)
    scene.drain(stalled)
    assert (stalled.kinds, stalled.frames[-1]["id"]) == (["readings", "gap"], "9-0")
    assert stalled.state() is State.FOLLOWING
    scene.run(PACE_S)
    scene.put(event(10, "a"))
    assert stalled.levels(stalled.read()) == [10]


def test_after_a_break_everybody_is_told_of_a_gap_whatever_they_know() -> None:
    scene = Scene()
    scene.load(event(1, "a"))
    following, elsewhere = scene.join(), scene.join("b", after="1-0")
    fresh = scene.join(after="7-0")
    scene.run(PACE_S)
    scene.audiences.restart("9-0", scene.now)
    assert following.state() is fresh.state() is State.CATCHING_UP
    scene.run(PACE_S)
    for browser in (following, elsewhere, fresh):
        assert browser.read() == [{"type": "gap", "id": "9-0"}]
        assert browser.state() is State.FOLLOWING
    late = scene.join(after="1-0")
    scene.run(PACE_S)
    assert late.read() == [{"type": "gap", "id": "9-0"}]
    scene.put(event(10, "b"))
    scene.run(PACE_S)
    assert [browser.levels(browser.read()) for browser in (following, elsewhere, fresh, late)] == [[10]] * 4


def test_the_last_browser_of_an_audience_takes_it_along() -> None:
    scene = Scene()
    scene.load()
    browser = scene.join("a")
    scene.put(event(1, "a"))
    scene.put(event(2, "a"))
    assert scene.audiences.leave(browser.client)
    assert not scene.audiences.leave(browser.client)
    scene.run(PACE_S * 2)
    assert scene.audiences.due_at is None
    assert browser.levels(browser.read()) == [1]


def test_a_log_holds_readings_up_to_a_bound_but_at_least_the_newest_event() -> None:
    log = EventLog(100, most_readings=10)
    log.load([event(number, "a", readings=4) for number in range(1, 6)], "5-0", is_whole=True)
    assert (log.begin, log.end, log.place_after("3-0"), log.place_after("2-0")) == (3, 5, 3, None)
    log.append(event(6, "a", readings=50))
    assert (log.begin, log.end) == (5, 6)
    assert (log.place_after("5-0"), log.place_after("0-0")) == (5, None)


def test_a_frame_holds_readings_and_forecasts_and_is_none_without_any() -> None:
    both = encode(Event(id="7-0", readings=[{"device": "a"}], forecasts=[{"device": "b"}, "not an object"]))  # type: ignore[list-item]
    assert orjson.loads(frame_json([both], ()) or "") == {
        "type": "readings",
        "id": "7-0",
        "readings": [{"device": "a"}],
        "forecasts": [{"device": "b"}],
    }
    assert "forecasts" not in orjson.loads(frame_json([both], {"a"}) or "")
    assert orjson.loads(frame_json([both], {"b"}) or "")["readings"] == []
    assert frame_json([both], {"c"}) is None


def test_ids_compare_as_numbers() -> None:
    assert position("9-2") < position("10-0") < position("10-11")
    assert position("nonsense") == position("") == position("9" * 50) == position("²-0") == (0, 0)


def test_other_sites_are_not_ours() -> None:
    assert is_own_origin("http://gauge.example:8000", "gauge.example:8000")
    assert is_own_origin(None, "gauge.example")
    assert not is_own_origin("http://evil.example", "gauge.example")
    assert not is_own_origin("null", "gauge.example")
