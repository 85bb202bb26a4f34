"""Recorded level series from CSV files, for training and evaluation."""

import csv
import gzip
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import PermanentError
from streamgauge.quality.series import IntArray
from streamgauge.reading import to_microseconds

FloatArray = NDArray[np.float64]

_GZIP_MAGIC = b"\x1f\x8b"


class InvalidRecord(PermanentError):
    """A file that is not a record of levels; the message names the file, the line and what was wrong."""


@dataclass(frozen=True, slots=True)
class Record:
    """One station's levels in the order of time, each instant once.

    Attributes:
        name: the file's name.
        sha256: of the file's bytes.
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n]; NaN where the file has none.
        usable: which rows may train and be history, bool[n]; ``None``: all that pass their checks.
        notes: what of the file was not taken as it stands, for a person.
    """

    name: str
    sha256: str
    time_us: IntArray
    level_m: FloatArray
    usable: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls, name: str, time_us: IntArray, level_m: FloatArray, usable: NDArray[np.bool_] | None = None
    ) -> "Record":
        """A record of stored readings; its hash is that of the arrays' bytes, a snapshot of the data.

        Args:
            name: of the station.
            time_us: microseconds since 1970, ascending, each once, int64[n].
            level_m: metres, float64[n].
            usable: rows that were not flagged, bool[n]; the others neither train nor are history.

        Raises:
            InvalidRecord: the arrays differ in length, or times do not ascend.
        """
        lengths = {len(time_us), len(level_m), len(time_us if usable is None else usable)}
        if len(lengths) != 1:
            raise InvalidRecord(f"{name}: the columns have different lengths, {sorted(lengths)}")
        if (np.diff(time_us) <= 0).any():
            raise InvalidRecord(f"{name}: times must ascend, each once")
        columns = (time_us.astype("<i8"), level_m.astype("<f8"), np.ones(0) if usable is None else usable.astype("u1"))
        sha256 = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()
        return cls(name, sha256, time_us, level_m, usable)

    @property
    def ordinary(self) -> NDArray[np.bool_]:
        """Which rows may train and be history, bool[n]."""
        return np.ones(len(self.time_us), dtype=np.bool_) if self.usable is None else self.usable

    @property
    def station(self) -> IntArray:
        """The station of each row, as the kernels take it: one for all."""
        return np.zeros(len(self.time_us), dtype=np.int64)

    def thinned(self, every: int, offset: int = 0) -> "Record":
        """Each ``every``-th row from ``offset`` on: the same water seen by a sensor that reports less often."""
        return self.take(np.arange(offset, len(self.time_us), every))

    def take(self, rows: IntArray) -> "Record":
        """Some of the rows, in order."""
        usable = None if self.usable is None else self.usable[rows]
        return Record(self.name, self.sha256, self.time_us[rows], self.level_m[rows], usable)

    def with_rows(self, time_us: IntArray, level_m: FloatArray) -> "Record":
        """The same rows with other times and levels."""
        return Record(self.name, self.sha256, time_us, level_m, self.usable)


def read_record(path: Path) -> Record:
    """Read a CSV file, plain or gzip-compressed, with the columns ``time`` (ISO 8601 with offset) and ``level_m``.

    Rows may be in any order; of several rows of one instant the first in the file counts. An empty level is none.

    Raises:
        InvalidRecord: the file cannot be read, lacks a column, or has a value that is neither a number nor empty.
    """
    try:
        content = path.read_bytes()
        plain = gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
        rows = list(_parse(plain.decode("utf-8-sig"), path))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"{path} cannot be read as a CSV file: {error}") from error
    if not rows:
        raise InvalidRecord(f"{path} has no rows")
    times = np.array([row[0] for row in rows], dtype=np.int64)
    time_us, first = np.unique(times, return_index=True)
    level_m = np.array([row[1] for row in rows], dtype=np.float64)[first]
    return Record(path.name, hashlib.sha256(content).hexdigest(), time_us, level_m, notes=_notes(times, len(time_us)))


def _notes(times: IntArray, instants: int) -> tuple[str, ...]:
    """What a reader of figures must know of the file's rows."""
    notes = []
    if instants < len(times):
        notes.append(f"{len(times) - instants:,} of {len(times):,} rows repeat an instant; the first of each counts")
    backwards = int(np.count_nonzero(np.diff(times) < 0))
    if backwards:
        notes.append(f"time goes back {backwards:,} times in the file; rows were put in the order of time")
    return tuple(notes)


def _parse(text: str, path: Path) -> Iterator[tuple[int, float]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = {"time", "level_m"} - set(reader.fieldnames or ())
    if missing:
        raise InvalidRecord(f"{path} has no column {' and no column '.join(sorted(missing))}")
    for row in reader:
        try:
            time = datetime.fromisoformat(row["time"])
            if time.tzinfo is None:
                raise ValueError(f"the time {row['time']} has no offset; write it as in 2026-11-21T02:30:00Z")
            if row["level_m"] is None:
                raise ValueError("the row ends before its level_m")
            yield to_microseconds(time), float(row["level_m"] or "nan")
        except (ValueError, TypeError) as error:
            raise InvalidRecord(f"{path}, line {reader.line_num}: {error}") from error
