"""A station's state as bytes: a hash, then the columns, deflated, in a fixed order, type and shape."""

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"SGT1"
_HASH_BYTES = 16


def write_columns(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """The columns' bytes, all numbers little-endian."""
    plain = b"".join(column.astype(column.dtype.newbyteorder("<")).tobytes() for column in columns.values())
    body = zlib.compress(plain, 1)
    return _MAGIC + hashlib.sha256(body).digest()[:_HASH_BYTES] + body


def read_columns(content: bytes, like: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns that ``write_columns`` wrote.

    Args:
        content: the bytes.
        like: columns of the same names, types and shapes.

    Raises:
        ValueError: the bytes are cut off, altered, or of another version.
    """
    begin = len(_MAGIC) + _HASH_BYTES
    if not content.startswith(_MAGIC) or len(content) < begin:
        raise ValueError("it does not begin as one, or is of another version")
    if hashlib.sha256(content[begin:]).digest()[:_HASH_BYTES] != content[len(_MAGIC) : begin]:
        raise ValueError("it is damaged: its content has not the hash that it begins with")
    size = sum(column.nbytes for column in like.values())
    try:
        plain = zlib.decompressobj().decompress(content[begin:], size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plain) != size:
        raise ValueError(f"it holds {len(plain)} bytes where {size} are expected: it is of another version")
    found: dict[str, NDArray[Any]] = {}
    place = 0
    for name, column in like.items():
        part = np.frombuffer(plain, dtype=column.dtype.newbyteorder("<"), count=column.size, offset=place)
        found[name] = part.astype(column.dtype).reshape(column.shape)
        place += column.nbytes
    return found
