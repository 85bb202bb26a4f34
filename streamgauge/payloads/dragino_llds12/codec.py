"""Dragino LLDS12, a LiDAR sensor: the distance, how strong its echo was, and a DS18B20's temperature if one is connected."""

from collections.abc import Mapping
from typing import Final

from streamgauge.payloads._dragino import (
    BATTERY_RANGE,
    PROBE_RANGE,
    DraginoCodec,
    battery_of,
    flag_of,
    millis_field,
    temperature_field,
    temperature_of,
)
from streamgauge.payloads.base import Codec, Decoded, keep_in_range, live_or_status

WEAKEST_SIGNAL: Final = 100
OVEREXPOSED: Final = 65_535
"""An echo's strength must be above 100 and not 65535, or the distance is not to be trusted (manual, 2.3.4)."""

NORMAL_UPLINK: Final = 1
"""Message type (manual, 2.3.7); a reply on the configuration, type 2 or with 3 at its head, has no values at these places."""

_REPLY_HEAD = 3
_ENCODED_STRENGTH, _ENCODED_LIDAR_C = 1_000, 20

_RANGES: Final = {"distance_m": (0.1, 12.0), "battery_v": BATTERY_RANGE, "temperature_c": PROBE_RANGE}
"""Distance: 0.1 to 12 m off a surface that reflects 90 % (manual, 1.3); water reflects far less."""


def _read(payload: bytes, with_probe: bool) -> Decoded:
    message_type = payload[10]
    if payload[0] == _REPLY_HEAD or message_type != NORMAL_UPLINK:
        problem = f"message type {message_type}, first byte {payload[0]}: a reply on the configuration, no measurement"
        return Decoded(samples=(), frame={"message_type": message_type}, problems=(problem,))
    interrupt = flag_of(payload[8], "the interrupt flag")
    found = {"battery_v": battery_of(payload[:2])}
    if with_probe:
        found["temperature_c"] = temperature_of(payload[2:4])
    strength = int.from_bytes(payload[6:8], "big")
    reason = _why_no_distance(strength)
    if reason is None:
        found["distance_m"] = int.from_bytes(payload[4:6], "big") / 1_000.0
    values, problems = keep_in_range(found, _RANGES)
    frame = {
        "signal_strength": strength,
        "interrupt": interrupt,
        "lidar_temperature_c": int.from_bytes(payload[9:10], "big", signed=True),
        "message_type": message_type,
    }
    return live_or_status(values, frame, problems if reason is None else [reason, *problems])


def _why_no_distance(strength: int) -> str | None:
    if strength == OVEREXPOSED:
        return f"no distance_m: signal strength {strength} means that the receiver was dazzled"
    if strength <= WEAKEST_SIGNAL:
        return f"no distance_m: signal strength {strength} is too weak to trust (it must be above {WEAKEST_SIGNAL})"
    return None


def _write(values: Mapping[str, float]) -> bytes:
    battery, distance = millis_field(values["battery_v"]), millis_field(values["distance_m"])
    strength = _ENCODED_STRENGTH.to_bytes(2, "big")
    return battery + temperature_field(values) + distance + strength + bytes((0, _ENCODED_LIDAR_C, NORMAL_UPLINK))


CODEC: Codec = DraginoCodec(
    model="dragino_llds12",
    length=11,
    ranges=_RANGES,
    resolutions={"distance_m": 0.001, "battery_v": 0.001, "temperature_c": 0.1},
    read=_read,
    write=_write,
)
"""Battery u16, temperature i16 0.1 °C, distance u16 mm, strength u16, interrupt u8, LiDAR's °C i8, message type u8.

Source: Dragino LLDS12 user manual, 2.3 "Uplink Payload".
"""
