"""A buffer whose file is removed or replaced while it is open loses nothing: it is put back from what is still open."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.buffer import salvage as buffer_salvage
from gateway.buffer.buffer import FILE_NAME
from gateway.buffer.faults import BufferUnwritable
from gateway.buffer.keeper import Keeper
from gateway.entries import CounterState
from tests.support.buffered import aside_files, copy_files, filled, numbers_in, open_buffer, parcel


def remove_database(folder: Path) -> None:
    (folder / FILE_NAME).unlink()


def remove_all(folder: Path) -> None:
    for path in folder.glob(f"{FILE_NAME}*"):
        path.unlink()


def remove_log(folder: Path) -> None:
    (folder / f"{FILE_NAME}-wal").unlink()


def move_away(folder: Path) -> None:
    (folder / FILE_NAME).rename(folder / "elsewhere")


def put_another_there(folder: Path) -> None:
    filled(folder.parent / "other", 1)
    (folder.parent / "other" / FILE_NAME).replace(folder / FILE_NAME)


WAYS = [remove_database, remove_all, remove_log, move_away, put_another_there]


@pytest.mark.parametrize("remove", WAYS)
def test_what_comes_next_finds_a_new_file_with_all_that_was_there(
    tmp_path: Path, remove: Callable[[Path], None]
) -> None:
    folder = tmp_path / "gateway"
    filled(folder, 10)
    buffer = open_buffer(folder)
    buffer.append([parcel(*range(100, 110))])
    remove(folder)
    buffer.append([parcel(110)])
    assert numbers_in(buffer) == list(range(111))
    # What a power cut would leave now.
    again = open_buffer(copy_files(folder, tmp_path / "after"))
    assert numbers_in(again) == list(range(111))
    assert (again.count, again.last_seq) == (buffer.count, buffer.last_seq) == (111, 111)
    assert again.counters() == {"session": CounterState("session", 110, 2**127 + 110)}
    buffer.delete([(1, 100)])
    buffer.close()
    assert numbers_in(open_buffer(folder)) == list(range(100, 111))


@pytest.mark.parametrize("remove", WAYS)
def test_nothing_is_lost_when_it_is_stopped_before_it_was_noticed(
    tmp_path: Path, remove: Callable[[Path], None]
) -> None:
    folder = tmp_path / "gateway"
    buffer = open_buffer(folder)
    buffer.append([parcel(*range(10))])
    remove(folder)
    buffer.close()
    assert numbers_in(open_buffer(folder)) == list(range(10))


def test_the_keeper_notices_it_by_itself(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    buffer.append([parcel(*range(10))])
    remove_all(tmp_path)
    keeper = Keeper(buffer, max_waiting=10)
    keeper._look_after()
    assert numbers_in(open_buffer(copy_files(tmp_path, tmp_path / "after"))) == list(range(10))
    assert keeper.trouble is None
    buffer.close()


def test_what_stands_in_its_place_is_set_aside(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    buffer.append([parcel(1)])
    remove_database(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"a shopping list")
    buffer.append([parcel(2)])
    assert numbers_in(buffer) == [1, 2]
    (aside,) = aside_files(tmp_path)
    assert aside.read_bytes() == b"a shopping list"


def test_without_space_for_a_new_file_nothing_is_taken_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = open_buffer(tmp_path)
    buffer.append([parcel(1)])
    remove_all(tmp_path)

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(buffer_salvage, "_sync", full)
        for _ in range(3):
            with pytest.raises(BufferUnwritable, match="removed"):
                buffer.append([parcel(2)])
    buffer.append([parcel(3)])
    assert numbers_in(buffer) == [1, 3]


def test_a_removed_folder_refuses_what_comes(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "gateway")
    buffer.append([parcel(1)])
    shutil.rmtree(tmp_path / "gateway")
    with pytest.raises(BufferUnwritable):
        buffer.append([parcel(2)])
    (tmp_path / "gateway").mkdir()
    buffer.append([parcel(3)])
    assert numbers_in(buffer) == [1, 3]
