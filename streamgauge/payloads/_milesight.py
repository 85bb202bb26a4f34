"""What Milesight's EM sensors share: channels of an id byte, a type byte and little-endian data, one after the other.

Sources: Milesight's user guides of the EM310, EM400 and EM500 series, sections "Uplink Payload" and "Sensor Data", and the
tables of attributes and telemetry in Milesight-IoT/SensorDecoders, em-series/*/README.md. The models' READMEs name sections.

A channel that a model does not document has no known length: decoding stops there and what came before is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from streamgauge.payloads.base import (
    BATTERY_NAMES,
    Decoded,
    Parameter,
    PayloadRefused,
    Sample,
    check_encodable,
    live_or_status,
    refuse_other_ports,
    settle_parameters,
)

F_PORT: Final = 85
"""The makers' default; it can be changed on the device, so that every port of applications is accepted."""

Range = tuple[float, float]
FrameValue = float | int | str | bool

COLLECTION_FAILED: Final = "the device could not read its sensor"
OUT_OF_RANGE: Final = "the device says that it is out of its sensor's range"
NO_ECHO: Final = "the sensor heard no echo within its range"

EM500_FAULTS: Final = MappingProxyType({0xFFFF: COLLECTION_FAILED, 0xFFFD: OUT_OF_RANGE})
"""What the EM500 series sends in place of a number (user guide EM500, "Sensor Data": ffff and fffd)."""

EM400_FAULTS: Final = MappingProxyType({0: NO_ECHO, 65_000: "the device is tilted or hears no echo", **EM500_FAULTS})
"""65000 is what EM400 sensors are seen to send; the guide has no word on it (README of milesight_em400_udl)."""


@dataclass(slots=True)
class Unpacked:
    """What one payload has given so far."""

    limits: Mapping[str, Range]
    values: dict[str, float] = field(default_factory=dict)
    frame: dict[str, FrameValue] = field(default_factory=dict)
    history: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number as a channel carries it.

    Attributes:
        name: the value's name, with its unit.
        size: bytes.
        steps_per_unit: raw steps in one of the name's unit.
        signed: two's complement.
        faults: raw numbers that stand for nothing measured, and why.
    """

    name: str
    size: int = 2
    steps_per_unit: float = 1.0
    signed: bool = False
    faults: Mapping[int, str] = field(default_factory=dict)

    def read(self, content: bytes, unpacked: Unpacked) -> float | None:
        """The value in the channel's bytes; None with a problem if there is none within the limits."""
        raw = int.from_bytes(content, "little", signed=self.signed)
        if raw in self.faults:
            unpacked.problems.append(f"no {self.name}: {self.faults[raw]} ({raw})")
            return None
        value = raw / self.steps_per_unit
        low, high = unpacked.limits[self.name]
        if low <= value <= high:
            return value
        unpacked.problems.append(f"{self.name} {value:g} lies outside the model's range {low:g} to {high:g}: left out")
        return None

    def write(self, value: float) -> bytes:
        """The channel's bytes of the step nearest to a value, which may lie just outside of limits between two steps."""
        return round(value * self.steps_per_unit).to_bytes(self.size, "little", signed=self.signed)


