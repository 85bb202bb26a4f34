"""Milesight EM500-UDL, an ultrasonic sensor with a probe on a cable: the distance to the water in millimetres."""

from streamgauge.payloads._milesight import (
    BATTERY,
    BATTERY_RANGE,
    DISTANCE_NARROWED,
    EM500_FAULTS,
    NO_ECHO,
    Channel,
    MilesightCodec,
    Unpacked,
    distance_parameters,
    measured_with_alarm,
    millimetres,
    stored,
)
from streamgauge.payloads.base import Codec

LEAST_M, GREATEST_M = 0.03, 10.0
"""The data sheet's probes begin at 0.25 to 0.5 m; the maker's own example frame holds 30 mm, which is therefore let through."""

_DISTANCE = millimetres({0: NO_ECHO, **EM500_FAULTS})
_distance_and_alarm = measured_with_alarm(
    _DISTANCE, "distance_alarm", {0: "none", 1: "threshold reached", 2: "changed too fast"}
)


def _changed(content: bytes, unpacked: Unpacked) -> None:
    """Channel 83 e9: the distance, by how much it changed (both u16, mm) and which alarm it is."""
    _distance_and_alarm(content[:2] + content[4:], unpacked)
    change_mm = int.from_bytes(content[2:4], "little")
    if change_mm not in EM500_FAULTS:
        unpacked.frame["distance_change_m"] = change_mm / 1_000.0


CODEC: Codec = MilesightCodec(
    model="milesight_em500_udl",
    measures="distance",
    water="distance_m",
    ranges={"distance_m": (LEAST_M, GREATEST_M), "battery_percent": BATTERY_RANGE},
    resolutions={"distance_m": 0.001, "battery_percent": 1.0},
    live={b"\x01\x75": BATTERY, b"\x03\x82": _DISTANCE},
    others={b"\x83\xe9": Channel(5, _changed), b"\x20\xce": stored(_DISTANCE)},
    parameters=distance_parameters(LEAST_M, GREATEST_M),
    narrowed_by=DISTANCE_NARROWED,
)
"""Source: user guide EM500 series, "Sensor Data", EM500-UDL; SensorDecoders, em-series/em500-udl/README.md."""
