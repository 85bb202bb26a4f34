"""The gateway's memory through an outage: readings, frame counters and the local model's contexts in one SQLite file.

Write-ahead log, full synchronisation: what ``commit`` has returned for survives a power cut; what it raised for is not in
the file, not even in part.

When the buffer is full (``max_bytes``), ordinary readings are given up oldest first, and precious ones, which a rule or the
score has marked, oldest first when no ordinary ones are left. The file keeps its greatest length: pages of deleted rows are
used again.

When the *disk* is full nothing that was promised is given up: ``commit`` raises ``BufferFull``, so that what comes now is not
acknowledged and its sender keeps it or is told so. Until then every space is used: the ballast is given up, and the file grows
into its place. Only a reserve is left, and the log is kept short: with them deletions can still be written, and the log finds its
way into the file, or nothing would ever make room again. All this is looked at anew at each commit, and so ends by itself.
"""

import fcntl
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.buffer import rows as buffer_rows
from gateway.buffer.ballast import Ballast
from gateway.buffer.faults import BufferFull, BufferInUse, BufferUnwritable, FileDamaged, ParcelTooLarge
from gateway.buffer.file import BufferFile, Sizes
from gateway.buffer.rows import Buffered, Changes, Context, Improvement, Outcome, SeqRange
from gateway.buffer.schema import PAGE_BYTES
from gateway.entries import CounterState, Entry, Parcel
from gateway.seldom import Seldom
from streamgauge.gateway_metrics import BUFFER_DROPPED, BUFFER_FAULTS, COMMIT_SECONDS, READINGS_REFUSED

log = logging.getLogger("streamgauge.gateway.buffer")

FILE_NAME = "buffer.db"
SMALLEST_MAX_BYTES = 2**20
_SHARE_DROPPED = 200
"""When room is made, at least the 200th part of all readings goes at once, so that it is not made for every reading."""

_SPARE_PAGES = 16
_MOST_PAGES_PER_READING = 6
_MAX_REBUILDS = 2
_DISK_STEPS = 2
_RESERVE_SHARE = 4
"""The file stops growing when no more than this part of the ballast's size is free."""

_NO_END = 2**63 - 1


