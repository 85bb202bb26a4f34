"""How a sensor stands, and what turns its value into a level above the station's datum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from streamgauge.payloads.base import Parameter

PASCALS_PER_KILOPASCAL = 1_000.0

LEVEL_DECIMALS = 6
"""Levels are reckoned to the micrometre: what lies beyond is the arithmetic's, and would show as 1.8809999999999998 m."""

_WATER_VALUES = {
    "distance": ("distance_m",),
    "depth": ("depth_m",),
    "pressure": ("pressure_kpa",),
    "level": ("level_m",),
    "other": ("level_m", "distance_m", "depth_m"),
}

INSTALLATION_PARAMETERS = (
    Parameter(
        name="sensor_height_m",
        unit="m",
        doc="height above the station's datum of the sensor's face (distance), of its diaphragm (depth, pressure) or of its "
        "own zero (level); may be negative",
        low=-12_000.0,
        high=12_000.0,
        optional=True,
    ),
    Parameter(
        name="offset_m",
        unit="m",
        doc="added to each level: a survey's correction",
        default=0.0,
        low=-1_000.0,
        high=1_000.0,
    ),
    Parameter(
        name="density_kg_m3",
        unit="kg/m³",
        doc="the water's density, for pressure: 999.7 is fresh water at 10 °C, the sea has about 1025",
        default=999.7,
        low=900.0,
        high=1_300.0,
    ),
    Parameter(
        name="gravity_m_s2",
        unit="m/s²",
        doc="local gravity, for pressure: 9.780 at the equator, 9.832 at the poles",
        default=9.80665,
        low=9.7,
        high=9.9,
    ),
)
"""What may be configured of an installation; none of it is required."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How one sensor stands.

    Attributes:
        sensor_height_m: height above the station's datum of the sensor's face (distance), diaphragm (depth, pressure) or own
            zero (level). None: unknown; then a distance or a pressure gives no level, and a depth's datum is the probe.
        offset_m: added at the end, a survey's correction.
        density_kg_m3: the water's density. The default is fresh water at 10 °C (Kell, J. Chem. Eng. Data 20 (1975), table I).
        gravity_m_s2: local gravity. The default is the standard acceleration of free fall (3rd CGPM, 1901).

    Raises:
        ValueError: a number is not finite or out of ``INSTALLATION_PARAMETERS``' bounds.
    """

    sensor_height_m: float | None = None
    offset_m: float = 0.0
    density_kg_m3: float = 999.7
    gravity_m_s2: float = 9.80665

    def __post_init__(self) -> None:
        for parameter in INSTALLATION_PARAMETERS:
            value = getattr(self, parameter.name)
            if value is not None and not parameter.low <= value <= parameter.high:
                raise ValueError(
                    f"{parameter.name} is {value!r}, but must lie in {parameter.low:g} to {parameter.high:g} {parameter.unit}"
                )


def pressure_to_depth(pressure_kpa: float, installation: Installation) -> float:
    """The water column in metres that a gauge pressure in kPa stands for: p = ρ g h."""
    return pressure_kpa * PASCALS_PER_KILOPASCAL / (installation.density_kg_m3 * installation.gravity_m_s2)


def level_of(values: Mapping[str, float], measures: str, installation: Installation) -> tuple[float | None, str | None]:
    """The level in metres above the station's datum, or None and why not; (None, None) if there is nothing to say.

    Args:
        values: a sample's.
        measures: the codec's; ``other`` takes whichever of level_m, distance_m and depth_m is there, never a pressure.
        installation: how the sensor stands.
    """
    name = _water_value(values, measures)
    if name is None:
        return None, None
    if values.get("tilted"):
        return None, f"the sensor is tilted: its {name} is no level"
    height_m = installation.sensor_height_m
    if height_m is None and name in {"distance_m", "pressure_kpa"}:
        return None, f"{name} gives no level while the installation's sensor_height_m is not known"
    level_m = round(_above_datum(name, values[name], height_m or 0.0, installation), LEVEL_DECIMALS)
    if not math.isfinite(level_m):
        return None, f"{name} {values[name]!r} gives no finite level"
    return level_m, None


def level_range(
    measures: str, ranges: Mapping[str, tuple[float, float]], installation: Installation
) -> tuple[float, float] | None:
    """The lowest and the highest level that this sensor can tell where it stands; None if it can tell none.

    Args:
        measures: the codec's.
        ranges: the codec's.
        installation: how the sensor stands.
    """
    ends = [
        level_m
        for name in _WATER_VALUES[measures]
        if name in ranges
        for end in ranges[name]
        if (level_m := level_of({name: end}, measures, installation)[0]) is not None
    ]
    return (min(ends), max(ends)) if ends else None


def _water_value(values: Mapping[str, float], measures: str) -> str | None:
    return next((name for name in _WATER_VALUES[measures] if name in values), None)


def _above_datum(name: str, value: float, height_m: float, installation: Installation) -> float:
    if name == "distance_m":
        return height_m - value + installation.offset_m
    if name == "pressure_kpa":
        value = pressure_to_depth(value, installation)
    return height_m + value + installation.offset_m
