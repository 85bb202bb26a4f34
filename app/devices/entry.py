"""What people type of a device, in a form or a line of a table, and what becomes of it: a row to write, or what is wrong."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import available_timezones

import orjson

from streamgauge.payloads import registry
from streamgauge.payloads.base import Codec, Parameter
from streamgauge.payloads.installation import INSTALLATION_PARAMETERS
from streamgauge.quality.station import read_station_quality
from streamgauge.reading import DEVICE_NAME
from streamgauge.stages import (
    MAX_LEVEL_M,
    MAX_NAME_CHARACTERS,
    MAX_STAGES,
    SEVERITIES,
    Stage,
    sound_stages,
    stages_json,
)
from streamgauge.storage.device_rows import SILENCE_LIMIT_S, DeviceRow

LENGTHS = {"display_name": 100, "river": 100, "datum": 100, "description": 2_000}
BOUNDS = {
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 180.0),
    "silence_limit_minutes": (1 / 60, 525_600.0),
    "gross_min_m": (-MAX_LEVEL_M, MAX_LEVEL_M),
    "gross_max_m": (-MAX_LEVEL_M, MAX_LEVEL_M),
}
INSTALLATION = {parameter.name: parameter for parameter in INSTALLATION_PARAMETERS}
FIELDS = (
    *("name", "display_name", "river", "description", "latitude", "longitude", "time_zone", "datum"),
    *("silence_limit_minutes", "gross_min_m", "gross_max_m", "dev_eui", "model", *INSTALLATION, "quality"),
)
"""Every field that is one text; beside them stand the model's parameters and the stages."""
MAX_CHARACTERS = 10_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_BLANKS = str.maketrans({" ": "", "\N{NO-BREAK SPACE}": "", "\N{NARROW NO-BREAK SPACE}": "", "\N{MINUS SIGN}": "-"})
_EUI = re.compile(r"[0-9A-F]{16}")
_EUI_SEPARATORS = str.maketrans("", "", " -:")


@dataclass(frozen=True, slots=True)
class TypedStage:
    """A stage as it was typed."""

    name: str = ""
    level_m: str = ""
    severity: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed; a chosen severity alone says nothing."""
        return not (self.name.strip() or self.level_m.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """All that was typed of one device. A field that is not in ``fields`` counts as empty."""

    fields: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[TypedStage, ...] = ()

    def text(self, name: str) -> str:
        """What was typed, without blanks around it."""
        return self.fields.get(name, "").strip()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``where`` (a field), the key of the sentence that says so, and what fills it in."""

    where: str
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


class _Reader:
    """Reads fields one by one and collects what is wrong."""

    def __init__(self, typed: Typed) -> None:
        self.typed = typed
        self.problems: list[Problem] = []

    def refuse(self, where: str, key: str, /, **values: Any) -> None:
        self.problems.append(Problem(where, f"devices.fault.{key}", values))

    def text(self, name: str) -> str | None:
        said = self.typed.text(name).replace("\r\n", "\n")
        allowed = said.replace("\n", "").replace("\t", "") if name == "description" else said
        if len(said) > LENGTHS[name]:
            self.refuse(name, "too_long", n=LENGTHS[name])
        elif not _is_printable(allowed):
            self.refuse(name, "unprintable")
        else:
            return said or None
        return None

    def number(self, name: str, said: str, low: float, high: float, unit: str = "") -> float | None:
        if not said.strip():
            return None
        value = read_number(said)
        if value is None:
            self.refuse(name, "number")
        elif not low <= value <= high:
            self.refuse(
                name, "range", low=_shown(low), high=_shown(high), unit=f"\N{NO-BREAK SPACE}{unit}" if unit else ""
            )
        else:
            return value
        return None


