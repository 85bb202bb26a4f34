"""What is ordinary for one device with several sensors: learnt from its recent readings without labels, kept as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from streamgauge.scoring.features import FloatArray
from streamgauge.scoring.multisensor.spread import centre_and_spread, covariance
from streamgauge.scoring.multisensor.windows import WINDOWS, standardise, trailing_mean

FORMAT = "streamgauge-multisensor-1"

MIN_ROWS = 128
"""Fewer rows teach nothing that would hold; 400 and more are better."""

MIN_SHARE = 0.5
"""A channel with a value in fewer of the rows takes no part."""

SHARES = (1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
"""Of the learning rows so many were at least as surprising as the levels in ``MultisensorProfile.levels``."""

_NEVER = math.inf
"""The spread of a channel that takes no part: no value is away from its centre."""


@dataclass(frozen=True, slots=True)
class WindowProfile:
    """What is ordinary for the trailing means over one window.

    Attributes:
        rows: the window.
        centre: the mean of the trailing means, in ordinary spreads, float[k].
        precision: the inverse of their covariance, row by row, float[k][k].
        limit: the largest distance that any learning row had.
    """

    rows: int
    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float

    def distance(self, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How far trailing means are from ordinary, and by which channels.

        Sums run in a fixed order, so that a row's figures do not depend on its neighbours in the array.

        Args:
            means: float64[n, k].

        Returns:
            The square root of Hotelling's T² per channel, float64[n], and each channel's reconstruction-based
            contribution, float64[n, k]: how much of T² would go if that channel alone were what the others say it is
            (C. F. Alcala and S. J. Qin, "Reconstruction-based contribution for process monitoring", Automatica 45, 2009).
        """
        away = means - np.array(self.centre)
        pull = np.zeros_like(away)
        for channel, weights in enumerate(self.precision):
            pull += away[:, channel, None] * np.array(weights)
        squared = np.zeros(len(away))
        for channel in range(away.shape[1]):
            squared += away[:, channel] * pull[:, channel]
        distance = np.sqrt(np.maximum(squared, 0.0) / away.shape[1])
        return distance, np.square(pull) / np.diag(np.array(self.precision))


