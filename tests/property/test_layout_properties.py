"""Layouts of any shape: what is written is read again within a step; no bytes raise or leave the range."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.payloads.base import Codec, PayloadRefused
from streamgauge.payloads.layout import LayoutError, load_layout, shipped_layouts

INTEGERS = {"u8": (0, 255), "i8": (-128, 127)} | {
    f"{sign}{bits}{order}": (0, 2**bits - 1) if sign == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in "ui"
    for bits in (16, 24, 32)
    for order in ("be", "le")
}
NAMES = ("level_m", "flow_m3_s", "rainfall_mm", "temperature_c", "battery_v", "conductivity_us_cm", "alarm", "uptime_h")
FRAME_FACTS = {"alarm", "uptime_h"}
SCALES = (1, 0.1, 0.01, 0.001, 0.0001, 0.25, 0.007, 1 / 3, 2, 60, -0.001, -1)


def size_of(kind: str) -> int:
    return 4 if kind.startswith("f") else int(kind.strip("uibel")) // 8


@st.composite
def fields(draw: st.DrawFn, name: str, offset: int) -> dict[str, Any]:
    if draw(st.integers(0, 5)) == 0:
        low = draw(st.floats(-1e6, 1e6, width=32))
        width = draw(st.floats(0.5, 1e6, width=32))
        kind = draw(st.sampled_from(["f32be", "f32le"]))
        return {"name": name, "offset": offset, "type": kind, "range": [low, low + width]}
    kind = draw(st.sampled_from(sorted(INTEGERS)))
    scale = draw(st.sampled_from(SCALES))
    add = draw(st.sampled_from([0, 0, -40, 273.15]))
    field: dict[str, Any] = {"name": name, "offset": offset, "type": kind, "scale": scale, "add": add}
    low_raw, high_raw = INTEGERS[kind]
    if kind.startswith("u") and draw(st.booleans()):
        bits = 8 * size_of(kind)
        first = draw(st.integers(0, bits - 2))
        field["bits"] = [first, draw(st.integers(2, bits - first))]
        low_raw, high_raw = 0, 2 ** field["bits"][1] - 1
    least = draw(st.integers(low_raw, high_raw - 2))
    most = draw(st.integers(least + 2, high_raw))
    field["range"] = sorted([least * scale + add, most * scale + add])
    if draw(st.booleans()) and least > low_raw:
        field["invalid"] = [low_raw]
    return field


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=6))
    if not set(names) - FRAME_FACTS:
        names.append("temperature_c")
    offset = draw(st.integers(1, 3))
    described = []
    for name in names:
        described.append(draw(fields(name, offset)))
        offset += size_of(described[-1]["type"])
    frame: dict[str, Any] = {"fields": described, draw(st.sampled_from(["length", "min_length"])): offset}
    if draw(st.booleans()):
        frame["f_port"] = draw(st.integers(1, 223))
    if draw(st.booleans()):
        frame["match"] = {"offset": 0, "type": "u8", "value": draw(st.integers(0, 255))}
    return {"model": "any_sensor", "measures": "other", "source": {"document": "made up"}, "frames": [frame]}


def toml(value: Any) -> str:
    """TOML's inline form, which is enough for a whole file of one level of keys."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value) if isinstance(value, (str, bool)) else repr(value)


def load(description: dict[str, Any]) -> Codec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout.toml"
        path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in description.items()), "utf-8")
        return load_layout(path)


@given(description=layouts(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_what_a_layout_writes_it_reads_again_within_a_step(description: dict[str, Any], data: st.DataObject) -> None:
    codec = load(description)
    values = {name: data.draw(st.floats(*span), label=name) for name, span in codec.ranges.items()}
    decoded = codec.decode(codec.encode(values, {}), codec.f_port, {})
    found = {**decoded.frame, **(decoded.samples[0].values if decoded.samples else {})}
    for name, value in values.items():
        read = found[name]
        assert isinstance(read, float | int)
        assert abs(read - value) <= codec.resolutions[name] * 1.01
        assert codec.ranges[name][0] <= read <= codec.ranges[name][1]


@given(description=layouts(), payload=st.binary(max_size=40), f_port=st.integers(-1, 300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_or_leave_a_layouts_range(description: dict[str, Any], payload: bytes, f_port: int) -> None:
    codec = load(description)
    for port in (f_port, codec.f_port):
        try:
            decoded = codec.decode(payload, port, {})
        except PayloadRefused:
            continue
        for sample in decoded.samples:
            for name, value in sample.values.items():
                assert codec.ranges[name][0] <= value <= codec.ranges[name][1]


@cache
def shipped(model: str) -> Codec:
    return load_layout(shipped_layouts()[model])


@given(model=st.sampled_from(sorted(shipped_layouts())), data=st.data())
@settings(max_examples=200, deadline=None)
def test_the_shipped_layouts_read_what_they_write(model: str, data: st.DataObject) -> None:
    codec = shipped(model)
    values = {name: data.draw(st.floats(*span), label=name) for name, span in codec.ranges.items()}
    decoded = codec.decode(codec.encode(values, {}), codec.f_port, {})
    assert decoded.problems == ()
    for name, value in values.items():
        assert abs(decoded.samples[0].values[name] - value) <= codec.resolutions[name]


VALUES_OF_ANY_KIND = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["offset", "type", "value"]), inner),
    max_leaves=6,
)


@given(description=layouts(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_layout_with_anything_in_any_place_is_used_or_refused(
    description: dict[str, Any], data: st.DataObject
) -> None:
    from streamgauge.payloads._layout_file import read_layout

    frame = description["frames"][0]
    for table in (description, frame, frame["fields"][0], description["source"]):
        if data.draw(st.booleans()):
            key = data.draw(
                st.sampled_from([*sorted(table), "status", "bits", "invalid", "sample", "add", "min_length"])
            )
            table[key] = data.draw(VALUES_OF_ANY_KIND)
    problems: list[str] = []
    layout = read_layout(description, problems)
    assert (layout is None) == bool(problems)


@given(content=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_file_is_a_layout_or_is_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout.toml"
        path.write_bytes(content)
        try:
            load_layout(path)
        except LayoutError:
            return
