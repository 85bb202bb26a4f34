"""Tables of devices as CSV: what spreadsheets make of them is read, and what is written no spreadsheet takes for a formula.

The columns are the form's fields. An empty cell leaves what is there, ``-`` takes it away; a line whose name begins with ``#`` is
passed over. Stages stand in one cell as ``Action=1.0@1; Minor=1.5@2`` (name, metres, severity), a model's parameters as
``Pmin=0; Pmax=1``.
"""

import csv
import difflib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.devices.entry import FIELDS, Problem, Typed, TypedStage, plain, typed_of
from streamgauge.stages import sound_stages
from streamgauge.storage.device_rows import DeviceRow
from streamgauge.storage.export import FORMULA_SIGNS

COLUMNS = (
    *FIELDS[: FIELDS.index("dev_eui")],
    "stages",
    "dev_eui",
    "model",
    "parameters",
    *FIELDS[FIELDS.index("model") + 1 :],
)
MAX_BYTES = 10 * 2**20
MAX_ROWS = 10_000
MAX_CELL_CHARACTERS = 20_000
TAKE_AWAY = "-"
PASSED_OVER = "#"
_TEXTS = {
    "name",
    "display_name",
    "river",
    "description",
    "datum",
    "stages",
    "time_zone",
    "model",
    "parameters",
    "quality",
    "dev_eui",
}
_DELIMITERS = ",;\t"
EXAMPLE = {
    "name": "#weir-1",
    "display_name": "Weir at the mill",
    "river": "Sông Hồng",
    "latitude": "21.0285",
    "longitude": "105.8542",
    "time_zone": "Asia/Ho_Chi_Minh",
    "datum": "VN-2000",
    "silence_limit_minutes": "30",
    "stages": "BĐ I=9.5@1; BĐ II=10.5@2; BĐ III=11.5@3",
    "dev_eui": "24E124713B101234",
    "model": "milesight_em500_udl",
    "parameters": "blind_zone_m=0.25; range_m=5",
    "sensor_height_m": "14.2",
}


class _Reader(Protocol):
    """What ``csv.reader`` makes."""

    line_num: int

    def __next__(self) -> list[str]: ...


