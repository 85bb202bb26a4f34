"""Score: what the model expected of each new level, with its band, how surprising the level is, and whose surprise it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.scoring.calibration import UNCALIBRATED, Calibrations
from streamgauge.scoring.judge import Expects, Judged, judge_checked
from streamgauge.scoring.learnt import NOTHING_LEARNT, LearntByTime
from streamgauge.scoring.model import Expected
from streamgauge.scoring.sensors import SensorRows, with_sensors
from tasks.clean import CleanSeries
from tasks.models_in_use import ModelsInUse


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSeries:
    """A clean series with the verdict on its targets: first the new readings, then the changed stored rows.

    Attributes:
        clean: the series and its flags.
        targets: positions in the series, int64[m + k].
        judged: the verdict on each target, the flag too: what was expected may have made it suspect.
        model_id: the row of ``models`` that made it, int64[m + k].
    """

    clean: CleanSeries
    targets: NDArray[np.int64]
    judged: Judged
    model_id: NDArray[np.int64]

    @property
    def expected(self) -> Expected:
        """expected_m, low_m, high_m of each target, NaN where nothing could be expected."""
        return self.judged.expected

    @property
    def score(self) -> NDArray[np.float64]:
        """Of each target, 0 ordinary … 1 certainly anomalous, NaN likewise."""
        return self.judged.score


def score_series(
    clean: CleanSeries,
    models: ModelsInUse,
    calibrations: Calibrations = UNCALIBRATED,
    sensors: SensorRows | None = None,
    learnt: LearntByTime = NOTHING_LEARNT,
) -> ScoredSeries:
    """Score the new readings, and again the stored ones whose flag has changed. Pure.

    Args:
        clean: the series.
        models: which model judges which station; refreshed.
        calibrations: of the series' stations, each for its model.
        sensors: what the other sensors said, of devices that have a profile of them; ``None`` where none has.
        learnt: the profiles.
    """
    targets = np.concatenate([clean.fresh, clean.changed])
    model_id = models.ids(clean.series.station[targets])
    chosen = {used.id: used for used in (models.general, *models.by_device.values())}
    places = [(chosen[number], np.flatnonzero(model_id == number)) for number in np.unique(model_id).tolist()]
    if len(places) <= 1:
        used = places[0][0] if places else models.general
        judged = _judge(clean, used.model, targets, calibrations)
    else:
        parts = [_judge(clean, used.model, targets[rows], calibrations) for used, rows in places]
        judged = Judged.joined(parts, np.concatenate([rows for _, rows in places]))
    if sensors is not None:
        series = clean.series
        rows = (series.station[targets], series.time_us[targets], series.level_m[targets])
        judged = with_sensors(judged, *rows, sensors, learnt)
    return ScoredSeries(clean=clean, targets=targets, judged=judged, model_id=model_id)


def _judge(clean: CleanSeries, model: Expects, targets: NDArray[np.int64], calibrations: Calibrations) -> Judged:
    series, limits = clean.series, clean.parameters
    rows = (series.station, series.time_us, series.level_m)
    return judge_checked(model, *rows, targets, clean.checked, calibrations, series.companions, limits)
