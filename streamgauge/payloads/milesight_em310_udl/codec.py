"""Milesight EM310-UDL, a small ultrasonic sensor that knows whether it is tilted: the distance in millimetres."""

from streamgauge.payloads._milesight import (
    BATTERY,
    BATTERY_RANGE,
    DISTANCE_NARROWED,
    EM500_FAULTS,
    NO_ECHO,
    TILT,
    MilesightCodec,
    distance_parameters,
    millimetres,
)
from streamgauge.payloads.base import Codec

LEAST_M, GREATEST_M = 0.03, 4.5
"""Data sheet, "Measurement". Water nearer than 30 mm is sent as 30 mm, none within 4.5 m as 0."""

CODEC: Codec = MilesightCodec(
    model="milesight_em310_udl",
    measures="distance",
    water="distance_m",
    ranges={"distance_m": (LEAST_M, GREATEST_M), "battery_percent": BATTERY_RANGE, "tilted": (0.0, 1.0)},
    resolutions={"distance_m": 0.001, "battery_percent": 1.0, "tilted": 1.0},
    live={b"\x01\x75": BATTERY, b"\x03\x82": millimetres({0: NO_ECHO, **EM500_FAULTS}), b"\x04\x00": TILT},
    parameters=distance_parameters(LEAST_M, GREATEST_M),
    narrowed_by=DISTANCE_NARROWED,
)
"""Source: user guide EM310-UDL, "Sensor Data"; SensorDecoders, em-series/em310-udl/README.md."""
