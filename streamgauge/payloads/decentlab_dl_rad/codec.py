"""Decentlab DL-RAD: radar distance, with the echo's reliability and the sensor's status."""

from collections.abc import Mapping

from streamgauge.payloads._decentlab import (
    BATTERY_RANGE_V,
    BATTERY_STEP_V,
    SIGNED_OFFSET,
    DecentlabCodec,
    Measured,
    Words,
)

STATUS_GOOD = 0
_HUNDREDTHS = 100.0
_FILL_TEMPERATURE_C = 10.0
_FILL_RELIABILITY_DB = 30.0


def _read(words: Words, _parameters: Mapping[str, float]) -> Measured:
    distance_mm, temperature, reliability, status = words
    values = {
        "distance_m": distance_mm / 1000.0,
        "sensor_temperature_c": (temperature - SIGNED_OFFSET) / _HUNDREDTHS,
        "reliability_db": (reliability - SIGNED_OFFSET) / _HUNDREDTHS,
    }
    if status == STATUS_GOOD:
        return Measured(values, {"status": status}, [])
    del values["distance_m"]
    return Measured(
        values, {"status": status}, [f"the radar's status is {status}, not {STATUS_GOOD} (good): no distance"]
    )


def _write(values: Mapping[str, float], _parameters: Mapping[str, float]) -> Words:
    return (
        round(values["distance_m"] * 1000.0),
        round(values.get("sensor_temperature_c", _FILL_TEMPERATURE_C) * _HUNDREDTHS) + SIGNED_OFFSET,
        round(values.get("reliability_db", _FILL_RELIABILITY_DB) * _HUNDREDTHS) + SIGNED_OFFSET,
        STATUS_GOOD,
    )


CODEC = DecentlabCodec(
    model="decentlab_dl_rad",
    measures="distance",
    words=4,
    water="distance_m",
    ranges={
        "distance_m": (0.001, 30.0),
        "sensor_temperature_c": (-40.0, 80.0),
        "reliability_db": (0.0, 200.0),
        "battery_v": BATTERY_RANGE_V,
    },
    resolutions={
        "distance_m": 0.001,
        "sensor_temperature_c": 0.01,
        "reliability_db": 0.01,
        "battery_v": BATTERY_STEP_V,
    },
    read=_read,
    write=_write,
    witnesses=("sensor_temperature_c", "reliability_db"),
)
