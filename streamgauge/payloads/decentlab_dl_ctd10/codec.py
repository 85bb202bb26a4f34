"""Decentlab DL-CTD10: depth, temperature and electrical conductivity from a METER (Decagon) CTD-10 probe."""

from collections.abc import Mapping

from streamgauge.payloads._decentlab import (
    BATTERY_RANGE_V,
    BATTERY_STEP_V,
    OVERRANGE,
    SIGNED_OFFSET,
    DecentlabCodec,
    Measured,
    Words,
)
from streamgauge.payloads.base import PayloadRefused

DEPTH_M = 10.0
"""The probe's nominal range (CTD-10 operator's manual, "Specifications")."""

_FILL_TEMPERATURE_C = 10.0
_FILL_CONDUCTIVITY_US_CM = 0.0


def _read(words: Words, _parameters: Mapping[str, float]) -> Measured:
    depth, temperature, conductivity_us_cm, freezing = words
    if freezing > 1:
        raise PayloadRefused(f"freezing flag {freezing}, but it is 0 or 1: another model's frame")
    values = {
        "depth_m": (depth - SIGNED_OFFSET) / 1000.0,
        "temperature_c": (temperature - SIGNED_OFFSET) / 10.0,
        "conductivity_us_cm": float(conductivity_us_cm),
    }
    if not freezing:
        return Measured(values, {"freezing": False}, [])
    del values["depth_m"]
    return Measured(values, {"freezing": True}, ["the probe says that its water is freezing: no depth"])


def _write(values: Mapping[str, float], _parameters: Mapping[str, float]) -> Words:
    return (
        round(values["depth_m"] * 1000.0) + SIGNED_OFFSET,
        round(values.get("temperature_c", _FILL_TEMPERATURE_C) * 10.0) + SIGNED_OFFSET,
        round(values.get("conductivity_us_cm", _FILL_CONDUCTIVITY_US_CM)),
        0,
    )


CODEC = DecentlabCodec(
    model="decentlab_dl_ctd10",
    measures="depth",
    words=4,
    water="depth_m",
    ranges={
        "depth_m": (-OVERRANGE * DEPTH_M, (1.0 + OVERRANGE) * DEPTH_M),
        "temperature_c": (-11.0, 49.0),
        "conductivity_us_cm": (0.0, 65_535.0),
        "battery_v": BATTERY_RANGE_V,
    },
    resolutions={"depth_m": 0.001, "temperature_c": 0.1, "conductivity_us_cm": 1.0, "battery_v": BATTERY_STEP_V},
    read=_read,
    write=_write,
    witnesses=("temperature_c",),
)
