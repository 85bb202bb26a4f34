"""A sensor's measuring side: from the water's level to what its model sends, and back to what a gateway should make of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from simulator.errors import InputFault
from simulator.fleet import SensorCard
from streamgauge.payloads import registry
from streamgauge.payloads.base import Codec, settle_parameters
from streamgauge.payloads.installation import Installation, level_of
from streamgauge.payloads.to_readings import Hearing, to_readings
from streamgauge.reading import Reading

_ANY_TIME = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
_WATER_NAMES = {
    "distance": ("distance_m",),
    "depth": ("depth_m",),
    "pressure": ("pressure_kpa",),
    "level": ("level_m",),
    "other": ("distance_m", "depth_m", "level_m"),
}
_CARRIED = ("temperature_c", "flow_m3_s", "rainfall_mm", "battery_v")
"""Values of a reading that a frame takes along where its model has them."""

_USUAL = {"battery_v": 3.6, "battery_percent": 98.0, "temperature_c": 12.0, "conductivity_us_cm": 350.0}
"""What a sensor in good order reports where the water says nothing about it; everything else is then 0."""
_LIKELY_VALUES = (1.0, 2.0, 5.0, 0.5, 10.0, 50.0, 100.0, 0.1)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model with given parameters can tell.

    Args:
        water: the name of its water value.
        low: the least that it tells (metres or kPa),
        high: the most.
        step: between two values that it can tell.
        fixed: what its frames carry besides.
    """

    water: str
    low: float
    high: float
    step: float
    fixed: Mapping[str, float]


class Instrument:
    """One sensor's codec with its parameters and installation.

    Args:
        card: the sensor.

    Raises:
        InputFault: its model is unknown or tells no level, or its parameters or installation do not fit.
    """

    def __init__(self, card: SensorCard) -> None:
        self._name = card.name
        try:
            self.codec: Codec = registry.find(card.model)
            self.installation = Installation(**card.installation)
            self._parameters = settle_parameters(self.codec.parameters, card.parameters)
            self._traits = traits_of(self.codec.model, tuple(sorted(self._parameters.items())))
        except (registry.UnknownModel, TypeError, ValueError) as error:
            raise InputFault(f"The sensor {card.name!r} cannot be used", [str(error)]) from error
        self._ranges = {name: self.codec.ranges[name] for name in _CARRIED if name in self.codec.ranges}
        self._origin_m, self._scale = self._find_line()

    @property
    def resolution_m(self) -> float:
        """The step of the levels that its frames tell."""
        return abs(self._traits.step * self._scale)

    @property
    def levels_m(self) -> tuple[float, float]:
        """The lowest and the highest level that it tells where it stands."""
        ends = (self._origin_m + self._scale * end for end in (self._traits.low, self._traits.high))
        low, high = sorted(ends)
        return low, high

    def payload(self, reading: Reading) -> bytes:
        """The frame's payload for this reading; beyond the sensor's range it tells the range's end.

        Raises:
            InputFault: the reading has no level, or the model cannot carry it.
        """
        if reading.level_m is None:
            raise InputFault(f"{reading.device} cannot send this reading", ["it has no level"])
        traits = self._traits
        value = (reading.level_m - self._origin_m) / self._scale
        values = {**traits.fixed, traits.water: min(max(value, traits.low), traits.high)}
        for name, (low, high) in self._ranges.items():
            carried = getattr(reading, name)
            if carried is not None:
                values[name] = min(max(carried, low), high)
        try:
            return self.codec.encode(values, self._parameters)
        except ValueError as error:
            raise InputFault(f"{reading.device} cannot send this reading", [str(error)]) from error

    def expected(self, payload: bytes, heard_at: datetime, seq: int | None = None) -> Reading:
        """What a gateway makes of this payload, the radio's numbers aside.

        Raises:
            InputFault: it makes nothing of it.
        """
        decoded = self.codec.decode(payload, self.codec.f_port, self._parameters)
        hearing = Hearing(device=self._name, heard_at=heard_at, seq=seq)
        readings, problems = to_readings(decoded, self.codec, self.installation, hearing, _ANY_TIME)
        if len(readings) != 1:
            raise InputFault(f"{self._name} sends no reading", [*decoded.problems, *problems])
        return readings[0]

    def _find_line(self) -> tuple[float, float]:
        """Level = origin + scale · value: every installation is a straight line."""
        traits, levels_m = self._traits, []
        for end in (traits.low, traits.high):
            level_m, reason = level_of({traits.water: end}, self.codec.measures, self.installation)
            if level_m is None:
                raise InputFault(f"The sensor {self._name!r} cannot be used", [reason or "it tells no level"])
            levels_m.append(level_m)
        scale = (levels_m[1] - levels_m[0]) / (traits.high - traits.low)
        return levels_m[0] - scale * traits.low, scale


