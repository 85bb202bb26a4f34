"""Decentlab DL-MBX: ultrasonic distance and how many of its samples were valid."""

from collections.abc import Mapping

from streamgauge.payloads._decentlab import (
    BATTERY_RANGE_V,
    BATTERY_STEP_V,
    DecentlabCodec,
    Measured,
    Ranges,
    Words,
)
from streamgauge.payloads.base import Parameter, PayloadRefused

SAMPLES = 15
"""How many distances the device collects for each measurement (DL-MBX data sheet, "Description")."""

NEAREST_M = 0.3
"""The nearest that the MaxBotix transducers report (HRXL-MaxSonar-WR data sheet PD11500, pulse width output)."""

_STEP_M = 0.001


def _read(words: Words, _parameters: Mapping[str, float]) -> Measured:
    distance_mm, valid = words
    if valid > SAMPLES:
        raise PayloadRefused(f"{valid} valid samples, but the device takes {SAMPLES}: another model's frame")
    frame: dict[str, float | int | str | bool] = {"number_of_valid_samples": valid}
    if valid == 0:
        return Measured({}, frame, ["none of the samples was valid: no distance"])
    return Measured({"distance_m": distance_mm / 1000.0}, frame, [])


def _write(values: Mapping[str, float], _parameters: Mapping[str, float]) -> Words:
    return round(values["distance_m"] * 1000.0), SAMPLES


def _ranges(range_m: float) -> Ranges:
    # At the end of its range the transducer says "no target", which is no distance.
    farthest_m = round(min(range_m, 9.999) - _STEP_M, 3)
    return {"distance_m": (NEAREST_M, farthest_m), "battery_v": BATTERY_RANGE_V}


CODEC = DecentlabCodec(
    model="decentlab_dl_mbx",
    measures="distance",
    words=2,
    water="distance_m",
    ranges=_ranges(10.0),
    resolutions={"distance_m": _STEP_M, "battery_v": BATTERY_STEP_V},
    read=_read,
    write=_write,
    parameters=(
        Parameter(
            name="range_m",
            unit="m",
            doc="the sensor head's range: 5 or 10, by the order; what is reported at its end means that there was no target",
            default=10.0,
            low=1.0,
            high=10.0,
        ),
    ),
    narrowed=lambda parameters: _ranges(parameters["range_m"]),
)