def settle(typed: Typed, known: DeviceRow | None = None) -> tuple[DeviceRow, tuple[Problem, ...]]:
    """The row that was typed, and what is wrong with it; with any problem it must not be written.

    Args:
        typed: all of it, what is to stay as it is too.
        known: the device as it is; None for a new one.
    """
    reader = _Reader(typed)
    name = known.name if known else typed.text("name")
    if not DEVICE_NAME.fullmatch(name):
        reader.refuse("name", "name")
    model = _model(reader)
    row = DeviceRow(
        name=name,
        display_name=reader.text("display_name"),
        river=reader.text("river"),
        description=reader.text("description"),
        time_zone=_zone(reader),
        datum=reader.text("datum"),
        stages=_stages(reader),
        dev_eui=_eui(reader),
        model=model.model if model else None,
        codec_parameters=_parameters(reader, model),
        installation=_installation(reader),
        **_numbers(reader),
    )
    row = replace(row, quality=_quality(reader, row))
    if row.dev_eui and not typed.text("model"):
        reader.refuse("model", "model_needed")
    if known is not None:
        row = replace(
            row,
            id=known.id,
            auto_registered=known.auto_registered,
            registered_at=known.registered_at,
            decommissioned_at=known.decommissioned_at,
        )
    return row, tuple(reader.problems)


def typed_of(row: DeviceRow) -> Typed:
    """A row as somebody would have typed it; ``settle`` makes the same row of it."""
    said: dict[str, object] = {**row.said, **row.installation}
    said |= {"name": row.name, "silence_limit_minutes": round(row.silence_limit_s / 60, 6)}
    said["quality"] = orjson.dumps(row.quality, option=orjson.OPT_SORT_KEYS).decode() if row.quality else None
    return Typed(
        fields={name: plain(said.get(name)) for name in FIELDS},
        parameters={name: plain(value) for name, value in row.codec_parameters.items()},
        stages=tuple(
            TypedStage(stage.name, plain(stage.level_m), str(stage.severity)) for stage in sound_stages(row.stages)
        ),
    )


