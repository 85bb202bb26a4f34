"""Layouts: what a TOML file describes is read and written as it says; what is wrong in it is told, all at once."""

import math
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from streamgauge.payloads import registry
from streamgauge.payloads.base import PayloadRefused
from streamgauge.payloads.layout import MAX_FILE_BYTES, LayoutCodec, LayoutError, load_layout, shipped_layouts

HEAD = 'model = "acme_ws100"\nmeasures = "distance"\n[source]\ndocument = "ACME WS100 manual 1.4"\n'
DISTANCE = 'name = "distance_m"\noffset = 1\ntype = "u16be"\nscale = 0.001\nrange = [0.3, 10.0]\ninvalid = [0, 65535]\n'


def layout(tmp_path: Path, text: str) -> LayoutCodec:
    path = tmp_path / "layout.toml"
    path.write_text(text, "utf-8")
    codec = load_layout(path)
    assert isinstance(codec, LayoutCodec)
    return codec


def one_frame(frame: str, *fields: str) -> str:
    return HEAD + "[[frames]]\n" + frame + "".join(f"[[frames.fields]]\n{field}" for field in fields)


def field(**keys: Any) -> str:
    return "".join(f"{key} = {value!r}\n".replace("'", '"').replace("True", "true") for key, value in keys.items())


def problems_of(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(LayoutError) as error:
        layout(tmp_path, text)
    assert str(error.value.path) in str(error.value)
    return error.value.problems


def test_the_number_at_its_place_becomes_the_value(tmp_path: Path) -> None:
    codec = layout(tmp_path, one_frame("f_port = 3\nlength = 4\n", DISTANCE))
    decoded = codec.decode(bytes.fromhex("ff0aefff"), 3, {})
    assert decoded.samples[0].values == {"distance_m": 2.799}
    assert (codec.model, codec.measures, codec.f_port) == ("acme_ws100", "distance", 3)
    assert codec.ranges == {"distance_m": (0.3, 10.0)}
    assert codec.resolutions == {"distance_m": 0.001}


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("u8", "fe", 254),
        ("i8", "fe", -2),
        ("u16be", "0102", 258),
        ("u16le", "0102", 513),
        ("i16be", "fffe", -2),
        ("i16le", "feff", -2),
        ("u24be", "010203", 66_051),
        ("i24le", "feffff", -2),
        ("u32be", "ffffffff", 4_294_967_295),
        ("i32le", "feffffff", -2),
        ("f32be", struct.pack(">f", 1.5).hex(), 1.5),
        ("f32le", struct.pack("<f", -1.5).hex(), -1.5),
    ],
)
def test_every_type_is_read_as_its_name_says(tmp_path: Path, kind: str, content: str, expected: float) -> None:
    raw = bytes.fromhex(content)
    extra = field(name="number", offset=3, type=kind)
    codec = layout(tmp_path, one_frame(f"length = {3 + len(raw)}\n", DISTANCE, extra))
    assert codec.decode(b"\x00\x0a\xef" + raw, 1, {}).frame == {"number": expected}


def test_a_part_of_bits_is_read_and_written_without_its_neighbours(tmp_path: Path) -> None:
    battery = field(name="battery_v", offset=3, type="u16be", bits=[0, 14], scale=0.001, range=[2.0, 4.2])
    flag = field(name="tilted", offset=3, type="u16be", bits=[15, 1])
    codec = layout(tmp_path, one_frame("length = 5\n", DISTANCE, battery, flag))
    values = {"distance_m": 2.8, "battery_v": 3.6, "tilted": 1.0}
    encoded = codec.encode(values, {})
    assert encoded[3:] == (0x8000 | 3600).to_bytes(2, "big")
    assert codec.decode(encoded, 1, {}).samples[0].values == values


