"""The write-ahead log, looked at from outside.

SQLite takes a log up to the first frame whose checksum is wrong and passes over the rest without a word: that is right
after a power cut, when the rest was never committed, and a silent loss when the disk has changed what it had kept. The two
can be told apart: every transaction but the last was on the disk before the next one began, so that two complete
transactions behind the first wrong frame cannot come from a power cut.

Format: https://sqlite.org/fileformat2.html, section 4.1 (WAL file format) and 4.2 (checksum algorithm).
"""

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF


def log_of(path: Path) -> Path:
    """The write-ahead log beside a database file."""
    return path.with_name(path.name + "-wal")


def has_sound_header(log: Path) -> bool:
    """Whether a log has the header that SQLite asks for. One that is absent or has no frame is sound."""
    try:
        with log.open("rb") as file:
            raw = file.read(_HEADER.size)
            has_frame = bool(file.read(1))
    except FileNotFoundError:
        return True
    if not has_frame:
        return True
    fields = _HEADER.unpack(raw)
    return fields[0] & ~1 == _MAGIC and _checksum(raw[:24], is_big_endian=bool(fields[0] & 1)) == fields[6:8]


def complete_transactions(log: Path) -> list[int]:
    """Where transactions of the log's present generation end: numbers of their last frames, from 1, whether or not
    SQLite accepts them. Reads a few bytes per frame.
    """
    ends: list[int] = []
    try:
        with log.open("rb") as file:
            raw = file.read(_HEADER.size)
            if len(raw) < _HEADER.size:
                return ends
            _, _, page_bytes, _, *salts = _HEADER.unpack(raw)[:6]
            number = 0
            while len(raw := file.read(_FRAME.size)) == _FRAME.size:
                number += 1
                _, pages_after_commit, *frame_salts = _FRAME.unpack(raw)[:4]
                if pages_after_commit and frame_salts == salts:
                    ends.append(number)
                file.seek(page_bytes, 1)
    except FileNotFoundError:
        pass
    return ends


def _checksum(raw: bytes, *, is_big_endian: bool) -> tuple[int, int]:
    words = struct.unpack(f"{'>' if is_big_endian else '<'}{len(raw) // 4}I", raw)
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return first, second
