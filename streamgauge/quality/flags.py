"""Quality flags and how several of them become one.

Source: IOOS, "Manual for the Use of Real-Time Oceanographic Data Quality Control Flags", version 1.2 (2020), table 2 (the
primary flags) and section 3 (roll-up: the worst result wins).
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FlagArray = NDArray[np.uint8]


class Flag(IntEnum):
    """QARTOD's primary flags, with the values that are stored."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


ROLL_UP = (Flag.MISSING, Flag.NOT_EVALUATED, Flag.GOOD, Flag.SUSPECT, Flag.FAIL)
"""From weakest to strongest: one test that ran outweighs those that could not run, and the worst that ran wins."""

_STRENGTH: NDArray[np.uint8] = np.zeros(256, dtype=np.uint8)
_STRENGTH[[int(flag) for flag in ROLL_UP]] = np.arange(len(ROLL_UP), dtype=np.uint8)
_BY_STRENGTH: NDArray[np.uint8] = np.array([int(flag) for flag in ROLL_UP], dtype=np.uint8)


def worst(*flags: FlagArray) -> FlagArray:
    """The roll-up of flags of the same rows: elementwise the strongest in the order of ``ROLL_UP``.

    Args:
        flags: one or more arrays of ``Flag`` values, of one shape.

    Raises:
        ValueError: no array is given.
    """
    if not flags:
        raise ValueError("worst() needs at least one array of flags")
    strongest = _STRENGTH[flags[0]]
    for other in flags[1:]:
        strongest = np.maximum(strongest, _STRENGTH[other])
    return _BY_STRENGTH[strongest]
