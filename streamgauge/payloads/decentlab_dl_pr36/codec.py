"""Decentlab DL-PR36: pressure and temperature from a submersible high-precision Keller probe."""

from collections.abc import Mapping

from streamgauge.payloads._decentlab import (
    BATTERY_RANGE_V,
    BATTERY_STEP_V,
    KPA_PER_BAR,
    LOWEST_KPA,
    SIGNED_OFFSET,
    WORD_MAX,
    DecentlabCodec,
    Measured,
    Ranges,
    Words,
)
from streamgauge.payloads.base import Parameter

KP_LOW, KP_HIGH = 256.0, 65_535.0
_FILL_TEMPERATURE_C = 10.0
_STEPS_PER_C = 256.0


def _read(words: Words, parameters: Mapping[str, float]) -> Measured:
    pressure_bar = (words[0] - SIGNED_OFFSET) / parameters["kp"]
    temperature_c = (words[1] - SIGNED_OFFSET) / _STEPS_PER_C
    return Measured({"pressure_kpa": pressure_bar * KPA_PER_BAR, "temperature_c": temperature_c}, {}, [])


def _write(values: Mapping[str, float], parameters: Mapping[str, float]) -> Words:
    return (
        round(values["pressure_kpa"] / KPA_PER_BAR * parameters["kp"]) + SIGNED_OFFSET,
        round(values.get("temperature_c", _FILL_TEMPERATURE_C) * _STEPS_PER_C) + SIGNED_OFFSET,
    )


def _ranges(kp: float) -> Ranges:
    # The words' two ends are what a converter says that is at its stop.
    highest_kpa = (WORD_MAX - 1 - SIGNED_OFFSET) / kp * KPA_PER_BAR
    lowest_kpa = max(LOWEST_KPA, -highest_kpa)
    return {"pressure_kpa": (lowest_kpa, highest_kpa), "temperature_c": (-20.0, 80.0), "battery_v": BATTERY_RANGE_V}


CODEC = DecentlabCodec(
    model="decentlab_dl_pr36",
    measures="pressure",
    words=2,
    water="pressure_kpa",
    ranges=_ranges(KP_LOW),
    resolutions={
        "pressure_kpa": KPA_PER_BAR / KP_LOW,
        "temperature_c": 1.0 / _STEPS_PER_C,
        "battery_v": BATTERY_STEP_V,
    },
    read=_read,
    write=_write,
    parameters=(
        Parameter(
            name="kp",
            unit="1/bar",
            doc="steps per bar, in the device's papers; 8192 is usual",
            low=KP_LOW,
            high=KP_HIGH,
        ),
    ),
    narrowed=lambda parameters: _ranges(parameters["kp"]),
    witnesses=("temperature_c",),
)
