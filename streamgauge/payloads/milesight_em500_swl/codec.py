"""Milesight EM500-SWL, a submersible probe: the water's depth above it in whole centimetres."""

from streamgauge.payloads._milesight import BATTERY, BATTERY_RANGE, EM500_FAULTS, MilesightCodec, Quantity, stored
from streamgauge.payloads.base import Codec, Parameter

LONGEST_PROBE_M = 200.0
"""Probes are made for 3, 5 and 10 m, others up to 200 m to order (data sheet, "Measurement")."""

_DEPTH = Quantity(name="depth_m", steps_per_unit=100.0, faults=EM500_FAULTS)

CODEC: Codec = MilesightCodec(
    model="milesight_em500_swl",
    measures="depth",
    water="depth_m",
    ranges={"depth_m": (0.0, LONGEST_PROBE_M), "battery_percent": BATTERY_RANGE},
    resolutions={"depth_m": 0.01, "battery_percent": 1.0},
    live={b"\x01\x75": BATTERY, b"\x03\x77": _DEPTH},
    others={b"\x20\xce": stored(_DEPTH)},
    parameters=(
        Parameter(
            name="range_m",
            unit="m",
            doc="the probe's full scale, from its label: greater depths are left out",
            default=LONGEST_PROBE_M,
            low=0.5,
            high=LONGEST_PROBE_M,
        ),
    ),
    narrowed_by={"depth_m": (None, "range_m")},
)
"""Source: user guide EM500 series, "Sensor Data", EM500-SWL; SensorDecoders, em-series/em500-swl/README.md."""
