"""The other sensors of a device in the verdict on its readings, for devices whose sensors' profile was learnt.

``multisensor.surprise`` says how far a reading is from how the device's sensors ordinarily go together, and which is off.
Here that is put beside the verdict on the level:

* the **score** is the higher of the two; a reading without a level has the device's;
* where one sensor other than the level has most of the blame, the reading is a **fault** and that sensor is named;
* but not where the level itself surprises as an event, or is, or was within the window, far from its usual height: a flood takes
  flow, pressure and temperature along, and how far each goes then nobody has learnt;
* an alarm that is pinned on no sensor, or on the level, marks only readings without a level: the level's forecast judges a level
  better. It raises the score to just below the mark.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.series import IntArray
from streamgauge.scoring.anomaly import ANOMALY_SCORE, EVENT, FAULT, NO_SURPRISE
from streamgauge.scoring.judge import Judged
from streamgauge.scoring.learnt import LearntByTime
from streamgauge.scoring.multisensor import CONTEXT_ROWS, MultisensorProfile, surprise
from streamgauge.scoring.surprise import WHYS
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SENSOR_ROWS = CONTEXT_ROWS
"""So many rows of the device before a reading decide about it …"""

SENSOR_GAP_S = 3 * 3600.0
"""… none of them after a pause longer than this. So all of them lie within ``quality.series.CONTEXT_S``."""

BLAME_SHARE = 0.6
"""A sensor with so much of the blame is the one that is off."""

LEVEL_ORDINARY = 3.0
"""So many of its ordinary spreads from its usual height, the water is where sensors have not been seen together."""

UNPINNED_MOST = float(np.nextafter(ANOMALY_SCORE, 0.0))

_WHY = WHYS.index("sensors_disagree")
_UNEXPECTED = WHYS.index("unexpected")


@dataclass(frozen=True, slots=True)
class SensorRows:
    """What some devices' sensors said, row by row, sorted by (station, time), without simulated readings.

    Attributes:
        station: device ids, int64[n].
        time_us: microseconds since 1970, int64[n].
        names: quantities and names in ``extra``.
        values: float64[n, len(names)], NaN where there is nothing.
    """

    station: IntArray
    time_us: IntArray
    names: tuple[str, ...]
    values: FloatArray

    def of(self, names: tuple[str, ...], rows: slice) -> FloatArray:
        """The values under some names, float64[m, len(names)]; NaN under a name that is not here."""
        place = {name: column for column, name in enumerate(self.names)}
        columns = [self.values[rows, place[name]] if name in place else None for name in names]
        nothing = np.full(len(self.time_us[rows]), np.nan)
        return np.stack([nothing if column is None else column for column in columns], axis=1)


@dataclass(frozen=True, slots=True)
class _Alarms:
    """What the devices' profiles say of some readings: score (NaN: nothing), alarm, whom they blame, the level's part."""

    score: FloatArray
    alarm: BoolArray
    channel: NDArray[np.object_]
    level_far: BoolArray

    @classmethod
    def none(cls, rows: int) -> "_Alarms":
        no = np.zeros(rows, dtype=np.bool_)
        return cls(np.full(rows, np.nan), no, np.full(rows, "", dtype=object), no.copy())


def with_sensors(
    judged: Judged, station: IntArray, time_us: IntArray, level_m: FloatArray, rows: SensorRows, learnt: LearntByTime
) -> Judged:
    """The verdicts on some readings with their devices' sensors taken into account; others stay as they are.

    Args:
        judged: the verdicts on the levels.
        station: of each reading, int64[m].
        time_us: microseconds since 1970, int64[m].
        level_m: metres, float64[m]; NaN where there is none.
        rows: what the devices said: these readings and the ``SENSOR_ROWS`` rows before each.
        learnt: whose profile was valid when.
    """
    alarms = _Alarms.none(len(station))
    for number in np.unique(station).tolist():
        if number in learnt.with_sensors:
            _look(alarms, number, station, time_us, rows, learnt)
    if np.isnan(alarms.score).all():
        return judged
    return _together(judged, ~np.isnan(level_m), alarms)


def _look(
    alarms: _Alarms, number: int, station: IntArray, time_us: IntArray, rows: SensorRows, learnt: LearntByTime
) -> None:
    """Fill in what the profiles of one device say."""
    first, last = np.searchsorted(rows.station, [number, number + 1]).tolist()
    times = rows.time_us[first:last]
    if not len(times):
        return
    pause = np.diff(times, prepend=times[0]) > SENSOR_GAP_S * MICROSECONDS_PER_SECOND
    begin = np.maximum.accumulate(np.where(pause, np.arange(len(times)), 0))
    for since_us, until_us, valid in learnt.periods(number):
        wanted = np.flatnonzero((station == number) & (time_us >= since_us) & (time_us < until_us))
        place = np.minimum(np.searchsorted(times, time_us[wanted]), len(times) - 1)
        there = times[place] == time_us[wanted]
        wanted, place = wanted[there], place[there]
        if valid.profile is None or not len(wanted):
            continue
        for start in np.unique(begin[place]).tolist():
            some = begin[place] == start
            _fill(alarms, valid.profile, wanted[some], place[some], start, first, rows)


def _fill(
    alarms: _Alarms,
    profile: MultisensorProfile,
    wanted: IntArray,
    place: IntArray,
    start: int,
    first: int,
    rows: SensorRows,
) -> None:
    """Fill in what a profile says of readings with no pause between them: ``place`` in the device's rows, from ``first`` on."""
    begin = max(start, int(place.min()) - SENSOR_ROWS)
    values = rows.of(profile.names, slice(first + begin, first + int(place.max()) + 1))
    found, at = surprise(profile, values), place - begin
    alarms.score[wanted], alarms.alarm[wanted] = found.score[at], found.alarm[at]
    blamed = found.contribution[at].argmax(axis=1)
    pinned = found.contribution[at, blamed] >= BLAME_SHARE
    alarms.channel[wanted] = np.where(pinned, np.array(profile.names, dtype=object)[blamed], "")
    if "level_m" in profile.names:
        alarms.level_far[wanted] = _far(profile, values)[at]


