"""What all Decentlab models share: protocol version 2.

A frame is a version byte (2), the device's id and sixteen flags as 16-bit words, and then, for each flag that is set from the
least significant on, that group's 16-bit words; everything is big-endian. Every model here has two groups: flag 0 is the
measurement, flag 1 the battery in millivolts. (Decentlab data sheets, "Sensor data message format"; the same text for
DL-PR36CTD in Tesenso's device library; Decentlab's own decoders in the repository decentlab-decoders.)
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from streamgauge.payloads.base import (
    Decoded,
    Parameter,
    PayloadRefused,
    check_encodable,
    keep_in_range,
    live_or_status,
    refuse_other_ports,
    settle_parameters,
)

Ranges = Mapping[str, tuple[float, float]]

PROTOCOL_VERSION = 2
WORD_MAX = 0xFFFF
SIGNED_OFFSET = 0x8000
"""What the maker adds to a signed number to send it as an unsigned word."""

KPA_PER_BAR = 100.0
"""Kilopascals in one bar, exact (NIST SP 811 (2008), appendix B.8)."""

OVERRANGE = 0.05
"""How far beyond a pressure or depth probe's nominal range a value still counts, as a part of the span: probes measure somewhat
further, their zero drifts, and the crest of a flood must not vanish for a centimetre. Our choice, not the maker's."""

LOWEST_KPA = -105.0
"""Nothing lies further below the air's pressure than a vacuum; the highest air pressures are about 1.05 bar."""

BATTERY_RANGE_V = (0.0, 6.0)
BATTERY_STEP_V = 0.001

_HEADER = struct.Struct(">BHH")
_MEASURED = 0b01
_BATTERY = 0b10


Words = tuple[int, ...]


class Measured(NamedTuple):
    """What a measurement group holds.

    Attributes:
        values: by name, not yet held against their ranges.
        frame: what else it says.
        problems: what was found wrong already.
    """

    values: dict[str, float]
    frame: dict[str, float | int | str | bool]
    problems: list[str]


class _Groups(NamedTuple):
    """A frame's groups as far as they are whole, and what is wrong with its end."""

    measurement: Words | None
    battery_mv: int | None
    end_problem: str | None


Reader = Callable[[Words, Mapping[str, float]], Measured]
Writer = Callable[[Mapping[str, float], Mapping[str, float]], Words]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecentlabCodec:
    """One Decentlab model; fits ``base.Codec``.

    Attributes:
        words: how many words its measurement group has.
        water: the value that the group is sent for; ``encode`` makes a status frame without it.
        read: measurement words and parameters → what they hold.
        write: values and parameters → measurement words.
        narrowed: parameters → the ranges of a probe with these parameters, where they depend on them.
        witnesses: values of the same group that no working sensor sends out of range: where one is, the water's value is not
            believed either, for the group is broken or another model's.
    """

    model: str
    measures: str
    words: int
    water: str
    ranges: Ranges
    resolutions: Mapping[str, float]
    read: Reader
    write: Writer
    parameters: tuple[Parameter, ...] = ()
    narrowed: Callable[[Mapping[str, float]], Ranges] | None = None
    witnesses: tuple[str, ...] = ()
    f_port: int = 1

    @property
    def layout(self) -> str:
        """The measurement group's words, for ``struct``."""
        return f">{self.words}H"

    def ranges_for(self, parameters: Mapping[str, float]) -> Ranges:
        """The ranges of a device with these parameters; within ``ranges``.

        Raises:
            ValueError: a parameter is missing or out of its range.
        """
        settled = settle_parameters(self.parameters, parameters)
        return self.ranges if self.narrowed is None else self.narrowed(settled)

    def decode(self, payload: bytes, f_port: int, parameters: Mapping[str, float]) -> Decoded:
        """See ``base.Codec``. What is short keeps the groups that are whole; what is too long is another model's."""
        refuse_other_ports(f_port)
        device_id, flags = _read_header(payload)
        settled = self._settled(parameters)
        groups = self._split(payload, flags)
        frame: dict[str, float | int | str | bool] = {"protocol_version": PROTOCOL_VERSION, "device_id": device_id}
        values: dict[str, float] = {}
        problems: list[str] = []
        if groups.measurement is not None:
            measured = self.read(groups.measurement, settled)
            values |= measured.values
            frame |= measured.frame
            problems += measured.problems
        if groups.battery_mv is not None:
            values["battery_v"] = groups.battery_mv / 1000.0
        kept, outside = keep_in_range(values, self.ranges if self.narrowed is None else self.narrowed(settled))
        outside += self._disbelieved(values, kept)
        if groups.end_problem is not None:
            outside.append(groups.end_problem)
        return live_or_status(kept, frame, problems + outside)

    def encode(self, values: Mapping[str, float], parameters: Mapping[str, float]) -> bytes:
        """See ``base.Codec``. Without the water's value and with the battery's it is a status frame.

        Words of the measurement that have no value given are filled as the model's README says; the device's id is 0.
        """
        check_encodable(values, self.ranges_for(parameters))
        settled = settle_parameters(self.parameters, parameters)
        flags = 0
        words: Words = ()
        if self.water in values:
            flags, words = _MEASURED, self.write(values, settled)
        elif values.keys() - {"battery_v"} or not values:
            raise ValueError(f"a frame of this model must carry {self.water}, or battery_v alone")
        if "battery_v" in values:
            flags |= _BATTERY
            words = (*words, round(values["battery_v"] * 1000.0))
        return _HEADER.pack(PROTOCOL_VERSION, 0, flags) + struct.pack(f">{len(words)}H", *words)

    def _disbelieved(self, values: Mapping[str, float], kept: dict[str, float]) -> list[str]:
        """Take the water's value out of ``kept`` if a witness speaks against it; in words why."""
        against = [name for name in self.witnesses if name in values and name not in kept]
        if not against or self.water not in kept:
            return []
        del kept[self.water]
        return [f"{self.water} left out with {', '.join(against)}: the group is broken or another model's"]

    def _settled(self, parameters: Mapping[str, float]) -> Mapping[str, float]:
        if not self.parameters:
            return parameters
        try:
            return settle_parameters(self.parameters, parameters)
        except ValueError as error:
            raise PayloadRefused(str(error)) from error

    def _split(self, payload: bytes, flags: int) -> _Groups:
        measured_end = _HEADER.size + (2 * self.words if flags & _MEASURED else 0)
        end = measured_end + (2 if flags & _BATTERY else 0)
        length = len(payload)
        if length > end:
            raise PayloadRefused(f"{length} bytes, but flags 0x{flags:04x} announce {end}: another model's frame")
        measurement, battery_mv = None, None
        if flags & _MEASURED and length >= measured_end:
            measurement = struct.unpack_from(self.layout, payload, _HEADER.size)
        if flags & _BATTERY and length == end:
            battery_mv = payload[-2] << 8 | payload[-1]
        problem = f"cut off: {length} bytes, but flags 0x{flags:04x} announce {end}" if length < end else None
        return _Groups(measurement, battery_mv, problem)


