"""Lengths and other quantities in the user's units: metres, or feet with what goes with them."""

from collections.abc import Callable
from dataclasses import dataclass

from app.i18n import Words, words
from streamgauge.units import (
    FOOT_M,
    celsius_to_fahrenheit,
    cubic_metres_to_cubic_feet,
    metres_to_feet,
    millimetres_to_inches,
)

NO_VALUE = "\N{EN DASH}"
FEET = "feet"
FEET_DECIMALS = 2
"""The step in which levels in feet are published (``streamgauge.units.GAGE_RESOLUTION_M``); a further digit would say nothing."""
FINE_CM_PER_H = 9.95
"""Below so many centimetres per hour a rate has one decimal."""
FINE_ERROR_M = 0.001
"""Below so much an error has a further decimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a quantity is written: the key of its unit, its decimals, and what makes the unit of its name into the shown one."""

    unit: str
    decimals: int
    convert: Callable[[float], float] = float


METRIC = {
    "level_m": Scale(unit="quantity_unit.level_m", decimals=3),
    "pressure_kpa": Scale(unit="quantity_unit.pressure_kpa", decimals=2),
    "temperature_c": Scale(unit="quantity_unit.temperature_c", decimals=1),
    "flow_m3_s": Scale(unit="quantity_unit.flow_m3_s", decimals=3),
    "rainfall_mm": Scale(unit="quantity_unit.rainfall_mm", decimals=1),
}
IN_FEET = METRIC | {
    "level_m": Scale(unit="unit.foot", decimals=FEET_DECIMALS, convert=metres_to_feet),
    "temperature_c": Scale(unit="unit.fahrenheit", decimals=1, convert=celsius_to_fahrenheit),
    "flow_m3_s": Scale(unit="unit.cubic_feet_per_second", decimals=2, convert=cubic_metres_to_cubic_feet),
    "rainfall_mm": Scale(unit="unit.inch", decimals=2, convert=millimetres_to_inches),
}


class Measures:
    """Writes quantities in the units of a user, as the user's language writes numbers.

    ``factor`` makes metres into the shown length, for scripts; ``level_unit`` is "m" or "ft", ``error_unit`` "mm" or "in".
    """

    def __init__(self, t: Words) -> None:
        self._t = t
        self.in_feet = t.units == FEET
        self.factor = 1.0 / FOOT_M if self.in_feet else 1.0
        self.level_unit = t("unit.foot" if self.in_feet else "unit.metre")
        self.error_unit = t("unit.inch" if self.in_feet else "unit.mm")

    def level(self, value_m: float | None, decimals: int = 2) -> str:
        """A level without its unit, a dash if there is none; feet have two decimals at most."""
        if value_m is None:
            return NO_VALUE
        if self.in_feet:
            return self._t.number(metres_to_feet(value_m), min(decimals, FEET_DECIMALS))
        return self._t.number(value_m, decimals)

    def length(self, value_m: float) -> str:
        """A length with its unit: "0.42 m", "1.38 ft"."""
        return self._t("unit.ft" if self.in_feet else "unit.m", n=self.level(value_m))

    def error(self, error_m: float) -> str:
        """How far off a level is, without its unit: "3.2" for mm, "0.13" for inches."""
        further = 1 if abs(error_m) < FINE_ERROR_M else 0
        if self.in_feet:
            return self._t.number(millimetres_to_inches(error_m * 1_000), 2 + further)
        return self._t.number(error_m * 1_000, 1 + further)

    def length_per_hour(self, value_m_per_h: float) -> str:
        """A limit or measured speed with its unit: "0.20 m/h", "0.66 ft/h"."""
        return self._t("unit.ft_per_h" if self.in_feet else "unit.m_per_h", n=self.level(value_m_per_h))

    def rate(self, rate_m_per_h: float | None) -> str:
        """How fast a level changes, with sign and unit: "+12 cm/h", "+0.39 ft/h"; a dash if it is not known."""
        if rate_m_per_h is None:
            return self._t("rate.unknown")
        if self.in_feet:
            return self._t("unit.ft_per_h", n=self._t.number(metres_to_feet(rate_m_per_h), FEET_DECIMALS, signed=True))
        centimetres = rate_m_per_h * 100
        decimals = 0 if abs(centimetres) >= FINE_CM_PER_H else 1
        return self._t("rate.cm_per_h", n=self._t.number(centimetres, decimals, signed=True))

    def quantity(self, name: str, value: float | None) -> tuple[str, str]:
        """A quantity of a reading and its unit, for tables; no text for no value.

        Raises:
            KeyError: a name that is none of ``streamgauge.reading.QUANTITIES``.
        """
        scale = self._scale(name)
        text = "" if value is None else self._t.number(scale.convert(value), scale.decimals)
        return text, self._t(scale.unit)

    def unit_of(self, name: str) -> str:
        """The unit of a quantity, for the head of a column."""
        return self._t(self._scale(name).unit)

    def _scale(self, name: str) -> Scale:
        return (IN_FEET if self.in_feet else METRIC)[name]


def measures() -> Measures:
    """The measures of whoever makes the current request."""
    return Measures(words())
