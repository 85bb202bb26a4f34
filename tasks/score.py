"""Score: what the model expected of each new level, with its band, and how surprising the level is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.scoring.features import build
from streamgauge.scoring.judge import score
from streamgauge.scoring.model import Expected, Model
from tasks.clean import CleanSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSeries:
    """A clean series with expectation and score of its targets: first the new readings, then the changed stored rows.

    Attributes:
        clean: the series and its flags.
        targets: positions in the series, int64[m + k].
        expected: expected_m, low_m, high_m of each target, NaN where nothing could be expected.
        score: of each target, 0 ordinary … 1 certainly anomalous, NaN likewise.
    """

    clean: CleanSeries
    targets: NDArray[np.int64]
    expected: Expected
    score: NDArray[np.float64]


def score_series(clean: CleanSeries, model: Model) -> ScoredSeries:
    """Score the new readings, and again the stored ones whose flag has changed. Pure."""
    series, checked = clean.series, clean.checked
    targets = np.concatenate([clean.fresh, clean.changed])
    features = build(series.station, series.time_us, series.level_m, checked, targets)
    expected = model.expect(features.values, features.baseline_m)
    scores = score(series.level_m[targets], expected, checked.flags[targets])
    return ScoredSeries(clean=clean, targets=targets, expected=expected, score=scores)
