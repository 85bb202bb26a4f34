"""What the history page says in its table and above it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from app.history.form import Asked
from app.i18n import Words
from app.measures import Measures
from app.stations.presenter import zone_text
from app.verdict import Quality, quality_of, surprise_of
from streamgauge.quality.flags import ROLL_UP, Flag
from streamgauge.reading import format_time, is_simulated
from streamgauge.storage.corrections import BY_OPERATOR
from streamgauge.storage.read_readings import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of one quantity; ``corrected`` stands in for it by an operator's word, empty for none."""

    text: str
    corrected: str
    is_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A reading."""

    station: str
    title: str
    time: str
    iso: str
    values: tuple[Value, ...]
    qualities: tuple[Quality, ...]
    expected: str
    score: str
    surprise: Quality | None
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Readings, newest first; each row's ``values`` in the order of ``quantities``."""

    zone: str
    quantities: tuple[str, ...]
    has_stations: bool
    rows: tuple[Row, ...]


def make_table(rows: Sequence[Mapping[str, Any]], asked: Asked, t: Words) -> Table:
    """The table of a page of readings: the chosen quantities that any of them has."""
    present = tuple(name for name in asked.quantities if any(row[name] is not None for row in rows))
    devices = {device.id: device for device in asked.devices}
    return Table(
        zone=zone_text(rows[0]["time"], asked.zone) if rows else "",
        quantities=present or asked.quantities[:1],
        has_stations=len(devices) > 1,
        rows=tuple(_row(row, devices[row["device_id"]], present, asked.zone, t) for row in rows),
    )


def _row(row: Mapping[str, Any], device: Device, names: Sequence[str], zone: ZoneInfo, t: Words) -> Row:
    score, reasons = row["score"], row["reasons"] or {}
    return Row(
        station=device.name,
        title=device.display_name or device.name,
        time=t.moment(row["time"], zone, seconds=True).removesuffix(":00"),
        iso=format_time(row["time"]),
        values=tuple(_value(row, name, t) for name in names),
        qualities=_qualities(row, names, t),
        expected=Measures(t).quantity("level_m", row["expected_m"])[0],
        score="" if score is None else t.number(score, 2),
        surprise=surprise_of(score, row["surprise"], reasons.get("score"), t),
        simulated=is_simulated(row["extra"]),
    )


def _value(row: Mapping[str, Any], name: str, t: Words) -> Value:
    measures = Measures(t)
    return Value(
        text=measures.quantity(name, row[name])[0],
        corrected=measures.quantity(name, row[f"{name}_corrected"])[0],
        is_failed=row[f"{name}_flag"] == str(int(Flag.FAIL)),
    )


def _qualities(row: Mapping[str, Any], names: Sequence[str], t: Words) -> tuple[Quality, ...]:
    """What is to be said of the quality: each quantity that is suspect or failed, else the best that can be said of all."""
    flags = {name: int(row[f"{name}_flag"] or Flag.NOT_EVALUATED) for name in names if row[name] is not None}
    reasons = row["reasons"] or {}
    bad = [name for name, flag in flags.items() if flag in {Flag.SUSPECT, Flag.FAIL}]
    if not bad:
        best = max((flag for flag in flags.values() if flag in set(ROLL_UP)), key=_strength, default=Flag.MISSING)
        return (quality_of(best, None, t),)
    found = []
    for name in bad:
        is_stored = (row["flags"] or {}).get(name) == flags[name]
        quality = quality_of(flags[name], reasons.get(name) if is_stored else BY_OPERATOR, t)
        if name != "level_m":
            sentence = t("history.quality_of", quantity=t(f"quantity.{name}"), quality=quality.sentence)
            quality = Quality(key=quality.key, word=quality.word, sentence=sentence)
        found.append(quality)
    return tuple(found)


def _strength(flag: int) -> int:
    return ROLL_UP.index(Flag(flag))