def plain(value: object) -> str:
    """A value as it is typed: numbers with a point and no more digits than they have, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def read_number(said: str) -> float | None:
    """A number as people write it: with a point or, if there is no point, one comma; None for anything else."""
    text = said.strip().translate(_BLANKS)
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    return plain(value).replace("-", "\N{MINUS SIGN}")


def codec_of(model: str) -> Codec | None:
    """The codec of a model in any spelling that is known; None for none, and for a name that no codec has."""
    try:
        return registry.find(model) if model.strip() else None
    except registry.UnknownModel:
        return None


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def zones() -> tuple[str, ...]:
    """The time zones that a list offers; others that the machine knows may be typed."""
    return (
        "UTC",
        *sorted(name for name in _known_zones() if "/" in name and not name.startswith(("Etc/", "SystemV/"))),
    )


def _zone(reader: _Reader) -> str:
    said = reader.typed.text("time_zone") or "UTC"
    if said not in _known_zones():
        reader.refuse("time_zone", "zone")
        return "UTC"
    return said


def _numbers(reader: _Reader) -> dict[str, Any]:
    read = {name: reader.number(name, reader.typed.text(name), *bounds) for name, bounds in BOUNDS.items()}
    if not reader.problems and (read["latitude"] is None) != (read["longitude"] is None):
        reader.refuse("longitude" if read["longitude"] is None else "latitude", "position")
    low, high = read["gross_min_m"], read["gross_max_m"]
    if low is not None and high is not None and low >= high:
        reader.refuse("gross_max_m", "order")
    minutes = read.pop("silence_limit_minutes")
    read["silence_limit_s"] = SILENCE_LIMIT_S if minutes is None else max(1, round(minutes * 60))
    return read


def _eui(reader: _Reader) -> str | None:
    eui = reader.typed.text("dev_eui").translate(_EUI_SEPARATORS).upper()
    if eui and not _EUI.fullmatch(eui):
        reader.refuse("dev_eui", "eui")
        return None
    return eui or None


def _model(reader: _Reader) -> Codec | None:
    said = reader.typed.text("model")
    codec = codec_of(said)
    if said and codec is None:
        reader.refuse("model", "model", models=", ".join(registry.models()))
    return codec


def _parameters(reader: _Reader, codec: Codec | None) -> dict[str, float]:
    if codec is None:
        return {}
    declared = {parameter.name: parameter for parameter in codec.parameters}
    read: dict[str, float] = {}
    for name, said in reader.typed.parameters.items():
        if name in declared:
            _read_parameter(reader, f"parameter-{name}", said, declared[name], read)
        elif said.strip():
            reader.refuse("model", "parameter_unknown", name=name[:40])
    for name, parameter in declared.items():
        if parameter.default is None and not parameter.optional and not reader.typed.parameters.get(name, "").strip():
            reader.refuse(f"parameter-{name}", "parameter_missing")
    low, high = (read.get(name, getattr(declared.get(name), "default", None)) for name in ("Pmin", "Pmax"))
    if low is not None and high is not None and low >= high:
        reader.refuse("parameter-Pmax", "order")
    return read


def _installation(reader: _Reader) -> dict[str, float]:
    read: dict[str, float] = {}
    for name, parameter in INSTALLATION.items():
        _read_parameter(reader, name, reader.typed.text(name), parameter, read)
    return read


def _read_parameter(reader: _Reader, name: str, said: str, parameter: Parameter, into: dict[str, float]) -> None:
    value = reader.number(name, said, parameter.low, parameter.high, parameter.unit)
    if value is None:
        return
    if parameter.whole and not value.is_integer():
        reader.refuse(name, "whole")
    else:
        into[parameter.name] = value


def _stages(reader: _Reader) -> list[dict[str, object]]:
    typed = [stage for stage in reader.typed.stages if not stage.is_empty]
    if len(typed) > MAX_STAGES:
        reader.refuse("stages", "stages_many", n=MAX_STAGES)
        return []
    stages: list[Stage] = []
    for number, said in enumerate(typed, start=1):
        before = len(reader.problems)
        name, level_m = said.name.strip(), read_number(said.level_m)
        severity = int(said.severity) if said.severity.strip() in set(map(str, SEVERITIES)) else None
        if not name or len(name) > MAX_NAME_CHARACTERS or not _is_printable(name) or ";" in name:
            reader.refuse("stages", "stage_name", n=number, most=MAX_NAME_CHARACTERS)
        if level_m is None or abs(level_m) > MAX_LEVEL_M:
            reader.refuse("stages", "stage_level", n=number)
        if severity is None:
            reader.refuse("stages", "stage_severity", n=number)
        if level_m is not None and severity is not None and len(reader.problems) == before:
            stages.append(Stage(name=name, level_m=level_m, severity=severity))
    stages.sort(key=lambda stage: stage.level_m)
    if len({stage.level_m for stage in stages}) < len(stages) or len({stage.name for stage in stages}) < len(stages):
        reader.refuse("stages", "stages_alike")
    elif any(higher.severity < lower.severity for lower, higher in pairwise(stages)):
        reader.refuse("stages", "stages_milder")
    return stages_json(stages)


def _quality(reader: _Reader, row: DeviceRow) -> dict[str, Any]:
    said = reader.typed.text("quality")
    if not said:
        return {}
    if len(said) > MAX_CHARACTERS:
        reader.refuse("quality", "too_long", n=MAX_CHARACTERS)
        return {}
    try:
        settings = orjson.loads(said)
        if not isinstance(settings, dict):
            reader.refuse("quality", "quality_object")
            return {}
        settings = {name: value for name, value in settings.items() if value is not None}
        site = {"gross_min_m": row.gross_min_m, "gross_max_m": row.gross_max_m}
        read_station_quality({**settings, **{name: value for name, value in site.items() if value is not None}})
    except orjson.JSONDecodeError:
        reader.refuse("quality", "quality_json")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        reader.refuse("quality", "quality_refused", detail=str(error)[:500])
    else:
        return settings
    return {}


def _is_printable(text: str) -> bool:
    """Whether Postgres and a page can hold it: nothing that steers, no half of a character."""
    return text.isprintable() or all(character.isprintable() or character == "\N{NO-BREAK SPACE}" for character in text)
