"""Milesight's EM400 ultrasonic sensors: temperature, distance and position, each with its alarm.

Source: user guides EM400-UDL, 5.1 and 5.2, and EM400-MUD, 6.1; Milesight-IoT/SensorDecoders, em-series/em400-*/README.md.
"""

from streamgauge.payloads._milesight import (
    BATTERY,
    BATTERY_RANGE,
    DISTANCE_NARROWED,
    EM400_FAULTS,
    TILT,
    Channel,
    MilesightCodec,
    Quantity,
    Unpacked,
    distance_parameters,
    measured_with_alarm,
    millimetres,
)

TEMPERATURE_RANGE = (-40.0, 125.0)
"""The built-in thermistor's (data sheets, "Temperature"); it is that of the device's case, not the water's."""

UNKNOWN_COORDINATE = 0xFFFF_FFFF
_MICRODEGREES = 1_000_000.0
_ALARM = {0: "released", 1: "threshold reached"}
_GEOFENCE = {0: "inside", 1: "outside", 2: "unset", 3: "unknown"}
_MOTION = {0: "unknown", 1: "starts to move", 2: "moves", 3: "stopped"}

_TEMPERATURE = Quantity(name="temperature_c", steps_per_unit=10.0, signed=True)
_DISTANCE = millimetres(EM400_FAULTS)


def _location(content: bytes, unpacked: Unpacked) -> None:
    """Channel 06 88, of devices with a satellite receiver: latitude, longitude (i32, 1e-6°), then fence and motion."""
    for name, field, most in (("latitude_deg", content[:4], 90.0), ("longitude_deg", content[4:8], 180.0)):
        if int.from_bytes(field, "little") == UNKNOWN_COORDINATE:
            continue
        degrees = int.from_bytes(field, "little", signed=True) / _MICRODEGREES
        if abs(degrees) <= most:
            unpacked.frame[name] = degrees
        else:
            unpacked.problems.append(f"{name} {degrees:g} is none: left out")
    unpacked.frame["geofence"] = _GEOFENCE.get(content[8] >> 4, f"unknown ({content[8] >> 4})")
    unpacked.frame["motion"] = _MOTION.get(content[8] & 0x0F, f"unknown ({content[8] & 0x0F})")


def em400(model: str, *, least_m: float, greatest_m: float) -> MilesightCodec:
    """The codec of one EM400 model.

    Args:
        model: its name in the registry.
        least_m: the shortest blind zone of its probes.
        greatest_m: the greatest distance of its probes.
    """
    return MilesightCodec(
        model=model,
        measures="distance",
        water="distance_m",
        ranges={
            "distance_m": (least_m, greatest_m),
            "temperature_c": TEMPERATURE_RANGE,
            "battery_percent": BATTERY_RANGE,
            "tilted": (0.0, 1.0),
        },
        resolutions={"distance_m": 0.001, "temperature_c": 0.1, "battery_percent": 1.0, "tilted": 1.0},
        live={b"\x01\x75": BATTERY, b"\x03\x67": _TEMPERATURE, b"\x04\x82": _DISTANCE, b"\x05\x00": TILT},
        others={
            b"\x06\x88": Channel(9, _location),
            b"\x83\x67": Channel(3, measured_with_alarm(_TEMPERATURE, "temperature_alarm", _ALARM)),
            b"\x84\x82": Channel(3, measured_with_alarm(_DISTANCE, "distance_alarm", _ALARM)),
        },
        parameters=distance_parameters(least_m, greatest_m),
        narrowed_by=DISTANCE_NARROWED,
    )
