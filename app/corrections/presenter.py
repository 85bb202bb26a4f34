"""A correction in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from app.i18n import Words
from app.measures import Measures
from app.verdict import channel_name
from streamgauge.quality.flags import Flag
from streamgauge.storage.correcting import Change, Correction, Covered

FLAG_KEYS: Mapping[int, str] = {
    Flag.GOOD: "good",
    Flag.NOT_EVALUATED: "unchecked",
    Flag.SUSPECT: "suspect",
    Flag.FAIL: "fail",
}
DECIMALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionView:
    """One that was made, in words."""

    id: int
    what: str
    first: str
    last: str
    note: str
    made: str
    undone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewView:
    """What a change would do: ``samples`` have a time, the raw value and the one that would count."""

    what: str
    readings: str
    count: int
    span: str
    samples: tuple[tuple[str, str, str], ...]


def make_correction_view(found: Correction, zone: ZoneInfo, t: Words) -> CorrectionView:
    """A correction in words."""
    undone = ""
    if found.undone_at is not None:
        undone = t("corrections.undone", name=found.undone_by or "", time=t.when(found.undone_at, zone))
    return CorrectionView(
        id=found.id,
        what=describe(found, t),
        first=_moment(found.first, zone, t),
        last=_moment(found.last, zone, t),
        note=found.note,
        made=t("corrections.made", name=found.made_by, time=t.when(found.made_at, zone)),
        undone=undone,
    )


def describe(change: Change, t: Words) -> str:
    """What a change says: "Level: shifted by −0.030 m, Suspect"."""
    measures = Measures(t)
    parts = []
    if change.value is not None:
        parts.append(t("corrections.says_value", value=_value(change, change.value, measures, t)))
    if change.shift is not None:
        parts.append(t("corrections.says_shift", value=_value(change, change.shift, measures, t, signed=True)))
    if change.flag is not None:
        parts.append(t("corrections.says_flag", flag=t(f"quality.{FLAG_KEYS[change.flag]}")))
    return t("corrections.says", quantity=quantity_name(change.quantity, t), what=t("list.separator").join(parts))


def quantity_name(quantity: str, t: Words) -> str:
    """What a quantity is called."""
    return channel_name(quantity, t)


def make_preview(change: Change, covered: Covered, zone: ZoneInfo, t: Words) -> PreviewView:
    """What a change would do, in words."""
    measures = Measures(t)
    span = ""
    if covered.low is not None and covered.high is not None:
        low, high = (_value(change, value, measures, t) for value in (covered.low, covered.high))
        span = low if low == high else t("corrections.span", low=low, high=high)
    return PreviewView(
        what=describe(change, t),
        readings=t.count("corrections.covers", covered.readings),
        count=covered.readings,
        span=span,
        samples=tuple(
            (
                _moment(time, zone, t),
                _value(change, raw, measures, t),
                _value(change, _counting(change, raw), measures, t),
            )
            for time, raw, _flag in covered.samples
        ),
    )


def _counting(change: Change, raw: float) -> float:
    if change.value is not None:
        return change.value
    return raw + (change.shift or 0.0)


def _value(change: Change, value: float, measures: Measures, t: Words, *, signed: bool = False) -> str:
    """A value with its unit. What is added to a quantity in feet mode is told in the unit that is stored, apart from lengths."""
    if change.quantity == "level_m":
        return f"{t.number(value * measures.factor, DECIMALS, signed=signed)} {measures.level_unit}"
    if signed:
        return t.number(value, DECIMALS, signed=True)
    text, unit = measures.quantity(change.quantity, value)
    return f"{text} {unit}"


def _moment(time: datetime, zone: ZoneInfo, t: Words) -> str:
    return t.moment(time, zone, seconds=True)
