"""The network server under any course of events: joins, frames, copies, replays, lost answers, crashes.

The model knows which payloads its sensors sent. Each is taken at most once as far as commits go, nothing else is ever taken,
and a sensor that has joined is heard.
"""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from lorawan_field import EAST, WEST, Field, Sensor, abp_device, abp_frame, otaa_device

from gateway.radio.heard import JoinAccepted, MacOnly, Refused, Repeat, Uplink
from streamgauge.lorawan.counters import REORDER_MAX

NAMES = st.sampled_from(["weir", "lock"])


class Course(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.sensors = {name: Sensor(otaa_device(name, number)) for number, name in enumerate(("weir", "lock"), 1)}
        self.bridge = abp_device()
        self.bridge_counter = 0
        self.field = Field(
            Path(self.folder.name) / "sessions.db", [*(sensor.device for sensor in self.sensors.values()), self.bridge]
        )
        self.number = 0
        self.sent: list[tuple[str, bytes, bytes]] = []  # device, payload, frame
        self.committed: set[tuple[str, bytes]] = set()
        self.down_counters: set[tuple[bytes, int]] = set()

    def teardown(self) -> None:
        if hasattr(self, "field"):
            self.field.store.close()
            self.folder.cleanup()

    def payload(self) -> bytes:
        self.number += 1
        return self.number.to_bytes(4, "big")

    def offer(self, phy: bytes, forwarder: bytes = EAST, commit: bool = True) -> None:
        heard = self.field.hear(phy, forwarder)
        if isinstance(heard, Uplink):
            sent = [(device, payload) for device, payload, frame in self.sent if frame == phy]
            assert sent == [(heard.device, heard.payload)]
            assert sent[0] not in self.committed
            if commit:
                self.field.commit(heard)
                self.committed.add(sent[0])
                if heard.answer is not None:
                    self.field.network.make_downlink(heard.answer)

    @rule(name=NAMES, accept_is_heard=st.booleans())
    def join(self, name: str, accept_is_heard: bool) -> None:
        sensor = self.sensors[name]
        accepted = self.field.hear(sensor.join_request())
        assert isinstance(accepted, JoinAccepted)
        if accept_is_heard:
            sensor.take_accept(self.field.answer(accepted.answer))

    @rule(name=NAMES, lost=st.integers(0, 3), confirmed=st.booleans(), commit=st.booleans())
    def uplink(self, name: str, lost: int, confirmed: bool, commit: bool) -> None:
        sensor = self.sensors[name]
        if sensor.keys is None:
            return
        sensor.f_cnt += lost
        payload = self.payload()
        phy = sensor.uplink(payload, confirmed=confirmed)
        self.sent.append((name, payload, phy))
        self.offer(phy, commit=commit)
        if commit:
            assert (name, payload) in self.committed  # a sensor with its newest session is heard

    @rule(jump=st.sampled_from([1, 1, 2, 40, 65_536, 200_000]), commit=st.booleans())
    def personalised_uplink(self, jump: int, commit: bool) -> None:
        self.bridge_counter += jump
        if self.bridge_counter >= 1 << 20 and not self.field.committed:
            return  # beyond the upper halves that are tried where nothing is known
        payload = self.payload()
        phy = abp_frame(self.bridge, self.bridge_counter, payload)
        self.sent.append(("bridge", payload, phy))
        self.offer(phy, commit=commit)

    @precondition(lambda self: self.sent)
    @rule(
        back=st.integers(1, REORDER_MAX + 10),
        forwarder=st.sampled_from([EAST, WEST]),
        seconds=st.sampled_from([0, 1, 20]),
    )
    def a_frame_comes_again(self, back: int, forwarder: bytes, seconds: int) -> None:
        self.field.pass_time(seconds)
        self.offer(self.sent[max(0, len(self.sent) - back)][2], forwarder)

    @precondition(lambda self: self.sent)
    @rule(place=st.integers(0, 30), flip=st.integers(1, 255))
    def an_altered_frame(self, place: int, flip: int) -> None:
        phy = bytearray(self.sent[-1][2])
        phy[place % len(phy)] ^= flip
        heard = self.field.hear(bytes(phy))
        assert isinstance(heard, Refused | Repeat)
        assert isinstance(heard, Refused) or isinstance(heard.first, Refused)

    @rule(phy=st.binary(max_size=60))
    def noise(self, phy: bytes) -> None:
        assert isinstance(self.field.hear(phy), Refused | Repeat)

    @precondition(lambda self: self.sensors["weir"].keys is not None)
    @rule()
    def an_acknowledgement_is_new(self) -> None:
        sensor = self.sensors["weir"]
        payload = self.payload()
        phy = sensor.uplink(payload, confirmed=True)
        self.sent.append(("weir", payload, phy))
        heard = self.field.hear(phy)
        assert isinstance(heard, Uplink | MacOnly)
        self.field.commit(heard)
        self.committed.add(("weir", payload))
        assert sensor.takes_downlink(self.field.answer(heard.answer))

    @rule()
    def crash(self) -> None:
        self.field.crash()


Course.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestCourse = Course.TestCase
