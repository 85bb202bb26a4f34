"""Score: what the model expected of each new level, with its band, how surprising the level is, and whose surprise it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.scoring.calibration import UNCALIBRATED, Calibrations
from streamgauge.scoring.judge import Expects, Judged, judge_checked
from streamgauge.scoring.learnt import NOTHING_LEARNT, LearntByTime
from streamgauge.scoring.model import Expected, Model
from streamgauge.scoring.sensors import SensorRows, with_sensors
from streamgauge.storage.write_readings import stored_models
from tasks.clean import CleanSeries
from tasks.models_in_use import ModelsInUse

NO_CALIBRATIONS: Mapping[int, Calibrations] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSeries:
    """A clean series with the verdict on its targets: first the new readings, then the changed stored rows.

    Attributes:
        clean: the series and its flags.
        targets: positions in the series, int64[m + k].
        judged: the verdict on each target, the flag too: what was expected may have made it suspect.
        model_id: the row of ``models`` that made it, int64[m + k].
        flag_only: of the verdict only the flag and its reason are to be used, bool[m + k]: a stored row's model cannot be
            loaded any more, and no other one says what that one said.
    """

    clean: CleanSeries
    targets: NDArray[np.int64]
    judged: Judged
    model_id: NDArray[np.int64]
    flag_only: NDArray[np.bool_]

    @property
    def expected(self) -> Expected:
        """expected_m, low_m, high_m of each target, NaN where nothing could be expected."""
        return self.judged.expected

    @property
    def score(self) -> NDArray[np.float64]:
        """Of each target, 0 ordinary … 1 certainly anomalous, NaN likewise."""
        return self.judged.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """Who judges the targets of a clean series.

    Attributes:
        model_id: of each target, int64[m + k].
        models: by id; those that cannot be loaded are absent.
    """

    model_id: NDArray[np.int64]
    models: Mapping[int, Model]


def judges_of(connection: Connection, clean: CleanSeries, models: ModelsInUse) -> Judges:
    """The station's model for a new reading; for a stored one that is judged again the model that judged it first.

    So what is stored goes on saying what was said of a reading at its time, though models have been promoted since.

    Args:
        connection: a connection in a transaction that holds the devices' locks.
        clean: the series.
        models: refreshed.
    """
    series, changed = clean.series, clean.changed
    model_id = models.ids(series.station[clean.targets])
    if len(changed):
        before = stored_models(connection, series.station[changed], series.time_us[changed])
        judged = np.flatnonzero(before)
        model_id[len(clean.fresh) + judged] = before[judged]
    used = [models.with_id(number) for number in np.unique(model_id).tolist()]
    return Judges(model_id=model_id, models={one.id: one.model for one in used if one is not None})


def score_series(
    clean: CleanSeries,
    judges: Judges,
    calibrations: Mapping[int, Calibrations] = NO_CALIBRATIONS,
    sensors: SensorRows | None = None,
    learnt: LearntByTime = NOTHING_LEARNT,
) -> ScoredSeries:
    """Score the new readings, and again the stored ones whose verdict has changed. Pure.

    Args:
        clean: the series.
        judges: which model judges which target. Where it could not be loaded, the control chart stands in, for the flag alone.
        calibrations: of the series' stations, by model.
        sensors: what the other sensors said, of devices that have a profile of them; ``None`` where none has.
        learnt: the profiles.
    """
    targets, model_id = clean.targets, judges.model_id
    parts, places = [], []
    for number in np.unique(model_id).tolist():
        rows = np.flatnonzero(model_id == number)
        valid = calibrations.get(number, UNCALIBRATED)
        parts.append(_judge(clean, judges.models.get(number), targets[rows], valid))
        places.append(rows)
    if not parts:
        parts.append(_judge(clean, None, targets, UNCALIBRATED))
    judged = parts[0] if len(parts) == 1 else Judged.joined(parts, np.concatenate(places))
    if sensors is not None:
        series = clean.series
        own = (series.station[targets], series.time_us[targets], series.level_m[targets])
        judged = with_sensors(judged, *own, sensors, learnt)
    flag_only = ~np.isin(model_id, list(judges.models))
    return ScoredSeries(clean=clean, targets=targets, judged=judged, model_id=model_id, flag_only=flag_only)


def _judge(clean: CleanSeries, model: Expects | None, targets: NDArray[np.int64], calibrations: Calibrations) -> Judged:
    series, limits = clean.series, clean.parameters
    rows = (series.station, series.time_us, series.level_m)
    return judge_checked(model, *rows, targets, clean.checked, calibrations, series.companions, limits)
