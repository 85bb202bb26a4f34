"""Which readings come next in each lane, and how many fit into a message."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.buffer.buffer import Buffer
from gateway.entries import Parcel
from gateway.handover.batches import RAISE_EVERY_S, SWEEP_EVERY_S, BatchMaker, BatchOptions, SizeLimit
from gateway.handover.outbox import Batch, Lane, Outbox
from streamgauge.wire import StoredAnswer
from tests.support.buffered import entry, number_of, open_buffer, parcel


class Bench:
    """A buffer, an outbox and what fills the one from the other."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.buffer: Buffer = open_buffer(folder)
        self.outbox = Outbox(resend_after_s=10.0)
        chosen: dict[str, Any] = {
            "batch_readings": 10,
            "batch_age_s": 1.0,
            "batch_window": 2,
            "compress_bytes": 0,
        } | options
        self.maker = BatchMaker(self.buffer, self.outbox, BatchOptions(**chosen), overhead_bytes=50)
        self.maker.start_over(0.0)

    def lanes(self) -> dict[str, list[list[int]]]:
        """The readings of each batch, by lane."""
        return {str(lane): [numbers(batch) for batch in self.outbox if batch.lane is lane] for lane in Lane}

    def answer(self, *batches: Batch) -> None:
        for batch in batches:
            assert self.outbox.answered(StoredAnswer(batch.name, batch.readings, 0)) is batch
            self.buffer.delete(batch.ranges)


def numbers(batch: Batch) -> list[int]:
    packed = batch.payload.startswith(b"\x1f\x8b")
    content = json.loads(gzip.decompress(batch.payload) if packed else batch.payload)
    assert content["batch"] == batch.name
    return [number_of(json.dumps(reading).encode()) for reading in content["readings"]]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_live_readings_leave_by_number(bench: Bench) -> None:
    bench.buffer.append([parcel(*range(25))])
    bench.maker.fill(0.0)
    assert bench.lanes() == {"live": [[*range(10)], [*range(10, 20)]], "backlog": []}


def test_live_readings_leave_by_age(bench: Bench) -> None:
    bench.buffer.append([parcel(1)])
    bench.maker.fill(5.0)
    assert bench.maker.next_live_s() == 6.0
    bench.buffer.append([parcel(2)])
    bench.maker.fill(5.9)
    assert len(bench.outbox) == 0
    bench.maker.fill(6.0)
    assert bench.lanes()["live"] == [[1, 2]]
    assert bench.maker.next_live_s() is None


def test_at_a_connection_everything_is_backlog_and_what_comes_then_is_live(bench: Bench) -> None:
    bench.buffer.append([parcel(*range(45))])
    bench.maker.start_over(0.0)
    bench.buffer.append([parcel(*range(100, 110))])
    bench.maker.fill(0.0)
    assert bench.lanes() == {"live": [[*range(100, 110)]], "backlog": [[*range(10)], [*range(10, 20)]]}
    bench.answer(*bench.outbox)
    bench.maker.fill(0.0)
    assert bench.lanes()["backlog"] == [[*range(20, 30)], [*range(30, 40)]]


def test_what_is_under_way_at_a_reconnection_is_not_sent_under_a_second_name(bench: Bench) -> None:
    bench.buffer.append([parcel(*range(20))])
    bench.maker.fill(0.0)
    first, second = bench.outbox
    bench.answer(first)
    bench.buffer.append([parcel(*range(20, 25))])
    bench.outbox.reconnected(1.0)
    bench.maker.start_over(1.0)
    bench.maker.fill(1.0)
    assert bench.lanes() == {"live": [], "backlog": [[*range(10, 20)], [*range(20, 25)]]}
    assert second in bench.outbox


def test_live_readings_that_pile_up_become_backlog_and_the_newest_go_first(bench: Bench) -> None:
    bench.buffer.append([parcel(*range(100))])
    bench.maker.fill(0.0)
    assert bench.lanes() == {"live": [[*range(10)], [*range(10, 20)]], "backlog": []}
    bench.maker.fill(0.0)
    assert bench.lanes()["backlog"] == [[*range(20, 30)], [*range(30, 40)]]
    bench.buffer.append([parcel(*range(200, 210))])
    bench.answer(next(iter(bench.outbox)))
    bench.maker.fill(0.0)
    assert bench.lanes()["live"] == [[*range(10, 20)], [*range(200, 210)]]


def test_a_batch_is_never_longer_than_the_cloud_reads(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_batch_bytes=600)
    bench.buffer.append([parcel(*range(10))])
    bench.maker.fill(0.0)
    assert all(len(batch.payload) <= 600 for batch in bench.outbox)
    assert sorted(number for batch in bench.outbox for number in numbers(batch)) == list(range(10))


def test_a_batch_is_compressed_before_it_is_found_too_long(tmp_path: Path) -> None:
    bench = Bench(tmp_path, batch_readings=100, compress_bytes=500)
    bench.maker.limit.stated_bytes = 4_000
    bench.buffer.append([parcel(*range(100))])
    bench.maker.fill(0.0)
    (batch,) = bench.outbox
    assert numbers(batch) == list(range(100))
    assert len(batch.payload) < 4_000


def test_a_reading_too_long_for_the_broker_is_left_and_tried_again_now_and_then(bench: Bench) -> None:
    long = entry(1, extra={f"{number:02d}" + "x" * 60: 1.0 for number in range(40)})
    bench.buffer.append([Parcel([entry(0), long, entry(2)])])
    bench.maker.limit.stated_bytes = 1_500
    bench.maker.start_over(0.0)
    bench.maker.fill(0.0)
    assert sorted(number for batch in bench.outbox for number in numbers(batch)) == [0, 2]
    bench.answer(*bench.outbox)
    bench.maker.fill(1.0)
    assert (len(bench.outbox), bench.buffer.count) == (0, 1)
    bench.maker.limit.stated_bytes = None
    for _ in range(2):
        bench.maker.fill(SWEEP_EVERY_S)
    assert bench.lanes()["backlog"] == [[1]]


def test_a_batch_that_was_dropped_meanwhile_is_forgotten_when_it_is_divided(bench: Bench) -> None:
    bench.buffer.append([parcel(*range(10))])
    bench.maker.fill(0.0)
    (batch,) = bench.outbox
    bench.buffer.delete(batch.ranges)
    bench.maker.divide(batch, 0.0)
    assert len(bench.outbox) == 0
    assert not bench.maker.is_ready(0.0)


def test_a_learnt_limit_is_lowered_at_once_and_raised_slowly() -> None:
    limit = SizeLimit()
    assert limit.of_several(0.0) is None
    limit.lower(40_000, 0.0)
    limit.lower(80_000, 0.0)
    assert limit.of_several(1.0) == 40_000
    assert limit.of_several(RAISE_EVERY_S) == 80_000
    limit.stated_bytes = 50_000
    assert limit.of_several(RAISE_EVERY_S + 1.0) == 50_000
    for _ in range(20):
        limit.lower(1, 0.0)
    assert limit.of_several(0.0) == 1_024
