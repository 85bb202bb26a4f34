"""The one thread that writes the buffer: everything that waits goes into one transaction, and then it is told so.

Nothing is acknowledged before its commit: a parcel's ``done`` is called after it and never otherwise. While the buffer cannot
be written, a bounded number of readings waits in memory, attempts are repeated with backoff and jitter, and ``submit`` says
no when the bound is reached.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gateway.buffer.buffer import Buffer
from gateway.buffer.rows import Changes, Context, Improvement, SeqRange
from gateway.entries import Entry, Parcel
from gateway.seldom import Seldom
from streamgauge.errors import TransientError
from streamgauge.gateway_metrics import (
    BUFFER_BYTES,
    BUFFER_FAULTS,
    BUFFER_WRITABLE,
    BUFFERED_READINGS,
    OLDEST_BUFFERED_SECONDS,
    READINGS_REFUSED,
)

log = logging.getLogger("streamgauge.gateway.keeper")

COMMIT_READINGS = 2_000
"""Most readings in one transaction, apart from a single parcel that is larger."""

COMMIT_RANGES = 16
"""Most ranges that are deleted in one transaction: its part of the write-ahead log must be short, on a full disk above all."""

MAX_IMPROVEMENTS = 10_000
_TICK_S = 1.0
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_BALLAST_EVERY_S = 60.0
_STOP_ATTEMPTS = 3

CommitListener = Callable[[Sequence[Entry]], None]
GivenUpListener = Callable[[Sequence[Entry], str], None]


def log_given_up(entries: Sequence[Entry], reason: str) -> None:
    """Log and count readings that can never be committed."""
    READINGS_REFUSED.labels("not_kept").inc(len(entries))
    devices = sorted({entry.reading.device for entry in entries})
    log.error("readings can never be committed", extra={"reason": reason, "devices": devices[:10]})


class Keeper:
    """Group commit. ``start`` begins its thread; every other method may be called from any thread and never waits for
    the disk.

    Args:
        buffer: what it writes.
        max_waiting: most readings that may wait in memory (a parcel without any counts as one).
        given_up: called from the keeper's thread with readings that can never be committed, and why; it counts them.
            Their frame counters stay taken, so that a repetition of theirs is acknowledged: this is the last that is
            heard of them.
    """

    def __init__(self, buffer: Buffer, max_waiting: int, given_up: GivenUpListener = log_given_up) -> None:
        self._buffer = buffer
        self._max_waiting = max_waiting
        self._given_up = given_up
        self._listeners: list[CommitListener] = []
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._changed = threading.Condition()
        self._is_stopping = False
        self._waiting = 0
        self._parcels: deque[Parcel] = deque()
        self._deletions: deque[SeqRange] = deque()
        self._improvements: deque[Improvement] = deque(maxlen=MAX_IMPROVEMENTS)
        self._contexts: dict[str, Context] = {}
        self._unwritable = Seldom(
            log, logging.ERROR, "the buffer cannot be written; readings wait in memory", every_s=60.0
        )
        self._commit_trouble: str | None = None
        self._look_trouble: str | None = None
        BUFFER_WRITABLE.set(1)
        self._next_ballast_s = time.monotonic() + _BALLAST_EVERY_S
        self._next_measure_s = 0.0

    @property
    def trouble(self) -> str | None:
        """Why the buffer could not be written or looked after at the last attempt; None: it could."""
        return self._commit_trouble or self._look_trouble

    def on_commit(self, listener: CommitListener) -> None:
        """Have a function called from the keeper's thread after each commit, with the readings that are new in the
        buffer; there may be none. What it raises is logged. Call it before ``start``.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to commit."""
        self._thread.start()

    def has_room(self) -> bool:
        """Whether a parcel would be taken now. It may be refused nevertheless if others are faster."""
        with self._changed:
            return self._waiting < self._max_waiting

    def submit(self, parcel: Parcel) -> bool:
        """Take a parcel to be committed; False if it was not taken: too much is waiting, or the end has come.

        A parcel is taken whole whenever there is room for one more reading, so that a large one is never refused for ever.
        """
        with self._changed:
            if self._is_stopping or self._waiting >= self._max_waiting:
                return False
            self._parcels.append(parcel)
            self._waiting += _weight(parcel)
            self._changed.notify()
            return True

    def delete(self, ranges: Sequence[SeqRange]) -> None:
        """Take ranges of sequence numbers, ends included, that the cloud has stored."""
        with self._changed:
            self._deletions.extend(ranges)
            self._changed.notify()

    def improve(self, device: str, time_us: int, rssi_dbm: float | None, snr_db: float | None) -> None:
        """Take better radio values for a reading that was submitted before. If very many wait, the oldest are forgotten."""
        with self._changed:
            self._improvements.append(Improvement(device, time_us, rssi_dbm, snr_db))
            self._changed.notify()

    def put_context(self, device: str, body: bytes) -> None:
        """Take what the local model remembers of a device; only the newest one is written."""
        with self._changed:
            self._contexts[device] = Context(device, body, time.time_ns() // 1_000)
            self._changed.notify()

    def stop(self) -> None:
        """Commit what waits, end the thread and return. What cannot be committed even now was never acknowledged."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        failures: int | None = 0
        while failures is not None:
            try:
                failures = self._turn(failures)
                self._look_after()
            except Exception:
                log.exception("the keeper goes on after an error")
                time.sleep(_FIRST_WAIT_S)

    def _turn(self, failures: int) -> int | None:
        """One commit; returns how many attempts have failed in a row, None at the end."""
        changes, is_last = self._take(failures)
        if changes is None:
            return None if is_last else 0
        if self._commit(changes):
            return 0
        self._put_back(changes)
        if is_last and failures + 1 >= _STOP_ATTEMPTS:
            log.error("the buffer could not be written at the end", extra={"waiting": self._waiting})
            return None
        return failures + 1

    def _take(self, failures: int) -> tuple[Changes | None, bool]:
        """What is to be committed next, and whether the end has come. Waits for it, and longer after failures."""
        with self._changed:
            if failures and not self._is_stopping:
                wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(failures - 1, 10)) * random.uniform(0.75, 1.25)
                self._changed.wait_for(lambda: self._is_stopping, wait_s)
            elif not self._has_work():
                self._changed.wait_for(lambda: self._is_stopping or self._has_work(), _TICK_S)
            if not self._has_work():
                return None, self._is_stopping
            return self._next_changes(), self._is_stopping

    def _has_work(self) -> bool:
        return bool(self._parcels or self._deletions or self._improvements or self._contexts)

    def _next_changes(self) -> Changes:
        parcels: list[Parcel] = []
        readings = 0
        while self._parcels and (not parcels or readings + _weight(self._parcels[0]) <= COMMIT_READINGS):
            parcels.append(self._parcels.popleft())
            readings += _weight(parcels[-1])
        deletions = [self._deletions.popleft() for _ in range(min(len(self._deletions), COMMIT_RANGES))]
        improvements, contexts = list(self._improvements), list(self._contexts.values())
        self._improvements.clear()
        self._contexts.clear()
        return Changes(parcels=parcels, deletions=deletions, improvements=improvements, contexts=contexts)

    def _put_back(self, changes: Changes) -> None:
        with self._changed:
            self._parcels.extendleft(reversed(changes.parcels))
            self._deletions.extendleft(reversed(changes.deletions))
            self._improvements.extendleft(reversed(changes.improvements))
            # What came meanwhile is newer.
            self._contexts = {context.device: context for context in changes.contexts} | self._contexts

    def _commit(self, changes: Changes) -> bool:
        """Whether it is committed, at least so far that no part is worth another attempt."""
        try:
            added = self._buffer.commit(changes)
        except TransientError as error:
            self._note_unwritable(error)
            return self._commit_less(changes)
        except Exception:
            log.exception("a commit failed; its parts are tried one by one")
            return self._commit_one_by_one(changes)
        self._note_written()
        self._finish(changes.parcels, added)
        return True

    def _commit_less(self, changes: Changes) -> bool:
        """On a full disk: deletions first, as they make room; then half of the parcels, which may fit. Leaves in
        ``changes`` what is still to be done.
        """
        try:
            while changes.deletions:
                self._buffer.delete(changes.deletions[:1])
                changes.deletions = changes.deletions[1:]
            if len(changes.parcels) > 1:
                half = changes.parcels[: len(changes.parcels) // 2]
                added = self._buffer.append(half)
                changes.parcels = changes.parcels[len(half) :]
                self._finish(half, added)
        except TransientError:
            return False
        except Exception:
            log.exception("a part of a commit failed")
        return False

    def _commit_one_by_one(self, changes: Changes) -> bool:
        """Whether every part is committed or given up. Leaves in ``changes`` what is still to be done: from the first part
        on that may succeed later, so that no parcel overtakes an earlier one whose frame counters it covers.
        """
        todo = list(_parts(changes))
        while todo:
            part = todo[0]
            try:
                added = self._buffer.commit(part)
            except TransientError as error:
                self._note_unwritable(error)
                _join(todo, changes)
                return False
            except Exception as error:
                log.exception("this can never be committed; it was not acknowledged")
                self._give_up(part.parcels, f"{type(error).__name__}: {error}")
            else:
                self._note_written()
                self._finish(part.parcels, added)
            del todo[0]
        return True

    def _give_up(self, parcels: Sequence[Parcel], reason: str) -> None:
        with self._changed:
            self._waiting -= sum(_weight(parcel) for parcel in parcels)
        entries = [entry for parcel in parcels for entry in parcel.entries]
        if entries:
            self._call(partial(self._given_up, entries, reason))

    def _note_unwritable(self, error: TransientError) -> None:
        BUFFER_FAULTS.labels("unwritable").inc()
        self._commit_trouble = str(error)
        BUFFER_WRITABLE.set(0)
        self._unwritable.note(reason=str(error), waiting=self._waiting)

    def _note_written(self) -> None:
        self._commit_trouble = None
        BUFFER_WRITABLE.set(self._look_trouble is None)

    def _finish(self, parcels: Sequence[Parcel], added: Sequence[Entry]) -> None:
        with self._changed:
            self._waiting -= sum(_weight(parcel) for parcel in parcels)
        for parcel in parcels:
            if parcel.done is not None:
                self._call(parcel.done)
        for listener in self._listeners:
            self._call(partial(listener, added))

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            log.exception("a function that was told by the keeper failed")

    def _look_after(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_measure_s:
            return
        self._next_measure_s = now_s + _TICK_S
        BUFFERED_READINGS.set(self._buffer.count)
        BUFFER_BYTES.set(self._buffer.size_bytes())
        try:
            self._buffer.look_at_file()
            oldest_us = self._buffer.oldest_gateway_time_us()
            if now_s >= self._next_ballast_s:
                self._next_ballast_s = now_s + _BALLAST_EVERY_S
                self._buffer.lay_ballast()
        except TransientError as error:
            self._look_trouble = str(error)
            BUFFER_WRITABLE.set(0)
            self._unwritable.note(reason=str(error), waiting=self._waiting)
            return
        self._look_trouble = None
        BUFFER_WRITABLE.set(self._commit_trouble is None)
        # A clock that was set back makes it negative.
        OLDEST_BUFFERED_SECONDS.set(0 if oldest_us is None else max(0.0, time.time() - oldest_us / 1e6))


def _weight(parcel: Parcel) -> int:
    return max(1, len(parcel.entries))


def _parts(changes: Changes) -> Iterator[Changes]:
    """Each kind, and each parcel, by itself; parcels in their order."""
    if changes.deletions:
        yield Changes(deletions=changes.deletions)
    if changes.contexts:
        yield Changes(contexts=changes.contexts)
    if changes.improvements:
        yield Changes(improvements=changes.improvements)
    for parcel in changes.parcels:
        yield Changes(parcels=[parcel])


def _join(parts: Sequence[Changes], changes: Changes) -> None:
    changes.parcels = [parcel for part in parts for parcel in part.parcels]
    changes.deletions = [bounds for part in parts for bounds in part.deletions]
    changes.improvements = [improvement for part in parts for improvement in part.improvements]
    changes.contexts = [context for part in parts for context in part.contexts]
