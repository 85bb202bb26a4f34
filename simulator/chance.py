"""Chance that is a pure function of a seed and a key.

Noise and storms are looked up, not drawn one after the other: the same moment always has the same noise, whichever
moments were asked for before. So a generated record is the same to the byte on every run, and a demo that is
restarted goes on with the same water.
"""

import math
import zlib

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def seed_of(seed: int, name: str) -> int:
    """A seed of its own for each name (for example of a station) under one common seed; the same in every process."""
    return zlib.crc32(f"{seed}/{name}".encode())


def uniform(seed: int, key: IntArray) -> FloatArray:
    """Numbers evenly spread over the open interval (0, 1), one per key.

    SplitMix64's finaliser over seed and key (G. L. Steele, D. Lea, C. H. Flood: Fast splittable pseudorandom number
    generators, OOPSLA 2014, with the constants of S. Vigna's public-domain ``splitmix64.c``); its 53 upper bits
    become the number.
    """
    start = _mix(np.full(1, seed, dtype=np.int64).view(np.uint64))
    bits = _mix(key.astype(np.int64).view(np.uint64) ^ start)
    return (np.asarray(bits >> np.uint64(11), dtype=np.float64) + 0.5) / 2.0**53


def normal(seed: int, key: IntArray) -> FloatArray:
    """Standard normal numbers, one per key (G. E. P. Box, M. E. Muller: A note on the generation of random normal
    deviates, 1958).
    """
    radius = np.sqrt(-2.0 * np.log(uniform(seed_of(seed, "radius"), key)))
    angle = 2.0 * math.pi * uniform(seed_of(seed, "angle"), key)
    return np.asarray(radius * np.cos(angle), dtype=np.float64)


def exponential(seed: int, key: IntArray, mean: float) -> FloatArray:
    """Exponentially distributed numbers with this mean, one per key."""
    return np.asarray(-mean * np.log(uniform(seed, key)), dtype=np.float64)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = state + _GOLDEN_GAMMA
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)
