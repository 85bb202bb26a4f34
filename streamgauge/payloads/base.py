"""What every codec takes and gives.

A unit is part of each value's name (``distance_m``, ``pressure_kpa``, ``conductivity_us_cm``). ``distance_m`` is from the
sensor's face to the water, ``depth_m`` the water above the probe, ``level_m`` stands only where the sensor itself sends a
level, ``tilted`` is 1.0 or 0.0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from streamgauge.errors import PermanentError

BATTERY_NAMES = frozenset({"battery_v", "battery_percent"})
"""Values that say nothing of the water; a frame with these alone is a status frame, and they stand in ``Decoded.frame``."""

MAX_F_PORT = 223
"""The last port of applications; 0 carries MAC commands, 224 the test protocol (LoRaWAN 1.0.3 specification, 4.3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was measured at one instant; with neither age nor time: when the frame was sent.

    Attributes:
        values: value name → number, each with its unit in the name.
        age_s: stored history that is so many seconds older than the frame.
        time: stored history's own time by the device's clock, aware UTC.
    """

    values: Mapping[str, float]
    age_s: float | None = None
    time: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether it was measured when the frame was sent."""
        return self.age_s is None and self.time is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What one payload holds.

    Attributes:
        samples: what was measured; empty for a status frame, which gives no level.
        frame: what else the frame says: versions, alarms, counts, device id; of a status frame the battery too.
        problems: what was refused or not understood, in words; what was decoded before is kept.
    """

    samples: tuple[Sample, ...]
    frame: Mapping[str, float | int | str | bool]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number that belongs to one device and not to its frames, such as a probe's Pmin.

    Attributes:
        name: as the maker prints it.
        unit: for people; empty for a plain number.
        doc: what it is and where it stands on the device or in its papers.
        default: what holds if it is not given; None: it must be given, unless it is ``optional``.
        low: the least that is accepted.
        high: the most that is accepted.
        optional: it may be absent although it has no default.
        whole: it is a whole number, such as a channel's.
    """

    name: str
    unit: str
    doc: str
    default: float | None = None
    low: float
    high: float
    optional: bool = False
    whole: bool = False

    def problem(self, value: float) -> str | None:
        """What is wrong with this value, if anything."""
        if not self.low <= value <= self.high:
            span = f"{self.low:g} to {self.high:g} {self.unit}".rstrip()
            return f"{self.name} is {value!r}, but must lie in {span}"
        if self.whole and value != int(value):
            return f"{self.name} is {value!r}, but must be a whole number"
        return None


class PayloadRefused(PermanentError):
    """A payload that as a whole cannot be this model's.

    Args:
        detail: what was wrong and where, for a person.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Codec(Protocol):
    """One sensor model's payloads, both ways.

    Attributes:
        model: its name in the registry, such as ``decentlab_dl_mbx``.
        measures: what its water value is: ``distance``, ``depth``, ``pressure``, ``level`` or ``other``.
        parameters: what must or may be known of each device.
        ranges: per value name the measuring range, inclusive; what lies outside is left out, with a problem.
        resolutions: per value name the step in which the frame carries it.
        f_port: what ``encode``'s frames are sent on.
    """

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def measures(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...  # noqa: D102
    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]: ...  # noqa: D102
    @property
    def resolutions(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def f_port(self) -> int: ...  # noqa: D102

    def decode(self, payload: bytes, f_port: int, parameters: Mapping[str, float]) -> Decoded:
        """Read one payload.

        Args:
            payload: the decrypted application payload.
            f_port: the LoRaWAN port that it came on.
            parameters: the device's own, by name.

        Raises:
            PayloadRefused: it cannot be this model's, or a parameter is missing or out of its range.
        """
        ...

    def encode(self, values: Mapping[str, float], parameters: Mapping[str, float]) -> bytes:
        """Make one live frame that carries these values.

        Args:
            values: by name; all within ``ranges``.
            parameters: the device's own, by name.

        Raises:
            ValueError: a value is unknown or out of range, one that the frame must carry is missing, or a parameter is.
        """
        ...


def parameter_problems(declared: Sequence[Parameter], given: Mapping[str, float]) -> list[str]:
    """What is wrong with a device's parameters: unknown, missing, not a number, out of range; one sentence each."""
    known = {parameter.name: parameter for parameter in declared}
    problems = [
        f"{name} is no parameter here (there are: {', '.join(known) or 'none'})" for name in given.keys() - known
    ]
    for parameter in declared:
        value = given.get(parameter.name)
        if value is None:
            if parameter.default is None and not parameter.optional:
                problems.append(f"{parameter.name} is missing: {parameter.doc}")
        elif (problem := parameter.problem(value)) is not None:
            problems.append(problem)
    if not problems and _is_reversed(given):
        problems.append(_REVERSED)
    return sorted(problems)


def settle_parameters(declared: Sequence[Parameter], given: Mapping[str, float]) -> dict[str, float]:
    """The declared parameters' values, defaults filled in; optional ones that are not given stay absent.

    Parameters that are not declared are passed over here; ``parameter_problems`` names them when a configuration is read.

    Raises:
        ValueError: one is missing or out of its range.
    """
    settled: dict[str, float] = {}
    for parameter in declared:
        value = given.get(parameter.name, parameter.default)
        if value is None:
            if parameter.optional:
                continue
            raise ValueError(f"parameter {parameter.name} is missing: {parameter.doc}")
        problem = parameter.problem(value)
        if problem is not None:
            raise ValueError(f"parameter {problem}")
        settled[parameter.name] = value
    if _is_reversed(settled):
        raise ValueError(_REVERSED)
    return settled


_REVERSED = "Pmax must be greater than Pmin"


def _is_reversed(parameters: Mapping[str, float]) -> bool:
    return "Pmin" in parameters and "Pmax" in parameters and parameters["Pmin"] >= parameters["Pmax"]


def keep_in_range(
    values: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> tuple[dict[str, float], list[str]]:
    """Split decoded values into those within their range, and a problem for each other one.

    Args:
        values: by name; each name must be in ``ranges``.
        ranges: inclusive; a value that is not a number lies in none.
    """
    kept: dict[str, float] = {}
    problems: list[str] = []
    for name, value in values.items():
        low, high = ranges[name]
        if low <= value <= high:
            kept[name] = value
        else:
            problems.append(f"{name} {value:g} lies outside the model's range {low:g} to {high:g}: left out")
    return kept, problems


def live_or_status(
    values: Mapping[str, float], frame: Mapping[str, float | int | str | bool], problems: Sequence[str] = ()
) -> Decoded:
    """A frame with one live sample, or a status frame if nothing but the battery is among the values."""
    if values.keys() <= BATTERY_NAMES:
        return Decoded(samples=(), frame={**frame, **values}, problems=tuple(problems))
    return Decoded(samples=(Sample(values=values),), frame=frame, problems=tuple(problems))


def check_encodable(values: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse values that a frame of this model cannot carry.

    Raises:
        ValueError: a name is not in ``ranges``, or its value is outside of them or not a number.
    """
    for name, value in values.items():
        if name not in ranges:
            raise ValueError(f"this model carries no {name} (it carries: {', '.join(ranges)})")
        low, high = ranges[name]
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{name} {value!r} lies outside the model's range {low:g} to {high:g}")


def refuse_other_ports(f_port: int) -> None:
    """Refuse a payload that did not come from the sensor's application: port 0, or one beyond the applications' ports.

    Raises:
        PayloadRefused: naming the port.
    """
    if not 1 <= f_port <= MAX_F_PORT:
        raise PayloadRefused(f"FPort {f_port} carries no sensor's payload (1 to {MAX_F_PORT} do)")
