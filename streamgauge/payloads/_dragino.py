"""What Dragino's distance sensors share: fixed frames, big endian, and the status frame on FPort 5.

Source: Dragino's user manuals, "Uplink Payload"; the models' READMEs name sections.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from streamgauge.payloads.base import (
    Decoded,
    Parameter,
    PayloadRefused,
    check_encodable,
    keep_in_range,
    settle_parameters,
)

F_PORT: Final = 2
STATUS_F_PORT: Final = 5

BATTERY_MASK: Final = 0x3FFF
"""The two upper bits of the battery's field are flags; the rest are millivolts (manuals, "Battery Info")."""

BATTERY_RANGE: Final = (2.0, 4.3)
"""From an exhausted Li-SOCl2 cell to a full Li-ion cell of the solar variants."""

PROBE_RANGE: Final = (-55.0, 125.0)
"""A DS18B20's (Maxim data sheet 19-7487, "Features")."""

PROBE: Final = Parameter(
    name="ds18b20",
    unit="",
    doc="1 if a DS18B20 temperature probe is connected, else 0: without one the device sends 0.0 °C",
    default=1.0,
    low=0.0,
    high=1.0,
    whole=True,
)

_STATUS_LENGTH = 7
_BANDS = {
    1: "EU868", 2: "US915", 3: "IN865", 4: "AU915", 5: "KZ865", 6: "RU864", 7: "AS923", 8: "AS923-1", 9: "AS923-2",
    10: "AS923-3",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DraginoCodec:
    """One model of the family; see ``base.Codec``.

    Attributes:
        length: bytes of a live frame.
        read: what a live frame of that length holds; the second argument is whether a DS18B20 is connected.
        write: the live frame of values that were checked.
    """

    model: str
    length: int
    ranges: Mapping[str, tuple[float, float]]
    resolutions: Mapping[str, float]
    read: Callable[[bytes, bool], Decoded]
    write: Callable[[Mapping[str, float]], bytes]
    measures: str = "distance"
    parameters: tuple[Parameter, ...] = (PROBE,)
    f_port: int = F_PORT

    def decode(self, payload: bytes, f_port: int, parameters: Mapping[str, float]) -> Decoded:
        """Read one payload; see ``base.Codec.decode``."""
        if f_port == STATUS_F_PORT:
            return _decode_status(payload)
        if f_port != F_PORT:
            raise PayloadRefused(
                f"FPort {f_port} carries no values of this model ({F_PORT} does, and the status comes on {STATUS_F_PORT})"
            )
        if len(payload) != self.length:
            raise PayloadRefused(f"{len(payload)} bytes on FPort {F_PORT}, but this model's frame has {self.length}")
        try:
            with_probe = _has_probe(parameters)
        except ValueError as error:
            raise PayloadRefused(str(error)) from error
        return self.read(payload, with_probe)

    def encode(self, values: Mapping[str, float], parameters: Mapping[str, float]) -> bytes:
        """Make one live frame, which carries every value (no temperature with ``ds18b20`` 0); see ``base.Codec.encode``."""
        carried = set(self.ranges) if _has_probe(parameters) else self.ranges.keys() - {"temperature_c"}
        check_encodable(values, {name: self.ranges[name] for name in self.ranges if name in carried})
        missing = sorted(carried - values.keys())
        if missing:
            raise ValueError(f"a frame of {self.model} must carry {', '.join(missing)} too")
        return self.write(values)


def _has_probe(parameters: Mapping[str, float]) -> bool:
    return settle_parameters((PROBE,), parameters)[PROBE.name] != 0.0


def _decode_status(payload: bytes) -> Decoded:
    """The status frame: sensor model, firmware, frequency band, sub-band, battery in mV (manuals, "Device Status")."""
    if len(payload) != _STATUS_LENGTH:
        raise PayloadRefused(
            f"{len(payload)} bytes on FPort {STATUS_F_PORT}, but Dragino's status frame has {_STATUS_LENGTH}"
        )
    frame: dict[str, float | int | str | bool] = {
        "sensor_model": payload[0],
        "firmware_version": f"{payload[1]}.{payload[2] >> 4}.{payload[2] & 0x0F}",
        "frequency_band": _BANDS.get(payload[3], f"unknown ({payload[3]})"),
        "sub_band": payload[4],
    }
    battery, problems = keep_in_range({"battery_v": battery_of(payload[5:7])}, {"battery_v": BATTERY_RANGE})
    return Decoded(samples=(), frame={**frame, **battery}, problems=tuple(problems))


def battery_of(field: bytes) -> float:
    """Volts in the battery's field."""
    return (int.from_bytes(field, "big") & BATTERY_MASK) / 1_000.0


def temperature_of(field: bytes) -> float:
    """Degrees Celsius in the DS18B20's field: i16, 0.1 °C."""
    return int.from_bytes(field, "big", signed=True) / 10.0


def flag_of(field: int, name: str) -> bool:
    """A byte that is 0 or 1.

    Raises:
        PayloadRefused: it is something else, so that the frame is another model's.
    """
    if field > 1:
        raise PayloadRefused(f"{name} is {field}, but it is 0 or 1: another model's frame")
    return field == 1


def temperature_field(values: Mapping[str, float]) -> bytes:
    """The DS18B20's field; zeros without one, as the devices send."""
    return round(values.get("temperature_c", 0.0) * 10.0).to_bytes(2, "big", signed=True)


def millis_field(value: float) -> bytes:
    """Millivolts of volts, or millimetres of metres: u16."""
    return round(value * 1_000.0).to_bytes(2, "big")