Reader = Callable[[bytes, Unpacked], None]


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of channel: how many bytes follow its id and type, and what becomes of them."""

    length: int
    read: Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class MilesightCodec:
    """One model of the family; see ``base.Codec``.

    Attributes:
        water: the value that the sensor is there for, which each encoded frame must carry.
        live: the channels of a live frame in their order: id and type → quantity.
        others: alarms, history and further channels of this model: id and type → channel.
        narrowed_by: value name → parameters that narrow its range: the least's, the most's.
    """

    model: str
    measures: str
    water: str
    ranges: Mapping[str, Range]
    resolutions: Mapping[str, float]
    live: Mapping[bytes, Quantity]
    others: Mapping[bytes, Channel] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    narrowed_by: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    f_port: int = F_PORT
    _channels: dict[bytes, Channel] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        live = {head: Channel(quantity.size, measured(quantity)) for head, quantity in self.live.items()}
        object.__setattr__(self, "_channels", {**_ATTRIBUTES, **_SETTINGS, **live, **self.others})

    def decode(self, payload: bytes, f_port: int, parameters: Mapping[str, float]) -> Decoded:
        """Read one payload; see ``base.Codec.decode``."""
        refuse_other_ports(f_port)
        try:
            unpacked = Unpacked(self.ranges_for(parameters))
        except ValueError as error:
            raise PayloadRefused(str(error)) from error
        self._disbelieve(_walk(payload, self._channels, unpacked), unpacked)
        return _as_decoded(unpacked)

    def _disbelieve(self, cut_head: bytes | None, unpacked: Unpacked) -> None:
        """Leave the water's value out if the frame was cut off where it says whether the sensor is tilted."""
        if cut_head is None or self.water not in unpacked.values:
            return
        if any(quantity is TILT and head.startswith(cut_head) for head, quantity in self.live.items()):
            del unpacked.values[self.water]
            unpacked.problems.append(f"{self.water} left out: whether the sensor is tilted was cut off")

    def encode(self, values: Mapping[str, float], parameters: Mapping[str, float]) -> bytes:
        """Make one live frame; see ``base.Codec.encode``."""
        check_encodable(values, self.ranges_for(parameters))
        if self.water not in values:
            raise ValueError(f"a live frame of {self.model} must carry {self.water}")
        return b"".join(
            head + quantity.write(values[quantity.name])
            for head, quantity in self.live.items()
            if quantity.name in values
        )

    def ranges_for(self, parameters: Mapping[str, float]) -> Mapping[str, Range]:
        """The model's ranges, narrowed to those of the device's probe.

        Raises:
            ValueError: a parameter is out of its range.
        """
        if not parameters:
            return self.ranges
        settled = settle_parameters(self.parameters, parameters)
        narrowed = {
            name: (
                max(self.ranges[name][0], settled[least]) if least else self.ranges[name][0],
                min(self.ranges[name][1], settled[most]) if most else self.ranges[name][1],
            )
            for name, (least, most) in self.narrowed_by.items()
        }
        return {**self.ranges, **narrowed}


def measured(quantity: Quantity) -> Reader:
    """Reads a live value."""

    def read(content: bytes, unpacked: Unpacked) -> None:
        _put(quantity, content, unpacked)

    return read


def measured_with_alarm(quantity: Quantity, alarm: str, states: Mapping[int, str]) -> Reader:
    """Reads a live value and, in the last byte, the state of its alarm, which goes to the frame under ``alarm``."""

    def read(content: bytes, unpacked: Unpacked) -> None:
        _put(quantity, content[: quantity.size], unpacked)
        unpacked.frame[alarm] = states.get(content[-1], f"unknown ({content[-1]})")

    return read


def stored(quantity: Quantity) -> Channel:
    """History: when it was measured (u32, seconds since 1970 UTC by the device's clock) and what."""

    def read(content: bytes, unpacked: Unpacked) -> None:
        time = datetime.fromtimestamp(int.from_bytes(content[:4], "little"), UTC)
        before = len(unpacked.problems)
        value = quantity.read(content[4:], unpacked)
        if value is not None:
            unpacked.history.append(Sample(values={quantity.name: value}, time=time))
        else:
            unpacked.problems[before] += f" (stored at {time:%Y-%m-%dT%H:%M:%SZ})"

    return Channel(4 + quantity.size, read)


def _put(quantity: Quantity, content: bytes, unpacked: Unpacked) -> None:
    value = quantity.read(content, unpacked)
    if value is None:
        return
    first = unpacked.values.setdefault(quantity.name, value)
    if first != value:
        unpacked.problems.append(f"{quantity.name} stands twice: {first:g} is kept, {value:g} left out")


def _walk(payload: bytes, channels: Mapping[bytes, Channel], unpacked: Unpacked) -> bytes | None:
    """Read channel after channel. Returns the head of the one in which the payload ends, if it does."""
    position, size = 0, len(payload)
    while position < size:
        head = payload[position : position + 2]
        channel = channels.get(head)
        if channel is None or position + 2 + channel.length > size:
            reason = _why_it_ends(head, position, channel)
            if position == 0:
                raise PayloadRefused(reason)
            unpacked.problems.append(f"{reason}; what came before is kept")
            return head if channel is not None or len(head) < 2 else None
        position += 2
        channel.read(payload[position : position + channel.length], unpacked)
        position += channel.length
    if size == 0:
        raise PayloadRefused("the payload is empty")
    return None


def _why_it_ends(head: bytes, position: int, channel: Channel | None) -> str:
    if channel is not None or len(head) < 2:
        return f"the payload ends inside the channel {head.hex(' ')} at byte {position}"
    return f"the channel {head.hex(' ')} at byte {position} is none that this model sends"


def _as_decoded(unpacked: Unpacked) -> Decoded:
    if not unpacked.history:
        return live_or_status(unpacked.values, unpacked.frame, unpacked.problems)
    history, problems = tuple(unpacked.history), tuple(unpacked.problems)
    if unpacked.values.keys() <= BATTERY_NAMES:
        return Decoded(samples=history, frame={**unpacked.frame, **unpacked.values}, problems=problems)
    return Decoded(samples=(Sample(values=unpacked.values), *history), frame=unpacked.frame, problems=problems)


