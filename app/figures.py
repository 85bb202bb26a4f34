"""Numbers of models for people: errors beside those of the simple rules, as tables, from whatever a model's row holds.

A row may come from an older program, or from one to come: what cannot be read is left out, and never an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.i18n import Words
from app.measures import Measures

NO_VALUE = "\N{EN DASH}"
ISSUE_STEP_S = 300
"""A station's forecasts are issued so far apart, or further."""
INDEPENDENT_MIN = 20
"""Forecasts overlap: those of one hour, one every five minutes, say little more than one. So many hours say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Mean absolute errors over the same readings, in ``Measures.error_unit``, and what follows from them.

    ``is_enough``: as forecasts, they are enough for a share to mean anything.
    """

    model: str
    persistence: str
    average: str
    skill: str
    coverage: str
    rows: str
    is_better: bool | None
    is_enough: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One line: how far ahead; over all readings, and where the water moves."""

    ahead: str
    overall: Errors
    moving: Errors


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureTable:
    """The figures on one set of readings."""

    judged_on: str
    rows: tuple[FigureRow, ...]


def metric_tables(metrics: Mapping[str, Any] | None, t: Words) -> tuple[FigureTable, ...]:
    """The figures of a model's card or row, on data that did not train it, one table per set of readings."""
    tables = []
    for name, found in _sets(metrics or {}):
        rows = tuple(figure_row(item, t) for item in (found, *_horizons(found)) if rests_on(item) > 0)
        if rows:
            key = f"judged.{name}"
            tables.append(FigureTable(judged_on=t(key) if t.knows(key) else name.replace("_", " "), rows=rows))
    return tuple(tables)


def _sets(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, found in metrics.items():
        if "overall" in mapping(found) or _horizons(mapping(found)):
            yield name, mapping(found)
        else:
            inner = mapping(found).items()
            yield from ((key, mapping(item)) for key, item in inner if isinstance(item, Mapping))


def _horizons(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return mappings(found.get("horizons")) or mappings(mapping(found.get("forecast")).get("horizons"))


def rests_on(item: Mapping[str, Any]) -> int:
    """How many readings the figures of one horizon rest on."""
    return whole(mapping(item.get("overall")).get("rows"))


def figure_row(item: Mapping[str, Any], t: Words) -> FigureRow:
    """The figures of one horizon: an object with ``horizon_s`` (absent: the next reading), ``overall`` and ``moving``."""
    horizon_s = whole(item.get("horizon_s"))
    return FigureRow(
        ahead=ahead_text(horizon_s, t),
        overall=_errors(mapping(item.get("overall")), horizon_s, t),
        moving=_errors(mapping(item.get("moving")), horizon_s, t),
    )


def _errors(found: Mapping[str, Any], horizon_s: int, t: Words) -> Errors:
    skill, rows = number(found.get("skill")), whole(found.get("rows"))
    return Errors(
        model=error_text(found.get("model_mae_m"), t),
        persistence=error_text(found.get("persistence_mae_m"), t),
        average=error_text(found.get("moving_average_mae_m"), t),
        skill=percent(skill, t, signed=True),
        coverage=percent(found.get("coverage"), t),
        rows=t.number(rows, 0),
        is_better=None if skill is None else skill > 0,
        is_enough=rows * ISSUE_STEP_S >= INDEPENDENT_MIN * max(horizon_s, ISSUE_STEP_S),
    )


def ahead_text(horizon_s: int, t: Words) -> str:
    """How far ahead: "next reading", "1 h"."""
    return t.duration(horizon_s) if horizon_s else t("ahead.next")


def error_text(value: object, t: Words) -> str:
    """A mean error in the user's unit for them, which stands in the head of the column."""
    found = number(value)
    return NO_VALUE if found is None else Measures(t).error(found)


def percent(value: object, t: Words, *, signed: bool = False, decimals: int = 0) -> str:
    """A share in percent."""
    found = number(value)
    return NO_VALUE if found is None else t("unit.percent", n=t.number(found * 100, decimals, signed=signed))


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


def whole(value: object) -> int:
    """A whole number; 0 for what is none."""
    return round(number(value) or 0)


def mapping(found: object) -> Mapping[str, Any]:
    """What was found, if it has parts by name; else nothing."""
    return found if isinstance(found, Mapping) else {}


def mappings(items: object) -> list[Mapping[str, Any]]:
    """Those of a list's items that have parts by name."""
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list | tuple) else []
