"""A full buffer gives readings up by its rule; a full disk costs nothing that was promised."""

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.buffer.ballast import Ballast
from gateway.buffer.buffer import Buffer
from gateway.buffer.faults import BufferFull, BufferUnwritable, ParcelTooLarge
from gateway.buffer.file import BufferFile
from gateway.entries import CounterState, Parcel
from tests.support.buffered import entry, numbers_in, open_buffer, parcel

MIB = 2**20


@contextlib.contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond a size: writing fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(buffer: Buffer, first: int, commits: int, per_commit: int = 50, *, precious: bool = False) -> int:
    """Append; returns the next number."""
    for number in range(commits):
        begin = first + number * per_commit
        buffer.append([parcel(*range(begin, begin + per_commit), precious=precious)])
    return first + commits * per_commit


def test_a_full_buffer_gives_up_the_oldest_and_says_how_many(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, max_bytes=MIB)
    appended = fill(buffer, 0, 300)
    numbers = numbers_in(buffer)
    assert numbers == list(range(appended - len(numbers), appended))
    assert buffer.dropped == appended - len(numbers)
    assert buffer.count == len(numbers)
    # Enough is kept: room is made for what comes, and a little more.
    assert buffer.count > 2_000


def test_all_files_together_stay_below_the_bound(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, max_bytes=2 * MIB)
    largest = 0
    for number in range(400):
        fill(buffer, number * 50, 1)
        largest = max(largest, buffer.size_bytes())
    assert buffer.dropped
    assert 1.5 * MIB < largest <= 2 * MIB
    assert largest == pytest.approx(sum(path.stat().st_size for path in tmp_path.iterdir()), rel=0.1)


def test_precious_readings_outlive_ordinary_ones(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, max_bytes=MIB)
    fill(buffer, 0, 20, precious=True)
    fill(buffer, 1_000, 300)
    numbers = numbers_in(buffer)
    assert numbers[:1_000] == list(range(1_000))
    assert numbers[1_000:] == list(range(16_000 - len(numbers) + 1_000, 16_000))
    assert buffer.precious_count == 1_000


def test_precious_readings_go_oldest_first_when_there_are_no_others(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, max_bytes=MIB)
    appended = fill(buffer, 0, 150, precious=True)
    numbers = numbers_in(buffer)
    assert numbers == list(range(appended - len(numbers), appended))
    fill(buffer, appended, 40)
    still = numbers_in(buffer)
    assert set(numbers) <= set(still), "an ordinary reading has driven out a precious one"
    assert buffer.precious_count == len(numbers)
    assert buffer.count == len(still)
    assert buffer.dropped == appended + 40 * 50 - len(still)


def test_room_that_was_deleted_is_used_again(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, max_bytes=MIB)
    for number in range(30):
        fill(buffer, number * 1_000, 20)
        buffer.delete([(1, buffer.last_seq)])
    assert buffer.dropped == 0


def test_what_can_never_fit_is_refused_and_nothing_is_given_up_for_it(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path, max_bytes=MIB)
    fill(buffer, 0, 10)
    with pytest.raises(ParcelTooLarge):
        buffer.append([parcel(*range(1_000, 21_000), precious=True)])
    assert numbers_in(buffer) == list(range(500))
    assert buffer.dropped == 0
    assert buffer.counters()["session"].newest == 499


def test_a_disk_without_space_leaves_nothing_half_written(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    fill(buffer, 0, 40)
    committed = 2_000
    # The log may not grow any more: first it is used from its beginning again, then that is not enough either.
    with largest_file(max(path.stat().st_size for path in tmp_path.glob("buffer.db*")) // 2):
        with contextlib.suppress(BufferUnwritable):
            for _ in range(1_000):
                buffer.append([parcel(*range(committed, committed + 50))])
                committed += 50
        assert committed < 1_000 * 50
        before = numbers_in(buffer)
        with pytest.raises(BufferUnwritable):
            buffer.append(
                [Parcel(entries=[entry(n) for n in range(90_000, 92_000)], counters=[CounterState("s", 1, 1)])]
            )
        assert numbers_in(buffer) == before
        assert set(buffer.counters()) == {"session"}
    assert before[-1] == committed - 1
    assert buffer.count == len(before)
    assert buffer.counters()["session"].newest == committed - 1
    buffer.append([parcel(90_000)])
    assert numbers_in(buffer)[-1] == 90_000


def test_deleting_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path)
    fill(buffer, 0, 100)
    buffer.close()
    buffer = open_buffer(tmp_path)
    with largest_file((tmp_path / "buffer.db").stat().st_size):
        buffer.delete([(1, 4_900)])
        fill(buffer, 10_000, 90)
    assert buffer.count == 100 + 90 * 50
    assert buffer.dropped == 0


def test_the_ballast_goes_when_nothing_else_helps_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = open_buffer(tmp_path)
    fill(buffer, 0, 1)
    ballast = tmp_path / "ballast"
    assert ballast.stat().st_blocks * 512 >= 4 * MIB
    sound = BufferFile.transaction

    @contextlib.contextmanager
    def full_disk(self: BufferFile) -> Iterator[object]:
        if ballast.exists():
            raise BufferFull("no space left")
        with sound(self) as connection:
            yield connection

    monkeypatch.setattr(BufferFile, "transaction", full_disk)
    fill(buffer, 50, 1)
    assert not ballast.exists()
    buffer.lay_ballast()
    assert ballast.exists()


def test_there_is_no_ballast_on_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2 * MIB - 1))
    ballast = Ballast(tmp_path / "ballast", MIB)
    assert not ballast.lay()
    assert not ballast.give_up()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BufferUnwritable, match="GATEWAY_DIR"):
        open_buffer(tmp_path / "file")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own, where the machine lets us mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    """Another program takes all the space that is left; returns its file."""
    rest = folder / "rest"
    with contextlib.suppress(OSError), rest.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return rest


