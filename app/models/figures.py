"""Numbers of models for people: errors beside those of the simple rules, as tables, from whatever a model's row holds.

A row may come from an older program, or from one to come: what cannot be read is left out, and never an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.i18n import Words

NO_VALUE = "\N{EN DASH}"
PARTS = ("overall", "moving")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One line: judged on what, how far ahead, which water; errors in millimetres."""

    judged_on: str
    ahead: str
    part: str
    rows: str
    model: str
    persistence: str
    average: str
    skill: str
    coverage: str
    is_better: bool | None


def metric_rows(metrics: Mapping[str, Any] | None, t: Words) -> tuple[FigureRow, ...]:
    """The figures of a model's card or row, on data that did not train it."""
    rows: list[FigureRow] = []
    for name, found in (metrics or {}).items():
        if isinstance(found, Mapping):
            rows += [_row(name, horizon_s, part, figures, t) for horizon_s, part, figures in _parts(found)]
    return tuple(rows)


def _parts(found: Mapping[str, Any]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    for item in (found, *mappings(found.get("horizons"))):
        for part in PARTS:
            figures = mapping(item.get(part))
            if whole(figures.get("rows")) > 0:
                yield whole(item.get("horizon_s")), part, figures


def mapping(found: object) -> Mapping[str, Any]:
    """What was found, if it has parts by name; else nothing."""
    return found if isinstance(found, Mapping) else {}


def mappings(items: object) -> list[Mapping[str, Any]]:
    """Those of a list's items that have parts by name."""
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list | tuple) else []


def _row(name: str, horizon_s: int, part: str, figures: Mapping[str, Any], t: Words) -> FigureRow:
    skill, coverage = number(figures.get("skill")), number(figures.get("coverage"))
    key = f"judged.{name}"
    return FigureRow(
        judged_on=t(key) if t.knows(key) else name.replace("_", " "),
        ahead=ahead_text(horizon_s, t),
        part=t(f"part.{part}"),
        rows=t.number(whole(figures.get("rows")), 0),
        model=millimetres(figures.get("model_mae_m"), t),
        persistence=millimetres(figures.get("persistence_mae_m"), t),
        average=millimetres(figures.get("average_mae_m", figures.get("moving_average_mae_m")), t),
        skill=percent(skill, t, signed=True),
        coverage=percent(coverage, t),
        is_better=None if skill is None else skill > 0,
    )


def ahead_text(horizon_s: int, t: Words) -> str:
    """How far ahead: "next reading", "1 h"."""
    return t.duration(horizon_s) if horizon_s else t("ahead.next")


def millimetres(value: object, t: Words) -> str:
    """A length in millimetres: small ones with two decimals."""
    found = number(value)
    if found is None:
        return NO_VALUE
    return t.number(found * 1_000, 2 if abs(found) < 0.001 else 1)


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
    return int(number(value) or 0)
