"""From a layout's TOML tables to its parts, with a sentence for everything that is wrong."""

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from streamgauge.payloads._layout_fields import (
    MAX_PAYLOAD_BYTES,
    VALUE_NAMES,
    WATER_VALUES,
    FieldLayout,
    FrameLayout,
    Layout,
    NumberType,
    as_f32,
    number_type,
)
from streamgauge.payloads._layout_table import Table
from streamgauge.payloads.base import MAX_F_PORT
from streamgauge.reading import DEVICE_FIELDS

MEASURES: Final = {
    "distance": "distance_m",
    "depth": "depth_m",
    "pressure": "pressure_kpa",
    "level": "level_m",
    "other": None,
}
"""What a model may measure, and the value that one of its frames must then carry."""

_STEPS_PER_ULP = 1_000.0
_RESERVED = frozenset(DEVICE_FIELDS) - VALUE_NAMES | {"device", "time", "seq"}


def read_layout(content: Mapping[str, Any], problems: list[str]) -> Layout | None:
    """The layout in a file's tables; None, and ``problems`` filled, if anything is wrong.

    Args:
        content: what the TOML file holds.
        problems: a sentence is added for each thing that is wrong.
    """
    root = Table(content, "", problems)
    model = root.name("model")
    measures = root.text("measures", required=True)
    if measures is not None and measures not in MEASURES:
        root.wrong("measures", f"is {measures!r}, but must be one of {', '.join(MEASURES)}")
    source = _read_source(root)
    frames = [_read_frame(table) for table in root.tables("frames", required=True)]
    root.refuse_others()
    if problems or model is None or measures is None:
        return None
    layout = Layout(model=model, measures=measures, source=source, frames=tuple(frame for frame in frames if frame))
    _check_whole(layout, problems)
    return None if problems else layout


def _read_source(root: Table) -> dict[str, str]:
    table = root.table("source")
    if table is None:
        return {}
    texts = {key: table.text(key, required=key == "document") for key in ("document", "section", "url", "note")}
    table.refuse_others()
    return {key: text for key, text in texts.items() if text}


def _read_frame(table: Table) -> FrameLayout | None:
    before = len(table.problems)
    f_port = table.whole("f_port", 1, MAX_F_PORT)
    exact = table.whole("length", 1, MAX_PAYLOAD_BYTES)
    least = table.whole("min_length", 1, MAX_PAYLOAD_BYTES)
    if ("length" in table.content) == ("min_length" in table.content):
        table.wrong("length", "give either length (exactly so many bytes) or min_length (at least so many)")
    length = exact or least or MAX_PAYLOAD_BYTES
    matches = [_read_match(match, length) for match in table.tables("match")]
    is_status = table.flag("status")
    fields = [_read_field(field, length, is_status=is_status) for field in table.tables("fields", required=True)]
    _refuse_doubles([field.name for field in fields if field], table)
    table.refuse_others()
    if len(table.problems) > before:
        return None
    return FrameLayout(
        f_port=f_port,
        length=length,
        is_open=exact is None,
        matches=tuple(match for match in matches if match),
        is_status=is_status,
        fields=tuple(field for field in fields if field),
    )


def _refuse_doubles(names: Collection[str], table: Table) -> None:
    for name in sorted({name for name in names if list(names).count(name) > 1}):
        table.wrong("fields", f"{name} stands twice in this frame: give each field a name of its own")


def _read_match(table: Table, length: int) -> tuple[FieldLayout, int] | None:
    before = len(table.problems)
    kind = _read_type(table)
    offset = _read_offset(table, kind, length)
    if kind is not None and kind.float_format is not None:
        table.wrong("type", "a constant must be a whole number: use u8 to i32")
    low, high = kind.bounds if kind is not None else (0, 0)
    value = table.whole("value", int(low), int(high), required=True) if kind is not None else None
    table.refuse_others()
    if len(table.problems) > before or kind is None or offset is None or value is None:
        return None
    return FieldLayout(name="match", offset=offset, kind=kind), value


def _read_field(table: Table, length: int, *, is_status: bool) -> FieldLayout | None:
    before = len(table.problems)
    name = table.name("name")
    kind = _read_type(table)
    offset = _read_offset(table, kind, length)
    scale = table.number("scale", 1.0)
    if scale == 0.0:
        table.wrong("scale", "is 0, but every raw number would give the same value; leave it out for 1")
    add = table.number("add", 0.0)
    limits = table.numbers("range", 2)
    invalid = _read_invalid(table, kind)
    bits = _read_bits(table, kind)
    is_value = (name in VALUE_NAMES or table.flag("sample")) and not is_status
    table.flag("sample")
    table.text("unit")
    table.refuse_others()
    if len(table.problems) > before or name is None or kind is None or offset is None:
        return None
    field = FieldLayout(
        name=name,
        offset=offset,
        kind=kind,
        scale=scale,
        add=add,
        limits=(limits[0], limits[1]) if limits else None,
        invalid=invalid,
        first_bit=bits[0] if bits else 0,
        bit_count=bits[1] if bits else None,
        is_value=is_value,
    )
    _check_field(field, table)
    return field


