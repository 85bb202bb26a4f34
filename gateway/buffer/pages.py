"""Rows read straight from the pages of a damaged file, where its tree no longer leads to them.

Rows stand in the leaf pages of a tree; one damaged page above them hides thousands. Each row's checksum says whether it is
what was written. Pages that are not used any more may hold rows that were deleted: the cloud knows those already.

Format: https://sqlite.org/fileformat2.html, sections 1.6 (b-tree pages) and 2.1 (record format).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.buffer.schema import PAGE_BYTES, checksum

_LEAF_OF_TABLE = 0x0D
_LONGEST_LOCAL_BYTES = PAGE_BYTES - 35
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_COLUMNS = 7

Row = tuple[int, str, int, int, int, int, bytes]


def rows_in_pages(path: Path) -> Iterator[Row]:
    """Every sound row of ``readings`` that stands in a leaf page as a whole, in no order, perhaps more than once."""
    with path.open("rb") as file:
        while len(page := file.read(PAGE_BYTES)) == PAGE_BYTES:
            if page[0] == _LEAF_OF_TABLE:
                yield from _rows_of(page)


def _rows_of(page: bytes) -> Iterator[Row]:
    (cells,) = struct.unpack_from(">H", page, 3)
    for place in range(min(cells, (PAGE_BYTES - 8) // 2)):
        (begin,) = struct.unpack_from(">H", page, 8 + 2 * place)
        try:
            row = _row_at(page, begin)
        except (IndexError, UnicodeDecodeError, KeyError):
            continue  # Bytes that are no such row.
        if row is not None:
            yield row


def _row_at(page: bytes, begin: int) -> Row | None:
    size, begin = _varint(page, begin)
    seq, begin = _varint(page, begin)
    if size > _LONGEST_LOCAL_BYTES or begin + size > PAGE_BYTES:
        return None
    header_end, place = _varint(page, begin)
    header_end += begin
    kinds: list[int] = []
    while place < header_end and len(kinds) <= _COLUMNS:
        kind, place = _varint(page, place)
        kinds.append(kind)
    if len(kinds) != _COLUMNS:
        return None
    values = []
    for kind in kinds:
        value, place = _value(page, place, kind)
        values.append(value)
    _, device, time_us, gateway_time_us, precious, check, body = values
    if place != begin + size or type(body) is not bytes or check != checksum(seq, body) or type(device) is not str:
        return None
    if not all(type(number) is int for number in (time_us, gateway_time_us, precious)):
        return None
    return seq, device, time_us, gateway_time_us, precious, check, body


def _value(page: bytes, begin: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, begin
    if kind in {8, 9}:
        return kind - 8, begin
    if kind >= 12:
        end = begin + (kind - 12) // 2
        raw = page[begin:end]
        return (raw.decode("utf-8") if kind % 2 else raw), end
    end = begin + _INTEGER_BYTES[kind]
    return int.from_bytes(page[begin:end], "big", signed=True), end


def _varint(page: bytes, begin: int) -> tuple[int, int]:
    value = 0
    for place in range(begin, begin + 8):
        value = value << 7 | page[place] & 0x7F
        if page[place] < 0x80:
            return value, place + 1
    return value << 8 | page[begin + 8], begin + 9
