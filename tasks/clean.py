"""Clean: the quality flag of each new reading, and of the stored ones whose verdict a new neighbour changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.check import CONTEXT_ROWS, CONTEXT_S, Checked, check_levels
from streamgauge.quality.parameters import parameters_per_row
from streamgauge.quality.series import NEIGHBOUR_MAX_S
from streamgauge.storage.context import Context, lock_devices, read_context
from streamgauge.storage.devices import Device
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.work import Work

IntArray = NDArray[np.int64]
STORED = -1
"""In ``Series.origin``: the row is stored already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """New readings among their stored neighbours, sorted by (station, time), each (station, time) once.

    Attributes:
        station: device ids, int64[n].
        time_us: microseconds since 1970, int64[n].
        level_m: metres, NaN where a row has no level, float64[n].
        origin: the row's number in the work, or ``STORED``, int64[n].
        stored_flag: the flag that a stored row has now, int16[n].
        repeated: rows of the work that are not in the series, as their (device, time) was there before, int64[k].
    """

    station: IntArray
    time_us: IntArray
    level_m: NDArray[np.float64]
    origin: IntArray
    stored_flag: NDArray[np.int16]
    repeated: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSeries:
    """A series with the verdict of the quality checks.

    Attributes:
        series: the rows.
        checked: the verdict on each of them.
        fresh: positions of the new readings in the series, int64[m].
        changed: positions of stored rows whose flag is no longer the one that is stored, int64[k].
    """

    series: Series
    checked: Checked
    fresh: IntArray
    changed: IntArray


def gather(connection: Connection, work: Work, devices: Sequence[Device]) -> Series:
    """Lock the readings' devices and put the readings among their stored neighbours."""
    station = np.array([device.id for device in devices], dtype=np.int64)
    lock_devices(connection, np.unique(station).tolist())
    order = np.lexsort((work.time_us, station))
    # The outermost rows that a new reading can change have neighbours too.
    reach_us = int((CONTEXT_S + NEIGHBOUR_MAX_S) * MICROSECONDS_PER_SECOND)
    context = read_context(connection, station[order], work.time_us[order], rows=CONTEXT_ROWS, reach_us=reach_us)
    return _merge(context, station, work)


def clean(series: Series, devices: Sequence[Device]) -> CleanSeries:
    """Check every row of the series. Pure."""
    limits = {device.id: device.limits for device in devices if device.limits}
    parameters = parameters_per_row(series.station, limits)
    checked = check_levels(series.station, series.time_us, series.level_m, parameters)
    stored = series.origin == STORED
    changed = np.flatnonzero(
        stored & _within_reach(series) & (checked.flags != series.stored_flag) & ~np.isnan(series.level_m)
    )
    return CleanSeries(series=series, checked=checked, fresh=np.flatnonzero(~stored), changed=changed)


def _merge(context: Context, station: IntArray, work: Work) -> Series:
    nothing = np.full(len(station), np.nan)
    everything = {
        "station": np.concatenate([context.station, station]),
        "time_us": np.concatenate([context.time_us, work.time_us]),
        "level_m": np.concatenate([context.level_m, work.values.get("level_m", nothing)]),
        "origin": np.concatenate([np.full(len(context.station), STORED), np.arange(len(station))]),
        "stored_flag": np.concatenate([context.flag, np.zeros(len(station), dtype=np.int16)]),
    }
    # Equal keys keep their order: what is stored comes first, then what arrived first.
    order = np.lexsort((everything["time_us"], everything["station"]))
    columns = {name: column[order] for name, column in everything.items()}
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (columns["station"][1:] != columns["station"][:-1]) | (
        columns["time_us"][1:] != columns["time_us"][:-1]
    )
    repeated = np.sort(columns["origin"][~first])
    return Series(repeated=repeated, **{name: column[first] for name, column in columns.items()})


def _within_reach(series: Series) -> NDArray[np.bool_]:
    """Rows whose verdict a new reading can change: the one before it, and those in whose context it lies.

    All that their own verdict rests on was read. The other stored rows were read only as context or as a successor: what *they*
    rest on reaches beyond what was read, and to judge them again here would replace a sound verdict by a poorer one.
    """
    reached = np.zeros(len(series.station), dtype=np.bool_)
    rows = np.flatnonzero(~np.isnan(series.level_m))
    station, time_us = series.station[rows], series.time_us[rows]
    fresh = series.origin[rows] != STORED
    numbers = np.arange(len(rows))
    newest = np.maximum.accumulate(np.where(fresh, numbers, -1))
    near = (numbers - newest <= CONTEXT_ROWS) & (time_us - time_us[newest] <= CONTEXT_S * MICROSECONDS_PER_SECOND)
    reached[rows] = (newest >= 0) & (station == station[newest]) & near
    before = np.flatnonzero(fresh[1:] & (station[1:] == station[:-1]))
    reached[rows[before]] = True
    return reached