def _read_type(table: Table) -> NumberType | None:
    name = table.text("type", required=True)
    if name is None:
        return None
    kind = number_type(name)
    if kind is None:
        hint = f": say {name}be or {name}le" if number_type(f"{name}be") else ""
        table.wrong(
            "type", f"is {name!r}, but must be u8, i8, u16, i16, u24, i24, u32, i32 or f32, with be or le{hint}"
        )
    return kind


def _read_offset(table: Table, kind: NumberType | None, length: int) -> int | None:
    offset = table.whole("offset", 0, MAX_PAYLOAD_BYTES - 1, required=True)
    if offset is not None and kind is not None and offset + kind.size > length:
        table.wrong(
            "offset", f"{offset} and {kind.size} bytes reach beyond the frame's {length} bytes: correct one of them"
        )
        return None
    return offset


def _read_bits(table: Table, kind: NumberType | None) -> tuple[int, int] | None:
    given = table.numbers("bits", 2)
    if given is None or kind is None:
        return None
    first, count = given
    if kind.signed:
        table.wrong("bits", f"only unsigned types have parts of bits, not {kind.name}")
        return None
    if not (first.is_integer() and count.is_integer() and first >= 0 and count >= 1 and first + count <= 8 * kind.size):
        table.wrong(
            "bits", f"[{first:g}, {count:g}] must be [first bit, count] within the {8 * kind.size} bits of {kind.name}"
        )
        return None
    return int(first), int(count)


def _read_invalid(table: Table, kind: NumberType | None) -> tuple[float, ...]:
    given = table.numbers("invalid") or ()
    if kind is None or kind.float_format is None:
        return given
    return tuple(as_f32(raw) if abs(raw) <= kind.bounds[1] else raw for raw in given)


def _check_field(field: FieldLayout, table: Table) -> None:
    if field.is_value and field.name in _RESERVED:
        table.wrong("name", f"{field.name} belongs to the radio or the reading itself: choose another name")
    farthest = max(abs(end) for end in field.reach)
    is_float = field.kind.float_format is not None
    if not is_float and not math.ulp(farthest) * _STEPS_PER_ULP <= abs(field.scale):
        table.wrong("scale", f"{field.scale:g} is lost in numbers as great as {farthest:g}: correct scale or add")
        return
    if field.limits is not None:
        _check_range(field, table)
    elif field.is_value and (field.name in WATER_VALUES or is_float):
        table.wrong("range", f"is missing: give the measuring range of {field.name}, such as range = [0.3, 10.0]")
    _check_invalid(field, table)


def _check_range(field: FieldLayout, table: Table) -> None:
    low, high = field.range
    least_width = 0.0 if field.kind.float_format is not None else abs(field.scale)
    if high - low < least_width or low >= high:
        table.wrong("range", f"[{low:g}, {high:g}] must rise from the least to the greatest value, by a step at least")
        return
    least, most = field.reach
    slack = field.resolution / 2.0
    if low < least - slack or high > most + slack:
        table.wrong(
            "range", f"[{low:g}, {high:g}] is wider than {field.kind.name} can carry, {least:g} to {most:g}: narrow it"
        )


def _check_invalid(field: FieldLayout, table: Table) -> None:
    low, high = field.raw_bounds
    is_float = field.kind.float_format is not None
    never = [raw for raw in field.invalid if not low <= raw <= high or not (is_float or raw.is_integer())]
    if never:
        listed = ", ".join(f"{raw:g}" for raw in never)
        table.wrong(
            "invalid", f"{listed} can never be read: give raw numbers, before scale and add, from {low:g} to {high:g}"
        )


def _check_whole(layout: Layout, problems: list[str]) -> None:
    measured = MEASURES[layout.measures]
    values = {field.name for frame in layout.frames for field in frame.fields if field.is_value}
    if measured is not None and measured not in values:
        problems.append(
            f"measures: {layout.measures} needs a frame with a field {measured}; add it or say what is measured"
        )
    if not values:
        problems.append("frames: none holds a value; a sensor needs a frame that is no status")
    problems.extend(
        f"frames[{later + 1}]: frames[{earlier + 1}] takes all of its payloads; put it before, or add a match"
        for later, frame in enumerate(layout.frames)
        for earlier in range(later)
        if _hides(layout.frames[earlier], frame)
    )


def _hides(first: FrameLayout, second: FrameLayout) -> bool:
    same_port = first.f_port is None or first.f_port == second.f_port
    same_exact_length = first.length == second.length and not second.is_open
    takes_length = first.length <= second.length if first.is_open else same_exact_length
    return same_port and takes_length and set(first.matches) <= set(second.matches)
