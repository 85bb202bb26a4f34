"""A damaged buffer file: what can still be read of it goes into a new one, and it is itself set aside, never deleted.

The order makes it safe to be cut off at any moment: the new file is complete and on the disk before the damaged one is
renamed; a new file beside a damaged one is thrown away and made again; a new file alone takes its place.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.buffer.faults import DATABASE_ERRORS, FileDamaged
from gateway.buffer.log import complete_transactions, has_sound_header, log_of
from gateway.buffer.pages import Row, rows_in_pages
from gateway.buffer.schema import LAST_SEQ, PAGE_BYTES, checksum, ensure_tables, open_plain

log = logging.getLogger("streamgauge.gateway.buffer")

_CHUNK_ROWS = 2_000
_HIGHEST_SEQ = 2**62
_UNKNOWN_GAP = 1_000_000
"""So far above the highest row that was found the new file goes on if the old one's last number cannot be read."""

_ROWS = """SELECT seq, device, time_us, gateway_time_us, precious, checksum, body FROM readings NOT INDEXED
WHERE seq > ? ORDER BY seq LIMIT ?"""

_INSERT = "INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(slots=True)
class Salvaged:
    """What came out of a damaged file.

    Attributes:
        rows: readings taken over; likewise counters and contexts.
        unreadable: stretches of sequence numbers, as (after, until), to which the tree does not lead any more.
        spoilt: rows that could be read and whose checksum was wrong.
        last_seq: the highest sequence number that was ever used, as far as it is known.
        aside: where the damaged file stands now.
    """

    rows: int = 0
    counters: int = 0
    contexts: int = 0
    unreadable: list[tuple[int, int]] = field(default_factory=list)
    spoilt: int = 0
    last_seq: int = 0
    aside: Path | None = field(default=None)


def rebuild(path: Path, *, known_last_seq: int, max_pages: int) -> Salvaged:
    """Set a damaged file aside and put a new one with its rows in its place. Nobody may have it open.

    Args:
        path: the buffer's file.
        known_last_seq: the highest sequence number that the caller knows of.
        max_pages: the greatest length of the new file.

    Raises:
        OSError: the disk does not allow it.
        sqlite3.Error: likewise.
    """
    salvaged = Salvaged(last_seq=known_last_seq)
    with _new_file(path, max_pages, salvaged) as target:
        try:
            with _readable_copy(path) as source:
                _copy(source, target, salvaged)
            if salvaged.unreadable:
                _copy_from_pages(path, target, salvaged)
        except (OSError, *DATABASE_ERRORS):
            log.exception("nothing more can be salvaged", extra={"rows": salvaged.rows})
            if target.in_transaction:
                target.execute("ROLLBACK")
    _put_in_place(path, salvaged)
    return salvaged


def rescue(path: Path, source: sqlite3.Connection, *, known_last_seq: int, max_pages: int) -> Salvaged:
    """Like ``rebuild`` for a file that somebody has removed or replaced while it was open: its rows exist only as long as
    ``source``, an open connection to it. What stands in its place now is set aside.

    Raises:
        OSError: the disk does not allow it; ``source`` is still all there is.
        sqlite3.Error: likewise.
    """
    salvaged = Salvaged(last_seq=known_last_seq)
    with _new_file(path, max_pages, salvaged) as target:
        _copy(source, target, salvaged)
    _put_in_place(path, salvaged)
    return salvaged


@contextlib.contextmanager
def _new_file(path: Path, max_pages: int, salvaged: Salvaged) -> Iterator[sqlite3.Connection]:
    """An empty buffer to be filled; at the end complete and on the disk."""
    new = _new_file_of(path)
    _remove(new)
    with contextlib.closing(open_plain(new)) as target:
        target.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        target.execute("PRAGMA journal_mode = MEMORY")
        target.execute("PRAGMA synchronous = OFF")
        target.execute(f"PRAGMA max_page_count = {max_pages}")
        ensure_tables(target)
        yield target
        target.execute("DELETE FROM sqlite_sequence")
        target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('readings', ?)", (salvaged.last_seq,))
        target.execute("PRAGMA journal_mode = WAL")
    _sync(new)


def _put_in_place(path: Path, salvaged: Salvaged) -> None:
    salvaged.aside = set_aside(path)
    _new_file_of(path).replace(path)
    sync_folder(path.parent)


