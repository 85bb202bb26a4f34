"""Columns relative to how lively the water is."""

import numpy as np
from numpy.typing import NDArray

from streamgauge.scoring.forecast.window_features import LENGTHS, FeatureMatrix

FloatArray = NDArray[np.float64]


def scaled(values: FeatureMatrix, scale_m: FloatArray, scale: int | None) -> tuple[FeatureMatrix, FloatArray]:
    """The columns with lengths divided by one of the scales, and what to multiply answers by.

    Args:
        values: float32[m, len(FEATURES)].
        scale_m: float64[m, len(SCALES)].
        scale: which; ``None``: metres as they are.
    """
    if scale is None:
        return values, np.ones(len(values))
    divisor_m = scale_m[:, scale]
    divided = values.copy()
    divided[:, : len(LENGTHS)] /= divisor_m[:, np.newaxis].astype(np.float32)
    return divided, divisor_m
