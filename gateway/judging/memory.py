"""The last levels of one device, and their form as bytes, in which they survive a restart.

Form: ``SGM1``, the number of rows (one byte), the times (int64) and the levels (float64), little-endian, and the CRC-32 of all
that. Anything else is damaged.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from streamgauge.quality.series import CONTEXT_ROWS, IntArray
from streamgauge.scoring.features import FloatArray

_HEAD = struct.Struct("<4sB")
_TAIL = struct.Struct("<I")
_MAGIC = b"SGM1"
_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """Levels of one device, oldest first, each instant once: microseconds since 1970, int64[n], and metres, float64[n]."""

    time_us: IntArray
    level_m: FloatArray

    def until(self, latest_us: int) -> "Memory":
        """Those up to a time."""
        rows = int(np.searchsorted(self.time_us, latest_us, side="right"))
        return Memory(self.time_us[:rows], self.level_m[:rows])

    def newest(self) -> "Memory":
        """The last ``CONTEXT_ROWS`` of them, on their own."""
        return Memory(self.time_us[-CONTEXT_ROWS:].copy(), self.level_m[-CONTEXT_ROWS:].copy())


NOTHING = Memory(np.empty(0, dtype=np.int64), np.empty(0))


def memory_to_bytes(memory: Memory) -> bytes:
    """At most ``CONTEXT_ROWS`` levels as bytes."""
    head = _HEAD.pack(_MAGIC, len(memory.time_us))
    content = head + memory.time_us.astype("<i8").tobytes() + memory.level_m.astype("<f8").tobytes()
    return content + _TAIL.pack(zlib.crc32(content))


def memory_from_bytes(content: bytes) -> Memory | None:
    """The levels again; ``None`` for bytes that are damaged in any way, or hold none."""
    if len(content) < _HEAD.size + _TAIL.size:
        return None
    magic, rows = _HEAD.unpack_from(content)
    body = content[: -_TAIL.size]
    if magic != _MAGIC or not 0 < rows <= CONTEXT_ROWS or len(body) != _HEAD.size + 2 * rows * _NUMBER_BYTES:
        return None
    if _TAIL.unpack_from(content, len(body))[0] != zlib.crc32(body):
        return None
    time_us = np.frombuffer(body, dtype="<i8", count=rows, offset=_HEAD.size).astype(np.int64)
    level_m = np.frombuffer(body, dtype="<f8", count=rows, offset=_HEAD.size + rows * _NUMBER_BYTES).astype(np.float64)
    if (np.diff(time_us) <= 0).any() or not np.isfinite(level_m).all():
        return None
    return Memory(time_us, level_m)
