"""A damaged file is set aside, never deleted, and what can still be read goes on in a new one."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.buffer import salvage as buffer_salvage
from gateway.buffer.buffer import FILE_NAME
from gateway.buffer.schema import PAGE_BYTES
from gateway.entries import CounterState
from tests.support.buffered import aside_files, copy_files, filled, numbers_in, open_buffer, parcel

COMMITS, PER_COMMIT = 60, 20
READINGS = COMMITS * PER_COMMIT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    filled(tmp_path, COMMITS, PER_COMMIT)
    return tmp_path


def damage(folder: Path, place: int, raw: bytes) -> bytes:
    """Overwrite a part of the file; returns all of it afterwards."""
    path = folder / FILE_NAME
    whole = bytearray(path.read_bytes())
    whole[place : place + len(raw)] = raw
    path.write_bytes(whole)
    return bytes(whole)


def assert_goes_on(folder: Path, *, lost_at_most: int) -> None:
    """The buffer opens, holds all but so many readings, in order, and takes new ones under new numbers."""
    buffer = open_buffer(folder)
    rows = buffer.first_pending(0, READINGS)
    numbers = numbers_in(buffer)
    assert len(numbers) >= READINGS - lost_at_most
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(READINGS))
    assert [row.seq for row in rows] == [number + 1 for number in numbers]
    assert buffer.count == len(numbers)
    assert buffer.last_seq >= READINGS
    assert buffer.counters() == {"session": CounterState("session", READINGS - 1, 2**127 + READINGS - 1)}
    buffer.append([parcel(READINGS)])
    assert numbers_in(buffer) == [*numbers, READINGS]
    buffer.close()


@pytest.mark.parametrize("length", [16, 100, PAGE_BYTES])
def test_a_spoilt_header_costs_no_reading(folder: Path, length: int) -> None:
    spoilt = damage(folder, 0, random.Random(length).randbytes(length))
    assert_goes_on(folder, lost_at_most=0)
    (aside,) = aside_files(folder)
    assert aside.read_bytes() == spoilt


def test_any_spoilt_page_costs_its_own_rows_at_most(tmp_path: Path) -> None:
    filled(tmp_path / "whole", COMMITS, PER_COMMIT)
    whole = (tmp_path / "whole" / FILE_NAME).read_bytes()
    pages = len(whole) // PAGE_BYTES
    connection = sqlite3.connect(tmp_path / "whole" / FILE_NAME)
    root_pages = dict(connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    connection.close()
    essential = {root_pages["counters"]}
    rng = random.Random(5)
    for page in range(2, pages + 1):
        if page in essential:
            continue
        folder = tmp_path / f"page-{page}"
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(whole)
        damage(folder, (page - 1) * PAGE_BYTES, rng.randbytes(PAGE_BYTES))
        # Damage shows when it is reached, not all of it when the file is opened.
        buffer = open_buffer(folder)
        rows = numbers_in(buffer)
        buffer.delete([(1, READINGS)])
        assert buffer.count == 0
        buffer.close()
        assert len(rows) >= READINGS - 60, page
        assert rows == sorted(set(rows))


def test_a_spoilt_root_of_the_tree_hides_no_reading(folder: Path) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'readings'").fetchone()[0]
    connection.close()
    damage(folder, (page - 1) * PAGE_BYTES, random.Random(7).randbytes(PAGE_BYTES))
    assert_goes_on(folder, lost_at_most=0)


def test_without_the_counters_page_the_readings_go_on(folder: Path) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'counters'").fetchone()[0]
    connection.close()
    damage(folder, (page - 1) * PAGE_BYTES, b"\xff" * PAGE_BYTES)
    buffer = open_buffer(folder)
    assert numbers_in(buffer) == list(range(READINGS))
    assert buffer.counters() == {}


def test_a_shortened_file_gives_the_rows_that_are_left(folder: Path) -> None:
    path = folder / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 77])
    buffer = open_buffer(folder)
    numbers = numbers_in(buffer)
    assert len(numbers) > READINGS // 4
    assert numbers == sorted(set(numbers))
    assert buffer.last_seq >= max(numbers) + 1
    assert len(aside_files(folder)) == 1


def test_damage_that_shows_while_it_is_in_use(folder: Path) -> None:
    buffer = open_buffer(folder)
    place = (folder / FILE_NAME).read_bytes().index(b"station-", READINGS * 100) // PAGE_BYTES * PAGE_BYTES
    with (folder / FILE_NAME).open("r+b") as file:
        file.seek(place)
        file.write(b"\xee" * PAGE_BYTES)
    numbers = []
    after = 0
    while rows := buffer.first_pending(after, 50):
        numbers += [row.seq - 1 for row in rows]
        after = rows[-1].seq
    assert len(set(numbers)) >= READINGS - 60
    buffer.append([parcel(READINGS)])
    assert numbers_in(buffer)[-1] == READINGS
    assert buffer.last_seq > READINGS
    assert len(aside_files(folder)) == 1


def test_a_row_whose_checksum_is_wrong_never_leaves(folder: Path) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    connection.execute("UPDATE readings SET body = '{\"device\":' WHERE seq = 600")
    connection.commit()
    connection.close()
    assert_goes_on(folder, lost_at_most=1)
    # Nobody had looked at that row when the file was opened.
    assert len(aside_files(folder)) == 1


def test_no_file_that_was_set_aside_is_ever_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for number in range(3):
        filled(tmp_path, 1)
        contents.append(damage(tmp_path, 0, bytes([number]) * 200))
        open_buffer(tmp_path).close()
    assert sorted(path.read_bytes() for path in aside_files(tmp_path)) == sorted(contents)


def test_something_else_than_a_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"a shopping list\n" * 1_000)
    buffer = open_buffer(tmp_path)
    buffer.append([parcel(1)])
    assert numbers_in(buffer) == [1]
    assert aside_files(tmp_path)[0].read_bytes() == b"a shopping list\n" * 1_000


def test_anothers_database_is_set_aside(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE songs (name)")
    connection.close()
    assert open_buffer(tmp_path).count == 0
    assert len(aside_files(tmp_path)) == 1


@pytest.mark.parametrize("step", ["set_aside", "sync_folder", "_sync"])
def test_a_salvage_that_is_cut_off_is_done_again_or_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    damage(folder, 0, b"x" * 100)

    class PowerCut(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(buffer_salvage, step, cut)
        with pytest.raises(PowerCut):
            open_buffer(folder)
    assert_goes_on(folder, lost_at_most=0)
    assert len(aside_files(folder)) == 1


def test_a_tree_that_leads_round_in_a_circle(folder: Path) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'readings'").fetchone()[0]
    connection.close()
    begin = (root - 1) * PAGE_BYTES
    page = bytearray((folder / FILE_NAME).read_bytes()[begin : begin + PAGE_BYTES])
    assert page[0] == 5, "an interior page of a table"
    cells = int.from_bytes(page[3:5], "big")
    places = [int.from_bytes(page[12 + 2 * cell : 14 + 2 * cell], "big") for cell in range(cells)]
    for place in [8, *places]:
        page[place : place + 4] = page[places[0] : places[0] + 4]
    damage(folder, begin, page)
    buffer = open_buffer(folder)
    assert numbers_in(buffer) == list(range(READINGS))
    assert len(aside_files(folder)) == 1


def test_a_format_that_sqlite_does_not_know(folder: Path) -> None:
    damage(folder, 44, (99).to_bytes(4, "big"))
    assert_goes_on(folder, lost_at_most=0)
    assert len(aside_files(folder)) == 1


def spoil(path: Path, rng: random.Random) -> None:
    """Overwrite parts of a file with noise or zeros, or cut it off."""
    spoilt = bytearray(path.read_bytes())
    for _ in range(rng.choice((0, 1, 1, 5, 50))):
        length = rng.choice((1, 8, 600, 5_000))
        begin = rng.randrange(len(spoilt))
        spoilt[begin : begin + length] = rng.randbytes(length) if rng.random() < 0.5 else bytes(length)
    if rng.random() < 0.2:
        del spoilt[rng.randrange(len(spoilt)) :]
    path.write_bytes(spoilt)


@pytest.mark.parametrize("times", [60, pytest.param(3_000, marks=pytest.mark.slow)])
def test_random_damage_never_stops_the_buffer_and_never_makes_up_readings(tmp_path: Path, times: int) -> None:
    filled(tmp_path / "live", 30, PER_COMMIT)
    live = open_buffer(tmp_path / "live")
    live.append([parcel(*range(600, 660))])
    rng = random.Random(6)
    for number in range(times):
        folder = copy_files(tmp_path / "live", tmp_path / f"damaged-{number}")
        for path in folder.iterdir():
            if rng.random() < 0.7:
                spoil(path, rng)
        buffer = open_buffer(folder)
        numbers = numbers_in(buffer)
        assert set(numbers) <= set(range(660))
        assert len(set(numbers)) == len(numbers)
        buffer.append([parcel(10_000)])
        assert numbers_in(buffer)[-1] == 10_000
        buffer.delete([(1, buffer.last_seq)])
        assert buffer.count == 0
        buffer.close()
        shutil.rmtree(folder)
