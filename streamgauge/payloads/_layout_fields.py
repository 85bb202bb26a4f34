"""The parts of a TOML layout: numbers at places, and frames that are told apart by port, length and constant bytes."""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

WATER_VALUES: Final = frozenset({"distance_m", "depth_m", "pressure_kpa", "level_m", "flow_m3_s", "rainfall_mm"})
"""Values of the water; a layout must give the measuring range of each."""

VALUE_NAMES: Final = WATER_VALUES | {"temperature_c", "battery_v", "battery_percent", "conductivity_us_cm", "tilted"}
"""Fields of these names become values of a sample; others belong to the frame unless they say ``sample = true``."""

MAX_PAYLOAD_BYTES: Final = 242
"""The longest application payload (LoRaWAN Regional Parameters RP002-1.0.3, 2.4.6: data rates 4 and up)."""

_INTEGER = re.compile(r"([ui])(8|16|24|32)(be|le)?")
_FLOATS: Final = {"f32be": ">f", "f32le": "<f"}
_EXACT_INVERSES = 1e12
_GREATEST_F32 = (2.0 - 2.0**-23) * 2.0**127


@dataclass(frozen=True, slots=True)
class NumberType:
    """How a number is written: its bytes, their order, its sign; ``float_format`` of struct for f32."""

    name: str
    size: int
    order: Literal["little", "big"]
    signed: bool
    float_format: str | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number of this type."""
        if self.float_format is not None:
            return (-_GREATEST_F32, _GREATEST_F32)
        bits = 8 * self.size
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)


def number_type(name: str) -> NumberType | None:
    """The type of this name: u8, i8, u16be, u16le … i32le, f32be, f32le; None if there is none."""
    if name in _FLOATS:
        return NumberType(name, 4, "big" if name.endswith("be") else "little", signed=True, float_format=_FLOATS[name])
    found = _INTEGER.fullmatch(name)
    if found is None or (found[2] == "8") != (found[3] is None):
        return None
    return NumberType(name, int(found[2]) // 8, "little" if found[3] == "le" else "big", signed=found[1] == "i")


def as_f32(number: float) -> float:
    """The number of 32 bits that is nearest; ``number`` must lie within their bounds."""
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


def _around(nearest: int) -> tuple[float, ...]:
    return nearest, nearest - 1, nearest + 1


def _around_f32(number: float) -> tuple[float, ...]:
    nearest = as_f32(number)
    step = max(2.0 ** (math.frexp(nearest)[1] - 24), 2.0**-149)
    return nearest, *(as_f32(other) for other in (nearest - step, nearest + step) if abs(other) <= _GREATEST_F32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLayout:
    """One number in a frame: value = raw · scale + add.

    Attributes:
        name: the value's or the frame fact's name.
        offset: its first byte, counted from 0.
        kind: how it is written.
        scale, add: from the raw number to the name's unit.
        limits: the values that are accepted, inclusive; None: all that the type can hold.
        invalid: raw numbers that stand for nothing measured.
        first_bit, bit_count: the part of an unsigned number that is meant; bit 0 is the lowest. None: all of it.
        is_value: it belongs to a sample, else to the frame.
    """

    name: str
    offset: int
    kind: NumberType
    scale: float = 1.0
    add: float = 0.0
    limits: tuple[float, float] | None = None
    invalid: tuple[float, ...] = ()
    first_bit: int = 0
    bit_count: int | None = None
    is_value: bool = False

    @property
    def end(self) -> int:
        """The byte after its last."""
        return self.offset + self.kind.size

    @property
    def raw_bounds(self) -> tuple[float, float]:
        """The least and the greatest raw number, which of a part of bits are those of the part."""
        return self.kind.bounds if self.bit_count is None else (0, (1 << self.bit_count) - 1)

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the greatest value that can be written, in the name's unit."""
        ends = [self.to_value(raw) for raw in self.raw_bounds]
        return (min(ends), max(ends))

    @property
    def range(self) -> tuple[float, float]:
        """The values that are accepted."""
        return self.limits if self.limits is not None else self.reach

    @property
    def resolution(self) -> float:
        """The step in which the value is carried; of f32 the widest step within the range."""
        if self.kind.float_format is None:
            return abs(self.scale)
        farthest = max(abs((end - self.add) / self.scale) for end in self.range)
        return max(farthest * 2.0**-23, 2.0**-149) * abs(self.scale) + math.ulp(max(abs(end) for end in self.range))

    def to_value(self, raw: float) -> float:
        """The value of a raw number; a scale such as 0.001 divides, so that 2799 gives 2.799 and not 2.7990000000000004."""
        inverse = round(1.0 / self.scale) if abs(self.scale) * _EXACT_INVERSES >= 1.0 else 0
        scaled = raw / inverse if inverse and 1.0 / inverse == self.scale else raw * self.scale
        return scaled + self.add if self.add else scaled

    def read_raw(self, payload: bytes) -> float:
        """The raw number in a payload that is long enough."""
        if self.kind.float_format is not None:
            found: float = struct.unpack_from(self.kind.float_format, payload, self.offset)[0]
            return found
        content = payload[self.offset : self.end]
        whole = int.from_bytes(content, self.kind.order, signed=self.kind.signed)
        return whole if self.bit_count is None else whole >> self.first_bit & (1 << self.bit_count) - 1

    def to_raw(self, value: float) -> float:
        """The raw number nearest to a value within the range, of those whose values lie within the range."""
        low, high = self.raw_bounds
        exact = min(max((value - self.add) / self.scale, low), high)
        candidates = _around_f32(exact) if self.kind.float_format is not None else _around(round(exact))
        return next((raw for raw in candidates if self._is_within(raw)), candidates[0])

    def _is_within(self, raw: float) -> bool:
        least, most = self.raw_bounds
        low, high = self.range
        return least <= raw <= most and low <= self.to_value(raw) <= high

    def write_raw(self, payload: bytearray, raw: float) -> None:
        """Put a raw number in its place; of a part of bits the others stay."""
        if self.kind.float_format is not None:
            struct.pack_into(self.kind.float_format, payload, self.offset, raw)
            return
        order, whole = self.kind.order, int(raw)
        if self.bit_count is not None:
            mask = (1 << self.bit_count) - 1 << self.first_bit
            before = int.from_bytes(payload[self.offset : self.end], order)
            whole = before & ~mask | whole << self.first_bit
        payload[self.offset : self.end] = whole.to_bytes(self.kind.size, order, signed=self.kind.signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLayout:
    """One kind of frame.

    Attributes:
        f_port: the port that it comes on; None: any of applications.
        length: bytes; the exact number, or the least if ``is_open``.
        is_open: longer payloads are accepted too, what follows is not read.
        matches: constant numbers that tell it from other frames, with the number that must be there.
        is_status: it holds no measurement.
        fields: what it carries.
    """

    f_port: int | None
    length: int
    is_open: bool
    matches: tuple[tuple[FieldLayout, int], ...]
    is_status: bool
    fields: tuple[FieldLayout, ...]

    def is_for(self, payload: bytes, f_port: int) -> bool:
        """Whether a payload is of this kind."""
        if self.f_port is not None and f_port != self.f_port:
            return False
        if len(payload) < self.length or (not self.is_open and len(payload) != self.length):
            return False
        return all(match.read_raw(payload) == number for match, number in self.matches)

    def describe(self) -> str:
        """The frame in words, for a refusal."""
        size = f"{self.length} bytes{' or more' if self.is_open else ''}"
        port = "" if self.f_port is None else f" on FPort {self.f_port}"
        numbers = "".join(f" with {number} at byte {match.offset}" for match, number in self.matches)
        return size + port + numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A sensor model as its file describes it."""

    model: str
    measures: str
    source: Mapping[str, str]
    frames: tuple[FrameLayout, ...]