@dataclass(frozen=True, slots=True)
class MultisensorProfile:
    """The whole of it.

    Attributes:
        names: the channels, in the order of the values' columns.
        rows: from how many rows it was learnt.
        centre: the channels' ordinary values, in their units.
        scale: their ordinary spreads; infinite for a channel that takes no part.
        windows: one per window in ``windows.WINDOWS``.
        levels: how far off the share ``SHARES`` of the learning rows was at least, as a ratio to the limits, rising.
    """

    names: tuple[str, ...]
    rows: int
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    windows: tuple[WindowProfile, ...]
    levels: tuple[float, ...]

    @classmethod
    def learn(cls, values: FloatArray, names: Sequence[str] | None = None) -> Self:
        """Learn from recent ordinary readings of one device, oldest first; up to 2.5 % of them may be wild.

        Args:
            values: float64[n, k]; any units; NaN where a channel said nothing. A row without any value is passed over.
            names: what the channels are called; their numbers if left out.

        Raises:
            ValueError: fewer than ``MIN_ROWS`` rows with a value, no channel with a value in half of them, or names
                that are not one per channel.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2:
            raise ValueError(f"Readings must be an array of rows and channels, not of shape {values.shape}")
        names = tuple(names) if names is not None else tuple(map(str, range(values.shape[1])))
        if len(set(names)) != values.shape[1]:
            raise ValueError(f"{values.shape[1]} channels need as many different names, not {list(names)}")
        values = values[np.isfinite(values).any(axis=1)]
        if len(values) < MIN_ROWS:
            raise ValueError(f"{len(values)} readings teach nothing that would hold; at least {MIN_ROWS} are needed")
        centre, scale = _centres_and_spreads(values)
        windows, ratio = _learn_windows(values, centre, scale)
        levels = np.quantile(ratio, [1 - share for share in SHARES])
        return cls(names, len(values), tuple(centre.tolist()), tuple(scale.tolist()), windows, tuple(levels.tolist()))

    def distances(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Each row's largest distance over the windows as a ratio to its limit, and the channels' contributions there.

        Args:
            values: rows of the device in their order, float64[n, k].

        Returns:
            float64[n] and float64[n, k].
        """
        return _distances(values, np.array(self.centre), np.array(self.scale), self.windows)

    def to_json(self) -> dict[str, Any]:
        """As JSON can keep it; ``from_json`` gives back an equal profile."""
        body = asdict(self)
        body["scale"] = [scale if math.isfinite(scale) else None for scale in self.scale]
        return {"format": FORMAT, **json.loads(json.dumps(body))}

    @classmethod
    def from_json(cls, body: object) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else, or damaged.
        """
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ValueError(f"This is not a profile of several sensors of format {FORMAT}")
        try:
            profile = cls(
                names=tuple(str(name) for name in body["names"]),
                rows=int(body["rows"]),
                centre=_numbers(body["centre"]),
                scale=tuple(_NEVER if scale is None else float(scale) for scale in body["scale"]),
                windows=tuple(
                    WindowProfile(
                        rows=int(window["rows"]),
                        centre=_numbers(window["centre"]),
                        precision=tuple(_numbers(row) for row in window["precision"]),
                        limit=float(window["limit"]),
                    )
                    for window in body["windows"]
                ),
                levels=_numbers(body["levels"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"The profile of several sensors is damaged: {error!r}") from error
        profile._refuse_misfit()
        return profile

    def _refuse_misfit(self) -> None:
        channels = len(self.names)
        fits = (
            channels == len(self.centre) == len(self.scale)
            and tuple(window.rows for window in self.windows) == tuple(window.rows for window in WINDOWS)
            and all(
                len(window.centre) == len(window.precision) == channels
                and all(len(row) == channels for row in window.precision)
                and all(window.precision[channel][channel] > 0 for channel in range(channels))
                and 0 < window.limit < math.inf
                for window in self.windows
            )
            and len(self.levels) == len(SHARES)
            and all(scale > 0 for scale in self.scale)
        )
        if not fits:
            raise ValueError("The profile of several sensors is damaged: its parts do not fit each other")


def _numbers(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    return numbers


def _centres_and_spreads(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    channels = values.shape[1]
    centre, scale = np.zeros(channels), np.full(channels, _NEVER)
    for channel in range(channels):
        there = values[np.isfinite(values[:, channel]), channel]
        if len(there) >= MIN_SHARE * len(values):
            centre[channel], scale[channel] = centre_and_spread(there)
    if not np.isfinite(scale).any():
        raise ValueError(f"None of the {channels} channels has a value in half of the readings")
    return centre, scale


def _learn_windows(
    values: FloatArray, centre: FloatArray, scale: FloatArray
) -> tuple[tuple[WindowProfile, ...], FloatArray]:
    windows = []
    for window in WINDOWS:
        # The first rows know too little of what was before them.
        means = trailing_mean(standardise(values, centre, scale, window.clip), window.rows)[window.rows - 1 :]
        middle = means.mean(axis=0)
        precision = np.linalg.inv(covariance(means - middle, window.rows))
        precision = (precision + precision.T) / 2
        unlimited = WindowProfile(
            window.rows, tuple(middle.tolist()), tuple(tuple(row) for row in precision.tolist()), limit=1.0
        )
        distance, _ = unlimited.distance(means)
        # All channels constant: half a spread in one of them would be as far as an ordinary row comes.
        limit = float(distance.max()) or 0.5
        windows.append(WindowProfile(unlimited.rows, unlimited.centre, unlimited.precision, limit))
    ratio, _ = _distances(values, centre, scale, tuple(windows))
    return tuple(windows), ratio[max(window.rows for window in WINDOWS) - 1 :]


def _distances(
    values: FloatArray, centre: FloatArray, scale: FloatArray, windows: tuple[WindowProfile, ...]
) -> tuple[FloatArray, FloatArray]:
    largest = np.full(len(values), -1.0)
    blame = np.zeros(values.shape)
    for window, profile in zip(WINDOWS, windows, strict=True):
        distance, contribution = profile.distance(
            trailing_mean(standardise(values, centre, scale, window.clip), window.rows)
        )
        ratio = distance / profile.limit
        more = ratio > largest
        largest[more] = ratio[more]
        blame[more] = contribution[more]
    return largest, blame