def _far(profile: MultisensorProfile, values: FloatArray) -> BoolArray:
    """Whether the level is, or was within the window, far from its usual height."""
    column = profile.names.index("level_m")
    far = np.abs(values[:, column] - profile.centre[column]) > LEVEL_ORDINARY * profile.scale[column]
    newest = np.maximum.accumulate(np.where(far, np.arange(len(far)), -CONTEXT_ROWS - 1))
    near: BoolArray = np.arange(len(far)) - newest <= CONTEXT_ROWS
    return near


def _together(judged: Judged, leveled: BoolArray, alarms: _Alarms) -> Judged:
    other = (alarms.channel != "") & (alarms.channel != "level_m")
    fault = alarms.alarm & other & ~(leveled & alarms.level_far) & (judged.surprise == NO_SURPRISE)
    bare = alarms.alarm & ~leveled & ~fault
    free = fault | bare | (judged.surprise != NO_SURPRISE)
    device = np.where(free, alarms.score, np.minimum(alarms.score, UNPINNED_MOST))
    names = {row: str(alarms.channel[row]) for row in np.flatnonzero(fault).tolist()}
    return replace(
        judged,
        score=np.fmax(judged.score, device),
        surprise=np.where(fault, FAULT, np.where(bare, EVENT, judged.surprise)).astype(np.int8),
        why=np.where(fault, _WHY, np.where(bare, _UNEXPECTED, judged.why)).astype(np.int8),
        channels=_named(judged.channels, names),
    )


def _named(before: Mapping[int, str], names: Mapping[int, str]) -> Mapping[int, str]:
    return {**before, **names}