def resume(path: Path) -> None:
    """Finish a rebuilding that was cut off; to be called before the file is opened."""
    new = _new_file_of(path)
    if not new.exists():
        return
    if path.exists():
        _remove(new)
        return
    set_aside(path)
    new.replace(path)
    sync_folder(path.parent)


def set_aside(path: Path) -> Path:
    """Rename a database, its log and its index to names that were never used; the database goes first."""
    aside = _free_name(path)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    sync_folder(path.parent)
    return aside


def keep_damaged_log(path: Path, frames_taken: int | None) -> Path | None:
    """Copy the write-ahead log aside if SQLite cannot have taken what was committed into it.

    Args:
        path: the database file.
        frames_taken: up to which frame SQLite has taken the log; None before it was opened.
    """
    wal = log_of(path)
    if frames_taken is None:
        is_damaged = not has_sound_header(wal)
    else:
        is_damaged = sum(end > frames_taken for end in complete_transactions(wal)) > 1
    if not is_damaged:
        return None
    aside = _free_name(wal)
    shutil.copyfile(wal, aside)
    return aside


def sync_folder(folder: Path) -> None:
    """Bring renamed and new names onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, salvaged: Salvaged) -> None:
    """Counters go first: they are few, and without them old frames could be played back."""
    target.execute("BEGIN")
    salvaged.counters = _copy_small(source, target, "counters", ("session", "newest", "window"))
    salvaged.contexts = _copy_small(source, target, "contexts", ("device", "body", "saved_us"))
    target.execute("COMMIT")
    for rows in _readable_rows(source, salvaged):
        _insert(target, rows, salvaged)
    try:
        last_seq = source.execute(LAST_SEQ).fetchone()[0]
    except DATABASE_ERRORS:
        last_seq = salvaged.last_seq + _UNKNOWN_GAP
    salvaged.last_seq = max(salvaged.last_seq, last_seq if 0 <= last_seq < _HIGHEST_SEQ else 0)


def _copy_from_pages(path: Path, target: sqlite3.Connection, salvaged: Salvaged) -> None:
    hidden = (
        row for row in rows_in_pages(path) if any(after < row[0] <= until for after, until in salvaged.unreadable)
    )
    while rows := list(islice(hidden, _CHUNK_ROWS)):
        _insert(target, rows, salvaged)


def _insert(target: sqlite3.Connection, rows: list[Row], salvaged: Salvaged) -> None:
    target.execute("BEGIN")
    salvaged.rows += target.executemany(_INSERT, rows).rowcount
    target.execute("COMMIT")
    salvaged.last_seq = max(salvaged.last_seq, *(row[0] for row in rows))


def _copy_small(source: sqlite3.Connection, target: sqlite3.Connection, table: str, columns: Iterable[str]) -> int:
    names = ", ".join(columns)
    copied = 0
    try:
        for row in source.execute(f"SELECT {names} FROM {table}"):  # noqa: S608 - names of ours
            try:
                target.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES (?, ?, ?)", row)  # noqa: S608
                copied += 1
            except sqlite3.IntegrityError as error:
                log.warning("a row cannot be salvaged", extra={"table": table, "reason": str(error)})
    except DATABASE_ERRORS as error:
        log.warning(
            "a table cannot be salvaged completely", extra={"table": table, "reason": str(error), "rows": copied}
        )
    return copied


def _readable_rows(source: sqlite3.Connection, salvaged: Salvaged) -> Iterator[list[Row]]:
    """Sound rows in the order of acceptance, many at a time, past whatever cannot be read."""
    after, limit = 0, _CHUNK_ROWS
    while True:
        try:
            rows = _in_order(source.execute(_ROWS, (after, limit)).fetchall(), after)
        except (FileDamaged, *DATABASE_ERRORS):
            if limit > 1:
                limit = max(1, limit // 8)
                continue
            reachable = _next_readable(source, after)
            salvaged.unreadable.append((after, reachable or _HIGHEST_SEQ))
            if reachable is None:
                return
            after = reachable
            continue
        if not rows:
            if salvaged.unreadable and salvaged.unreadable[-1][1] == after:
                # A tree that is damaged there need not be right in saying that nothing follows.
                salvaged.unreadable[-1] = (salvaged.unreadable[-1][0], _HIGHEST_SEQ)
            return
        limit = min(_CHUNK_ROWS, limit * 8)
        sound = [row for row in rows if _is_sound(row)]
        salvaged.spoilt += len(rows) - len(sound)
        if sound:
            yield sound
        after = rows[-1][0]


def _next_readable(source: sqlite3.Connection, after: int) -> int | None:
    """The lowest place behind ``after`` from which a row can be read; None if there is none.

    Pages are found by descending the tree from its root, so that rows behind a bad page are reached by asking for a
    higher number: ever longer strides until one succeeds, then halving.
    """
    stride, low = 1, after
    while _can_read(source, after + stride) is None:
        low = after + stride
        stride *= 2
        if after + stride > _HIGHEST_SEQ:
            return None
    high = after + stride
    while high - low > 1:
        middle = (low + high) // 2
        if _can_read(source, middle) is None:
            low = middle
        else:
            high = middle
    return high


def _can_read(source: sqlite3.Connection, after: int) -> bool | None:
    """Whether there is a row behind a place; None if that cannot be read."""
    try:
        return bool(_in_order(source.execute(_ROWS, (after, 1)).fetchall(), after))
    except (FileDamaged, *DATABASE_ERRORS):
        return None


def _in_order(rows: list[Row], after: int) -> list[Row]:
    """The first rows, as far as their numbers rise: a damaged tree may lead round in a circle.

    Raises:
        FileDamaged: there are rows, and the first is none of those that were asked for.
    """
    for place, row in enumerate(rows):
        if type(row[0]) is not int or row[0] <= after:
            if not place:
                raise FileDamaged(f"a row out of order behind {after}")
            return rows[:place]
        after = row[0]
    return rows


def _is_sound(row: tuple[Any, ...]) -> bool:
    seq, device, time_us, gateway_time_us, precious, check, body = row
    if not isinstance(device, str) or not isinstance(body, bytes) or check != checksum(seq, body):
        return False
    return all(isinstance(value, int) for value in (time_us, gateway_time_us, precious))


@contextlib.contextmanager
def _readable_copy(path: Path) -> Iterator[sqlite3.Connection]:
    """The damaged file, opened so that it is not changed; if its first page is beyond reading, a copy with a new one."""
    source = _open_unchanged(path)
    if source is not None:
        with contextlib.closing(source):
            yield source
        return
    copy = path.with_name(path.name + ".salvaging")
    try:
        _copy_with_first_page(path, copy)
        with contextlib.closing(open_plain(copy)) as patched:
            yield patched
    finally:
        _remove(copy)


def _open_unchanged(path: Path) -> sqlite3.Connection | None:
    source = None
    try:
        source = open_plain(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        source.execute("SELECT newest FROM counters LIMIT 0")
        source.execute("SELECT seq FROM readings LIMIT 0")
    except DATABASE_ERRORS:
        if source is not None:
            source.close()
        return None
    return source


def _copy_with_first_page(path: Path, copy: Path) -> None:
    """Copy a database and give it the first page of an empty buffer, which names the same root pages."""
    _remove(copy)
    with contextlib.closing(open_plain(copy)) as empty:
        empty.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        empty.execute("PRAGMA journal_mode = DELETE")
        ensure_tables(empty)
    first_page = bytearray(copy.read_bytes()[:PAGE_BYTES])
    shutil.copyfile(path, copy)
    pages = copy.stat().st_size // PAGE_BYTES
    # Offsets 28: length in pages; 32: first page and number of the free list (fileformat2.html, 1.3).
    first_page[28:32] = pages.to_bytes(4, "big")
    first_page[32:40] = bytes(8)
    with copy.open("r+b") as file:
        file.write(first_page)
    wal = log_of(path)
    if wal.exists():
        # 2 at offsets 18 and 19: there is a write-ahead log.
        with copy.open("r+b") as file:
            file.seek(18)
            file.write(b"\2\2")
        shutil.copyfile(wal, log_of(copy))


def _free_name(path: Path) -> Path:
    stem = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names: Callable[[int], str] = lambda number: stem if number == 1 else f"{stem}-{number}"  # noqa: E731
    number = 1
    while any(path.with_name(names(number) + suffix).exists() for suffix in ("", "-wal", "-shm")):
        number += 1
    return path.with_name(names(number))


def _new_file_of(path: Path) -> Path:
    return path.with_name(path.name + ".rebuilt")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
