"""What is ordinary, from rows without labels: each channel's centre and spread, and how the trailing means vary together.

Sources: P. J. Huber, *Robust Statistics* (1981), for median, median absolute deviation and winsorising; D. C. Montgomery,
*Introduction to Statistical Quality Control*, on multivariate process monitoring, for Hotelling's T². The structure
function D(lag) = mean (x[t + lag] − x[t])² is A. N. Kolmogorov's (1941); here it tells which channels wander.
"""

import numpy as np

from streamgauge.scoring.features import FloatArray

MAD_TO_SIGMA = 1.4826  # of a normal distribution
WINSOR_SHARE = 0.025  # of the values on each side may be wild without widening the spread
CONSTANT_SHARE = 0.02  # of its value: the spread of a channel that never changed
CONSTANT_RELATIVE = 1e-12  # a spread below this share of the value is rounding
BLOCKS = 5  # the learning rows are cut into so many pieces, whose means show how the level moves
SHRINK = 0.3  # covariances are taken by so much less than they seem; a few hundred rows do not prove them
FLOOR = 0.1  # a trailing mean varies at least as if its rows had this variance and were independent
HORIZON = 4.0  # the profile is to hold for so many times the span that it was learnt from


def centre_and_spread(values: FloatArray) -> tuple[float, float]:
    """The ordinary value of one channel and its ordinary spread, in the channel's unit.

    The spread is the larger of the scaled median absolute deviation and the winsorised standard deviation: the first
    alone is 0 for a coarse sensor that mostly says one value. A channel that never changed has 2 % of its value.

    Args:
        values: finite, float64[n], n > 0.
    """
    _, exponent = np.frexp(np.abs(values).max())
    unit = values if exponent == 0 else np.ldexp(values, -int(exponent))  # exact, and no overflow in what follows
    centre = float(np.median(unit))
    low, high = np.quantile(unit, [WINSOR_SHARE, 1 - WINSOR_SHARE])
    spread = max(
        MAD_TO_SIGMA * float(np.median(np.abs(unit - centre))),
        float(np.clip(unit, low, high).std()),
    )
    if spread <= CONSTANT_RELATIVE * abs(centre):
        spread = CONSTANT_SHARE * abs(centre)
    with np.errstate(over="ignore"):
        raw = np.ldexp(np.array([centre, spread]), int(exponent))
    largest = np.finfo(np.float64).max
    return float(raw[0]), float(np.clip(raw[1], np.finfo(np.float64).tiny, largest))


def covariance(means: FloatArray, rows: int) -> FloatArray:
    """How a trailing mean of the channels varies from the time of learning on, float64[k, k], positive definite.

    It is the variation inside pieces of the learning rows plus that between the pieces; the latter counts more for a
    channel that wanders (a water temperature), for it will wander further after the learning rows than within them. How
    much more is extrapolated from the structure function, D(lag) ∝ lag^g with g from 0 (it returns) to 2 (a trend).

    Args:
        means: trailing means of the learning rows about their mean, float64[n, k].
        rows: the window of the trailing mean.
    """
    blocks = np.array_split(means, BLOCKS)
    levels = np.array([block.mean(axis=0) for block in blocks])
    inside = np.concatenate([block - level for block, level in zip(blocks, levels, strict=True)])
    within = inside.T @ inside / len(means)
    growth = np.sqrt(_growth(means))
    between = levels.T @ levels / (BLOCKS - 1) * np.outer(growth, growth)
    together: FloatArray = within + between
    shrunk: FloatArray = (1 - SHRINK) * together
    np.fill_diagonal(shrunk, np.maximum(np.diag(together), FLOOR / rows))
    return shrunk


def _growth(means: FloatArray) -> FloatArray:
    """By how much a channel's variance between pieces grows until the horizon, at least 1, float64[k]."""
    short, long = len(means) // 8, len(means) // 2
    near, far = ((np.square(means[lag:] - means[:-lag])).mean(axis=0) for lag in (short, long))
    ratio = np.divide(far, near, out=np.ones_like(far), where=near > 0)
    power = np.clip(np.log(np.maximum(ratio, 1.0)) / np.log(long / short), 0.0, 2.0)
    grown: FloatArray = (HORIZON * len(means) / long) ** power
    return grown
