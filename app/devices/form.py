"""The form of one device: what was posted of it, and what its page needs around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from werkzeug.datastructures import MultiDict

from app.devices.entry import FIELDS, MAX_CHARACTERS, Problem, Typed, TypedStage, codec_of, read_number, zones
from streamgauge.payloads import registry
from streamgauge.payloads.base import Parameter
from streamgauge.payloads.installation import Installation, level_of, pressure_to_depth
from streamgauge.stages import MAX_STAGES, PRESETS

PARAMETER_PREFIX = "parameter-"
SPARE_STAGES = 2
SAMPLES = {"distance": "distance_m", "depth": "depth_m", "pressure": "pressure_kpa", "level": "level_m"}
SAMPLE_OF = {"distance": "2.5", "depth": "1.5", "pressure": "15", "level": "1.5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What level a sample value gives where the sensor stands.

    Attributes:
        kind: what the model measures: distance, depth, pressure or level.
        said: the sample as it was typed.
        value: the sample; None: it is no number.
        level_m: None while the installation does not give one.
        installation: what it was reckoned with.
        depth_m: the water column of a pressure.
    """

    kind: str
    said: str
    value: float | None
    level_m: float | None
    installation: Installation
    depth_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceForm:
    """The form as it is shown."""

    typed: Typed
    parameters: tuple[Parameter, ...] = ()
    measures: str | None = None
    arithmetic: Arithmetic | None = None
    problems: Mapping[str, list[Problem]] = field(default_factory=dict)

    @property
    def stages(self) -> list[TypedStage]:
        """The stages' lines, and some empty ones to fill in."""
        filled = [stage for stage in self.typed.stages if not stage.is_empty]
        return [*filled, *[TypedStage()] * min(SPARE_STAGES, max(0, MAX_STAGES - len(filled)))]


def read_form(form: MultiDict[str, str]) -> Typed:
    """What was posted, each text cut at the longest that anything may be."""
    # A field that is missing is a fault of its row, and takes no other row's place.
    stages = zip_longest(
        *(form.getlist(f"stage_{part}")[: MAX_STAGES + SPARE_STAGES] for part in ("name", "level_m", "severity")),
        fillvalue="",
    )
    return Typed(
        fields={name: form.get(name, "")[: MAX_CHARACTERS + 1] for name in FIELDS},
        parameters={
            name.removeprefix(PARAMETER_PREFIX): value[:100]
            for name, value in form.items()
            if name.startswith(PARAMETER_PREFIX)
        },
        stages=tuple(TypedStage(*(text[:100] for text in stage)) for stage in stages),
    )


def with_preset(typed: Typed, preset: str) -> Typed:
    """The same with the names of a preset's stages; levels that are there are kept in their order."""
    levels = [stage.level_m for stage in typed.stages if not stage.is_empty]
    named = [
        TypedStage(name, levels[place] if place < len(levels) else "", str(severity))
        for place, (name, severity) in enumerate(PRESETS.get(preset, ()))
    ]
    return replace(typed, stages=tuple(named)) if named else typed


def make_form(typed: Typed, sample: str = "", problems: tuple[Problem, ...] = ()) -> DeviceForm:
    """The form around what was typed."""
    codec = codec_of(typed.text("model"))
    by_field: dict[str, list[Problem]] = {}
    for problem in problems:
        by_field.setdefault(problem.where, []).append(problem)
    return DeviceForm(
        typed=typed,
        parameters=codec.parameters if codec else (),
        measures=codec.measures if codec else None,
        arithmetic=reckon(codec.measures, typed, sample) if codec and codec.measures in SAMPLES else None,
        problems=by_field,
    )


def reckon(kind: str, typed: Typed, sample: str = "") -> Arithmetic:
    """What level a sample gives with the installation as it was typed; what cannot be used of that is as if not typed."""
    numbers = {
        name: value
        for name in ("sensor_height_m", "offset_m", "density_kg_m3", "gravity_m_s2")
        if (value := read_number(typed.text(name))) is not None
    }
    try:
        installation = Installation(**numbers)
    except ValueError:
        installation = Installation()
    said = sample.strip()[:40] or SAMPLE_OF[kind]
    value = read_number(said)
    if value is None or abs(value) > 1e6:
        return Arithmetic(kind=kind, said=said, value=None, level_m=None, installation=installation)
    depth_m = pressure_to_depth(value, installation) if kind == "pressure" else None
    level_m, _ = level_of({SAMPLES[kind]: value}, kind, installation)
    return Arithmetic(kind=kind, said=said, value=value, level_m=level_m, installation=installation, depth_m=depth_m)


def choices() -> dict[str, Any]:
    """What the form's lists offer."""
    return {"zones": zones(), "models": registry.models(), "presets": tuple(PRESETS)}
