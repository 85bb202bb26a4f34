"""Recorded files: CSV (plain or gzip) with a column ``time`` and columns named as on the wire."""

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import InputFault
from simulator.spans import parse_moment
from streamgauge.reading import FLOAT_FIELDS, QUANTITIES, Reading

COLUMNS = ("time", *FLOAT_FIELDS, "seq")
"""Every column that a file may have; ``time`` and one of ``QUANTITIES`` must be there."""

_GZIP_MAGIC = b"\x1f\x8b"
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_WHOLE = re.compile(r"\d{1,18}")
_MOST_PROBLEMS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded file.

    Args:
        readings: in the file's order, under one device's name.
        empty_rows: how many rows held no quantity at all (gaps of the recorder); they are no readings and are left out.
    """

    readings: Sequence[Reading]
    empty_rows: int


def read_record(path: Path, device: str) -> Record:
    """Read a whole file; numbers are the nearest floats to the file's decimals, nothing is rounded.

    Raises:
        InputFault: the file cannot be read, or has bad columns or rows; each is named with its line.
    """
    rows = _rows(path)
    try:
        header = [name.strip() for name in next(rows, (1, []))[1]]
        problems = _header_problems(header)
        if problems:
            raise InputFault(f"{path} cannot be replayed", problems)
        return _readings(path, header, rows, device)
    except csv.Error as error:
        raise InputFault(f"{path} cannot be replayed", [f"it is not CSV: {error}"]) from error


def _readings(path: Path, header: Sequence[str], rows: Iterator[tuple[int, list[str]]], device: str) -> Record:
    readings: list[Reading] = []
    problems: list[str] = []
    empty_rows = 0
    for line, cells in rows:
        try:
            reading = _reading(header, cells, device)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        if reading is None:
            empty_rows += 1
        else:
            readings.append(reading)
    if not readings and not problems:
        problems.append("it holds no reading")
    if problems:
        more = len(problems) - _MOST_PROBLEMS_NAMED
        named = problems[:_MOST_PROBLEMS_NAMED] + ([f"and {more} more lines like these"] if more > 0 else [])
        raise InputFault(f"{path} cannot be replayed", named)
    return Record(readings, empty_rows)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputFault(f"{path} cannot be read", [str(error)]) from error
    except UnicodeDecodeError as error:
        raise InputFault(f"{path} cannot be replayed", [f"it is not text in UTF-8: {error}"]) from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    return ((lines.line_num, cells) for cells in lines if cells)


def _header_problems(header: Sequence[str]) -> list[str]:
    problems = []
    for name in header:
        if name == "device":
            problems.append("column 'device': the device's name comes from --device; leave the column out")
        elif name not in COLUMNS:
            problems.append(f"column {name!r} is not known; columns are {', '.join(COLUMNS)}")
    problems.extend(f"column {name!r} is there twice" for name in sorted({n for n in header if header.count(n) > 1}))
    if "time" not in header:
        problems.append("column 'time' is missing")
    if not set(header) & set(QUANTITIES):
        problems.append(f"no quantity: one of the columns {', '.join(QUANTITIES)} must be there")
    return problems


def _reading(header: Sequence[str], cells: Sequence[str], device: str) -> Reading | None:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} cells, but the header has {len(header)}")
    named = {name: text for name, cell in zip(header, cells, strict=True) if (text := cell.strip())}
    if "time" not in named:
        raise ValueError("time is empty")
    time = parse_moment(named.pop("time"))
    sequence = named.pop("seq", None)
    if sequence is not None and not _WHOLE.fullmatch(sequence):
        raise ValueError(f"seq must be a whole number, not {sequence[:40]!r}")
    numbers: dict[str, Any] = {name: _number(name, text) for name, text in named.items()}
    if not any(quantity in numbers for quantity in QUANTITIES):
        return None
    return Reading(device=device, time=time, seq=None if sequence is None else int(sequence), **numbers)


def _number(name: str, text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {text[:40]!r}")
    return value
