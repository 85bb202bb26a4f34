"""Milesight EM500-PP, a pressure sensor for pipes: gauge pressure in whole kilopascals."""

from streamgauge.payloads._milesight import (
    BATTERY,
    BATTERY_RANGE,
    COLLECTION_FAILED,
    OUT_OF_RANGE,
    MilesightCodec,
    Quantity,
    stored,
)
from streamgauge.payloads.base import Codec

FULL_SCALE_KPA = 1_600.0
"""Vented gauge, 0 to 1600 kPa, steps of 1 kPa (data sheet, "Pressure")."""

_PRESSURE = Quantity(name="pressure_kpa", signed=True, faults={-1: COLLECTION_FAILED, -3: OUT_OF_RANGE})

CODEC: Codec = MilesightCodec(
    model="milesight_em500_pp",
    measures="pressure",
    water="pressure_kpa",
    ranges={"pressure_kpa": (0.0, FULL_SCALE_KPA), "battery_percent": BATTERY_RANGE},
    resolutions={"pressure_kpa": 1.0, "battery_percent": 1.0},
    live={b"\x01\x75": BATTERY, b"\x03\x7b": _PRESSURE},
    others={b"\x20\xce": stored(_PRESSURE)},
)
"""Source: user guide EM500 series, "Sensor Data", EM500-PP; SensorDecoders, em-series/em500-pp/README.md."""
