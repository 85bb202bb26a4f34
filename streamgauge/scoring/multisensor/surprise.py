"""The verdict on rows of a device whose ordinary readings are known."""

from dataclasses import dataclass

import numpy as np

from streamgauge.scoring.features import FloatArray
from streamgauge.scoring.multisensor.profile import SHARES, MultisensorProfile
from streamgauge.scoring.multisensor.windows import CONTEXT_ROWS

__all__ = ["ALARM_RATIO", "CONTEXT_ROWS", "Surprise", "surprise"]

ALARM_RATIO = 1.5
"""From so many times the largest distance of the ordinary readings on, a row is an alarm.

The ordinary readings that were learnt from are few and near each other in time; those that follow go further.
"""


@dataclass(frozen=True, slots=True)
class Surprise:
    """The verdict on some rows, in their order.

    Attributes:
        score: 0 ordinary … 1 beyond anything ordinary, float64[n]: the share of ordinary readings that were less
            surprising. Beyond what was learnt it is extrapolated with an exponential tail. NaN for a row without any
            value.
        ratio: the distance as a ratio to the largest distance of the ordinary readings, float64[n]; NaN likewise.
            The score tells ordinary readings apart, the ratio those that are far from ordinary.
        contribution: each channel's share of the blame, float64[n, k]; the shares of a row add up to 1, or are all 0
            where nothing is away from ordinary.
        alarm: the ratio is at least ``ALARM_RATIO``, bool[n].
    """

    score: FloatArray
    ratio: FloatArray
    contribution: FloatArray
    alarm: np.typing.NDArray[np.bool_]


def surprise(profile: MultisensorProfile, values: FloatArray, before: FloatArray | None = None) -> Surprise:
    """Judge rows of one device; only they and the ``CONTEXT_ROWS`` rows before each matter to it.

    Args:
        profile: what is ordinary for the device.
        values: the rows to judge, oldest first, float64[n, k], the channels as in ``profile.names``; NaN where there is
            no value.
        before: the ``CONTEXT_ROWS`` rows before the first of them, or as many as there are, oldest first; without them
            all is taken to have been ordinary.

    Raises:
        ValueError: another number of channels than the profile has.
    """
    channels = len(profile.names)
    values = np.asarray(values, dtype=np.float64)
    earlier = np.empty((0, channels)) if before is None else np.asarray(before, dtype=np.float64)[-CONTEXT_ROWS:]
    for rows in (values, earlier):
        if rows.ndim != 2 or rows.shape[1] != channels:
            raise ValueError(f"The profile has {channels} channels, the readings are of shape {rows.shape}")
    ratio, blame = (rows[len(earlier) :] for rows in profile.distances(np.concatenate([earlier, values])))
    total = blame.sum(axis=1, keepdims=True)
    contribution = np.divide(blame, total, out=np.zeros_like(blame), where=total > 0)
    ratio = np.where(np.isnan(values).all(axis=1), np.nan, ratio)
    return Surprise(_score(profile, ratio), ratio, contribution, ratio >= ALARM_RATIO)


def _score(profile: MultisensorProfile, ratio: FloatArray) -> FloatArray:
    """The share of ordinary readings that were less surprising, float64[n]."""
    levels, shares = np.array(profile.levels), np.log(SHARES)
    share = np.interp(ratio, levels, shares)
    tail = SHARES.index(0.1)
    width = max((levels[-1] - levels[tail]) / (shares[tail] - shares[-1]), np.finfo(np.float32).eps)
    share = np.where(ratio > levels[-1], shares[-1] - (ratio - levels[-1]) / width, share)
    share = np.where(ratio <= levels[0], shares[0], share)  # a device on which nothing moves has all levels there
    score: FloatArray = -np.expm1(share)
    return score