def _read_header(payload: bytes) -> tuple[int, int]:
    if len(payload) < _HEADER.size:
        raise PayloadRefused(f"{len(payload)} bytes; a Decentlab frame has at least {_HEADER.size}")
    version, device_id, flags = _HEADER.unpack_from(payload)
    if version != PROTOCOL_VERSION:
        raise PayloadRefused(f"protocol version {version}; this codec knows version {PROTOCOL_VERSION}")
    if flags & ~(_MEASURED | _BATTERY):
        raise PayloadRefused(
            f"flags 0x{flags:04x} announce groups that this model does not have: another model's frame"
        )
    return device_id, flags


def pressure_parameters(example: str) -> tuple[Parameter, ...]:
    """Pmin and Pmax of a probe, in bar.

    Args:
        example: what a usual probe of this model has, for people.
    """
    return (
        Parameter(
            name="Pmin", unit="bar", doc=f"lower end of the probe's range, on its label and in the order ({example})",
            low=-1.0, high=10.0,
        ),
        Parameter(
            name="Pmax", unit="bar", doc=f"upper end of the probe's range, on its label and in the order ({example})",
            low=0.05, high=300.0,
        ),
    )  # fmt: skip


def keller_pressure_codec(model: str, temperature_range_c: tuple[float, float], example: str) -> DecentlabCodec:
    """A model with a Keller probe whose words run from 16384 at Pmin to 49152 at Pmax (DL-PR21, DL-PR26).

    Args:
        model: its name.
        temperature_range_c: what the probe's temperature may be.
        example: a usual probe's range, for people.
    """
    low_kpa, high_kpa = _pressure_range_kpa(-1.0, 300.0)
    others: dict[str, tuple[float, float]] = {"temperature_c": temperature_range_c, "battery_v": BATTERY_RANGE_V}

    def narrowed(parameters: Mapping[str, float]) -> Ranges:
        return {"pressure_kpa": _pressure_range_kpa(parameters["Pmin"], parameters["Pmax"]), **others}

    return DecentlabCodec(
        model=model,
        measures="pressure",
        words=2,
        water="pressure_kpa",
        ranges={"pressure_kpa": (low_kpa, high_kpa), **others},
        resolutions={
            "pressure_kpa": 301.0 / _HALF_SCALE * KPA_PER_BAR,
            "temperature_c": 1.0 / _KELLER_STEPS_PER_C,
            "battery_v": BATTERY_STEP_V,
        },
        read=_read_keller,
        write=_write_keller,
        parameters=pressure_parameters(example),
        narrowed=narrowed,
        witnesses=("temperature_c",),
    )


_KELLER_ZERO = 16_384
_HALF_SCALE = 32_768.0
_KELLER_STEPS_PER_C = 320.0
_KELLER_ZERO_C = 16_384
"""The maker's (x − 384) · 0.003125 − 50, without its rounding errors."""
_FILL_TEMPERATURE_C = 10.0


def _pressure_range_kpa(low_bar: float, high_bar: float) -> tuple[float, float]:
    slack_bar = OVERRANGE * (high_bar - low_bar)
    return max(LOWEST_KPA, (low_bar - slack_bar) * KPA_PER_BAR), (high_bar + slack_bar) * KPA_PER_BAR


def _read_keller(words: Words, parameters: Mapping[str, float]) -> Measured:
    low_bar, high_bar = parameters["Pmin"], parameters["Pmax"]
    pressure_bar = (words[0] - _KELLER_ZERO) / _HALF_SCALE * (high_bar - low_bar) + low_bar
    temperature_c = (words[1] - _KELLER_ZERO_C) / _KELLER_STEPS_PER_C
    return Measured({"pressure_kpa": pressure_bar * KPA_PER_BAR, "temperature_c": temperature_c}, {}, [])


def _write_keller(values: Mapping[str, float], parameters: Mapping[str, float]) -> Words:
    low_bar, high_bar = parameters["Pmin"], parameters["Pmax"]
    part = (values["pressure_kpa"] / KPA_PER_BAR - low_bar) / (high_bar - low_bar)
    temperature_c = values.get("temperature_c", _FILL_TEMPERATURE_C)
    return round(part * _HALF_SCALE) + _KELLER_ZERO, round(temperature_c * _KELLER_STEPS_PER_C) + _KELLER_ZERO_C
