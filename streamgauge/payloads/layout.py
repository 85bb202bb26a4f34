"""Sensors that a TOML file describes: which number stands where in which frame. LAYOUT.md tells how to write one."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamgauge.errors import PermanentError
from streamgauge.payloads._layout_fields import FieldLayout, FrameLayout, Layout
from streamgauge.payloads._layout_file import read_layout
from streamgauge.payloads.base import (
    Codec,
    Decoded,
    Parameter,
    PayloadRefused,
    check_encodable,
    live_or_status,
    refuse_other_ports,
)

MAX_FILE_BYTES = 65_536
"""Longer files are refused unread: a layout is a page, not a book."""

DEFAULT_F_PORT = 1
"""What encoded frames are sent on if no frame names a port."""

_SHIPPED = Path(__file__).parent / "layouts"
_ONE_STEP = 1.01


class LayoutError(PermanentError):
    """A layout that cannot be used.

    Args:
        path: the file.
        problems: one sentence per thing that is wrong: table, key, what to do.
    """

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(f"the layout {path} cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.path = path
        self.problems = tuple(problems)


class LayoutCodec:
    """The codec of a layout; see ``base.Codec``.

    Args:
        layout: what the file says, checked.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.model = layout.model
        self.measures = layout.measures
        self.parameters: tuple[Parameter, ...] = ()
        values = [field for frame in layout.frames for field in frame.fields if field.is_value]
        self.ranges = _widest(values)
        self.resolutions = {name: max(f.resolution for f in values if f.name == name) for name in self.ranges}
        live = [frame for frame in layout.frames if any(field.is_value for field in frame.fields)]
        self.f_port = next((frame.f_port for frame in live if frame.f_port is not None), DEFAULT_F_PORT)
        self._encoded = [frame for frame in live if frame.f_port in {None, self.f_port}]

    def decode(self, payload: bytes, f_port: int, parameters: Mapping[str, float]) -> Decoded:  # noqa: ARG002
        """Read one payload; see ``base.Codec.decode``."""
        refuse_other_ports(f_port)
        for frame in self.layout.frames:
            if frame.is_for(payload, f_port):
                return _decode_frame(frame, payload)
        known = "; ".join(frame.describe() for frame in self.layout.frames)
        raise PayloadRefused(f"{len(payload)} bytes on FPort {f_port} are no frame of {self.model} (it sends: {known})")

    def encode(self, values: Mapping[str, float], parameters: Mapping[str, float]) -> bytes:
        """Make one live frame; see ``base.Codec.encode``.

        A value that is not given is written as its first ``invalid`` number; if it has none, it must be given.
        """
        check_encodable(values, self.ranges)
        frame = self._frame_for(values)
        payload = bytearray(frame.length)
        for field in sorted(frame.fields, key=lambda field: field.is_value):
            field.write_raw(payload, _raw_of(field, values))
        for match, number in frame.matches:
            match.write_raw(payload, number)
        encoded = bytes(payload)
        self._check_encoded(encoded, values, parameters)
        return encoded

    def _frame_for(self, values: Mapping[str, float]) -> FrameLayout:
        for frame in self._encoded:
            carried = {field.name for field in frame.fields if field.is_value}
            required = {field.name for field in frame.fields if field.is_value and not field.invalid}
            if required <= values.keys() <= carried:
                return frame
        kinds = "; ".join(", ".join(field.name for field in frame.fields if field.is_value) for frame in self._encoded)
        raise ValueError(f"no frame of {self.model} carries {', '.join(values)} and nothing else (there are: {kinds})")

    def _check_encoded(self, encoded: bytes, values: Mapping[str, float], parameters: Mapping[str, float]) -> None:
        """Fields may overlap, and an earlier frame may look the same: then these values cannot be written.

        Raises:
            ValueError: naming a value that would not be read back.
        """
        decoded = self.decode(encoded, self.f_port, parameters)
        found = {**decoded.frame, **(decoded.samples[0].values if decoded.samples else {})}
        for name, value in values.items():
            read = found.get(name)
            if not isinstance(read, (int, float)) or abs(read - value) > self.resolutions[name] * _ONE_STEP:
                raise ValueError(
                    f"{name} {value!r} would be read back as {read!r}: another field or a mark is in its place"
                )


def load_layout(path: Path) -> Codec:
    """The codec that a TOML file describes; its form is in LAYOUT.md.

    Raises:
        LayoutError: the file cannot be read, or anything in it is wrong; all problems are named at once.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise LayoutError(path, [f"it is longer than {MAX_FILE_BYTES} bytes; describe one sensor per file"])
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise LayoutError(path, [f"it cannot be read: {error.strerror or error}"]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise LayoutError(path, [f"it is not TOML: {error}"]) from error
    problems: list[str] = []
    layout = read_layout(content, problems)
    if layout is None:
        raise LayoutError(path, problems)
    return LayoutCodec(layout)


def shipped_layouts() -> Mapping[str, Path]:
    """The layouts that come with Streamgauge: model's name → file, which is named after its model."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}


def _widest(fields: Sequence[FieldLayout]) -> dict[str, tuple[float, float]]:
    widest: dict[str, tuple[float, float]] = {}
    for field in fields:
        low, high = field.range
        before = widest.get(field.name, (low, high))
        widest[field.name] = (min(low, before[0]), max(high, before[1]))
    return widest


def _decode_frame(frame: FrameLayout, payload: bytes) -> Decoded:
    values: dict[str, float] = {}
    facts: dict[str, float | int | str | bool] = {}
    problems: list[str] = []
    for field in frame.fields:
        raw = field.read_raw(payload)
        if raw in field.invalid or not math.isfinite(raw):
            problems.append(f"no {field.name}: {raw!r} stands for nothing measured")
            continue
        value = field.to_value(raw)
        low, high = field.range
        if not low <= value <= high:
            problems.append(f"{field.name} {value:g} lies outside the layout's range {low:g} to {high:g}: left out")
        elif field.is_value:
            values[field.name] = value
        else:
            facts[field.name] = raw if field.scale == 1.0 and not field.add else value
    if frame.is_status:
        return Decoded(samples=(), frame=facts, problems=tuple(problems))
    return live_or_status(values, facts, problems)


def _raw_of(field: FieldLayout, values: Mapping[str, float]) -> float:
    if field.is_value:
        return field.to_raw(values[field.name]) if field.name in values else field.invalid[0]
    low, high = field.range
    return field.to_raw(min(max(0.0, low), high))
