"""The other sensors of a task's devices, for those whose sensors are judged together; the others cost nothing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.companions import Companions
from streamgauge.quality.flags import Flag
from streamgauge.reading import is_simulated
from streamgauge.scoring.learnt import LearntByTime
from streamgauge.scoring.sensors import SENSOR_ROWS, SensorRows
from streamgauge.storage.sensors import REACH_US, read_sensors_near
from tasks.clean import STORED, CleanSeries, Series
from tasks.work import Work

IntArray = NDArray[np.int64]


def channel_names(learnt: LearntByTime, stations: Sequence[int]) -> tuple[str, ...]:
    """The names of all sensors that a profile of some stations looks at."""
    profiles = [valid.profile for station in stations for _, _, valid in learnt.periods(station) if valid.profile]
    return tuple(sorted({name for profile in profiles for name in profile.names}))


def gather_sensors(
    connection: Connection, series: Series, work: Work, learnt: LearntByTime
) -> tuple[Series, SensorRows | None]:
    """What the devices' sensors said near the new readings, these among it.

    Returns:
        The series, with those stored rows without a level among it that new readings reach, and the rows; ``None`` where no
        device has a profile of its sensors.
    """
    of_devices = np.isin(series.station, sorted(learnt.with_sensors))
    if not of_devices.any():
        return series, None
    fresh = np.flatnonzero(of_devices & (series.origin != STORED))
    simulated = [is_simulated(work.extra.get(row)) for row in series.origin[fresh].tolist()]
    fresh = fresh[~np.array(simulated, dtype=np.bool_)]
    station, time_us = series.station[fresh], series.time_us[fresh]
    names = channel_names(learnt, np.unique(series.station[of_devices]).tolist())
    stored = read_sensors_near(connection, station, time_us, names)
    together = _joined(stored, SensorRows(station, time_us, names, _values(work, series.origin[fresh], names)))
    reached = _reached(together, set(zip(station.tolist(), time_us.tolist(), strict=True)))
    there = _place(series.station, series.time_us)
    return _inserted(series, [key for key in reached if key not in there]), together


def with_late_sensors(
    connection: Connection, clean: CleanSeries, sensors: SensorRows | None, learnt: LearntByTime
) -> tuple[CleanSeries, SensorRows | None]:
    """The same, with the stored rows that new readings of the devices' sensors reach among those to be judged again.

    Args:
        connection: a connection in a transaction that holds the devices' locks.
        clean: of the series that ``gather_sensors`` gave.
        sensors: the rows that it gave.
        learnt: whose sensors are judged together.

    Returns:
        The series, and the rows near everything in it that is judged again, for whatever reason.
    """
    if sensors is None:
        return clean, None
    series, fresh = clean.series, clean.fresh
    new = set(zip(series.station[fresh].tolist(), series.time_us[fresh].tolist(), strict=True))
    if reached := _reached(sensors, new):
        there = _place(series.station, series.time_us)
        places = np.array([there[key] for key in reached], dtype=np.int64)
        clean = replace(clean, changed=np.union1d(clean.changed, places))
    again = clean.changed[np.isin(series.station[clean.changed], sorted(learnt.with_sensors))]
    if len(again):
        near = read_sensors_near(connection, series.station[again], series.time_us[again], sensors.names)
        sensors = _joined(near, sensors)
    return clean, sensors


Key = tuple[int, int]
"""A row's station and time."""


def _place(station: IntArray, time_us: IntArray) -> dict[Key, int]:
    return {key: place for place, key in enumerate(zip(station.tolist(), time_us.tolist(), strict=True))}


def _reached(rows: SensorRows, new: set[Key]) -> list[Key]:
    """The stored rows whose verdict rests on new ones: they have one among the ``SENSOR_ROWS`` before."""
    keys = list(zip(rows.station.tolist(), rows.time_us.tolist(), strict=True))
    is_new = np.fromiter((key in new for key in keys), dtype=np.bool_, count=len(keys))
    number = np.arange(len(keys))
    newest = np.maximum.accumulate(np.where(is_new, number, -1))
    near = (newest >= 0) & (number - newest <= SENSOR_ROWS) & (rows.station == rows.station[newest]) & ~is_new
    near &= rows.time_us - rows.time_us[newest] <= REACH_US
    return [keys[place] for place in np.flatnonzero(near).tolist()]


def _values(work: Work, rows: IntArray, names: Sequence[str]) -> NDArray[np.float64]:
    """float64[n, k] of some of the work's readings."""
    values = np.full((len(rows), len(names)), np.nan)
    extras = [work.extra.get(row, {}) for row in rows.tolist()]
    for column, name in enumerate(names):
        if name in work.values:
            values[:, column] = work.values[name][rows]
        else:
            values[:, column] = [extra.get(name, np.nan) for extra in extras]
    return values


def _joined(stored: SensorRows, more: SensorRows) -> SensorRows:
    """Both, sorted, each row once."""
    station = np.concatenate([stored.station, more.station])
    time_us = np.concatenate([stored.time_us, more.time_us])
    order = np.lexsort((time_us, station))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(station[order]) != 0) | (np.diff(time_us[order]) != 0)
    rows = order[first]
    return SensorRows(station[rows], time_us[rows], more.names, np.concatenate([stored.values, more.values])[rows])


def _inserted(series: Series, keys: Sequence[Key]) -> Series:
    """The series with further stored rows, which have no level."""
    if not keys:
        return series
    added = np.array(keys, dtype=np.int64)
    count, before = len(added), len(series.station)
    columns = {
        "station": np.concatenate([series.station, added[:, 0]]),
        "time_us": np.concatenate([series.time_us, added[:, 1]]),
        "level_m": np.concatenate([series.level_m, np.full(count, np.nan)]),
        "origin": np.concatenate([series.origin, np.full(count, STORED)]),
        "stored_flag": np.concatenate([series.stored_flag, np.full(count, Flag.MISSING, dtype=np.int16)]),
    }
    order = np.lexsort((columns["time_us"], columns["station"]))
    companions = series.companions and _padded(series.companions, before, count).take(order)
    return replace(series, companions=companions, **{name: column[order] for name, column in columns.items()})


def _padded(companions: Companions, before: int, count: int) -> Companions:
    arrays = {name: getattr(companions, name) for name in Companions.__slots__}
    nothing = np.full(count, np.nan)
    return Companions(
        **{name: None if array is None else np.concatenate([array[:before], nothing]) for name, array in arrays.items()}
    )
