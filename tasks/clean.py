"""Clean: the quality flag of each new reading, and of the stored ones whose verdict a new neighbour changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.check import CONTEXT_ROWS, CONTEXT_S, Checked, check_levels
from streamgauge.quality.companions import Companions
from streamgauge.quality.flags import Flag
from streamgauge.quality.parameters import StationParameters
from streamgauge.quality.reasons import CHECKS
from streamgauge.quality.series import NEIGHBOUR_MAX_S
from streamgauge.scoring.features import LAGS, WINDOW_S
from streamgauge.scoring.learnt import NOTHING_LEARNT, LearntByTime
from streamgauge.scoring.recent import REACH_ROWS, REACH_S
from streamgauge.storage.context import Context, lock_devices, read_context
from streamgauge.storage.devices import Device
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.beside import gather_companions
from tasks.work import Work

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
STORED = -1
"""In ``Series.origin``: the row is stored already."""
_SPIKE = CHECKS.index("spike")
_REMEMBERED_ROWS = max(LAGS, REACH_ROWS)
_REMEMBERED_S = max(WINDOW_S, REACH_S) + 2 * NEIGHBOUR_MAX_S
"""So long after a reading it may matter to features, the chart and the search for faults: whether the oldest one that they look
at is usable rests on the two before it."""


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
        companions: what was measured beside the rows; ``None`` where no station has any.
    """

    station: IntArray
    time_us: IntArray
    level_m: NDArray[np.float64]
    origin: IntArray
    stored_flag: NDArray[np.int16]
    repeated: IntArray
    companions: Companions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSeries:
    """A series with the verdict of the quality checks.

    Attributes:
        series: the rows.
        checked: the verdict on each of them.
        parameters: the limits that it was made with.
        fresh: positions of the new readings in the series, int64[m].
        changed: positions of stored rows whose stored verdict is out of date, int64[k]: their flag or its reason is another
            one, or what is expected of them rests on readings that came later or failed since.
    """

    series: Series
    checked: Checked
    parameters: StationParameters
    fresh: IntArray
    changed: IntArray

    @property
    def targets(self) -> IntArray:
        """Positions of what is judged: first the new readings, then the changed stored rows, int64[m + k]."""
        return np.concatenate([self.fresh, self.changed])


def gather(connection: Connection, work: Work, devices: Sequence[Device]) -> Series:
    """Lock the readings' devices and put the readings among their stored neighbours."""
    station = np.array([device.id for device in devices], dtype=np.int64)
    lock_devices(connection, np.unique(station).tolist())
    order = np.lexsort((work.time_us, station))
    # The outermost rows that a new reading can change have neighbours too.
    reach_us = int((CONTEXT_S + NEIGHBOUR_MAX_S) * MICROSECONDS_PER_SECOND)
    context = read_context(connection, station[order], work.time_us[order], rows=CONTEXT_ROWS, reach_us=reach_us)
    series = _merge(context, station, work)
    companions = gather_companions(connection, series.station, series.time_us, work, devices)
    return series if companions is None else replace(series, companions=companions)


def clean(series: Series, devices: Sequence[Device], learnt: LearntByTime = NOTHING_LEARNT) -> CleanSeries:
    """Check every row of the series, with the limits that were valid at its time. Pure."""
    limits = {device.id: device.limits for device in devices if device.limits}
    parameters = learnt.parameters(series.station, series.time_us, limits)
    checked = check_levels(series.station, series.time_us, series.level_m, parameters, series.companions)
    fresh = series.origin != STORED
    return CleanSeries(
        series=series,
        checked=checked,
        parameters=parameters,
        fresh=np.flatnonzero(fresh),
        changed=np.empty(0, dtype=np.int64) if fresh.all() else _out_of_date(series, checked),
    )


def _out_of_date(series: Series, checked: Checked) -> IntArray:
    """The stored rows whose verdict is another one now that the new readings are there."""
    rows = np.flatnonzero(~np.isnan(series.level_m))
    near = _Neighbourhood.of(series, rows)
    flags, stored_flag, stored = checked.flags[rows], series.stored_flag[rows], ~near.fresh
    reason_check = checked.reason_check[rows]
    # A flag that stays may rest on another check since: on spike where a successor came, on any after a late reading.
    changed = near.reached & ((flags != stored_flag) | (reason_check == _SPIKE))
    if (near.late & stored).any():
        changed |= near.late & (reason_check != 0)
        failed = near.reached & ((flags == Flag.FAIL) != (stored_flag == Flag.FAIL))
        changed |= near.after(near.fresh | (stored & failed))
    places: IntArray = rows[stored & changed]
    return places


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
    columns: dict[str, Any] = {name: column[order] for name, column in everything.items()}
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (columns["station"][1:] != columns["station"][:-1]) | (
        columns["time_us"][1:] != columns["time_us"][:-1]
    )
    repeated = np.sort(columns["origin"][~first])
    return Series(repeated=repeated, **{name: column[first] for name, column in columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbourhood:
    """The rows with a level, in the series' order, and how they stand to the new ones among them.

    Attributes:
        station: device ids, int64[n].
        time_us: microseconds since 1970, int64[n].
        fresh: the row is new, bool[n].
        late: a new row lies in the row's context, bool[n].
        reached: a new reading can change the row's flag, bool[n]: it lies in its context, or is its successor. All that
            such a row's verdict rests on was read. The other stored rows were read only as context or as a successor: what
            *they* rest on reaches beyond what was read, and to judge them again here would replace a sound verdict by a
            poorer one.
    """

    station: IntArray
    time_us: IntArray
    fresh: BoolArray
    late: BoolArray
    reached: BoolArray

    @classmethod
    def of(cls, series: Series, rows: IntArray) -> "_Neighbourhood":
        station, time_us = series.station[rows], series.time_us[rows]
        fresh = series.origin[rows] != STORED
        late = _follow(fresh, station, time_us, CONTEXT_ROWS, CONTEXT_S)
        reached = late.copy()
        reached[:-1] |= fresh[1:] & (station[1:] == station[:-1])
        return cls(station=station, time_us=time_us, fresh=fresh, late=late, reached=reached)

    def after(self, some: BoolArray) -> BoolArray:
        """The rows whose verdict rests on some rows: those lie among the last before them that features or faults look at."""
        newest = np.maximum.accumulate(np.where(some, np.arange(len(some)), -1))
        before = np.concatenate([[-1], newest[:-1]])
        near: BoolArray = (np.arange(len(some)) - before <= _REMEMBERED_ROWS) & (before >= 0)
        near &= self.station == self.station[before]
        near &= self.time_us - self.time_us[before] <= _REMEMBERED_S * MICROSECONDS_PER_SECOND
        return near


def _follow(some: BoolArray, station: IntArray, time_us: IntArray, rows: int, seconds: float) -> BoolArray:
    """Rows that are one of these, or follow one in the same station within so many rows and so much time."""
    numbers = np.arange(len(some))
    newest = np.maximum.accumulate(np.where(some, numbers, -1))
    near: BoolArray = (numbers - newest <= rows) & (time_us - time_us[newest] <= seconds * MICROSECONDS_PER_SECOND)
    near &= (newest >= 0) & (station == station[newest])
    return near
