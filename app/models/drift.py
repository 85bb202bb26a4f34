"""What the models page says of drift: per station whether its newest week is like the weeks before it, and if not, in what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.figures import mapping, number
from app.i18n import Words
from streamgauge.storage.drift import DriftRow

VERDICTS = ("changed", "steady", "unknown")
NO_VALUE = "\N{EN DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure of a week: what it is, what it usually is, from where on it counts as changed."""

    label: str
    value: str
    usual: str
    limit: str
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftView:
    """A station's newest report in words."""

    device: str
    title: str
    week: str
    verdict: str
    word: str
    why: str
    readings: str
    measures: tuple[Measure, ...]


def make_drift(rows: Sequence[DriftRow], t: Words) -> list[DriftView]:
    """The table of drift, in the order of the rows."""
    return [_view(row, t) for row in rows]


def _view(row: DriftRow, t: Words) -> DriftView:
    figures = mapping(row.figures)
    verdict = row.verdict if row.verdict in VERDICTS else "unknown"
    reasons = figures.get("reasons")
    named = [_name(str(reason), t) for reason in reasons] if isinstance(reasons, list) else []
    return DriftView(
        device=row.device,
        title=row.display_name or row.device,
        week=f"{row.week:%Y-%m-%d}",
        verdict=verdict,
        word=t(f"drift.verdict.{verdict}"),
        why=t("list.separator").join(named),
        readings=t.number(number(figures.get("readings")) or 0, 0),
        measures=tuple(
            _measure(str(name), mapping(found), t) for name, found in mapping(figures.get("measures")).items()
        ),
    )


def _name(reason: str, t: Words) -> str:
    key = f"drift.{reason}"
    return t(key) if t.knows(key) else reason.replace("_", " ")


def _measure(name: str, found: Mapping[str, object], t: Words) -> Measure:
    def write(value: object) -> str:
        value = number(value)
        return NO_VALUE if value is None else t.number(value, 2 if abs(value) >= 0.1 or value == 0 else 4)

    return Measure(
        label=_name(name, t),
        value=write(found.get("value")),
        usual=write(found.get("usual")),
        limit=write(found.get("limit")),
        changed=found.get("changed") is True,
    )
