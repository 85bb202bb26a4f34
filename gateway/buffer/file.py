"""The buffer's file as two open connections, one that writes and one that reads; opened again and rebuilt as need be."""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from gateway.buffer import rows as buffer_rows
from gateway.buffer.faults import DATABASE_ERRORS, BufferFull, BufferUnwritable, FileDamaged, fault_of
from gateway.buffer.log import log_of
from gateway.buffer.salvage import Salvaged, keep_damaged_log, rebuild, rescue, resume, sync_folder
from gateway.buffer.schema import LAST_SEQ, PAGE_BYTES, connect, connect_reader
from streamgauge.errors import StreamgaugeError
from streamgauge.gateway_metrics import BUFFER_FAULTS

log = logging.getLogger("streamgauge.gateway.buffer")

Result = TypeVar("Result")
Places = tuple[tuple[int, int] | None, ...]

_LARGEST_BALLAST_BYTES = 4 * 2**20
_LARGEST_LOG_PAGES = 750
_LARGEST_LOG_BYTES = 8 * 2**20
_SHORT_LOG_SHARE = 8
_MAX_REBUILDS = 2
_ROWS_LOOKED_AT = 100


class Sizes(NamedTuple):
    """How the greatest size of all files together is divided among them."""

    pages: int
    log_pages: int
    log_bytes: int
    ballast_bytes: int

    @classmethod
    def of(cls, max_bytes: int) -> "Sizes":
        """An eighth, at most 4 MiB, is ballast; an eighth, at most 8 MiB, is for the write-ahead log.

        The log is carried over long before it is as long as the ballast: what it holds fits into the ballast's place.
        """
        ballast_bytes = min(_LARGEST_BALLAST_BYTES, max_bytes // 8)
        log_bytes = min(_LARGEST_LOG_BYTES, max_bytes // 8)
        log_pages = max(8, min(_LARGEST_LOG_PAGES, log_bytes // (2 * PAGE_BYTES)))
        return cls((max_bytes - ballast_bytes - log_bytes) // PAGE_BYTES, log_pages, log_bytes, ballast_bytes)


class BufferFile:
    """See the module. Not open until ``open``.

    Args:
        path: where it is.
        sizes: its bounds.

    Attributes:
        writing: the lock to hold around ``open``, ``transaction``, ``rebuild`` and whatever belongs together with them.
        count, precious_count: its rows, counted when it was opened; the owner keeps them up.
        last_seq: the highest sequence number that was ever used, likewise.
        may_grow: see ``let_grow``.
    """

    def __init__(self, path: Path, sizes: Sizes) -> None:
        self.path = path
        self.writing = threading.RLock()
        self.count = self.precious_count = self.last_seq = 0
        self._sizes = sizes
        self._reading = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._generation = 0
        self._is_suspect = self._is_shut = False
        self.may_grow = True
        self._is_log_short = False
        self._opened_places: Places = ()

    def open(self) -> None:
        """Open the file unless it is open and sound; a damaged one is rebuilt, and so is one that was removed meanwhile.

        Raises:
            BufferUnwritable: the disk or the permissions do not allow it.
            BufferTooNew: a newer program's.
        """
        if self._is_shut:
            raise BufferUnwritable("the buffer was closed")
        if self._writer is not None and self._places() != self._opened_places:
            self._replace_removed()
        if self._is_suspect:
            self.close()
        rebuilds = 0
        while self._writer is None:
            try:
                self._connect()
            except FileDamaged as damage:
                rebuilds += 1
                if rebuilds > _MAX_REBUILDS:
                    raise BufferUnwritable(f"a new buffer is damaged at once ({damage}); replace the disk") from damage
                self.rebuild(damage)

    def close(self) -> None:
        """Close both connections; the log is carried over into the file as far as possible."""
        with self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    with contextlib.suppress(*DATABASE_ERRORS):
                        connection.close()
            self._reader = self._writer = None
            self._is_suspect = False

    def shut(self) -> None:
        """Close it for good. Of a file that was removed meanwhile nothing would be left, so that it is put back first."""
        if self._writer is not None:
            try:
                self.open()
            except StreamgaugeError as error:
                log.error("the buffer's file could not be looked at before it was closed", extra={"reason": str(error)})  # noqa: TRY400
        self._is_shut = True
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction, committed and on the disk at the end, or rolled back.

        Raises:
            FileDamaged: the file must be rebuilt.
            BufferFull: there is no space for it.
            BufferUnwritable: it cannot be written.
        """
        with self._faults() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            try:
                connection.execute("COMMIT")
            except DATABASE_ERRORS as error:
                fault = fault_of(error)
                if isinstance(fault, BufferFull):
                    fault.is_disk = True
                raise fault from error

    def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """The result of a query, beside whatever is being written. A file that turns out to be damaged is rebuilt first.

        Raises:
            BufferUnwritable: the file cannot be read now.
        """
        for _ in range(_MAX_REBUILDS + 1):
            damage: FileDamaged | None = None
            with self._reading:
                generation = self._generation
                try:
                    if self._reader is not None:
                        return query(self._reader)
                except DATABASE_ERRORS as error:
                    fault = fault_of(error)
                    if not isinstance(fault, FileDamaged):
                        self._is_suspect = True
                        raise fault from error
                    damage = fault
                except FileDamaged as error:
                    damage = error
            with self.writing:
                if damage is not None and generation == self._generation:
                    self.rebuild(damage)
                self.open()
        raise BufferUnwritable("the buffer is damaged again and again; replace its disk")

    def rebuild(self, damage: FileDamaged) -> None:
        """Set the file aside and go on with a new one that holds what could be read of it; it is open afterwards.

        Raises:
            BufferUnwritable: the disk does not allow it; the damaged file is still where it was.
        """
        BUFFER_FAULTS.labels("damaged").inc()
        log.error("the buffer's file is damaged: it is set aside", extra={"reason": str(damage)})
        with self._reading:
            self.close()
            self._generation += 1
            try:
                salvaged = rebuild(self.path, known_last_seq=self.last_seq, max_pages=self._sizes.pages)
            except (OSError, *DATABASE_ERRORS) as error:
                raise BufferUnwritable(f"the damaged buffer cannot be replaced: {error}; check its disk") from error
        _report(salvaged)

    def free_pages(self) -> int:
        """How many pages may still be written before the file has its greatest length."""
        with self._faults() as connection:
            most, used, unused = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("max_page_count", "page_count", "freelist_count")
            )
        return int(most - used + unused)

    def let_grow(self, *, is_allowed: bool) -> None:
        """Whether the file may grow up to its bound, or only use the pages that it has."""
        if is_allowed is self.may_grow:
            return
        with self._faults() as connection:
            # SQLite makes the present length of it if less is asked for.
            connection.execute(f"PRAGMA max_page_count = {self._sizes.pages if is_allowed else 1}").fetchone()
        self.may_grow = is_allowed

    def keep_log_short(self, *, is_wanted: bool) -> None:
        """Whether the log is carried over much earlier, so that it takes little of a nearly full disk."""
        if is_wanted is self._is_log_short:
            return
        pages = max(8, self._sizes.log_pages // _SHORT_LOG_SHARE) if is_wanted else self._sizes.log_pages
        with self._faults() as connection:
            connection.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchone()
        self._is_log_short = is_wanted

    def carry_log_over(self) -> None:
        """Let the log be written from its beginning again, which needs no new space; it may fail on a full disk."""
        with contextlib.suppress(BufferUnwritable), self._faults() as connection:
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def size_bytes(self) -> int:
        """The present size of database, log and shared index."""
        size = 0
        for path in (self.path, log_of(self.path), self.path.with_name(self.path.name + "-shm")):
            with contextlib.suppress(OSError):
                size += path.stat().st_size
        return size

    def _connect(self) -> None:
        with self._reading:
            try:
                resume(self.path)
                self._keep_damaged_log(None)
                sizes = self._sizes
                self._writer = writer = connect(
                    self.path, log_pages=sizes.log_pages, log_bytes=sizes.log_bytes, max_pages=sizes.pages
                )
                self._keep_damaged_log(writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
                self.may_grow, self._is_log_short = True, False
                self._reader = connect_reader(self.path)
                self._count(writer)
                self._opened_places = self._places()
                sync_folder(self.path.parent)
            except OSError as error:
                self.close()
                raise BufferUnwritable(f"the buffer cannot be opened: {error}") from error
            except DATABASE_ERRORS as error:
                self.close()
                raise fault_of(error) from error
            except BaseException:
                self.close()
                raise

    def _places(self) -> Places:
        """Which files the names of database and log stand for now."""
        places: list[tuple[int, int] | None] = []
        for path in (self.path, log_of(self.path)):
            try:
                found = path.stat()
            except FileNotFoundError:
                places.append(None)
            except OSError as error:
                raise BufferUnwritable(f"the buffer's folder cannot be read: {error}; check its disk") from error
            else:
                places.append((found.st_dev, found.st_ino))
        return tuple(places)

    def _replace_removed(self) -> None:
        """Put a new file in the place of one that has lost its name, with what the old one holds as long as it is open.

        Raises:
            BufferUnwritable: the disk does not allow it; the old file is still open, and the next attempt begins anew.
        """
        BUFFER_FAULTS.labels("removed").inc()
        log.error("the buffer's file was removed or replaced while in use", extra={"path": str(self.path)})
        with self._reading:
            if self._reader is None:
                return
            try:
                # The reader sees what is committed, whatever state the writer is in.
                salvaged = rescue(self.path, self._reader, known_last_seq=self.last_seq, max_pages=self._sizes.pages)
            except (OSError, *DATABASE_ERRORS) as error:
                raise BufferUnwritable(
                    f"the buffer was removed and cannot be made anew: {error}; check its disk"
                ) from error
            self.close()
            self._generation += 1
        _report(salvaged)

    def _count(self, writer: sqlite3.Connection) -> None:
        """Counts rows by the index on time and looks at the first and the last ones.

        Reading everything would take the time that a card reader needs for the whole file; damage elsewhere shows when
        a row is read.
        """
        count, precious_count, last_seq = (
            writer.execute(query).fetchone()[0]
            for query in ("SELECT count(*) FROM readings", "SELECT count(*) FROM readings WHERE precious", LAST_SEQ)
        )
        for after in (0, last_seq - _ROWS_LOOKED_AT):
            buffer_rows.pending(writer, after, last_seq, _ROWS_LOOKED_AT)
        self.count, self.precious_count, self.last_seq = count, precious_count, max(self.last_seq, last_seq)

    def _keep_damaged_log(self, frames_taken: int | None) -> None:
        aside = keep_damaged_log(self.path, frames_taken)
        if aside is not None:
            BUFFER_FAULTS.labels("damaged_log").inc()
            log.error(
                "the buffer's log is damaged: what it held last is lost; a copy is kept", extra={"copy": str(aside)}
            )

    @contextlib.contextmanager
    def _faults(self) -> Iterator[sqlite3.Connection]:
        """The writing connection; SQLite's errors are translated, and an open transaction is rolled back."""
        connection = self._writer
        if connection is None:
            raise BufferUnwritable("the buffer is not open")
        try:
            yield connection
        except BaseException as error:
            # SQLite has rolled back by itself after most faults.
            with contextlib.suppress(*DATABASE_ERRORS):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            self._is_suspect = connection.in_transaction
            if isinstance(error, BufferUnwritable):
                self._is_suspect |= not isinstance(error, BufferFull)
            if not isinstance(error, DATABASE_ERRORS):
                raise
            fault = fault_of(error)
            self._is_suspect |= not isinstance(fault, BufferFull)
            raise fault from error


def _report(salvaged: Salvaged) -> None:
    log.error(
        "what could be read of the old buffer is in a new one",
        extra={
            "rows": salvaged.rows,
            "counters": salvaged.counters,
            "unreadable_stretches": len(salvaged.unreadable),
            "spoilt_rows": salvaged.spoilt,
            "aside": str(salvaged.aside),
        },
    )
