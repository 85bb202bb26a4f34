"""Readings for the tests of the gateway's buffer, and the buffer's files as a power cut would leave them."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.buffer.buffer import FILE_NAME, Buffer
from gateway.entries import CounterState, Entry, Parcel
from streamgauge.reading import Reading, from_microseconds

BEGIN_US = 1_790_000_000_000_000
MAX_BYTES = 64 * 2**20


def entry(
    number: int, *, device: str | None = None, time_us: int | None = None, precious: bool = False, **values: Any
) -> Entry:
    """The ``number``-th reading of a busy site of 50 stations; its level tells it from all others."""
    heard_us = BEGIN_US + number * 12_017
    reading = Reading(
        device=device or f"station-{number % 50:03d}",
        time=from_microseconds(heard_us if time_us is None else time_us),
        **{"level_m": number / 1000, "rssi_dbm": -97.0, "snr_db": 7.5} | values,
    )
    return Entry(reading, heard_us, precious)


def parcel(*numbers: int, precious: bool = False) -> Parcel:
    """Readings that are committed together, and one frame counter that goes with the last."""
    counters = [CounterState("session", numbers[-1], 2**127 + numbers[-1])] if numbers else []
    return Parcel(entries=[entry(number, precious=precious) for number in numbers], counters=counters)


def number_of(body: bytes) -> int:
    """Which reading of ``entry`` a row's body holds."""
    return round(json.loads(body)["level_m"] * 1000)


def numbers_in(buffer: Buffer, *, limit: int = 1_000_000) -> list[int]:
    """Which readings are in a buffer, in its order."""
    return [number_of(row.body) for row in buffer.first_pending(0, limit)]


def open_buffer(folder: Path, max_bytes: int = MAX_BYTES) -> Buffer:
    """The buffer in a folder."""
    return Buffer(folder, max_bytes=max_bytes)


def filled(folder: Path, commits: int, per_commit: int = 10) -> None:
    """A closed buffer with so many commits in it."""
    buffer = open_buffer(folder)
    for number in range(commits):
        buffer.append([parcel(*range(number * per_commit, (number + 1) * per_commit))])
    buffer.close()


def copy_files(source: Path, target: Path, suffixes: Iterable[str] = ("", "-wal")) -> Path:
    """The files as they are on the disk at this moment, in another folder: what a power cut leaves. Returns the folder."""
    target.mkdir(parents=True)
    for suffix in suffixes:
        if (source / f"{FILE_NAME}{suffix}").exists():
            shutil.copyfile(source / f"{FILE_NAME}{suffix}", target / f"{FILE_NAME}{suffix}")
    return target


def aside_files(folder: Path) -> list[Path]:
    """Databases that were set aside."""
    return sorted(path for path in folder.glob(f"{FILE_NAME}.damaged-*") if not path.name.endswith(("-wal", "-shm")))