def fill_until_refused(buffer: Buffer, first: int, most_commits: int = 3_000) -> int:
    """Append until the buffer says no; returns the next number."""
    with contextlib.suppress(BufferFull):
        for _ in range(most_commits):
            first = fill(buffer, first, 1)
    return first


def assert_full_and_whole(buffer: Buffer, appended: int) -> None:
    """Everything that was taken is there, and nothing more is taken; deletions are, and make room."""
    with pytest.raises(BufferFull):
        buffer.append([parcel(*range(900_000, 900_050))])
    assert numbers_in(buffer) == list(range(appended))
    assert buffer.dropped == 0
    assert buffer.counters()["session"].newest == appended - 1


@pytest.mark.slow
@pytest.mark.parametrize("already", [0, 1, 20, 500], ids=lambda commits: f"after {commits} commits")
def test_on_a_disk_that_another_program_fills_the_ballast_is_for_readings(tmp_path: Path, already: int) -> None:
    with small_disk(tmp_path, "16m"):
        buffer = open_buffer(tmp_path / "gateway", max_bytes=200 * MIB)
        ballast = tmp_path / "gateway" / "ballast"
        before = fill(buffer, 0, already)
        rest = fill_up(tmp_path)
        appended = fill_until_refused(buffer, before)
        assert not ballast.exists()
        assert appended - before > 8_000, "half of the ballast holds more"
        assert_full_and_whole(buffer, appended)
        buffer.lay_ballast()
        assert not ballast.exists()
        fill_up(tmp_path)
        buffer.delete([(1, 1_000)])
        assert fill_until_refused(buffer, appended, 10) == appended + 500, "room that was deleted is used again"
        rest.unlink()
        fill(buffer, appended + 500, 100)
        buffer.lay_ballast()
        assert ballast.exists() is (already < 500)
        assert buffer.dropped == 0
        buffer.close()


@pytest.mark.slow
def test_readings_survive_a_kill_and_a_start_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, "16m"):
        buffer = open_buffer(tmp_path / "gateway", max_bytes=200 * MIB)
        appended = fill(buffer, 0, 20)
        buffer.close()
        fill_up(tmp_path)
        buffer = open_buffer(tmp_path / "gateway", max_bytes=200 * MIB)
        appended = fill_until_refused(buffer, appended)
        assert appended > 5_000
        assert_full_and_whole(buffer, appended)
        buffer.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["6m", "20m"])
def test_on_a_disk_that_is_smaller_than_the_buffer_may_become(tmp_path: Path, size: str) -> None:
    with small_disk(tmp_path, size):
        buffer = open_buffer(tmp_path, max_bytes=200 * MIB)
        appended = fill_until_refused(buffer, 0)
        assert_full_and_whole(buffer, appended)
        assert buffer.count > 10_000
        while rows := buffer.first_pending(0, 500):
            buffer.delete([(rows[0].seq, rows[-1].seq)])
        assert buffer.count == 0
        buffer.close()


def test_on_a_full_disk_the_file_stops_growing_gives_nothing_up_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = open_buffer(tmp_path, max_bytes=2 * MIB)
    appended = fill(buffer, 0, 10)
    (tmp_path / "ballast").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
        appended = fill_until_refused(buffer, appended)
        assert_full_and_whole(buffer, appended)
    assert fill(buffer, appended, 10) == appended + 500
    assert numbers_in(buffer) == list(range(appended + 500))


def test_while_the_ballast_is_there_the_file_may_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = open_buffer(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    appended = fill(buffer, 0, 200)
    assert numbers_in(buffer) == list(range(appended))
    assert buffer.dropped == 0


@pytest.mark.slow
def test_on_a_disk_without_space_nothing_is_taken_and_nothing_given_up(tmp_path: Path) -> None:
    with small_disk(tmp_path, "2m"):
        buffer = open_buffer(tmp_path, max_bytes=200 * MIB)
        with pytest.raises(BufferFull):
            fill(buffer, 0, 200)
        assert buffer.dropped == 0
        buffer.close()