class Buffer:
    """The buffer in one folder. Every method may be called from any thread; one connection writes, one reads.

    Args:
        directory: the folder; made where it is not there.
        max_bytes: the greatest size of all its files together (damaged ones that were set aside are not counted).

    Raises:
        BufferInUse: another process has it open.
        BufferUnwritable: the disk or the permissions do not allow it.
        BufferTooNew: a newer program's file.
        ValueError: ``max_bytes`` is less than 1 MiB.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        if max_bytes < SMALLEST_MAX_BYTES:
            raise ValueError(f"max_bytes is {max_bytes}; a buffer needs at least {SMALLEST_MAX_BYTES}")
        sizes = Sizes.of(max_bytes)
        self._file = BufferFile(directory / FILE_NAME, sizes)
        self._ballast = Ballast(directory / "ballast", sizes.ballast_bytes)
        self._sizes = sizes
        self._dropping = Seldom(log, logging.WARNING, "the buffer is full: readings are given up")
        self.dropped = 0
        """Readings given up since the start."""
        self._lock_folder(directory)
        try:
            with self._file.writing:
                self._open()
                self._ballast.lay()
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """Readings in the buffer."""
        return self._file.count

    @property
    def precious_count(self) -> int:
        """How many of them go last when it is full."""
        return self._file.precious_count

    @property
    def last_seq(self) -> int:
        """The highest sequence number that was ever committed."""
        return self._file.last_seq

    def commit(self, changes: Changes) -> list[Entry]:
        """Carry out all changes in one transaction; returns the readings that were not there before, as they are kept.

        Raises:
            BufferFull: no room can be made; nothing was changed.
            BufferUnwritable: the file cannot be written now; nothing was changed.
            ParcelTooLarge: the parcels do not fit even into an empty buffer; nothing was changed.
        """
        begun_s = time.perf_counter()
        with self._file.writing:
            outcome = self._commit(changes)
            self._note(outcome)
        COMMIT_SECONDS.observe(time.perf_counter() - begun_s)
        return [entry for _, entry in outcome.added]

    def append(self, parcels: Sequence[Parcel]) -> list[Entry]:
        """``commit`` for readings and counters alone."""
        return self.commit(Changes(parcels=parcels))

    def delete(self, ranges: Sequence[SeqRange]) -> None:
        """``commit`` for deletions alone: ranges of sequence numbers, ends included."""
        self.commit(Changes(deletions=ranges))

    def improve(self, device: str, time_us: int, rssi_dbm: float | None, snr_db: float | None) -> None:
        """``commit`` for better radio values of a reading that may still be here."""
        self.commit(Changes(improvements=[Improvement(device, time_us, rssi_dbm, snr_db)]))

    def put_context(self, device: str, body: bytes, saved_us: int) -> None:
        """``commit`` for what the local model remembers of a device."""
        self.commit(Changes(contexts=[Context(device, body, saved_us)]))

    def first_pending(self, after_seq: int, limit: int, until_seq: int = _NO_END) -> list[Buffered]:
        """The first ``limit`` readings behind ``after_seq``, up to ``until_seq``, in the order of acceptance.

        Raises:
            BufferUnwritable: the file cannot be read now.
        """
        return self._file.read(lambda reader: buffer_rows.pending(reader, after_seq, until_seq, limit))

    def oldest_gateway_time_us(self) -> int | None:
        """When the reading that was accepted first was heard, microseconds since 1970 by our clock."""
        first = self.first_pending(0, 1)
        return first[0].gateway_time_us if first else None

    def counters(self) -> dict[str, CounterState]:
        """Every session's frame counters, by session.

        Raises:
            BufferUnwritable: the file cannot be read now.
        """
        query = "SELECT session, newest, window FROM counters"
        return buffer_rows.read_counters(self._file.read(lambda reader: reader.execute(query).fetchall()))

    def get_context(self, device: str) -> Context | None:
        """What the local model remembers of a device.

        Raises:
            BufferUnwritable: the file cannot be read now.
        """
        query = "SELECT device, body, saved_us FROM contexts WHERE device = ?"
        row = self._file.read(lambda reader: reader.execute(query, (device,)).fetchone())
        return None if row is None else Context(*row)

    def size_bytes(self) -> int:
        """The present size of the buffer's files, ballast included."""
        return self._file.size_bytes() + (self._sizes.ballast_bytes if self._ballast.is_laid else 0)

    def look_at_file(self) -> None:
        """See that the file still has its name, and put it back if somebody has removed it; call it about once a second.

        Raises:
            BufferUnwritable: the file cannot be used now.
        """
        with self._file.writing:
            self._file.open()

    def lay_ballast(self) -> None:
        """Occupy the ballast's space again if the disk has plenty; call it about once a minute.

        Raises:
            BufferUnwritable: the file cannot be used now.
        """
        with self._file.writing:
            self._file.open()
            self._ballast.lay()

    def close(self) -> None:
        """Carry the write-ahead log over and let go of the folder."""
        with self._file.writing:
            self._file.shut()
            self._lock.close()

    def _lock_folder(self, directory: Path) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (directory / "buffer.lock").open("a")
        except OSError as error:
            raise BufferUnwritable(f"the buffer's folder cannot be used: {error}; check GATEWAY_DIR") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise BufferInUse(f"another gateway runs with {directory}; stop it or use another folder") from error

    def _commit(self, changes: Changes) -> Outcome:
        rebuilds = attempt = to_drop = 0
        while True:
            try:
                self._file.open()
                self._heed_space()
                with self._file.transaction() as connection:
                    return buffer_rows.apply(connection, changes, self.last_seq + 1, to_drop)
            except FileDamaged as damage:
                rebuilds += 1
                if rebuilds > _MAX_REBUILDS:
                    raise BufferUnwritable(
                        f"the buffer is damaged again and again ({damage}); replace its disk"
                    ) from damage
                self._file.rebuild(damage)
            except BufferFull as full:
                attempt += 1
                to_drop = self._make_room(changes, to_drop, attempt, full)

    def _make_room(self, changes: Changes, to_drop: int, attempt: int, full: BufferFull) -> int:
        """Do the next thing that may help; returns how many readings the next attempt is to give up.

        Raises:
            BufferFull: nothing is left to do.
            ParcelTooLarge: everything was given up and it does not fit.
        """
        incoming = sum(len(parcel.entries) for parcel in changes.parcels)
        everything = self.count + incoming
        adds = bool(changes.parcels or changes.contexts or changes.improvements)
        if adds and not full.is_disk and self._file.free_pages() < _SPARE_PAGES + incoming * _MOST_PAGES_PER_READING:
            if not self._file.may_grow:
                raise full  # The disk is to blame: what was promised is kept, and what comes now waits.
            if to_drop >= everything:
                raise ParcelTooLarge(
                    f"{incoming} readings and what belongs to them do not fit into the buffer; enlarge it"
                ) from full
            return self._more_to_drop(to_drop, incoming)
        if attempt > _DISK_STEPS:
            raise full
        BUFFER_FAULTS.labels("disk_full").inc(attempt == 1)
        if attempt > 1:
            self._ballast.give_up()
        self._file.carry_log_over()
        return to_drop

    def _open(self) -> None:
        """Open the file, in the ballast's place if there is no other: even an index of the log needs some space."""
        try:
            self._file.open()
        except BufferFull:
            if not self._ballast.give_up():
                raise
            self._file.open()

    def _heed_space(self) -> None:
        """See the module: what a full disk still allows."""
        free_bytes = self._free_bytes()
        low_bytes = self._sizes.log_pages * PAGE_BYTES
        self._file.keep_log_short(is_wanted=free_bytes < low_bytes)
        to_be_had_bytes = free_bytes + (self._sizes.ballast_bytes if self._ballast.is_laid else 0)
        self._file.let_grow(is_allowed=to_be_had_bytes > self._sizes.ballast_bytes // _RESERVE_SHARE)

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._file.path.parent).free
        except OSError:
            return 0

    def _more_to_drop(self, to_drop: int, incoming: int) -> int:
        if to_drop:
            return to_drop * 2
        share = self.count // _SHARE_DROPPED
        return max(incoming, 1, share if share <= self.count - self.precious_count else 0)

    def _note(self, outcome: Outcome) -> None:
        added = [entry for _, entry in outcome.added]
        ordinary = outcome.dropped_ordinary + outcome.dropped_unwritten
        stored_dropped = outcome.dropped_ordinary + outcome.dropped_precious
        file = self._file
        file.count += len(added) - outcome.deleted - stored_dropped
        file.precious_count += (
            sum(entry.precious for entry in added) - outcome.deleted_precious - outcome.dropped_precious
        )
        if added:
            file.last_seq = outcome.added[-1][0]
        if outcome.duplicates:
            READINGS_REFUSED.labels("duplicate").inc(outcome.duplicates)
        if ordinary or outcome.dropped_precious:
            self.dropped += ordinary + outcome.dropped_precious
            BUFFER_DROPPED.labels("ordinary").inc(ordinary)
            BUFFER_DROPPED.labels("precious").inc(outcome.dropped_precious)
            self._dropping.note(ordinary + outcome.dropped_precious, buffered=file.count)