@cache
def traits_of(model: str, parameters: tuple[tuple[str, float], ...]) -> Traits:
    """What a model with these parameters can tell, found by asking its codec.

    Raises:
        ValueError: it tells no water, or its frames cannot be made of what is known here.
    """
    codec, given = registry.find(model), dict(parameters)
    water = next((name for name in _WATER_NAMES[codec.measures] if name in codec.ranges), None)
    if water is None:
        raise ValueError(f"the model {model} tells no level")
    likely, fixed = _find_encodable(codec, water, given)

    def takes(value: float) -> bool:
        return _refusal(codec, {**fixed, water: value}, given) is None

    low = _find_end(likely, codec.ranges[water][0], takes)
    high = _find_end(likely, codec.ranges[water][1], takes)
    return Traits(water, low, high, _find_step(codec, water, fixed, given, likely), fixed)


def usual_installation(model: str, parameters: Mapping[str, float]) -> dict[str, float]:
    """An installation under which a model tells levels from 0 m upwards: a distance sensor hangs above the datum by two
    thirds of its range, at most 6 m; everything else stands on it.

    Raises:
        UnknownModel: there is no such model.
        ValueError: it tells no water, or the parameters do not fit.
    """
    codec = registry.find(model)
    traits = traits_of(codec.model, tuple(sorted(settle_parameters(codec.parameters, parameters).items())))
    if traits.water == "distance_m":
        return {"sensor_height_m": round(min(traits.low + (traits.high - traits.low) * 2 / 3, 6.0), 2)}
    return {"sensor_height_m": 0.0}


def _find_encodable(codec: Codec, water: str, parameters: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """A water value that the codec takes, and what it wants besides."""
    ranges = codec.ranges
    ordinary = {name: _usual(name, ranges[name]) for name in _USUAL if name in ranges}
    everything = {name: _usual(name, ends) for name, ends in ranges.items() if name != water}
    middle = sum(ranges[water]) / 2
    reason = ""
    for fixed in (ordinary, everything):
        for value in (*_LIKELY_VALUES, middle):
            refusal = _refusal(codec, {**fixed, water: value}, parameters)
            if refusal is None:
                return value, fixed
            reason = refusal
    raise ValueError(f"no frame of the model {codec.model} can be made: {reason}")


def _usual(name: str, ends: tuple[float, float]) -> float:
    return min(max(_USUAL.get(name, 0.0), ends[0]), ends[1])


def _refusal(codec: Codec, values: Mapping[str, float], parameters: Mapping[str, float]) -> str | None:
    try:
        codec.encode(values, parameters)
    except ValueError as error:
        return str(error)
    return None


def _find_end(inside: float, end: float, takes: Callable[[float], bool]) -> float:
    """The last value between one that is taken and a range's end that is taken too: parameters may narrow a range."""
    if takes(end):
        return end
    outside = end
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if takes(middle) else (inside, middle)
    return inside


def _find_step(
    codec: Codec, water: str, fixed: Mapping[str, float], parameters: Mapping[str, float], likely: float
) -> float:
    """The step near a likely value: what ``resolutions`` says holds for all parameters, and is coarser than most need."""

    def told(value: float) -> float:
        decoded = codec.decode(codec.encode({**fixed, water: value}, parameters), codec.f_port, parameters)
        return decoded.samples[0].values[water]

    declared = codec.resolutions[water]
    first, same, other = told(likely), 0.0, declared * 2.0**-16
    while told(likely + other) == first:
        same, other = other, other * 2.0
    for _ in range(30):
        middle = (same + other) / 2
        same, other = (middle, other) if told(likely + middle) == first else (same, middle)
    return abs(told(likely + other) - first)
