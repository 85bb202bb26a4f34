"""Whatever the speeds: no browser loses an event or hears it out of order, unless it is told of a gap."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.live.audiences import PACE_S
from app.live.client import State
from tests.unit.app.live_scene import Browser, Scene, event

DEVICES = ("a", "b", "c")
PADDING = 20_000
"""A few of these fill a small socket."""

puts = st.tuples(
    st.just("put"), st.lists(st.sampled_from(DEVICES), min_size=1, max_size=3, unique=True), st.integers(0, 2)
)
joins = st.tuples(
    st.just("join"), st.lists(st.sampled_from(DEVICES), max_size=2, unique=True), st.integers(0, 6) | st.none()
)
reads = st.tuples(st.just("read"), st.integers(0, 9), st.sampled_from((500, 5_000, 10**7)))
waits = st.tuples(st.just("wait"), st.sampled_from((0.0, 0.05, 0.3)), st.none())
breaks = st.tuples(st.just("broken"), st.none(), st.none())
steps = st.lists(st.one_of(puts, puts, puts, reads, reads, waits, waits, joins, breaks), max_size=80)


class Told:
    """A browser, and what it must have heard."""

    def __init__(self, browser: Browser, devices: list[str], known: int | None, begun: int) -> None:
        self.browser, self.devices = browser, devices
        self.first = begun if known is None else known
        """Everything with a greater number is owed."""

    def heard(self, sent: list[tuple[int, list[str]]]) -> None:
        """Everything that is owed came once and in order; a gap's id says up to where it need not have."""
        upto = self.first
        for frame in self.browser.frames:
            reached = int(frame["id"].partition("-")[0])
            if frame["type"] == "gap":
                upto = max(upto, reached)
                continue
            got = [(reading["level_m"], reading["device"]) for reading in frame["readings"]]
            owed = [
                (number, device)
                for number, devices in sent
                for device in devices
                if upto < number <= reached and (not self.devices or device in self.devices)
            ]
            assert got == owed
            upto = reached
        left = [
            number
            for number, devices in sent
            if number > upto and (not self.devices or set(devices) & set(self.devices))
        ]
        assert left == []


class World:
    """What was sent, and who was to hear it."""

    def __init__(self, most_events: int) -> None:
        self.scene = Scene(most_events)
        self.scene.load()
        self.sent: list[tuple[int, list[str]]] = []
        self.told: list[Told] = []
        self.number = 0

    def put(self, devices: list[str], padding: int) -> None:
        """An event about some devices."""
        self.number += 1
        self.sent.append((self.number, devices))
        self.scene.put(event(self.number, *devices, padding=PADDING * padding))

    def join(self, devices: list[str], behind: int | None) -> None:
        """A browser whose page knows all but the last few, or says nothing of it."""
        known = None if behind is None else max(0, self.number - behind)
        after = "" if known is None else f"{known}-0"
        self.told.append(Told(self.scene.join(*devices, after=after, buffer_bytes=4_096), devices, known, self.number))

    def read(self, place: int, most_bytes: int) -> None:
        """One of them takes some of what waits."""
        if self.told:
            one = self.told[place % len(self.told)].browser
            one.read(most_bytes)
            if one.client.flush(self.scene.now) and one.client.is_idle:
                self.scene.audiences.ask_for(one.client, self.scene.now)

    def wait(self, seconds: float, _: None) -> None:
        """Time passes."""
        self.scene.run(seconds)

    def broken(self, _: None, __: None) -> None:
        """Something may be missing."""
        self.number += 1
        self.scene.audiences.restart(f"{self.number}-0", self.scene.now)

    def end(self) -> None:
        """Everybody takes everything."""
        self.scene.run(3.0)
        for _ in range(len(self.sent) + 3):
            for one in self.told:
                self.scene.drain(one.browser)
            self.scene.run(PACE_S)
        for one in self.told:
            one.heard(self.sent)
            assert one.browser.state() is State.FOLLOWING
            one.browser.sock.close()
            one.browser.client.sock.close()


@settings(max_examples=150)
@given(steps, st.sampled_from((2, 5, 50)))
def test_nothing_is_lost_or_reordered_unless_a_gap_is_told(
    chosen: list[tuple[str, Any, Any]], most_events: int
) -> None:
    world = World(most_events)
    for name, first, second in chosen:
        getattr(world, name)(first, second)
    world.end()