def test_scale_and_add(tmp_path: Path) -> None:
    celsius = field(name="temperature_c", offset=3, type="u8", scale=0.5, add=-40.0)
    codec = layout(tmp_path, one_frame("length = 4\n", DISTANCE, celsius))
    assert codec.ranges["temperature_c"] == (-40.0, 87.5)
    assert codec.decode(bytes.fromhex("000aef51"), 1, {}).samples[0].values["temperature_c"] == 0.5


@pytest.mark.parametrize("content", ["000000", "00ffff"])
def test_a_mark_for_nothing_measured_gives_no_value(tmp_path: Path, content: str) -> None:
    codec = layout(tmp_path, one_frame("length = 3\n", DISTANCE))
    decoded = codec.decode(bytes.fromhex(content), 1, {})
    assert decoded.samples == ()
    assert "distance_m" in decoded.problems[0]
    assert "nothing measured" in decoded.problems[0]


@pytest.mark.parametrize("mm", [299, 10_001])
def test_a_value_outside_its_range_is_left_out(tmp_path: Path, mm: int) -> None:
    codec = layout(tmp_path, one_frame("length = 3\n", DISTANCE))
    decoded = codec.decode(b"\x00" + mm.to_bytes(2, "big"), 1, {})
    assert decoded.samples == ()
    assert "outside the layout's range 0.3 to 10" in decoded.problems[0]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_no_number_gives_no_value(tmp_path: Path, number: float) -> None:
    distance = field(name="distance_m", offset=0, type="f32le", range=[0.3, 10.0])
    codec = layout(tmp_path, one_frame("length = 4\n", distance))
    decoded = codec.decode(struct.pack("<f", number), 1, {})
    assert decoded.samples == ()
    assert len(decoded.problems) == 1


def test_a_frame_is_chosen_by_port_length_and_constants(tmp_path: Path) -> None:
    text = (
        one_frame('f_port = 3\nlength = 3\nmatch = {offset = 0, type = "u8", value = 1}\n', DISTANCE)
        + '[[frames]]\nf_port = 3\nmin_length = 3\nmatch = {offset = 0, type = "u8", value = 2}\nstatus = true\n'
        + "[[frames.fields]]\n"
        + field(name="battery_v", offset=1, type="u8", scale=0.1)
    )
    codec = layout(tmp_path, text)
    assert codec.decode(bytes.fromhex("010aef"), 3, {}).samples[0].values == {"distance_m": 2.799}
    status = codec.decode(bytes.fromhex("0224ff0000"), 3, {})
    assert (status.samples, status.frame) == ((), {"battery_v": 3.6})
    for payload, f_port in (("030aef", 3), ("010aef", 4), ("010aef00", 3), ("010a", 3), ("", 3)):
        with pytest.raises(PayloadRefused, match=r"it sends: 3 bytes on FPort 3 with 1 at byte 0; 3 bytes or more"):
            codec.decode(bytes.fromhex(payload), f_port, {})


@pytest.mark.parametrize("f_port", [-1, 0, 224, 300])
def test_ports_that_are_not_applications_are_refused(tmp_path: Path, f_port: int) -> None:
    codec = layout(tmp_path, one_frame("length = 3\n", DISTANCE))
    with pytest.raises(PayloadRefused, match="FPort"):
        codec.decode(bytes.fromhex("000aef"), f_port, {})


def test_a_name_that_is_no_value_stands_in_the_frame_unless_it_says_otherwise(tmp_path: Path) -> None:
    turbidity = field(name="turbidity_ntu", offset=0, type="u8", sample=True)
    alarm = field(name="alarm", offset=0, type="u8", bits=[7, 1])
    codec = layout(tmp_path, one_frame("length = 3\n", DISTANCE, turbidity, alarm))
    decoded = codec.decode(bytes.fromhex("810aef"), 1, {})
    assert decoded.samples[0].values == {"distance_m": 2.799, "turbidity_ntu": 129}
    assert decoded.frame == {"alarm": 1}


