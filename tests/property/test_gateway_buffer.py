"""Buffer and outbox under any course of events, against a model.

Nothing that was accepted is missing unless it was counted as dropped; the order of acceptance holds; nothing is there twice;
what was answered is deleted, and nothing else.
"""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.buffer.buffer import FILE_NAME, Buffer
from gateway.buffer.rows import Buffered
from gateway.entries import CounterState, Entry, Parcel
from gateway.handover.batches import PARTS, BatchMaker, BatchOptions
from gateway.handover.outbox import Batch, Ignored, Lane, Outbox
from streamgauge.wire import StoredAnswer
from tests.support.buffered import copy_files, entry, number_of, open_buffer

SMALL_BYTES = 2**20
BATCH_READINGS, WINDOW = 7, 2
BULK = {f"{number:02d}" + "x" * 62: 1.0 for number in range(36)}


def bulky(number: int, precious: bool) -> Entry:
    """A reading of 2.5 kB: some 300 of them fill the buffer."""
    return entry(number, precious=precious, extra=BULK)


class BufferMachine(RuleBasedStateMachine):
    """``kept`` is what must be in the buffer, in order, as (number, precious)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.directories: Iterator[Path] = (Path(self.folder.name) / f"start-{number}" for number in count())
        self.directory = next(self.directories)
        self.kept: list[tuple[int, bool]] = []
        self.counter: CounterState | None = None
        self.next_number = 0
        self.now_s = 0.0
        self.open()

    def open(self) -> None:
        self.buffer: Buffer = open_buffer(self.directory, max_bytes=SMALL_BYTES)
        self.outbox = Outbox(resend_after_s=10.0)
        options = BatchOptions(batch_readings=BATCH_READINGS, batch_window=WINDOW, batch_age_s=1.0, compress_bytes=0)
        self.maker = BatchMaker(self.buffer, self.outbox, options, overhead_bytes=50)
        self.maker.start_over(self.now_s)
        self.seqs: list[int] = [row.seq for row in self.rows()]
        self.dropped_before = self.extra_batches = 0

    def rows(self) -> list[Buffered]:
        return self.buffer.first_pending(0, 1_000_000)

    def teardown(self) -> None:
        self.buffer.close()
        self.folder.cleanup()

    def new(self, readings: int, precious: bool) -> list[int]:
        numbers = list(range(self.next_number, self.next_number + readings))
        self.next_number += readings
        self.counter = CounterState("s", self.next_number, 2**100)
        entries = [bulky(number, precious) for number in numbers]
        self.buffer.append([Parcel(entries=entries, counters=[self.counter])])
        return numbers

    @rule(readings=st.integers(0, 12), precious=st.booleans())
    def append(self, readings: int, precious: bool) -> None:
        self.kept += [(number, precious) for number in self.new(readings, precious)]
        self.take_drops_into_account()

    @rule(readings=st.integers(50, 150), precious=st.booleans())
    def append_many(self, readings: int, precious: bool) -> None:
        """A few of these fill the buffer."""
        self.kept += [(number, precious) for number in self.new(readings, precious)]
        self.take_drops_into_account()

    def take_drops_into_account(self) -> None:
        """Exactly so many as were counted are gone: ordinary ones, oldest first; then precious ones, oldest first."""
        for _ in range(self.buffer.dropped - self.dropped_before):
            ordinary = next((place for place, (_, precious) in enumerate(self.kept) if not precious), None)
            del self.kept[0 if ordinary is None else ordinary]
        self.dropped_before = self.buffer.dropped

    @precondition(lambda self: self.kept)
    @rule(place=st.floats(0, 1, exclude_max=True))
    def repeat(self, place: float) -> None:
        number, precious = self.kept[int(place * len(self.kept))]
        self.buffer.append([Parcel(entries=[bulky(number, precious)])])
        assert self.buffer.dropped == self.dropped_before

    @rule(seconds=st.floats(0, 30))
    def batches_are_made_and_sent(self, seconds: float) -> None:
        self.now_s += seconds
        self.maker.fill(self.now_s)
        for batch in self.outbox.due(self.now_s):
            self.outbox.sent(batch, self.now_s)
        assert all(self.outbox.in_lane(lane) <= WINDOW + self.extra_batches for lane in Lane)
        self.assert_nothing_twice_under_way()

    def assert_nothing_twice_under_way(self) -> None:
        last_before = 0
        for first, last in sorted(bounds for batch in self.outbox for bounds in batch.ranges):
            assert last_before < first <= last
            last_before = last

    @precondition(lambda self: len(self.outbox))
    @rule(which=st.integers(0, 100), wrong=st.sampled_from([0, 0, 0, 1, -1]))
    def answer(self, which: int, wrong: int) -> None:
        batch = list(self.outbox)[which % len(self.outbox)]
        answered = self.outbox.answered(StoredAnswer(batch.name, batch.readings + wrong, 0))
        if wrong:
            assert answered is Ignored.WRONG_COUNT
            return
        assert isinstance(answered, Batch)
        gone = self.numbers_of(answered)
        self.buffer.delete(answered.ranges)
        self.kept = [reading for reading in self.kept if reading[0] not in gone]
        assert self.outbox.answered(StoredAnswer(batch.name, batch.readings, 0)) is Ignored.REPEATED

    def numbers_of(self, batch: Batch) -> set[int]:
        """What a batch's ranges stand for now; all of it was in its message."""
        numbers = {
            number_of(row.body) for row in self.rows() for first, last in batch.ranges if first <= row.seq <= last
        }
        sent = batch.payload
        assert all(f'"level_m":{number / 1000}'.encode() in sent for number in numbers)
        return numbers

    @precondition(lambda self: len(self.outbox))
    @rule(which=st.integers(0, 100))
    def divide(self, which: int) -> None:
        self.extra_batches += PARTS
        self.maker.divide(list(self.outbox)[which % len(self.outbox)], self.now_s)
        self.assert_nothing_twice_under_way()

    @rule()
    def reconnect(self) -> None:
        self.extra_batches += len(self.outbox)
        self.outbox.reconnected(self.now_s)
        self.maker.start_over(self.now_s)

    @rule()
    def close_and_reopen(self) -> None:
        self.buffer.close()
        self.open()

    @rule(uncommitted=st.integers(0, 5_000))
    def power_cut(self, uncommitted: int) -> None:
        """The files as they are, the log's end torn away up to the last commit: something follows it that was not synced."""
        directory = copy_files(self.directory, next(self.directories))
        with (directory / f"{FILE_NAME}-wal").open("ab") as log:
            log.write(b"\x5a" * uncommitted)
        self.buffer.close()
        self.directory = directory
        self.open()

    @rule()
    def header_is_spoilt(self) -> None:
        self.buffer.close()
        with (self.directory / FILE_NAME).open("r+b") as file:
            file.write(b"\xa5" * 100)
        self.open()

    @rule()
    def everything_is_handed_over(self) -> None:
        """With a cloud that answers everything the buffer is empty after a while, whatever happened before."""
        for _ in range(10_000):
            self.now_s += 10.0
            self.maker.fill(self.now_s)
            for batch in self.outbox:
                assert self.outbox.answered(StoredAnswer(batch.name, batch.readings, 0)) is batch
                self.buffer.delete(batch.ranges)
            if not self.buffer.count:
                break
        self.kept = []

    @invariant()
    def the_buffer_is_as_the_model_says(self) -> None:
        rows = self.rows()
        assert [number_of(row.body) for row in rows] == [number for number, _ in self.kept]
        seqs = [row.seq for row in rows]
        assert seqs == sorted(set(seqs))
        assert self.buffer.count == len(rows)
        assert self.buffer.precious_count == sum(precious for _, precious in self.kept)
        assert self.buffer.counters() == ({} if self.counter is None else {"s": self.counter})
        assert self.buffer.last_seq >= max(seqs, default=0)


BufferMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestBuffer = BufferMachine.TestCase
