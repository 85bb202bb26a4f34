"""Two models' forecasts over the same readings, replayed as they would have been issued live, calibration included."""

import numpy as np

from streamgauge.quality.check import Checked
from streamgauge.quality.series import IntArray
from streamgauge.scoring.evaluate import MOVING_M
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.issue import Replayed, replay
from streamgauge.scoring.forecast.model import ForecastModel
from streamgauge.scoring.forecast.outcomes import outcomes
from streamgauge.scoring.judgements import FloatArray, Judgements, Mask
from streamgauge.units import MICROSECONDS_PER_SECOND

HOUR_US = 3_600 * MICROSECONDS_PER_SECOND


def compare_forecasts(
    champion: ForecastModel,
    challenger: ForecastModel,
    time_us: IntArray,
    level_m: FloatArray,
    checked: Checked,
    from_us: int,
) -> list[Judgements]:
    """What both would have shown of one station, per horizon; the loss is the absolute error in metres.

    Args:
        champion: the forecasting part of the model in use.
        challenger: of the one that would replace it.
        time_us: microseconds since 1970, ascending, int64[n]; what came before ``from_us`` lets the bands settle.
        level_m: metres, float64[n].
        checked: what ``check_levels`` says of the rows.
        from_us: forecasts issued from here on are judged.
    """
    ours, theirs = (replay(model, time_us, level_m, checked) for model in (champion, challenger))
    both, in_ours, in_theirs = np.intersect1d(ours.rows, theirs.rows, assume_unique=True, return_indices=True)
    counted = time_us[both] >= from_us
    rows, in_ours, in_theirs = both[counted], in_ours[counted], in_theirs[counted]
    if len(rows) == 0:
        return []
    sound = np.flatnonzero(checked.usable)
    known_us, known_m = time_us[sound], level_m[sound]
    baseline_m = ours.baseline_m[in_ours]
    hour_before_m = outcomes(known_us, known_m, time_us[rows] - HOUR_US)
    moving = np.abs(baseline_m - hour_before_m) > MOVING_M
    found = []
    for place, horizon_s in enumerate(HORIZONS_S):
        came_m = outcomes(known_us, known_m, time_us[rows] + horizon_s * MICROSECONDS_PER_SECOND)
        came = np.isfinite(came_m)
        champion_off, champion_covers = _off(ours, in_ours, place, came_m)
        challenger_off, challenger_covers = _off(theirs, in_theirs, place, came_m)
        losses = (np.abs(came_m - baseline_m)[came], champion_off[came], challenger_off[came])
        found.append(Judgements(horizon_s, moving[came], *losses, champion_covers[came], challenger_covers[came]))
    return found


def _off(replayed: Replayed, rows: IntArray, horizon: int, came_m: FloatArray) -> tuple[FloatArray, Mask]:
    """How far the water came from what was shown, and whether within the band."""
    expected_m, low_m, high_m = (getattr(replayed, name)[rows, horizon] for name in ("expected_m", "low_m", "high_m"))
    return np.abs(came_m - expected_m), (came_m >= low_m) & (came_m <= high_m)
