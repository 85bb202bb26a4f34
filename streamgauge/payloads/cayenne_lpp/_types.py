"""The types of data in Cayenne Low Power Payload, as a table.

Types 0 to 3, 101 to 104, 113, 115, 134 and 136 are the format's own (myDevices, Cayenne documentation, "Cayenne Low Power
Payload", "Data Types"). The others are the extension that CayenneLPP by Electronic Cats and The Things Network's Arduino
library define alike; those with a variable length (240, 241) are not here, because nothing can be decoded after an unknown one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

CHANNELS = 256

_BYTE = (0.0, 255.0)
_WORD = (0.0, 65_535.0)
_LONG = (0.0, 4_294_967_295.0)


class Field(NamedTuple):
    """One number of a type.

    Attributes:
        stem: what its name begins with.
        unit: what its name ends with; the channel stands between them. Empty: a plain number.
        width: bytes, big-endian.
        is_signed: two's complement.
        per_unit: how many steps make 1 of the unit.
        valid: the range that is accepted, in the unit.
    """

    stem: str
    unit: str
    width: int
    is_signed: bool
    per_unit: float
    valid: tuple[float, float]

    def name(self, channel: int) -> str:
        """The value's name, such as ``temperature_3_c``."""
        return f"{self.stem}_{channel}_{self.unit}" if self.unit else f"{self.stem}_{channel}"


ANALOG_INPUT = 2
GENERIC = 100
TEMPERATURE = 103
VOLTAGE = 116
DISTANCE = 130
UNIX_TIME = 133


def _axes(stem: str, unit: str, per_unit: float) -> tuple[Field, ...]:
    valid = (-32_768.0 / per_unit, 32_767.0 / per_unit)
    return tuple(Field(f"{stem}_{axis}", unit, 2, True, per_unit, valid) for axis in "xyz")


TYPES: Mapping[int, tuple[Field, ...]] = {
    0: (Field("digital_input", "", 1, False, 1.0, _BYTE),),
    1: (Field("digital_output", "", 1, False, 1.0, _BYTE),),
    ANALOG_INPUT: (Field("analog_input", "", 2, True, 100.0, (-327.68, 327.67)),),
    3: (Field("analog_output", "", 2, True, 100.0, (-327.68, 327.67)),),
    GENERIC: (Field("generic", "", 4, False, 1.0, _LONG),),
    101: (Field("illuminance", "lux", 2, False, 1.0, _WORD),),
    102: (Field("presence", "", 1, False, 1.0, _BYTE),),
    TEMPERATURE: (Field("temperature", "c", 2, True, 10.0, (-100.0, 200.0)),),
    104: (Field("humidity", "percent", 1, False, 2.0, (0.0, 100.0)),),
    113: _axes("acceleration", "g", 1000.0),
    115: (Field("barometer", "kpa", 2, False, 100.0, (30.0, 120.0)),),
    VOLTAGE: (Field("voltage", "v", 2, False, 100.0, (0.0, 655.35)),),
    # Electronic Cats' library came to read it as signed, others have it unsigned: only where both agree it is certain.
    117: (Field("current", "a", 2, False, 1000.0, (0.0, 32.767)),),
    118: (Field("frequency", "hz", 4, False, 1.0, _LONG),),
    120: (Field("percentage", "percent", 1, False, 1.0, (0.0, 100.0)),),
    121: (Field("altitude", "m", 2, True, 1.0, (-1_000.0, 20_000.0)),),
    125: (Field("concentration", "ppm", 2, False, 1.0, _WORD),),
    128: (Field("power", "w", 2, False, 1.0, _WORD),),
    DISTANCE: (Field("distance", "m", 4, False, 1000.0, (0.0, 4_294_967.295)),),
    131: (Field("energy", "kwh", 4, False, 1000.0, (0.0, 4_294_967.295)),),
    132: (Field("direction", "deg", 2, False, 1.0, (0.0, 360.0)),),
    UNIX_TIME: (Field("unix_time", "s", 4, False, 1.0, _LONG),),
    134: _axes("rotation", "deg_s", 100.0),
    135: tuple(Field(f"colour_{part}", "", 1, False, 1.0, _BYTE) for part in ("red", "green", "blue")),
    136: (
        Field("gps_latitude", "deg", 3, True, 10_000.0, (-90.0, 90.0)),
        Field("gps_longitude", "deg", 3, True, 10_000.0, (-180.0, 180.0)),
        Field("gps_altitude", "m", 3, True, 100.0, (-1_000.0, 20_000.0)),
    ),
    142: (Field("switch", "", 1, False, 1.0, _BYTE),),
}

SIZES: Mapping[int, int] = {kind: sum(field.width for field in fields) for kind, fields in TYPES.items()}


class Place(NamedTuple):
    """Where a named value stands in a frame."""

    channel: int
    kind: int
    nth: int
    field: Field


_BY_STEM = {
    (field.stem, field.unit): (kind, index, field)
    for kind, fields in TYPES.items()
    if kind != UNIX_TIME
    for index, field in enumerate(fields)
}


def place_of(name: str) -> Place | None:
    """Where the value of this name stands, or None if no type has such a value."""
    parts = name.split("_")
    at = next((index for index, part in enumerate(parts) if part.isdecimal()), None)
    if at is None:
        return None
    found = _BY_STEM.get(("_".join(parts[:at]), "_".join(parts[at + 1 :])))
    channel = int(parts[at])
    if found is None or channel >= CHANNELS or found[2].name(channel) != name:
        return None
    return Place(channel, *found)


Property = TypeVar("Property")


@dataclass(frozen=True)
class ByName(Mapping[str, Property]):
    """A property of every value, by its name, without a table of 10,000 names.

    Attributes:
        fixed: that of the names without a channel.
        of: that of a field; its name on each channel has it.
    """

    fixed: Mapping[str, Property]
    of: Callable[[Field], Property]

    def __getitem__(self, name: str) -> Property:
        if name in self.fixed:
            return self.fixed[name]
        place = place_of(name)
        if place is None:
            raise KeyError(name)
        return self.of(place.field)

    def __iter__(self) -> Iterator[str]:
        yield from self.fixed
        for _, _, field in _BY_STEM.values():
            yield from (field.name(channel) for channel in range(CHANNELS))

    def __len__(self) -> int:
        return len(self.fixed) + CHANNELS * len(_BY_STEM)
