"""Dragino LDDS45, an ultrasonic sensor: the distance in millimetres, and a DS18B20's temperature if one is connected."""

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

NO_SENSOR: Final = 0
INVALID_MM: Final = 20
"""What the device sends in place of a distance within its blind zone (manual, 2.3.2)."""

_RANGES: Final = {"distance_m": (0.03, 4.5), "battery_v": BATTERY_RANGE, "temperature_c": PROBE_RANGE}
"""Distance: flat objects at 30 to 4500 mm (manual, 2.3.2)."""


def _read(payload: bytes, with_probe: bool) -> Decoded:
    frame = {
        "interrupt": flag_of(payload[4], "the interrupt flag"),
        "sensor_found": flag_of(payload[7], "the sensor flag"),
    }
    found = {"battery_v": battery_of(payload[:2])}
    if with_probe:
        found["temperature_c"] = temperature_of(payload[5:7])
    distance_mm = int.from_bytes(payload[2:4], "big")
    reason = _why_no_distance(distance_mm, sensor_flag=payload[7])
    if reason is None:
        found["distance_m"] = distance_mm / 1_000.0
    values, problems = keep_in_range(found, _RANGES)
    return live_or_status(values, frame, problems if reason is None else [reason, *problems])


def _why_no_distance(distance_mm: int, *, sensor_flag: int) -> str | None:
    if distance_mm == NO_SENSOR or sensor_flag == 0:
        return "no distance_m: the device finds no ultrasonic sensor"
    if distance_mm == INVALID_MM:
        return f"no distance_m: {INVALID_MM} mm stands for a reading that is not valid"
    return None


def _write(values: Mapping[str, float]) -> bytes:
    battery, distance = millis_field(values["battery_v"]), millis_field(values["distance_m"])
    return battery + distance + b"\x00" + temperature_field(values) + b"\x01"


CODEC: Codec = DraginoCodec(
    model="dragino_ldds45",
    length=8,
    ranges=_RANGES,
    resolutions={"distance_m": 0.001, "battery_v": 0.001, "temperature_c": 0.1},
    read=_read,
    write=_write,
)
"""Battery u16, distance u16 mm, interrupt u8, temperature i16 0.1 °C, sensor flag u8.

Source: Dragino LDDS45 user manual, 2.3 "Uplink Payload".
"""
