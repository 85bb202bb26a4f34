"""Queues of browsers: bounded, and honest about what is missing."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from app.live.hub import Frames, Subscription, position
from app.live.routes import is_own_origin
from streamgauge.live.stream import Event


def event(number: int, *devices: str) -> Frames:
    return Frames(Event(id=f"{number}-0", readings=[{"device": device, "level_m": 1.0} for device in devices]))


def test_a_slow_browser_loses_its_queue_and_is_told() -> None:
    subscription = Subscription(frozenset(), limit=3)
    for number in range(10):
        subscription.put(event(number, "a"))
    missed, frames = subscription.take(0)
    assert missed
    assert len(frames) <= 3
    assert frames[-1].event.id == "9-0"
    assert subscription.take(0) == (False, [])


@given(st.lists(st.booleans(), max_size=60))
def test_what_is_not_missed_comes_in_order_and_once(takes: list[bool]) -> None:
    subscription = Subscription(frozenset(), limit=5)
    seen: list[int] = []
    has_missed = False
    for number, is_take in enumerate(takes):
        subscription.put(event(number, "a"))
        if is_take:
            missed, frames = subscription.take(0)
            has_missed |= missed
            seen += [position(frame.event.id)[0] for frame in frames]
    missed, frames = subscription.take(0)
    seen += [position(frame.event.id)[0] for frame in frames]
    assert seen == sorted(set(seen))
    if not (has_missed or missed):
        assert seen == list(range(len(takes)))


def test_frames_hold_only_the_devices_one_asked_for() -> None:
    frames = event(7, "a", "b")
    assert [reading["device"] for reading in orjson.loads(frames.about({"b"}) or "")["readings"]] == ["b"]
    assert frames.about({"c"}) is None
    assert len(orjson.loads(frames.about(()) or "")["readings"]) == 2


def test_ids_compare_as_numbers() -> None:
    assert position("9-2") < position("10-0") < position("10-11")
    assert position("nonsense") == position("") == position("9" * 50) == (0, 0)


def test_other_sites_are_not_ours() -> None:
    assert is_own_origin("http://gauge.example:8000", "gauge.example:8000")
    assert is_own_origin(None, "gauge.example")
    assert not is_own_origin("http://evil.example", "gauge.example")
    assert not is_own_origin("null", "gauge.example")
