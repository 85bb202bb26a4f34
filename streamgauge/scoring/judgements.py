"""What two models said of the same rows, beside what came: the material of their comparison."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judgements:
    """Champion and challenger on the same rows of one thing that they expect: the next reading, or the level at a horizon.

    Attributes:
        horizon_s: how far ahead; 0: the next reading.
        moving: whether the water moved before, bool[m].
        persistence: its loss per row, float64[m]; likewise the next two.
        champion: the champion's loss.
        challenger: the challenger's.
        champion_covers: whether the level lay in the champion's band, bool[m].
        challenger_covers: in the challenger's.
    """

    horizon_s: int
    moving: Mask
    persistence: FloatArray
    champion: FloatArray
    challenger: FloatArray
    champion_covers: Mask
    challenger_covers: Mask