def test_a_value_that_is_not_given_is_written_as_its_mark_or_asked_for(tmp_path: Path) -> None:
    celsius = field(name="temperature_c", offset=3, type="i8")
    codec = layout(tmp_path, one_frame("length = 4\n", DISTANCE, celsius))
    assert codec.encode({"temperature_c": 7.0}, {}) == bytes.fromhex("00000007")
    with pytest.raises(ValueError, match="temperature_c"):
        codec.encode({"distance_m": 2.0}, {})


@pytest.mark.parametrize("values", [{"distance_m": 0.2}, {"distance_m": math.nan}, {"depth_m": 1.0}, {}])
def test_values_that_the_layout_cannot_carry_are_refused(tmp_path: Path, values: dict[str, float]) -> None:
    codec = layout(tmp_path, one_frame("length = 3\n", DISTANCE.replace("invalid = [0, 65535]\n", "")))
    with pytest.raises(ValueError):
        codec.encode(values, {})


def test_values_in_one_anothers_place_cannot_be_encoded(tmp_path: Path) -> None:
    depth = DISTANCE.replace("distance_m", "depth_m")
    codec = layout(tmp_path, one_frame("length = 3\n", DISTANCE, depth))
    with pytest.raises(ValueError, match="would be read back"):
        codec.encode({"distance_m": 2.0, "depth_m": 3.0}, {})


def test_every_problem_of_a_file_is_named_with_its_place(tmp_path: Path) -> None:
    text = """
model = "Bad Model"
measures = "distances"
colour = "red"
[source]
section = "7"
[[frames]]
f_port = 0
length = 6
match = { offset = 9, type = "u8", value = 300 }
  [[frames.fields]]
  name = "distance_m"
  offset = 5
  type = "u16"
  scale = 0
  bits = [3]
[[frames]]
length = 3
min_length = 3
  [[frames.fields]]
  name = "level_m"
  offset = 0
  type = "u8"
"""
    problems = problems_of(tmp_path, text)
    for place in (
        "model:",
        "measures:",
        "colour:",
        "source.document:",
        "frames[1].f_port:",
        "frames[1].match[1].offset:",
        "frames[1].match[1].value:",
        "frames[1].fields[1] (distance_m).type:",
        "frames[1].fields[1] (distance_m).scale:",
        "frames[1].fields[1] (distance_m).bits:",
        "frames[2].length:",
        "frames[2].fields[1] (level_m).range:",
    ):
        assert any(problem.startswith(place) for problem in problems), (place, problems)


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"offset": 3}, "reach beyond the frame's 4 bytes"),
        ({"range": [0.3, 70.0]}, "wider than u16be can carry"),
        ({"range": [10.0, 0.3]}, "must rise"),
        ({"range": [1.0, 1.0]}, "must rise"),
        ({"range": [0.3, math.inf]}, "finite numbers"),
        ({"invalid": [70_000]}, "can never be read"),
        ({"invalid": [0.5]}, "can never be read"),
        ({"invalid": 0}, "list of finite numbers"),
        ({"bits": [10, 7]}, "within the 16 bits"),
        ({"scale": 1e-300}, "wider than"),
        ({"add": 1e18}, "is lost in numbers"),
        ({"scale": 1e308}, "is lost in numbers"),
        ({"scale": 10**400}, "finite number"),
        ({"scale": True}, "finite number"),
        ({"offset": 1.5}, "whole number"),
        ({"type": "u12be"}, "must be u8"),
        ({"type": "u8be"}, "must be u8"),
        ({"name": "rssi_dbm", "sample": True}, "belongs to the radio"),
        ({"sample": 1}, "true or false"),
        ({"endian": "big"}, "no key here"),
    ],
)
def test_a_field_that_cannot_be_is_told(tmp_path: Path, keys: dict[str, Any], part: str) -> None:
    sound = {"name": "depth_m", "offset": 0, "type": "u16be", "scale": 0.001, "range": [0.3, 10.0]}
    text = one_frame("length = 4\n", DISTANCE, field(**{**sound, **keys}))
    problems = problems_of(tmp_path, text)
    assert any(part in problem and "frames[1].fields[2]" in problem for problem in problems), problems


