"""The verdict on rows of a device whose ordinary readings are known."""

from dataclasses import dataclass

import numpy as np

from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.scoring.features import FloatArray
from streamgauge.scoring.multisensor.profile import SHARES, MultisensorProfile
from streamgauge.scoring.multisensor.windows import CONTEXT_ROWS

__all__ = ["ALARM_RATIO", "CONTEXT_ROWS", "Surprise", "surprise"]

ALARM_RATIO = 1.4
"""At so many times the largest distance of the ordinary readings a row reaches ``ANOMALY_SCORE``.

The ordinary readings that were learnt from are few and near each other in time; those that follow go further.
"""

MARKED_DECADES = -float(np.log2(1 - ANOMALY_SCORE))
"""What ``ANOMALY_SCORE`` means: one ordinary reading in 10,000."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """The verdict on some rows, in their order.

    Attributes:
        score: 0 ordinary … 1 beyond anything ordinary, float64[n]; NaN for a row without any value. It means the same
            as a level's: 1 − 2^−d for a surprise of d decades, d = −log10 of the share of the device's ordinary readings
            that are at least as surprising. Beyond what was learnt, d goes on so that ``ALARM_RATIO`` has 4.
        ratio: the distance as a ratio to the largest distance of the ordinary readings, float64[n]; NaN likewise.
        contribution: each channel's share of the blame, float64[n, k]; the shares of a row add up to 1, or are all 0
            where nothing is away from ordinary.
        alarm: the score is at least ``ANOMALY_SCORE``, bool[n].
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
    score = 1 - np.exp2(-_decades(profile, ratio))
    return Surprise(score, ratio, contribution, score >= ANOMALY_SCORE)


def _decades(profile: MultisensorProfile, ratio: FloatArray) -> FloatArray:
    """How rare such a reading is among ordinary ones, float64[n]: 1 is one in ten, 2 one in a hundred."""
    levels = np.array([*profile.levels, ALARM_RATIO])
    decades = np.array([*-np.log10(SHARES), MARKED_DECADES])
    slope = (decades[-1] - decades[-2]) / (levels[-1] - levels[-2])
    rarity = np.interp(ratio, levels, decades) + slope * np.maximum(ratio - ALARM_RATIO, 0.0)
    # Where nothing moved while learning, all levels are 0, and so is the ratio of a reading that says the same.
    return np.where(ratio <= levels[0], 0.0, rarity)
