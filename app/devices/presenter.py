"""What the pages of devices show, in words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.devices.entry import Problem, plain
from app.devices.form import PARAMETER_PREFIX
from app.devices.plan import PlannedLine
from app.i18n import Words
from streamgauge.payloads.installation import INSTALLATION_PARAMETERS
from streamgauge.stages import sound_stages
from streamgauge.storage.device_rows import DeviceRow, ListedDevice

MAX_SHOWN_CHARACTERS = 120
COLUMN_LABELS = {"silence_limit_s": "silence_limit_minutes", "codec_parameters": "parameters"}
"""Columns that the form calls otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """A device in the list. ``state`` is one of registered, auto, decommissioned; ``heard`` is empty for never."""

    name: str
    title: str
    river: str | None
    model: str | None
    dev_eui: str | None
    state: str
    heard: str
    is_silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong, in words: in which field, and what."""

    where: str
    label: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a line of a table changes."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """A line of a table as the preview shows it."""

    number: int
    name: str
    title: str | None
    faults: list[Fault]
    changes: list[Change]
    facts: list[str]


def make_lines(devices: list[ListedDevice], now: datetime, t: Words) -> list[DeviceLine]:
    """The list."""
    return [_line(device, now, t) for device in devices]


def _line(device: ListedDevice, now: datetime, t: Words) -> DeviceLine:
    age_s = None if device.heard_at is None else max(0.0, (now - device.heard_at).total_seconds())
    return DeviceLine(
        name=device.name,
        title=device.display_name or device.name,
        river=device.river,
        model=device.model,
        dev_eui=device.dev_eui,
        state=state_of(decommissioned=device.decommissioned_at is not None, auto_registered=device.auto_registered),
        heard="" if age_s is None else t.age(age_s),
        is_silent=age_s is not None and age_s > device.silence_limit_s,
    )


def state_of(*, decommissioned: bool, auto_registered: bool) -> str:
    """The word of a device's state."""
    return "decommissioned" if decommissioned else "auto" if auto_registered else "registered"


def make_faults(problems: tuple[Problem, ...], t: Words) -> list[Fault]:
    """What is wrong, in words."""
    return [Fault(where=found.where, label=field_label(found.where, t), said=say(found, t)) for found in problems]


def say(problem: Problem, t: Words) -> str:
    """One problem in a sentence."""
    values = {name: t.number(value, 0) if isinstance(value, int) else value for name, value in problem.values.items()}
    return t(problem.key, **values)


def field_label(name: str, t: Words) -> str:
    """What a field is called; a model's parameter has its maker's name."""
    if name.startswith(PARAMETER_PREFIX):
        return name.removeprefix(PARAMETER_PREFIX)
    key = f"devices.field.{COLUMN_LABELS.get(name, name)}"
    return t(key) if t.knows(key) else name


def make_preview(lines: list[PlannedLine], t: Words) -> list[PreviewLine]:
    """Lines of a table, and what becomes of them."""
    return [_preview(line, t) for line in lines]


def _preview(line: PlannedLine, t: Words) -> PreviewLine:
    row = line.row
    changes = [
        Change(
            label=field_label(name, t),
            before=show_value(name, line.before.get(name), t),
            after=show_value(name, value, t),
        )
        for name, value in line.after.items()
    ]
    facts = [fact for fact in (row.river, row.model, row.dev_eui, show_value("stages", row.stages, t)) if fact]
    return PreviewLine(
        number=line.number,
        name=row.name[:64],
        title=row.display_name,
        faults=make_faults(line.problems, t),
        changes=changes,
        facts=facts,
    )


def show_value(column: str, value: Any, t: Words) -> str:
    """What a column holds, short; nothing for nothing."""
    if value in (None, "", [], {}):
        return ""
    if column == "auto_registered":
        return t("devices.yes" if value else "devices.no")
    if column == "silence_limit_s":
        return t("devices.minutes", n=plain(round(value / 60, 2)))
    if column == "stages":
        text = "; ".join(f"{stage.name} {plain(stage.level_m)} m" for stage in sound_stages(value))
    elif isinstance(value, Mapping) and column != "quality":
        text = "; ".join(f"{name} = {plain(number)}" for name, number in value.items())
    else:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else plain(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def describe(row: DeviceRow, t: Words) -> dict[str, Any]:
    """What a device's page says of how it stands: values with their units, the model's parameters, its quality settings."""
    units = {parameter.name: parameter.unit for parameter in INSTALLATION_PARAMETERS}
    return {
        "title": row.display_name or row.name,
        "state": state_of(decommissioned=row.decommissioned_at is not None, auto_registered=row.auto_registered),
        "stages": sound_stages(row.stages),
        "silence": t.duration(row.silence_limit_s)
        if row.silence_limit_s >= 60
        else t("duration.minutes", n=plain(round(row.silence_limit_s / 60, 2))),
        "position": None
        if row.latitude is None or row.longitude is None
        else f"{row.latitude:.5f}, {row.longitude:.5f}",
        "installation": [
            (field_label(name, t), f"{plain(value)}\N{NO-BREAK SPACE}{units.get(name, '')}")
            for name, value in row.installation.items()
        ],
        "parameters": [(name, plain(value)) for name, value in row.codec_parameters.items()],
        "quality": json.dumps(row.quality, ensure_ascii=False, indent=2, sort_keys=True) if row.quality else "",
    }


def now() -> datetime:
    """This instant."""
    return datetime.now(UTC)
