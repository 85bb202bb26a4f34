"""The whole way of a level: its quality flag, what was expected of it, its score. Live, batch and edge call this."""

from dataclasses import dataclass
from typing import Protocol

from streamgauge.quality.check import Checked, check_levels
from streamgauge.quality.parameters import DEFAULTS, StationParameters
from streamgauge.quality.series import IntArray
from streamgauge.scoring.features import FeatureMatrix, FloatArray, build
from streamgauge.scoring.model import Expected, score


class Expects(Protocol):
    """What expects levels: ``model.Model`` with XGBoost, ``edge.EdgeModel`` without; both say the same."""

    @property
    def sha256(self) -> str:
        """The hash of the trained model, which identifies it everywhere."""

    def expect(self, features: FeatureMatrix, baseline_m: FloatArray) -> Expected:
        """What is expected of each row: float32[m, len(FEATURES)] and the last usable levels, metres, float64[m]."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the targets, in their order.

    Attributes:
        checked: flags and reasons.
        expected: the expected level and its band.
        score: 0 ordinary … 1 certainly anomalous, float64[m]; NaN where nothing was expected or no level came.
    """

    checked: Checked
    expected: Expected
    score: FloatArray


def judge(
    model: Expects,
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    targets: IntArray,
    parameters: StationParameters = DEFAULTS,
) -> Judged:
    """Check, expect and score some rows among their context.

    For the same verdict as in one pass over the whole history, the arrays hold per station the ``CONTEXT_ROWS`` readings
    with a level before the first target, none need be older than ``CONTEXT_S``, and the reading after the last target
    where there is one (``streamgauge.quality.series``).

    Args:
        model: what expects.
        station: the station of each row, int64[n], sorted by (station, time).
        time_us: microseconds since 1970, int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        targets: the rows to judge, int64[m].
        parameters: the checks' limits, one for all rows or one per row.

    Raises:
        ValueError: the rows are not sorted.
    """
    checked = check_levels(station, time_us, level_m, parameters)
    return judge_checked(model, station, time_us, level_m, targets, checked)


def judge_checked(
    model: Expects, station: IntArray, time_us: IntArray, level_m: FloatArray, targets: IntArray, checked: Checked
) -> Judged:
    """Expect and score some rows whose checks were done: the second half of ``judge``.

    Args:
        model: what expects.
        station: as for ``judge``, likewise the next three.
        time_us: microseconds since 1970.
        level_m: metres.
        targets: the rows to judge.
        checked: what ``check_levels`` says of all rows.
    """
    features = build(station, time_us, level_m, checked, targets)
    expected = model.expect(features.values, features.baseline_m)
    verdict = checked.take(targets)
    return Judged(verdict, expected, score(level_m[targets], expected, verdict.flags))
