"""A power cut at any byte: what ``append`` has returned for is there, and nothing in part."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.buffer.buffer import FILE_NAME
from gateway.buffer.log import complete_transactions
from gateway.buffer.schema import PAGE_BYTES
from tests.support.buffered import copy_files, numbers_in, open_buffer, parcel

COMMITS, PER_COMMIT = 40, 3
FRAME_BYTES = PAGE_BYTES + 24


def assert_a_prefix_of_commits(folder: Path, at_least: int, at_most: int) -> None:
    buffer = open_buffer(folder)
    numbers = numbers_in(buffer)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) % PER_COMMIT == 0
    assert at_least <= len(numbers) // PER_COMMIT <= at_most
    newest = buffer.counters()["session"].newest if numbers else -1
    assert newest == len(numbers) - 1
    assert buffer.count == len(numbers)
    assert buffer.last_seq == len(numbers)
    buffer.append([parcel(*range(len(numbers), len(numbers) + PER_COMMIT))])
    assert numbers_in(buffer) == list(range(len(numbers) + PER_COMMIT))
    buffer.close()


def test_a_log_cut_off_or_spoilt_at_its_end_gives_every_commit_before_it(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "live")
    for number in range(COMMITS):
        buffer.append([parcel(*range(number * PER_COMMIT, (number + 1) * PER_COMMIT))])
    frozen = copy_files(tmp_path / "live", tmp_path / "frozen")
    wal = frozen / f"{FILE_NAME}-wal"
    ends = [32 + end * FRAME_BYTES for end in complete_transactions(wal)]
    assert len(ends) == COMMITS
    whole = wal.read_bytes()
    rng = random.Random(1)
    cuts = [*ends, *(end - 1 for end in ends), *rng.sample(range(len(whole)), 60), *range(40)]
    for place, cut in enumerate(cuts):
        complete = sum(end <= cut for end in ends)
        folder = copy_files(frozen, tmp_path / f"cut-{place}", suffixes=("",))
        torn = whole[:cut] + (rng.randbytes(rng.randrange(3_000)) if place % 2 else b"")
        (folder / f"{FILE_NAME}-wal").write_bytes(torn)
        assert_a_prefix_of_commits(folder, complete, complete)


def test_copies_taken_at_any_moment_hold_what_was_committed_before(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "live", max_bytes=2**20)
    rng = random.Random(2)
    for number in range(120):
        buffer.append([parcel(*range(number * PER_COMMIT, (number + 1) * PER_COMMIT))])
        if rng.random() < 0.2:
            # The log is carried over several times on the way: it is short in so small a buffer.
            copy = copy_files(tmp_path / "live", tmp_path / f"copy-{number}")
            assert_a_prefix_of_commits(copy, number + 1, number + 1)


def test_a_cut_while_the_log_is_carried_over_loses_nothing(tmp_path: Path) -> None:
    """While pages are written into the file in any order, torn ones among them, the log is still there."""
    buffer = open_buffer(tmp_path / "live")
    for number in range(COMMITS):
        buffer.append([parcel(*range(number * PER_COMMIT, (number + 1) * PER_COMMIT))])
    frozen = copy_files(tmp_path / "live", tmp_path / "frozen")
    buffer.close()
    before = (frozen / FILE_NAME).read_bytes()
    after = (tmp_path / "live" / FILE_NAME).read_bytes()
    rng = random.Random(3)
    for place in range(30):
        mixed = bytearray(after[: rng.randrange(len(before), len(after) + 1)])
        for begin in range(0, len(before), 512):
            if rng.random() < 0.5:
                mixed[begin : begin + 512] = before[begin : begin + 512]
        folder = copy_files(frozen, tmp_path / f"mixed-{place}", suffixes=("-wal",))
        (folder / FILE_NAME).write_bytes(mixed)
        assert_a_prefix_of_commits(folder, COMMITS, COMMITS)


def test_a_log_spoilt_in_its_middle_is_kept_aside(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "live")
    for number in range(COMMITS):
        buffer.append([parcel(*range(number * PER_COMMIT, (number + 1) * PER_COMMIT))])
    folder = copy_files(tmp_path / "live", tmp_path / "spoilt")
    wal = folder / f"{FILE_NAME}-wal"
    ends = complete_transactions(wal)
    spoilt = bytearray(wal.read_bytes())
    place = 32 + ends[9] * FRAME_BYTES + 1_000
    spoilt[place] ^= 0xFF
    wal.write_bytes(spoilt)
    assert_a_prefix_of_commits(folder, 8, 11)
    (kept,) = folder.glob("*-wal.damaged-*")
    assert kept.read_bytes() == bytes(spoilt)


def test_a_log_without_its_header_is_kept_aside(tmp_path: Path) -> None:
    buffer = open_buffer(tmp_path / "live")
    buffer.append([parcel(0, 1, 2)])
    folder = copy_files(tmp_path / "live", tmp_path / "spoilt")
    wal = folder / f"{FILE_NAME}-wal"
    spoilt = b"garbage " * 4 + wal.read_bytes()[32:]
    wal.write_bytes(spoilt)
    open_buffer(folder).close()
    (kept,) = folder.glob("*-wal.damaged-*")
    assert kept.read_bytes() == spoilt


WRITER = """
import sys
from pathlib import Path
from tests.support.buffered import open_buffer, parcel, numbers_in
buffer = open_buffer(Path(sys.argv[1]), max_bytes=2**20)
number = buffer.last_seq
while True:
    buffer.append([parcel(*range(number, number + 3))])
    number += 3
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def kill_a_writer(folder: Path, rng: random.Random) -> int:
    """Let a process write, kill it at a random moment; returns how many readings it had said were committed."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(rng.random() * 0.1)
    os.kill(writer.pid, signal.SIGKILL)
    said = writer.stdout.read().split(b"\n")[:-1]
    writer.wait()
    writer.stdout.close()
    return int(said[-1]) if said else 0


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_nothing_it_had_committed(tmp_path: Path, kills: int) -> None:
    rng, committed = random.Random(4), 0
    for _ in range(kills):
        committed = max(committed, kill_a_writer(tmp_path, rng))
        buffer = open_buffer(tmp_path, max_bytes=2**20)
        assert buffer.last_seq >= committed
        assert buffer.last_seq - committed <= PER_COMMIT
        assert buffer.last_seq % PER_COMMIT == 0
        numbers = numbers_in(buffer)
        # So small a buffer gives readings up, the oldest first.
        assert numbers == list(range(buffer.last_seq - len(numbers), buffer.last_seq))
        buffer.close()
