"""Every model's folder: its examples decode as they say, and its README tells what a user must know."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from streamgauge.payloads import registry
from streamgauge.payloads.base import Decoded, PayloadRefused, Sample

FOLDER = Path(registry.__file__).parent
README_SECTIONS = ("Source", "Values", "Parameters", "Limits", "Checklist")
EXAMPLE_KEYS = {"what", "kind", "f_port", "hex", "parameters", "samples", "frame", "problems", "refused", "source"}


def examples_of(model: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((FOLDER / model / "examples.json").read_text("utf-8"))
    return content


def all_examples() -> list[Any]:
    return [
        pytest.param(model, example, id=f"{model}: {example['what']}")
        for model in registry.models()
        if (FOLDER / model / "examples.json").exists()
        for example in examples_of(model)
    ]


def decode(model: str, example: dict[str, Any]) -> Decoded:
    codec = registry.find(model)
    return codec.decode(bytes.fromhex(example["hex"]), example["f_port"], example.get("parameters", {}))


def as_sample(written: dict[str, Any]) -> Sample:
    time = datetime.fromisoformat(written["time"]) if "time" in written else None
    return Sample(values=written["values"], age_s=written.get("age_s"), time=time)


def near(expected: Any) -> Any:
    is_number = isinstance(expected, (int, float)) and not isinstance(expected, bool)
    return pytest.approx(expected, rel=1e-9, abs=1e-9) if is_number else expected


@pytest.mark.parametrize(("model", "example"), all_examples())
def test_an_example_decodes_as_written(model: str, example: dict[str, Any]) -> None:
    if "refused" in example:
        with pytest.raises(PayloadRefused) as refusal:
            decode(model, example)
        assert example["refused"] in refusal.value.detail
        return
    decoded = decode(model, example)
    expected = [as_sample(written) for written in example["samples"]]
    assert [(sample.age_s, sample.time) for sample in decoded.samples] == [(s.age_s, s.time) for s in expected]
    for sample, wanted in zip(decoded.samples, expected, strict=True):
        assert dict(sample.values) == {name: near(value) for name, value in wanted.values.items()}
    for name, value in example.get("frame", {}).items():
        assert decoded.frame[name] == near(value), name
    wanted_problems = example.get("problems", [])
    assert len(decoded.problems) == len(wanted_problems), decoded.problems
    for problem, part in zip(decoded.problems, wanted_problems, strict=True):
        assert part in problem


@pytest.mark.parametrize("model", registry.models())
def test_a_models_examples_show_a_live_a_refused_and_a_bounding_frame(model: str) -> None:
    examples = examples_of(model)
    kinds = {example["kind"] for example in examples}
    assert {"live", "refused"} <= kinds <= {"live", "refused", "status", "boundary"}
    assert kinds & {"status", "boundary"}
    for example in examples:
        assert example.keys() <= EXAMPLE_KEYS
        assert {"what", "kind", "f_port", "hex", "source"} <= example.keys()
        assert ("refused" in example) == (example["kind"] == "refused")
        assert ("samples" in example) != ("refused" in example)


@pytest.mark.parametrize("model", registry.models())
def test_a_models_readme_has_every_section(model: str) -> None:
    lines = (FOLDER / model / "README.md").read_text("utf-8").splitlines()
    assert {f"## {section}" for section in README_SECTIONS} <= set(lines)


@pytest.mark.parametrize("model", registry.models())
def test_a_models_readme_names_every_value_and_parameter(model: str) -> None:
    text = (FOLDER / model / "README.md").read_text("utf-8")
    codec = registry.find(model)
    assert [parameter.name for parameter in codec.parameters if f"`{parameter.name}`" not in text] == []
    if model != "cayenne_lpp":  # its values' names hold channel numbers
        assert [name for name in codec.ranges if f"`{name}`" not in text] == []


@pytest.mark.parametrize("model", registry.models())
def test_a_codec_describes_itself(model: str) -> None:
    codec = registry.find(model)
    assert codec.model == model
    assert codec.measures in {"distance", "depth", "pressure", "level", "other"}
    assert codec.ranges.keys() == codec.resolutions.keys()
    assert all(low <= high for low, high in codec.ranges.values())
    assert all(step > 0.0 for step in codec.resolutions.values())
    assert 1 <= codec.f_port <= 223
