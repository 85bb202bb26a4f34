"""What is set for a station's checks (the column ``devices.quality``): parameters, and which devices stand beside it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamgauge.quality.parameters import COMPANION_SETTINGS, parameters_per_row
from streamgauge.reading import DEVICE_NAME

log = logging.getLogger("streamgauge.quality")

NEIGHBOURS_MAX = 8
"""More stations tell no more, and each is read with every task."""

PRESSURES = ("probe", "other")
_PAIRS = (("sensor_min_m", "sensor_max_m"), ("gross_min_m", "gross_max_m"), ("spike_suspect_m", "spike_fail_m"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StationQuality:
    """The settings of one station.

    Attributes:
        parameters: what differs from ``parameters.DEFAULTS``, as ``parameters_per_row`` takes it.
        neighbours: devices whose levels move when this one's does.
        barometer: the device whose ``pressure_kpa`` is the air's; may be the station itself.
        probe_pressure: the station's own ``pressure_kpa`` is what its level is made of.
        upstream: stations that the water passes before; for forecasts.
        rainfall: the device whose rain falls here; for forecasts.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    neighbours: tuple[str, ...] = ()
    barometer: str | None = None
    probe_pressure: bool = False
    upstream: tuple[str, ...] = ()
    rainfall: str | None = None

    @property
    def has_companions(self) -> bool:
        """Whether anything but the levels must be read for it."""
        return bool(self.neighbours or self.barometer or self.probe_pressure)


def read_station_quality(settings: object) -> StationQuality:
    """Read what is set for a station.

    ``{"rate_suspect_m_per_h": 12, "climatology": {"DJF": [0.1, 2.5]}, "neighbours": ["upper-mill"], "barometer": "mast",
    "pressure": "probe"}``: any of them may be left out, and one that is ``null`` counts as left out. ``upstream`` (names) and
    ``rainfall`` (a name) are for forecasts and have no part in the checks.

    Args:
        settings: as read from JSON; ``None`` for nothing set.

    Raises:
        ValueError: naming everything that cannot be used.
    """
    given, problems = _given(settings)
    if problems:
        raise ValueError("; ".join(problems.values()))
    return _station_quality(given)


def sound_station_quality(settings: object, device: str) -> StationQuality:
    """The same where no reading may be lost for a setting's sake: what cannot be used is left out, and told in the log.

    Args:
        settings: as read from JSON.
        device: whose they are.
    """
    found, problems = usable_settings(settings)
    if problems:
        log.error(
            "quality settings cannot be used, the defaults stand in", extra={"device": device, "problems": problems}
        )
    return found


def usable_settings(settings: object) -> tuple[StationQuality, dict[str, str]]:
    """What can be used of some settings, and per name what is wrong with the others."""
    given, problems = _given(settings)
    return _station_quality({name: value for name, value in given.items() if name not in problems}), problems


def _station_quality(given: Mapping[str, Any]) -> StationQuality:
    return StationQuality(
        parameters={name: value for name, value in given.items() if name not in COMPANION_SETTINGS},
        neighbours=tuple(dict.fromkeys(given.get("neighbours", ()))),
        barometer=given.get("barometer"),
        probe_pressure=given.get("pressure") == "probe",
        upstream=tuple(dict.fromkeys(given.get("upstream", ()))),
        rainfall=given.get("rainfall"),
    )


def _given(settings: object) -> tuple[dict[str, Any], dict[str, str]]:
    """What is given, and per name what is wrong with it."""
    if settings is None:
        return {}, {}
    if not isinstance(settings, Mapping):
        return {}, {"quality": "quality settings must be a JSON object"}
    given = {str(name): value for name, value in settings.items() if value is not None}
    problems = {name: problem for name, value in given.items() if (problem := _problem(name, value))}
    for low, high in _PAIRS:
        both = low in given and high in given and not {low, high} & problems.keys()
        if both and given[low] > given[high]:
            problems |= dict.fromkeys((low, high), f"{low} must not be above {high}")
    return given, problems


def _problem(name: str, value: object) -> str | None:
    if name in {"neighbours", "upstream"}:
        return None if _are_names(value) else f"{name} must be a list of at most {NEIGHBOURS_MAX} devices' names"
    if name in {"barometer", "rainfall"}:
        return None if _is_name(value) else f"{name} must be a device's name"
    if name == "pressure":
        return None if value in PRESSURES else f"pressure must be one of {', '.join(PRESSURES)}"
    try:
        parameters_per_row(np.zeros(1, dtype=np.int64), {0: {name: value}})
    except ValueError as error:
        return str(error).removeprefix("Quality parameters cannot be used: ")
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and DEVICE_NAME.fullmatch(value) is not None


def _are_names(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= NEIGHBOURS_MAX and all(map(_is_name, value))