class TableRefused(ValueError):
    """A file that cannot be read as a table; nothing of it is used."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.key)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its number in the file, its cells by column, and whether it has more cells than the head."""

    number: int
    cells: Mapping[str, str]
    is_too_long: bool = False

    @property
    def name(self) -> str:
        """Whose line it is."""
        return _unescaped(self.cells.get("name", "").strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a file holds. ``unknown``: columns that are none of ours, each with the one that it may have been meant for."""

    lines: tuple[Line, ...]
    unknown: Mapping[str, str | None] = field(default_factory=dict)


def read_table(content: bytes) -> Table:
    """Read a file: UTF-8 or UTF-16, with commas, semicolons or tabs between cells, with any line ends.

    Raises:
        TableRefused: it is no such table, or too long a one.
    """
    text = _text(content).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    delimiter, text, skipped = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = _rows(reader, skipped)
    _, head = next(rows, (0, []))
    columns = [_column(cell) for cell in head]
    if "name" not in columns:
        raise TableRefused(Problem("file", "devices.csv.no_name"))
    known = [column for column in columns if column in COLUMNS]
    if doubled := next((column for column in known if known.count(column) > 1), None):
        raise TableRefused(Problem("file", "devices.csv.column_twice", {"column": doubled}))
    lines: list[Line] = []
    for number, row in rows:
        if not row or not any(cell.strip() for cell in row):
            continue
        cells = {column: cell for column, cell in zip(columns, row, strict=False) if column in COLUMNS}
        if cells.get("name", "").strip().startswith(PASSED_OVER):
            continue
        if len(lines) >= MAX_ROWS:
            raise TableRefused(Problem("file", "devices.csv.too_many", {"n": MAX_ROWS}))
        lines.append(Line(number, cells, is_too_long=any(cell.strip() for cell in row[len(columns) :])))
    if not lines:
        raise TableRefused(Problem("file", "devices.csv.empty"))
    unknown = {column: _meant(column) for column in columns if column and column not in COLUMNS}
    return Table(lines=tuple(lines), unknown=unknown)


def typed_in(line: Line, known: DeviceRow | None) -> tuple[Typed, list[Problem]]:
    """What a line says of a device, on top of what is known of it, and what in it cannot be read."""
    typed = typed_of(known) if known else Typed()
    fields, parameters, stages = dict(typed.fields), dict(typed.parameters), typed.stages
    problems: list[Problem] = []
    if line.is_too_long:
        problems.append(Problem("name", "devices.csv.line_too_long"))
    if "model" in line.cells and line.cells["model"].strip() not in {"", fields.get("model", "")}:
        parameters = {}
    for column, cell in line.cells.items():
        said = cell.strip()
        if not said:
            continue
        if len(said) > MAX_CELL_CHARACTERS:
            problems.append(Problem(column, "devices.fault.too_long", {"n": MAX_CELL_CHARACTERS}))
            continue
        # A name cannot be taken away; "-" is one.
        said = "" if said == TAKE_AWAY and column != "name" else _unescaped(said)
        if column == "stages":
            stages = _stages(said, problems)
        elif column == "parameters":
            parameters = _parameters(said, problems)
        else:
            fields[column] = said
    return Typed(fields=fields, parameters=parameters, stages=stages), problems


def write_table(rows: Iterable[DeviceRow]) -> Iterator[str]:
    """Devices as a table that ``read_table`` makes the same rows of; with a mark at its beginning, so that spreadsheets know
    that it is UTF-8.
    """
    yield "\N{ZERO WIDTH NO-BREAK SPACE}" + _csv_line(COLUMNS)
    for row in rows:
        typed = typed_of(row)
        cells = dict(typed.fields)
        cells["stages"] = "; ".join(
            f"{stage.name}={plain(stage.level_m)}@{stage.severity}" for stage in sound_stages(row.stages)
        )
        cells["parameters"] = "; ".join(f"{name}={value}" for name, value in typed.parameters.items())
        yield _csv_line([_escaped(cells[name]) if name in _TEXTS else cells[name] for name in COLUMNS])


def template() -> str:
    """The head, and a line that shows how and is passed over when it is read."""
    return "\N{ZERO WIDTH NO-BREAK SPACE}" + _csv_line(COLUMNS) + _csv_line([EXAMPLE.get(name, "") for name in COLUMNS])


def _text(content: bytes) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableRefused(Problem("file", "devices.csv.encoding")) from error


def _delimiter(text: str) -> tuple[str, str, int]:
    """What stands between cells, the text without a spreadsheet's own ``sep=`` line, and how many lines were taken off."""
    first, _, rest = text.partition("\n")
    declared = first.strip().lower().removeprefix("sep=")
    if first.lower().startswith("sep=") and len(declared) == 1 and declared in _DELIMITERS:
        return declared, rest, 1
    if first.lower().startswith("sep=\t"):
        return "\t", rest, 1
    return max(_DELIMITERS, key=first.count), text, 0


def _rows(reader: "_Reader", skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the line that it begins in."""
    while True:
        number = reader.line_num + 1 + skipped
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = Problem("file", "devices.csv.broken", {"line": number, "detail": str(error)})
            raise TableRefused(problem) from error
        yield number, row


def _column(cell: str) -> str:
    return _unescaped(cell.strip()).lower().replace(" ", "_").replace("-", "_")[:100]


def _meant(column: str) -> str | None:
    return next(iter(difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.75)), None)


def _escaped(cell: str) -> str:
    """A text that no spreadsheet takes for a formula, and that ``_unescaped`` makes the same text of, whatever it begins with."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA_SIGNS) else cell


def _unescaped(cell: str) -> str:
    """A text without the apostrophe that ``_escaped`` put before it."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_SIGNS) else cell


def _stages(said: str, problems: list[Problem]) -> tuple[TypedStage, ...]:
    stages: list[TypedStage] = []
    for part in filter(None, (part.strip() for part in said.split(";"))):
        rest, has_severity, severity = part.rpartition("@")
        name, has_level, level_m = rest.rpartition("=")
        if not has_severity or not has_level:
            problems.append(Problem("stages", "devices.csv.stages", {"part": part[:60]}))
            return ()
        stages.append(TypedStage(name.strip(), level_m.strip(), severity.strip()))
    return tuple(stages)


def _parameters(said: str, problems: list[Problem]) -> dict[str, str]:
    read: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in said.split(";"))):
        name, found, value = part.partition("=")
        if not found:
            problems.append(Problem("parameters", "devices.csv.parameters", {"part": part[:60]}))
            return {}
        read[name.strip()] = value.strip()
    return read


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
