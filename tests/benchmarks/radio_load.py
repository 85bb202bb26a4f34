"""LoRaWAN frames for benchmarks: a fleet of personalised sensors, its gateway.toml, datagrams made in advance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamgauge.lorawan import frames, gwmp
from streamgauge.lorawan.crypto import SessionKeys
from streamgauge.lorawan.gwmp import Reception
from streamgauge.payloads.registry import find
from streamgauge.sealing import seal
from tests.support.gateway import devices_toml

KEY = "benchmark-" * 4
FORWARDER = bytes.fromhex("AA555A0000000101")
MODELS = (
    ("decentlab_dl_mbx", {"distance_m": 1.234, "battery_v": 3.0}),
    ("decentlab_dl_ctd10", {"depth_m": 2.5, "temperature_c": 9.5, "conductivity_us_cm": 100.0, "battery_v": 3.0}),
    ("milesight_em500_swl", {"depth_m": 1.5}),
    ("milesight_em500_udl", {"distance_m": 2.1}),
)
FRAMES_PER_DATAGRAM = 8
_FIRST_DEV_ADDR = 0x26020000
_FIRST_DEV_EUI = 0x70B3D57ED1000000


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor of the fleet, with the payload that it sends all the time."""

    name: str
    model: str
    dev_eui: bytes
    dev_addr: bytes
    keys: SessionKeys
    f_port: int
    payload: bytes

    def uplink(self, f_cnt: int) -> bytes:
        """One frame."""
        return frames.make_uplink(self.keys, self.dev_addr, f_cnt, self.f_port, self.payload)


def fleet(count: int) -> list[Sensor]:
    """So many sensors; the models take turns."""
    made = []
    for number in range(count):
        model, values = MODELS[number % len(MODELS)]
        codec = find(model)
        keys = SessionKeys(number.to_bytes(16, "big"), (number + count).to_bytes(16, "big"))
        dev_eui, dev_addr = (_FIRST_DEV_EUI + number).to_bytes(8, "big"), (_FIRST_DEV_ADDR + number).to_bytes(4, "big")
        payload = codec.encode(values, {})
        made.append(Sensor(f"radio-{number:04d}", model, dev_eui, dev_addr, keys, codec.f_port, payload))
    return made


def configuration(sensors: Sequence[Sensor]) -> str:
    """The gateway.toml for them."""
    return devices_toml(
        {
            "name": f'"{sensor.name}"',
            "model": f'"{sensor.model}"',
            "activation": '"abp"',
            "dev_eui": f'"{sensor.dev_eui.hex()}"',
            "dev_addr": f'"{sensor.dev_addr.hex()}"',
            "nwk_s_key": f'"{seal(sensor.keys.nwk_s_key, KEY, f"{sensor.dev_eui.hex().upper()}:nwk_s_key")}"',
            "app_s_key": f'"{seal(sensor.keys.app_s_key, KEY, f"{sensor.dev_eui.hex().upper()}:app_s_key")}"',
            "installation": "{ sensor_height_m = 6.0 }",
        }
        for sensor in sensors
    )


def datagrams(sensors: Sequence[Sensor], rounds: int, first_f_cnt: int = 1) -> Iterator[bytes]:
    """PUSH_DATA with ``FRAMES_PER_DATAGRAM`` frames each: a frame of each sensor, again and again."""
    receptions: list[Reception] = []
    token = 0
    for f_cnt in range(first_f_cnt, first_f_cnt + rounds):
        for sensor in sensors:
            receptions.append(reception(sensor.uplink(f_cnt)))
            if len(receptions) == FRAMES_PER_DATAGRAM:
                token = (token + 1) % 65_536
                yield gwmp.make_push_data(token, FORWARDER, receptions)
                receptions.clear()


def reception(phy: bytes) -> Reception:
    """A frame as a forwarder without GPS hears it."""
    return Reception(
        phy=phy,
        forwarder=FORWARDER,
        tmst_us=1_000_000,
        frequency_hz=868_100_000,
        data_rate="SF7BW125",
        rssi_dbm=-91.0,
        snr_db=7.5,
    )
