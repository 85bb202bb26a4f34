"""Reads the files of the Skoltech Anomaly Benchmark from a folder, and others of their kind.

What counts as a channel is found out, not presumed: every column of numbers, save the labels, the time, and a column
that only counts rows or seconds – in this benchmark position gives the answer away.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABEL = "anomaly"
LABELS = (LABEL, "changepoint")
DELIMITERS = (";", "\t", ",", "|")
NUMBER_SHARE = 0.5  # a column with numbers in fewer of its cells is text
RISING_SHARE = 0.5  # a column that never falls and rises with more of the rows counts rows or time
ORDINARY_GROUP = "anomaly-free"
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""How files of gzip, zip, bzip2, xz and zstd begin."""
NAMES_SHOWN = 200


class Unreadable(Exception):
    """A file that holds no recording; the message says why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One file.

    Attributes:
        name: its path below the folder, with ``/``.
        group: the folder that it lies in, ``anomaly-free`` if that is part of its path.
        times: the time of each row as written; empty where there is no such column.
        channels: the names of the sensors.
        values: float64[n, k], NaN where a cell is empty or no number.
        labels: bool[n], or None where the file has none.
        odd_cells: how many cells of the channels were neither empty nor a number.
    """

    name: str
    group: str
    times: tuple[str, ...]
    channels: tuple[str, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    odd_cells: int


def find_files(folder: Path) -> list[Path]:
    """Every CSV file below the folder, in the order of their names with 2 before 10.

    Raises:
        Unreadable: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise Unreadable(f"{folder} is not a folder")
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == ".csv" and path.is_file() and not path.name.startswith(".")
    ]
    if not files:
        raise Unreadable(f"{folder} holds no .csv file, nor do the folders in it")
    return sorted(files, key=lambda path: (path.parent.parts, len(path.stem), path.stem))


def read(path: Path, folder: Path) -> Recording:
    """Read one file.

    Args:
        path: the file.
        folder: what its name is relative to.

    Raises:
        Unreadable: it is empty, cannot be opened, or has no column of numbers that could be a sensor.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error}") from error
    if content.startswith(PACKED):
        raise Unreadable("it is packed: unpack it first")
    text = content.decode("utf-8-sig", errors="replace").replace("\x00", "")
    delimiter = _delimiter(text)
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise Unreadable(f"it is no CSV file: {error}") from error
    if len(rows) < 2:
        raise Unreadable("it has no rows below its header")
    header = _names(rows[0])
    if _number(rows[0][-1], delimiter) is not None:
        raise Unreadable("its first row holds numbers where the names of the columns belong")
    cells = [[row[column].strip() if column < len(row) else "" for row in rows[1:]] for column in range(len(header))]
    columns = {name: _numbers(column, delimiter) for name, column in zip(header, cells, strict=True)}
    time = _time_column(header, columns)
    channels = tuple(name for name in columns if name != time and _is_sensor(name, columns[name]))
    if not channels:
        raise Unreadable(f"none of its columns {ascii(header)[:NAMES_SHOWN]} holds a sensor's numbers")
    name = path.relative_to(folder).as_posix()
    return Recording(
        name=name,
        group=ORDINARY_GROUP if ORDINARY_GROUP in name.lower() else path.parent.name,
        times=tuple(cells[header.index(time)]) if time else ("",) * len(cells[0]),
        channels=channels,
        values=np.column_stack([columns[channel] for channel in channels]),
        labels=_labels(columns),
        odd_cells=sum(_odd(cells[header.index(channel)], columns[channel]) for channel in channels),
    )


def readable(folder: Path, paths: Iterable[Path]) -> Iterator[tuple[str, Recording | Unreadable]]:
    """Each file's name below the folder with what it holds, or with why it cannot be read."""
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            yield name, read(path, folder)
        except Unreadable as error:
            yield name, error


def _names(cells: Sequence[str]) -> list[str]:
    names: list[str] = []
    for number, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column {number}"
        names.append(f"{name} (column {number})" if name in names else name)
    return names


def _delimiter(text: str) -> str:
    header = text.lstrip("\n\r").split("\n", 1)[0]
    return max(DELIMITERS, key=lambda delimiter: (header.count(delimiter), -DELIMITERS.index(delimiter)))


def _number(cell: str, delimiter: str) -> float | None:
    if delimiter != "," and "," in cell:
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers(cells: Sequence[str], delimiter: str) -> NDArray[np.float64]:
    numbers = (_number(cell, delimiter) for cell in cells)
    return np.array([np.nan if number is None else number for number in numbers])


def _odd(cells: Sequence[str], numbers: NDArray[np.float64]) -> int:
    unknown = np.isnan(numbers).tolist()
    return sum(1 for cell, odd in zip(cells, unknown, strict=True) if odd and cell.lower() not in {"", "nan"})


def _time_column(header: Sequence[str], columns: dict[str, NDArray[np.float64]]) -> str | None:
    named = [name for name in header if "time" in name.lower() or "date" in name.lower()]
    texts = [name for name in header if np.isnan(columns[name]).all()]
    return next(iter(named + texts), None)


def _is_sensor(name: str, numbers: NDArray[np.float64]) -> bool:
    if name.lower() in LABELS or np.isfinite(numbers).sum() < NUMBER_SHARE * len(numbers):
        return False
    later, earlier = numbers[1:], numbers[:-1]  # compared, as a difference may be more than a float holds
    counts = len(later) > 1 and bool((later >= earlier).all() and (later > earlier).mean() > RISING_SHARE)
    return not counts  # what only ever rises is a clock or a counter, whatever it is called


def _labels(columns: dict[str, NDArray[np.float64]]) -> NDArray[np.bool_] | None:
    label = next((numbers for name, numbers in columns.items() if name.lower() == LABEL), None)
    return None if label is None or np.isnan(label).all() else np.nan_to_num(label) > 0
