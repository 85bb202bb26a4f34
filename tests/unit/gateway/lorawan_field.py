"""Sensors in the field, a network server and its clock: what the network's tests share."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.devices import Device
from gateway.entries import CounterState
from gateway.radio.heard import Answer, Heard, JoinAccepted, MacOnly, Uplink
from gateway.radio.network import Network
from gateway.radio.sessions import SessionStore
from streamgauge.lorawan.crypto import SessionKeys, derive_session_keys
from streamgauge.lorawan.frames import DataFrame, make_join_request, make_uplink, mic_fits, open_join_accept, parse
from streamgauge.lorawan.gwmp import Reception
from streamgauge.lorawan.regions import REGIONS
from streamgauge.payloads.installation import Installation

GATEWAY_KEY = "a gateway's key of some forty characters"
EAST, WEST = bytes.fromhex("AA555A0000000101"), bytes.fromhex("AA555A0000000102")
START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def otaa_device(name: str = "weir", number: int = 1, **changed: object) -> Device:
    device = Device(
        name=name,
        codec=None,
        parameters={},
        installation=Installation(),
        activation="otaa",
        dev_eui=number.to_bytes(8, "big"),
        join_eui=b"JOINEUI1",
        app_key=number.to_bytes(16, "little"),
    )
    return replace(device, **changed)  # type: ignore[arg-type]


def abp_device(name: str = "bridge", dev_addr: bytes = b"\x01\x02\x03\x04", key: int = 7, **changed: object) -> Device:
    device = Device(
        name=name,
        codec=None,
        parameters={},
        installation=Installation(),
        activation="abp",
        dev_addr=dev_addr,
        nwk_s_key=bytes([key]) * 16,
        app_s_key=bytes([key + 100]) * 16,
    )
    return replace(device, **changed)  # type: ignore[arg-type]


def keys_of(device: Device) -> SessionKeys:
    assert device.nwk_s_key is not None
    assert device.app_s_key is not None
    return SessionKeys(device.nwk_s_key, device.app_s_key)


def abp_frame(device: Device, f_cnt: int, payload: bytes = b"level", f_port: int | None = 1, **flags: object) -> bytes:
    assert device.dev_addr is not None
    return make_uplink(keys_of(device), device.dev_addr, f_cnt, f_port, payload, **flags)  # type: ignore[arg-type]


@dataclass
class Sensor:
    """A device that joins, as its own end of the protocol: it knows its keys only from the join-accept."""

    device: Device
    dev_nonce: int = 0
    keys: SessionKeys | None = None
    dev_addr: bytes = b""
    f_cnt: int = 0
    newest_down: int = -1

    def join_request(self) -> bytes:
        assert self.device.app_key
        assert self.device.join_eui
        assert self.device.dev_eui
        self.dev_nonce += 1
        return make_join_request(self.device.app_key, self.device.join_eui, self.device.dev_eui, self.dev_nonce)

    def take_accept(self, phy: bytes) -> None:
        assert self.device.app_key
        accept = open_join_accept(self.device.app_key, phy)
        self.keys = derive_session_keys(self.device.app_key, accept.app_nonce, accept.net_id, self.dev_nonce)
        self.dev_addr, self.f_cnt, self.newest_down = accept.dev_addr, 0, -1

    def uplink(self, payload: bytes = b"level", **flags: object) -> bytes:
        assert self.keys
        phy = make_uplink(self.keys, self.dev_addr, self.f_cnt, 1, payload, **flags)  # type: ignore[arg-type]
        self.f_cnt += 1
        return phy

    def takes_downlink(self, phy: bytes) -> bool:
        """Whether the device accepts this downlink: its MIC fits under a counter that has grown."""
        assert self.keys
        frame = parse(phy)
        assert isinstance(frame, DataFrame)
        grown = frame.f_cnt_low > self.newest_down
        if grown and mic_fits(frame, self.keys.nwk_s_key, frame.f_cnt_low):
            self.newest_down = frame.f_cnt_low
            return True
        return False


@dataclass
class Field:
    """A network whose clock is the test's, and what its buffer has committed."""

    path: Path
    devices: list[Device]
    region: str = "EU868"
    now_s: float = 1000.0
    committed: dict[str, CounterState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start, or start again after a crash: nothing but files and committed counters has survived."""
        self.store = SessionStore(self.path, GATEWAY_KEY)
        self.network = Network(
            self.devices,
            self.store,
            self.committed,
            region=REGIONS[self.region],
            monotonic_s=lambda: self.now_s,
            utc_now=lambda: START + timedelta(seconds=self.now_s),
        )

    def crash(self) -> None:
        self.store.close()
        self.start()

    def reception(self, phy: bytes, forwarder: bytes = EAST, rssi_dbm: float = -100.0, **changed: object) -> Reception:
        reception = Reception(
            phy=phy,
            forwarder=forwarder,
            tmst_us=round(self.now_s * 1e6) % (1 << 32),
            frequency_hz=868_100_000,
            modulation="LORA",
            data_rate="SF7BW125",
            rssi_dbm=rssi_dbm,
        )
        return replace(reception, **changed)  # type: ignore[arg-type]

    def hear(self, phy: bytes, forwarder: bytes = EAST, rssi_dbm: float = -100.0, **changed: object) -> Heard:
        return self.network.hear(self.reception(phy, forwarder, rssi_dbm, **changed))

    def commit(self, heard: Heard) -> None:
        assert isinstance(heard, Uplink | MacOnly)
        self.committed[heard.session] = heard.counter

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, answer: Answer | None) -> bytes:
        assert answer is not None
        return self.network.make_downlink(answer).transmission.phy

    def join(self, sensor: Sensor) -> JoinAccepted:
        accepted = self.hear(sensor.join_request())
        assert isinstance(accepted, JoinAccepted)
        sensor.take_accept(self.answer(accepted.answer))
        return accepted