def test_signed_numbers_and_floats_have_no_parts_of_bits(tmp_path: Path) -> None:
    for kind in ("i16be", "f32be"):
        text = one_frame("length = 5\n", DISTANCE, field(name="number", offset=0, type=kind, bits=[0, 3]))
        assert "only unsigned types" in problems_of(tmp_path, text)[0]


def test_a_name_twice_in_one_frame_is_told(tmp_path: Path) -> None:
    assert "stands twice" in problems_of(tmp_path, one_frame("length = 4\n", DISTANCE, DISTANCE))[0]


def test_a_frame_that_an_earlier_one_hides_is_told(tmp_path: Path) -> None:
    text = (
        one_frame("min_length = 3\n", DISTANCE) + "[[frames]]\nf_port = 3\nlength = 5\n[[frames.fields]]\n" + DISTANCE
    )
    assert problems_of(tmp_path, text) == (
        "frames[2]: frames[1] takes all of its payloads; put it before, or add a match",
    )


def test_a_layout_needs_what_it_says_that_it_measures(tmp_path: Path) -> None:
    celsius = field(name="temperature_c", offset=0, type="i8")
    assert "needs a frame with a field distance_m" in problems_of(tmp_path, one_frame("length = 1\n", celsius))[0]
    status = one_frame("length = 3\nstatus = true\n", DISTANCE)
    assert any("none holds a value" in problem for problem in problems_of(tmp_path, status))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"model = ", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"", "model: is missing"),
        (b"frames = 3\nsource = 4\n", "[source]"),
        (b"[[source]]\n[[source]]\n", "must be one table"),
        (b"# " + b"x" * MAX_FILE_BYTES, "longer than"),
        (b"a = " + b"[" * 20_000, "not TOML"),
    ],
)
def test_a_file_that_is_no_layout_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "layout.toml"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=re.escape(part)):
        load_layout(path)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(LayoutError, match="cannot be read"):
            load_layout(path)


@pytest.mark.parametrize("model", sorted(shipped_layouts()))
def test_shipped_layouts_are_named_after_their_model_and_are_found(model: str) -> None:
    assert load_layout(shipped_layouts()[model]).model == model
    assert registry.find(model).model == model


def test_the_demonstration_station_as_the_document_prints_it() -> None:
    codec = registry.find("streamgauge-demo")
    values = {"level_m": 1.234, "flow_m3_s": 12.3456, "rainfall_mm": 0.3, "temperature_c": -3.21, "battery_v": 3.6}
    encoded = codec.encode(values, {})
    assert encoded.hex() == "000004d20001e2400003febf0e10"
    assert codec.f_port == 10
    assert codec.decode(encoded, 10, {}).samples[0].values == values
    nothing = codec.decode(bytes.fromhex("80000000ffffffffffff8000ffff"), 10, {})
    assert nothing.samples == ()
    assert len(nothing.problems) == 5


def test_the_document_names_every_key_and_every_value() -> None:
    from streamgauge.payloads import _layout_fields as fields
    from streamgauge.payloads import layout as module

    text = (Path(module.__file__).parent / "LAYOUT.md").read_text("utf-8")
    keys = ["model", "measures", "f_port", "length", "min_length", "match", "status", "name", "offset", "type", "bits"]
    keys += ["scale", "range", "invalid", "sample", "unit", *fields.VALUE_NAMES]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_a_frame_with_both_lengths_is_told_beside_everything_else(tmp_path: Path) -> None:
    found = problems_of(tmp_path, one_frame("f_port = 0\nlength = 3\nmin_length = 3\n", DISTANCE))
    assert any("f_port" in problem for problem in found)
    assert any("give either length" in problem for problem in found)
