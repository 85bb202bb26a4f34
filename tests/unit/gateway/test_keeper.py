"""The keeper acknowledges after the commit and never otherwise, and nothing ends it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from gateway.buffer.buffer import Buffer
from gateway.buffer.faults import BufferFull
from gateway.buffer.keeper import COMMIT_READINGS, Keeper
from gateway.buffer.rows import Changes
from gateway.entries import CounterState, Entry, Parcel
from gateway.refused import RefusedPayloads
from streamgauge.wire import encode_reading
from tests.support.buffered import entry, numbers_in, open_buffer, parcel


class Disk(Buffer):
    """A buffer whose disk fails as the test says, and which counts its commits."""

    fault: Exception | None = None
    broken_reading: int | None = None
    full_for_reading: int | None = None
    commits = 0
    refusals = 0

    def commit(self, changes: Changes) -> list[Entry]:
        if self.fault is not None:
            raise self.fault
        levels = {e.reading.level_m for p in changes.parcels for e in p.entries}
        if self.broken_reading is not None and self.broken_reading / 1000 in levels:
            raise OverflowError("this cannot be stored")
        if self.full_for_reading is not None and self.full_for_reading / 1000 in levels:
            self.refusals += 1
            raise BufferFull("no space left")
        self.commits += 1
        return super().commit(changes)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    buffer = Disk(tmp_path, max_bytes=2**26)
    yield buffer
    buffer.close()


@pytest.fixture
def keeper(disk: Disk) -> Iterator[Keeper]:
    keeper = Keeper(disk, max_waiting=100)
    yield keeper
    keeper.stop()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.005)


def with_done(*numbers: int, done: Callable[[], None]) -> Parcel:
    return Parcel(
        entries=[entry(number) for number in numbers], counters=[CounterState("s", numbers[-1], 0)], done=done
    )


def test_everything_that_waits_goes_into_one_transaction_and_is_told_after_it(disk: Disk, keeper: Keeper) -> None:
    told: list[tuple[str, object]] = []

    def told_with_what_is_stored(number: int) -> Callable[[], None]:
        return lambda: told.append(("done", (number, numbers_in(disk))))

    keeper.on_commit(lambda entries: told.append(("commit", len(entries))))
    for number in range(5):
        assert keeper.submit(with_done(number, done=told_with_what_is_stored(number)))
    assert told == []
    keeper.start()
    until(lambda: len(told) == 6)
    assert told == [*(("done", (number, [0, 1, 2, 3, 4])) for number in range(5)), ("commit", 5)]
    assert disk.commits == 1
    assert disk.counters() == {"s": CounterState("s", 4, 0)}


def test_too_much_waiting_is_refused_until_it_is_written(disk: Disk, keeper: Keeper) -> None:
    assert keeper.has_room()
    assert keeper.submit(parcel(*range(99)))
    assert keeper.submit(parcel(*range(100, 150)))
    assert not keeper.has_room()
    assert not keeper.submit(parcel(200))
    keeper.start()
    until(keeper.has_room)
    assert keeper.submit(parcel(300))
    until(lambda: disk.count == 150)


def test_parcels_without_readings_are_bounded_too(keeper: Keeper) -> None:
    for number in range(100):
        assert keeper.submit(Parcel(counters=[CounterState("s", number, 0)]))
    assert not keeper.submit(Parcel(counters=[CounterState("s", 100, 0)]))


def test_a_transaction_is_bounded(disk: Disk, tmp_path: Path) -> None:
    keeper = Keeper(disk, max_waiting=10_000)
    for number in range(3):
        assert keeper.submit(parcel(*range(number * 1_500, (number + 1) * 1_500)))
    keeper.start()
    keeper.stop()
    assert disk.count == 4_500
    assert disk.commits == 3
    assert COMMIT_READINGS < 3_000


def test_while_the_disk_is_full_nothing_is_acknowledged_and_nothing_lost(disk: Disk, keeper: Keeper) -> None:
    done = threading.Event()
    disk.append([parcel(500, 501)])
    disk.fault = BufferFull("no space left")
    keeper.submit(with_done(1, 2, done=done.set))
    keeper.delete([(1, 1)])
    keeper.put_context("station-1", b"memory")
    keeper.start()
    assert not done.wait(0.3)
    assert str(keeper.trouble) == "no space left"
    assert REGISTRY.get_sample_value("streamgauge_gateway_buffer_writable") == 0
    disk.fault = None
    assert done.wait(10)
    assert keeper.trouble is None
    assert REGISTRY.get_sample_value("streamgauge_gateway_buffer_writable") == 1
    until(lambda: numbers_in(disk) == [501, 1, 2])
    until(lambda: disk.get_context("station-1") is not None)


def test_one_reading_that_cannot_be_stored_does_not_hold_up_the_others(disk: Disk, keeper: Keeper) -> None:
    done: list[int] = []
    disk.broken_reading = 2
    for number in range(4):
        keeper.submit(with_done(number, done=lambda number=number: done.append(number)))  # type: ignore[misc]
    keeper.start()
    until(lambda: len(done) == 3)
    keeper.stop()
    assert done == [0, 1, 3], "what was not stored was acknowledged"
    assert numbers_in(disk) == [0, 1, 3]


def test_no_parcel_overtakes_one_that_is_to_be_tried_again(disk: Disk, keeper: Keeper) -> None:
    """The third's counters cover the second's frame: told first, a power cut would lose what a repeat is answered for."""
    done: list[int] = []
    disk.broken_reading, disk.full_for_reading = 1, 2
    for number in (1, 2, 3):
        keeper.submit(with_done(number, done=lambda number=number: done.append(number)))  # type: ignore[misc]
    keeper.improve(entry(2).reading.device, entry(2).gateway_time_us, -50.0, 12.0)
    keeper.start()
    until(lambda: disk.refusals >= 2)
    assert done == []
    assert numbers_in(disk) == []
    disk.full_for_reading = None
    until(lambda: len(done) == 2)
    assert done == [2, 3]
    assert numbers_in(disk) == [2, 3]


def test_readings_that_can_never_be_kept_are_handed_over_with_the_reason(disk: Disk) -> None:
    given_up: list[tuple[list[Entry], str]] = []
    keeper = Keeper(disk, max_waiting=100, given_up=lambda entries, reason: given_up.append((list(entries), reason)))
    disk.broken_reading = 2
    keeper.submit(Parcel(entries=[entry(1), entry(2)]))
    keeper.submit(parcel(3))
    keeper.start()
    keeper.stop()
    assert given_up == [([entry(1), entry(2)], "OverflowError: this cannot be stored")]
    assert numbers_in(disk) == [3]
    assert keeper.has_room()


def test_what_was_given_up_stands_with_its_values_among_the_refused_payloads(tmp_path: Path) -> None:
    refused = RefusedPayloads(tmp_path)
    refused.keep_given_up([entry(1), entry(2, seq=2**70)], "OverflowError: too large")
    refused.close()
    first, second = (json.loads(line) for line in (tmp_path / "refused.log").read_text().splitlines())
    assert json.loads(bytes.fromhex(first["payload_hex"])) == encode_reading(entry(1).reading)
    assert (first["device"], first["reason"], first["detail"]) == (
        "station-001",
        "not_kept",
        "OverflowError: too large",
    )
    assert str(2**70) in bytes.fromhex(second["payload_hex"]).decode()


def test_functions_that_fail_end_nothing(disk: Disk, keeper: Keeper) -> None:
    heard: list[int] = []

    def fail(*_: object) -> None:
        raise RuntimeError("a fault in a listener")

    keeper.on_commit(fail)
    keeper.on_commit(lambda entries: heard.append(len(entries)))
    keeper.start()
    keeper.submit(with_done(1, done=fail))
    until(lambda: heard == [1])
    keeper.submit(parcel(2))
    until(lambda: disk.count == 2)


def test_stopping_commits_what_waits_and_takes_nothing_more(disk: Disk, keeper: Keeper) -> None:
    done = threading.Event()
    keeper.submit(with_done(*range(50), done=done.set))
    keeper.start()
    keeper.stop()
    assert done.is_set()
    assert disk.count == 50
    assert not keeper.submit(parcel(60))


def test_stopping_with_a_broken_disk_ends_without_acknowledging(disk: Disk, keeper: Keeper) -> None:
    done = threading.Event()
    disk.fault = BufferFull("no space left")
    keeper.submit(with_done(1, done=done.set))
    keeper.start()
    keeper.stop()
    assert not done.is_set()


def test_deletions_and_better_radio_values_reach_the_buffer(disk: Disk, keeper: Keeper) -> None:
    keeper.submit(parcel(1, 2, 3))
    better = entry(2)
    keeper.improve(better.reading.device, better.gateway_time_us, -50.0, 12.0)
    keeper.start()
    until(lambda: disk.count == 3)
    assert b'"rssi_dbm":-50.0' in disk.first_pending(1, 1)[0].body
    keeper.delete([(1, 1), (3, 3)])
    until(lambda: numbers_in(disk) == [2])


def test_many_threads_submit_at_once(disk: Disk) -> None:
    keeper = Keeper(disk, max_waiting=50)
    keeper.start()
    done: list[int] = []

    def submit(first: int) -> None:
        for number in range(first, first + 200):
            while not keeper.submit(with_done(number, done=lambda number=number: done.append(number))):  # type: ignore[misc]
                time.sleep(0.001)

    threads = [threading.Thread(target=submit, args=(first,)) for first in range(0, 1_600, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.stop()
    assert sorted(numbers_in(disk)) == sorted(done) == list(range(1_600))


def test_what_was_done_is_there_after_reopening(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    keeper = Keeper(buffer, max_waiting=100)
    keeper.submit(parcel(1))
    keeper.start()
    keeper.stop()
    buffer.close()
    assert numbers_in(open_buffer(tmp_path)) == [1]