def _attribute(name: str, length: int, show: Callable[[bytes], FrameValue]) -> Channel:
    def read(content: bytes, unpacked: Unpacked) -> None:
        unpacked.frame[name] = show(content)

    return Channel(length, read)


def _hardware_version(content: bytes) -> str:
    return f"{content[0]:x}.{content[1] >> 4:x}"


def _software_version(content: bytes) -> str:
    return f"{content[0]:x}.{content[1]:x}"


def _lorawan_class(content: bytes) -> str:
    return {0: "A", 1: "B", 2: "C", 3: "C to B"}.get(content[0], f"unknown ({content[0]})")


def _always(_content: bytes) -> bool:
    return True


_ATTRIBUTES: Final[Mapping[bytes, Channel]] = {
    b"\xff\x01": _attribute("protocol_version", 1, lambda content: content[0]),
    b"\xff\x08": _attribute("serial_number", 6, bytes.hex),
    b"\xff\x09": _attribute("hardware_version", 2, _hardware_version),
    b"\xff\x0a": _attribute("firmware_version", 2, _software_version),
    b"\xff\x0b": _attribute("powered_on", 1, _always),
    b"\xff\x0f": _attribute("lorawan_class", 1, _lorawan_class),
    b"\xff\x16": _attribute("serial_number", 8, bytes.hex),
    b"\xff\xfe": _attribute("was_reset", 1, _always),
    b"\xff\xff": _attribute("tsl_version", 2, lambda content: f"{content[0]}.{content[1]}"),
}
"""Sent when the device joins or is restarted (user guides, "Basic Information"); 08 is the older, shorter serial number."""

_SETTING_LENGTHS: Final = {
    0x02: 2, 0x03: 2, 0x06: 9, 0x10: 1, 0x11: 4, 0x13: 1, 0x17: 2, 0x1B: 5, 0x1C: 2, 0x27: 1, 0x28: 1, 0x35: 8, 0x3B: 1,
    0x3E: 1, 0x4A: 1, 0x56: 1, 0x68: 1, 0x69: 1, 0x6A: 3, 0x70: 2, 0x71: 1, 0x77: 2, 0x84: 1, 0x96: 8, 0xF1: 4, 0xF2: 2,
    0xF5: 1,
}  # fmt: skip
"""Type → length of settings that a device repeats after a downlink, on channel ff or fe (user guides, "Downlink Commands")."""


def _confirmed(setting: int) -> Reader:
    # Only that it was confirmed is told: type 35 holds a key.
    def read(_content: bytes, unpacked: Unpacked) -> None:
        before = unpacked.frame.get("settings_confirmed")
        unpacked.frame["settings_confirmed"] = f"{before} {setting:02x}" if before else f"{setting:02x}"

    return read


_SETTINGS: Final[Mapping[bytes, Channel]] = {
    bytes((channel, setting)): Channel(length, _confirmed(setting))
    for channel in (0xFE, 0xFF)
    for setting, length in _SETTING_LENGTHS.items()
}

BATTERY: Final = Quantity(name="battery_percent", size=1)
"""Channel 01, type 75."""

BATTERY_RANGE: Final[Range] = (0.0, 100.0)


def millimetres(faults: Mapping[int, str]) -> Quantity:
    """A distance: u16, mm."""
    return Quantity(name="distance_m", steps_per_unit=1_000.0, faults=faults)


TILT: Final = Quantity(name="tilted", size=1)
"""Type 00: 00 upright, 01 tilted by 20° or more (user guides EM310-UDL and EM400, "Sensor Data"); anything else is refused."""


def distance_parameters(blind_zone_m: float, range_m: float) -> tuple[Parameter, ...]:
    """What narrows an ultrasonic sensor's range to that of the probe in use.

    Args:
        blind_zone_m: the model's least distance.
        range_m: the model's greatest distance.
    """
    return (
        Parameter(
            name="blind_zone_m",
            unit="m",
            doc="the probe's blind zone, from the data sheet: shorter distances are left out",
            default=blind_zone_m,
            low=blind_zone_m,
            high=1.0,
        ),
        Parameter(
            name="range_m",
            unit="m",
            doc="the probe's greatest distance, from the data sheet: longer ones are left out",
            default=range_m,
            low=1.0,
            high=range_m,
        ),
    )


DISTANCE_NARROWED: Final[Mapping[str, tuple[str | None, str | None]]] = {"distance_m": ("blind_zone_m", "range_m")}
