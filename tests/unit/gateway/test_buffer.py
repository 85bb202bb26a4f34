"""The buffer keeps what it has accepted, in order, and tells repetitions from new readings."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from gateway.buffer.buffer import FILE_NAME, Buffer
from gateway.buffer.faults import BufferInUse, BufferTooNew, BufferUnwritable
from gateway.buffer.rows import Changes, Context
from gateway.entries import CounterState, Parcel
from streamgauge.reading import from_microseconds
from streamgauge.wire import encode_reading
from tests.support.buffered import BEGIN_US, entry, numbers_in, open_buffer, parcel


@pytest.fixture
def buffer(tmp_path: Path) -> Buffer:
    return open_buffer(tmp_path)


def test_what_was_appended_comes_out_in_order_as_the_wires_json(buffer: Buffer) -> None:
    added = buffer.append([parcel(3, 1), parcel(2)])
    rows = buffer.first_pending(0, 10)
    assert [row.seq for row in rows] == [1, 2, 3]
    assert [row.gateway_time_us for row in rows] == [entry(number).gateway_time_us for number in (3, 1, 2)]
    assert [orjson.loads(row.body) for row in rows] == [encode_reading(entry(number).reading) for number in (3, 1, 2)]
    assert added == [entry(3), entry(1), entry(2)]
    assert (buffer.count, buffer.last_seq) == (3, 3)
    assert buffer.oldest_gateway_time_us() == entry(3).gateway_time_us


def test_pending_readings_are_read_in_pieces(buffer: Buffer) -> None:
    buffer.append([parcel(*range(10))])
    assert [row.seq for row in buffer.first_pending(0, 4)] == [1, 2, 3, 4]
    assert [row.seq for row in buffer.first_pending(4, 4)] == [5, 6, 7, 8]
    assert [row.seq for row in buffer.first_pending(8, 4, until_seq=9)] == [9]
    assert buffer.first_pending(10, 4) == []


def test_a_number_is_never_used_twice(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    buffer.append([parcel(1, 2, 3)])
    buffer.delete([(1, 3)])
    assert (buffer.count, buffer.oldest_gateway_time_us()) == (0, None)
    buffer.close()
    reopened = open_buffer(tmp_path)
    assert reopened.last_seq == 3
    reopened.append([parcel(4)])
    assert [row.seq for row in reopened.first_pending(0, 10)] == [4]


def test_deleting_takes_the_named_ranges_only(buffer: Buffer) -> None:
    buffer.append([parcel(*range(10))])
    buffer.delete([(1, 2), (5, 5), (100, 200)])
    assert numbers_in(buffer) == [2, 3, 5, 6, 7, 8, 9]
    assert buffer.count == 7


def test_counters_are_committed_with_the_readings_and_survive(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    states = [CounterState("aabb", 2**32 - 1, 2**200 + 1), CounterState("ccdd", 0, 0)]
    buffer.append([Parcel(entries=[entry(1)], counters=states)])
    buffer.append([Parcel(counters=[CounterState("ccdd", 7, 5)])])
    expected = {"aabb": states[0], "ccdd": CounterState("ccdd", 7, 5)}
    assert buffer.counters() == expected
    buffer.close()
    assert open_buffer(tmp_path).counters() == expected


def test_contexts_are_kept_and_replaced(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    assert buffer.get_context("station-1") is None
    buffer.put_context("station-1", b"old", 1)
    buffer.commit(Changes(contexts=[Context("station-1", b"new", 2), Context("station-2", b"other", 3)]))
    buffer.close()
    assert open_buffer(tmp_path).get_context("station-1") == Context("station-1", b"new", 2)


def test_a_repetition_is_kept_once_also_when_it_was_heard_differently(buffer: Buffer) -> None:
    first = entry(1, temperature_c=8.0)
    buffer.append([Parcel(entries=[first])])
    louder = replace(first, reading=replace(first.reading, rssi_dbm=-60.0, seq=77))
    assert buffer.append([Parcel(entries=[first, louder]), Parcel(entries=[entry(2)])]) == [entry(2)]
    assert buffer.count == 2


def test_another_value_at_our_own_time_moves_on_by_a_microsecond(buffer: Buffer) -> None:
    times = entry(1).gateway_time_us
    levels = [entry(1, level_m=level) for level in (1.0, 2.0, 3.0, 2.0)]
    added = buffer.append([Parcel(entries=levels)])
    assert [added_entry.reading.level_m for added_entry in added] == [1.0, 2.0, 3.0]
    assert [added_entry.reading.time for added_entry in added] == [from_microseconds(times + step) for step in range(3)]
    stored = [orjson.loads(row.body) for row in buffer.first_pending(0, 10)]
    assert len({(reading["device"], reading["time"]) for reading in stored}) == 3


def test_another_value_at_the_devices_own_time_is_sent_too_and_the_cloud_decides(buffer: Buffer) -> None:
    contradictory = [entry(1, time_us=BEGIN_US - 1, level_m=level) for level in (1.0, 2.0)]
    assert buffer.append([Parcel(entries=contradictory)]) == contradictory
    assert buffer.count == 2


def test_the_same_time_at_another_device_is_no_repetition(buffer: Buffer) -> None:
    buffer.append([Parcel(entries=[entry(1, device=device) for device in ("a", "b")])])
    assert buffer.count == 2


def test_better_radio_values_replace_worse_ones_only(buffer: Buffer) -> None:
    buffer.append([parcel(1)])
    device, time_us = entry(1).reading.device, entry(1).gateway_time_us
    for rssi_dbm, snr_db in ((-80.0, 9.0), (-90.0, 10.0), (None, 11.0)):
        buffer.improve(device, time_us, rssi_dbm, snr_db)
    buffer.improve("unknown", time_us, -1.0, 1.0)
    (row,) = buffer.first_pending(0, 10)
    assert orjson.loads(row.body) == encode_reading(replace(entry(1).reading, rssi_dbm=-80.0, snr_db=9.0))


def test_a_reading_that_json_cannot_hold_does_not_stop_its_neighbours(buffer: Buffer) -> None:
    unwritable = entry(1, seq=2**70)
    assert buffer.append([Parcel(entries=[unwritable, entry(2)])]) == [entry(2)]


def test_a_second_gateway_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    with pytest.raises(BufferInUse):
        open_buffer(tmp_path)
    buffer.close()
    open_buffer(tmp_path).close()


def test_a_closed_buffer_stays_closed(buffer: Buffer) -> None:
    buffer.close()
    for late in (buffer.counters, lambda: buffer.first_pending(0, 1), lambda: buffer.append([parcel(1)])):
        with pytest.raises(BufferUnwritable, match="closed"):
            late()


def test_a_newer_programs_file_is_left_alone(tmp_path: Path) -> None:
    open_buffer(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(BufferTooNew):
        open_buffer(tmp_path)
    assert not list(tmp_path.glob("*.damaged-*"))


def test_less_than_a_mebibyte_is_no_buffer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        open_buffer(tmp_path, max_bytes=2**20 - 1)
