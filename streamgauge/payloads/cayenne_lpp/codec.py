"""Cayenne Low Power Payload: channel, type, value, again and again; which channel is the water is the device's parameter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from streamgauge.payloads.base import (
    Decoded,
    Parameter,
    PayloadRefused,
    check_encodable,
    live_or_status,
    refuse_other_ports,
    settle_parameters,
)
from streamgauge.payloads.cayenne_lpp._types import (
    ANALOG_INPUT,
    DISTANCE,
    GENERIC,
    SIZES,
    TEMPERATURE,
    TYPES,
    UNIX_TIME,
    VOLTAGE,
    ByName,
    place_of,
)

MAX_PAYLOAD_BYTES = 242
"""The longest application payload of any data rate in EU868 (LoRaWAN Regional Parameters RP002-1.0.3, 2.4.6)."""


class _Meaning(NamedTuple):
    """A value of the water or the device that some channel may stand for.

    Attributes:
        name: the value's.
        parameter: the parameter that names the channel.
        sources: the types that are looked for on it, in this order; with whether ``unit_m`` applies.
        valid: the range that is accepted.
        is_water: whether ``range_low_m`` and ``range_high_m`` bound it.
    """

    name: str
    parameter: str
    sources: tuple[tuple[int, bool], ...]
    valid: tuple[float, float]
    is_water: bool


_LENGTHS = ((ANALOG_INPUT, True), (DISTANCE, False), (GENERIC, True))
_MEANINGS = (
    _Meaning("level_m", "level_channel", _LENGTHS, (-1_000.0, 10_000.0), True),
    _Meaning("distance_m", "distance_channel", _LENGTHS, (0.0, 1_000.0), True),
    _Meaning("depth_m", "depth_channel", _LENGTHS, (-10.0, 1_000.0), True),
    _Meaning("temperature_c", "temperature_channel", ((TEMPERATURE, False),), (-100.0, 200.0), False),
    _Meaning("battery_v", "battery_channel", ((VOLTAGE, False), (ANALOG_INPUT, False)), (0.0, 100.0), False),
)
_UNIT_M_HIGH = 100.0
_CHANNEL_DOC = "the channel (0 to 255) that carries "

PARAMETERS = (
    *(
        Parameter(name=meaning.parameter, unit="", doc=_CHANNEL_DOC + doc, low=0, high=255, optional=True, whole=True)
        for meaning, doc in zip(
            _MEANINGS,
            (
                "the water's level",
                "the distance from the sensor's face to the water",
                "the depth above the probe",
                "the water's temperature; without it the lowest temperature channel does",
                "the battery's voltage",
            ),
            strict=True,
        )
    ),
    Parameter(
        name="unit_m",
        unit="m",
        doc="what 1.0 on the water's analog or generic channel means: 0.01 if the sensor sends centimetres",
        default=1.0,
        low=1e-6,
        high=_UNIT_M_HIGH,
    ),
    Parameter(
        name="range_low_m",
        unit="m",
        doc="lower end of the sensor's range, as it sends it",
        low=-1e3,
        high=1e4,
        optional=True,
    ),
    Parameter(
        name="range_high_m",
        unit="m",
        doc="upper end of the sensor's range, as it sends it",
        low=-1e3,
        high=1e4,
        optional=True,
    ),
)


@dataclass(frozen=True, slots=True)
class CayenneLppCodec:
    """Fits ``base.Codec``; see README.md for the names of its values."""

    model: str = "cayenne_lpp"
    measures: str = "other"
    parameters: tuple[Parameter, ...] = PARAMETERS
    f_port: int = 1

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """See ``base.Codec``; in dealing with a single name no table is built."""
        return _RANGES

    @property
    def resolutions(self) -> Mapping[str, float]:
        """See ``base.Codec``; that of the water is for the coarsest ``unit_m``."""
        return _RESOLUTIONS

    def decode(self, payload: bytes, f_port: int, parameters: Mapping[str, float]) -> Decoded:
        """See ``base.Codec``. An unknown type ends it there: how long its value is, nobody knows."""
        refuse_other_ports(f_port)
        try:
            settled = settle_parameters(PARAMETERS, parameters)
        except ValueError as error:
            raise PayloadRefused(str(error)) from error
        values: dict[str, float] = {}
        frame: dict[str, float | int | str | bool] = {}
        problems: list[str] = []
        position = 0
        while position < len(payload):
            problem = _item_problem(payload, position)
            if problem is not None:
                if position == 0:
                    raise PayloadRefused(problem)
                problems.append(problem)
                break
            position = _read_item(payload, position, values, frame, problems)
        if not payload:
            raise PayloadRefused("an empty payload")
        _add_meanings(values, settled, problems)
        return live_or_status(values, frame, problems)

    def encode(self, values: Mapping[str, float], parameters: Mapping[str, float]) -> bytes:
        """See ``base.Codec``. A value of the water needs the parameter that names its channel, and goes as analog input there."""
        check_encodable(values, _RANGES)
        settled = settle_parameters(PARAMETERS, parameters)
        named = _with_channels(values, settled)
        items: dict[tuple[int, int], dict[int, float]] = {}
        for name, value in named.items():
            place = place_of(name)
            assert place is not None, name
            items.setdefault((place.channel, place.kind), {})[place.nth] = value
        payload = b"".join(_write_item(channel, kind, numbers) for (channel, kind), numbers in items.items())
        if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
            raise ValueError(f"a frame must hold 1 to {MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
        return payload


def _item_problem(payload: bytes, position: int) -> str | None:
    if position + 2 > len(payload):
        return f"cut off at byte {position}: a channel without a type"
    kind = payload[position + 1]
    size = SIZES.get(kind)
    if size is None:
        return f"unknown type 0x{kind:02x} on channel {payload[position]} at byte {position}: decoding ends there"
    if position + 2 + size > len(payload):
        return f"cut off at byte {position}: type 0x{kind:02x} on channel {payload[position]} has {size} bytes"
    return None


def _read_item(
    payload: bytes,
    position: int,
    values: dict[str, float],
    frame: dict[str, float | int | str | bool],
    problems: list[str],
) -> int:
    channel, kind = payload[position], payload[position + 1]
    position += 2
    for field in TYPES[kind]:
        end = position + field.width
        number = int.from_bytes(payload[position:end], signed=field.is_signed) / field.per_unit
        position = end
        name = field.name(channel)
        low, high = field.valid
        if not low <= number <= high:
            problems.append(f"{name} {number:g} lies outside of {low:g} to {high:g}: left out")
        elif kind == UNIX_TIME:
            frame[name] = int(number)
        elif name in values:
            problems.append(f"{name} is there twice: the first counts")
        else:
            values[name] = number
    return position


def _add_meanings(values: dict[str, float], parameters: Mapping[str, float], problems: list[str]) -> None:
    for meaning in _MEANINGS:
        source = _source_of(meaning, values, parameters)
        if source is None:
            continue
        name, factor = source
        number = values[name] * factor
        low, high = _valid(meaning, parameters)
        if low <= number <= high:
            values[meaning.name] = number
        else:
            problems.append(f"{meaning.name} {number:g} (from {name}) lies outside of {low:g} to {high:g}: left out")


def _source_of(
    meaning: _Meaning, values: Mapping[str, float], parameters: Mapping[str, float]
) -> tuple[str, float] | None:
    """The value that stands for this meaning, and its factor."""
    channel = parameters.get(meaning.parameter)
    if channel is None:
        return _lowest_temperature(values) if meaning.name == "temperature_c" else None
    for kind, is_scaled in meaning.sources:
        name = TYPES[kind][0].name(int(channel))
        if name in values:
            return name, parameters["unit_m"] if is_scaled else 1.0
    return None


def _lowest_temperature(values: Mapping[str, float]) -> tuple[str, float] | None:
    channels = [place.channel for name in values if (place := place_of(name)) is not None and place.kind == TEMPERATURE]
    return (TYPES[TEMPERATURE][0].name(min(channels)), 1.0) if channels else None


def _valid(meaning: _Meaning, parameters: Mapping[str, float]) -> tuple[float, float]:
    low, high = meaning.valid
    if not meaning.is_water:
        return low, high
    return max(low, parameters.get("range_low_m", low)), min(high, parameters.get("range_high_m", high))


def _with_channels(values: Mapping[str, float], parameters: Mapping[str, float]) -> dict[str, float]:
    """The values by their names on a channel; a meaning that stands on one already must agree with it."""
    meanings = {meaning.name: meaning for meaning in _MEANINGS}
    named = {name: value for name, value in values.items() if name not in meanings}
    for name in [name for name in values if name in meanings]:
        meaning, value = meanings[name], values[name]
        low, high = _valid(meaning, parameters)
        if not low <= value <= high:
            raise ValueError(f"{name} {value!r} lies outside of {low:g} to {high:g}")
        source = _source_of(meaning, named, parameters)
        if source is None:
            channel = parameters.get(meaning.parameter, 1 if name == "temperature_c" else None)
            if channel is None:
                raise ValueError(f"{name} needs the parameter {meaning.parameter}: on which channel it goes")
            kind, is_scaled = meaning.sources[0]
            factor = parameters["unit_m"] if is_scaled else 1.0
            on_channel = TYPES[kind][0].name(int(channel))
            check_encodable({on_channel: value / factor}, _RANGES)
            named[on_channel] = value / factor
        elif abs(named[source[0]] * source[1] - value) > _RESOLUTIONS[source[0]] * source[1]:
            raise ValueError(f"{name} {value!r} contradicts {source[0]} {named[source[0]]!r}")
    return named


def _write_item(channel: int, kind: int, numbers: Mapping[int, float]) -> bytes:
    fields = TYPES[kind]
    missing = [field.name(channel) for index, field in enumerate(fields) if index not in numbers]
    if missing:
        raise ValueError(f"goes only together with {', '.join(missing)}")
    parts = [
        round(numbers[index] * field.per_unit).to_bytes(field.width, signed=field.is_signed)
        for index, field in enumerate(fields)
    ]
    return bytes((channel, kind)) + b"".join(parts)


_RANGES = ByName({meaning.name: meaning.valid for meaning in _MEANINGS}, lambda field: field.valid)
_RESOLUTIONS = ByName(
    {"level_m": 1.0, "distance_m": 1.0, "depth_m": 1.0, "temperature_c": 0.1, "battery_v": 0.01},
    lambda field: 1.0 / field.per_unit,
)
CODEC = CayenneLppCodec()
