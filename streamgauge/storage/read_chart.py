"""Any stretch of a station's record as a chart draws it: per bin the lowest and the highest value with their exact times.

Where readings are many, whole hours come from ``readings_hourly``, and whole days from ``readings_daily`` where a bin holds some
(as far as the roll-up has come, ``rollup_state.through``); what those do not hold yet comes from the readings: what is younger,
the ends of the stretch that are no whole hours, and hours that wait to be rolled up again. A bin is then a number of whole hours,
so that each hour lies in one bin and every bin's lowest and highest value are those of the readings. Where there is no roll-up,
all comes from the readings, in bounded pieces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import QUANTITIES, from_microseconds, to_microseconds
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_columns
from streamgauge.storage.context import timestamps
from streamgauge.storage.engine import by_index
from streamgauge.storage.hourly import (
    DAY_US,
    HOUR,
    HOUR_US,
    NEVER_US,
    Stretch,
    floor_hour,
    read_devices,
    read_hours,
    read_times,
)
from streamgauge.storage.rollup import read_through

Times = NDArray[np.int64]
Values = NDArray[np.float64]

FEW_READINGS = 12_000
"""So many readings are drawn from themselves; a bin may be shorter than an hour then."""
SHORT = timedelta(days=7)
"""A stretch that is shorter than this is drawn from the readings, however many they are: hours would be too coarse for it."""
MARK_BINS = 280
MOST_PENDING = 2_000
"""So many hours that wait to be rolled up again are read from the readings; of more, the oldest are shown as they were."""
GAP_STEPS = 3.0
GAP_AROUND = 8
PARTS_OF_BIN = 8
FEW_POINTS = 4_096
FEW_HOURS = 1_000
"""So many hours are looked up one by one, as those at both ends of ten years are; of more, all between them are read."""
PIECE_READINGS = 90_000
"""Readings are read in pieces of so many: two months of one a minute, and all that a station that speaks once a day ever said."""

_PENDING = text("""
SELECT DISTINCT hour FROM rollup_pending WHERE device_id = :id AND hour >= :since AND hour < :until
ORDER BY hour DESC LIMIT :most
""")
_COUNT = text("""
SELECT count(*) FROM (SELECT FROM readings WHERE device_id = :id AND time >= :since AND time < :until LIMIT :most) AS found
""")
_ROLLED_UP = """
SELECT array_position(%s, quantity)::smallint AS quantity, {time} AS time,
    COALESCE(low, 'NaN') AS low, COALESCE(high, 'NaN') AS high, COALESCE(low_at, '-infinity') AS low_at,
    COALESCE(high_at, '-infinity') AS high_at, COALESCE(marked_at, '-infinity') AS marked_at,
    COALESCE(severity, 0) AS severity, n
FROM {table} WHERE device_id = %s AND quantity = ANY(%s)"""
_OF_HOURS = _ROLLED_UP.format(table="readings_hourly", time="hour")
# A subquery: given the array itself, the planner looks each of thousands of values up in its statistics.
_SOME_HOURS = f"{_OF_HOURS} AND hour = ANY(ARRAY(SELECT unnest(%s::timestamptz[])))"
_HOURLY = f"{_OF_HOURS} AND hour >= %s AND hour <= %s"
_DAILY = f"{_ROLLED_UP.format(table='readings_daily', time='day')} AND day >= %s AND day <= %s"
_ROLLED_UP_FIELDS = {
    "quantity": ">i2", "time": ">i8", "low": ">f8", "high": ">f8", "low_at": ">i8", "high_at": ">i8", "marked_at": ">i8",
    "severity": ">f4", "n": ">i4",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is drawn of one quantity.

    Attributes:
        time_us: microseconds since 1970, ascending, int64[m]; at most two points a bin, and the first and the last reading.
        value: float64[m], never NaN; corrected; failed values are no part of it.
        gaps: positions after which the line is broken, int64[g].
        readings: how many usable values these stand for.
    """

    time_us: Times
    value: Values
    gaps: NDArray[np.int64]
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Readings that are marked, at most one per bin of marks, the worst.

    ``severity``: 4 failed, 3 suspect, else the score. ``level_m``: corrected. All arrays have the same length, times ascend.
    """

    time_us: Times
    level_m: Values
    flag: NDArray[np.int16]
    score: Values
    severity: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartData:
    """A stretch of a station's record, reduced.

    Attributes:
        lines: per quantity that has a usable value here.
        marks: of the level.
        bin_us: how long a bin is, microseconds; bins are aligned to ``origin_us``.
        origin_us: where the first one begins, microseconds since 1970.
        from_hours: whether any of it comes from the roll-up.
    """

    lines: Mapping[str, Line]
    marks: Marks
    bin_us: int
    origin_us: int
    from_hours: bool


def read_chart(
    connection: Connection,
    device_id: int,
    start: datetime,
    end: datetime,
    bins: int = 850,
    quantities: Sequence[str] = QUANTITIES,
) -> ChartData:
    """Reduce [start, end] of a device's record, both ends inclusive, to what a screen of so many bins can show.

    Args:
        connection: a connection in a transaction.
        device_id: ``devices.id``.
        start: aware.
        end: aware, not before ``start``.
        bins: most bins.
        quantities: of ``QUANTITIES``; marks are those of the level, if that is among them.
    """
    with by_index(connection):
        return _read_chart(connection, device_id, start, end, bins, quantities)


def _read_chart(
    connection: Connection, device_id: int, start: datetime, end: datetime, bins: int, quantities: Sequence[str]
) -> ChartData:
    until = end + timedelta(microseconds=1)
    whole = _whole_hours(connection, device_id, start, until)
    unit_us = 1 if whole is None else HOUR_US if (until - start) < bins * timedelta(days=1) else DAY_US
    origin_us = to_microseconds(start) // unit_us * unit_us
    bin_us = unit_us * max(1, -(-(to_microseconds(until) - origin_us) // (bins * unit_us)))
    drawing = _Drawing(quantities, origin_us, bin_us, bins)
    if whole:
        _draw_rolled_up(connection, device_id, drawing, whole, by_day=unit_us == DAY_US)
    for since, before in [(start, whole[0]), (whole[1], until)] if whole else [(start, until)]:
        for stretch in _pieces(connection, device_id, since, before):
            drawing.add(stretch)
    times = drawing.marked()
    marked = read_times(connection, device_id, times)
    return ChartData(
        lines={name: line for name in quantities if (line := drawing.line(name)) is not None},
        marks=Marks(
            time_us=marked.time_us,
            level_m=marked.value["level_m"],
            flag=marked.flag["level_m"],
            score=marked.score,
            severity=marked.severity("level_m"),
        ),
        bin_us=bin_us,
        origin_us=origin_us,
        from_hours=whole is not None,
    )


def _whole_hours(
    connection: Connection, device_id: int, start: datetime, until: datetime
) -> tuple[datetime, datetime] | None:
    """The hours that are taken from the roll-up; None: all comes from the readings."""
    through = read_through(connection)
    first = floor_hour(start + HOUR - timedelta(microseconds=1))
    if through is None or until - start < SHORT or first >= min(through, floor_hour(until)):
        return None
    values = {"id": device_id, "since": start, "until": until, "most": FEW_READINGS + 1}
    if connection.execute(_COUNT, values).scalar_one() <= FEW_READINGS:
        return None
    return first, min(through, floor_hour(until))


def _draw_rolled_up(
    connection: Connection, device_id: int, drawing: "_Drawing", whole: tuple[datetime, datetime], *, by_day: bool
) -> None:
    """Days where a bin has whole days, hours at the ends and where a day waits for a part of it, readings of hours that wait."""
    values = {"id": device_id, "since": whole[0], "until": whole[1], "most": MOST_PENDING}
    waiting = connection.execute(_PENDING, values).scalars()
    pending = np.array(sorted(to_microseconds(hour) for hour in waiting), dtype=np.int64)
    first_us, end_us = to_microseconds(whole[0]), to_microseconds(whole[1])
    hours = np.arange(first_us, end_us, HOUR_US)
    if by_day:
        begin, end = -(-first_us // DAY_US) * DAY_US, end_us // DAY_US * DAY_US
        partly = np.unique(pending // DAY_US * DAY_US)
        hours = hours[(hours < begin) | (hours >= end) | np.isin(hours // DAY_US * DAY_US, partly)]
        days = np.setdiff1d(np.arange(begin, end, DAY_US), partly)
        drawing.add_hours(_read_rolled_up(connection, device_id, drawing.quantities, days, in_days=True))
    hours = np.setdiff1d(hours, pending)
    if len(hours):
        drawing.add_hours(_read_rolled_up(connection, device_id, drawing.quantities, hours))
    if len(pending):
        drawing.add(read_hours(connection, np.full(len(pending), device_id), pending))


def _read_rolled_up(
    connection: Connection, device_id: int, quantities: Sequence[str], wanted: Times, *, in_days: bool = False
) -> dict[str, NDArray[Any]]:
    """The rows of these quantities whose hours (or days) are wanted."""
    if not len(wanted):
        return {name: np.empty(0, dtype=np.dtype(dtype).newbyteorder("=")) for name, dtype in _ROLLED_UP_FIELDS.items()}
    names = list(quantities)
    if not in_days and len(wanted) <= FEW_HOURS:
        return copy_columns(connection, _SOME_HOURS, (names, device_id, names, timestamps(wanted)), _ROLLED_UP_FIELDS)
    since, until = (from_microseconds(int(moment)) for moment in (wanted[0], wanted[-1]))
    query = _DAILY if in_days else _HOURLY
    found = copy_columns(connection, query, (names, device_id, names, since, until), _ROLLED_UP_FIELDS)
    kept = np.isin(found["time"] + POSTGRES_EPOCH_US, wanted)
    return {name: column[kept] for name, column in found.items()}


def _pieces(connection: Connection, device_id: int, since: datetime, until: datetime) -> Iterator[Stretch]:
    """The readings of [since, until) in pieces, however long nothing came."""
    while since < until:
        stretch = read_devices(connection, [device_id], since, until, PIECE_READINGS)
        yield stretch
        if len(stretch.time_us) < PIECE_READINGS:
            return
        since = from_microseconds(int(stretch.time_us[-1]) + 1)


class _Drawing:
    """Gathers points and marks from wherever they come, in any order, and reduces them."""

    def __init__(self, quantities: Sequence[str], origin_us: int, bin_us: int, bins: int) -> None:
        self.quantities = quantities
        self._origin_us, self._bin_us, self._bins = origin_us, bin_us, bins
        self._points: dict[str, list[tuple[Times, Values]]] = {name: [] for name in quantities}
        self._times: dict[str, list[Times]] = {name: [] for name in quantities}
        self._readings = dict.fromkeys(quantities, 0)
        self._marks: list[tuple[Times, Values]] = []

    def add(self, stretch: Stretch) -> None:
        """Readings."""
        for name in self._points:
            rows = np.flatnonzero(stretch.usable(name))
            self._add(name, stretch.time_us[rows], stretch.value[name][rows], len(rows))
        if "level_m" in self._points:
            self._mark(stretch.time_us, stretch.severity("level_m"))

    def add_hours(self, rows: dict[str, NDArray[Any]]) -> None:
        """Hours or days."""
        for number, name in enumerate(self.quantities, start=1):
            hours = {field: column[rows["quantity"] == number] for field, column in rows.items()}
            for extreme in ("low", "high"):
                there = np.flatnonzero(hours[f"{extreme}_at"] != NEVER_US)
                times = hours[f"{extreme}_at"][there] + POSTGRES_EPOCH_US
                self._add(name, times, hours[extreme][there], int(hours["n"][there].sum()) if extreme == "low" else 0)
            if name == "level_m":
                there = np.flatnonzero(hours["marked_at"] != NEVER_US)
                self._mark(hours["marked_at"][there] + POSTGRES_EPOCH_US, hours["severity"][there].astype(np.float64))

    def line(self, name: str) -> Line | None:
        """The line of a quantity; None if it has no value here."""
        if not self._readings[name]:
            return None
        time_us = np.concatenate([times for times, _ in self._points[name]])
        value = np.concatenate([values for _, values in self._points[name]])
        rows = (
            self._extremes(time_us, value)
            if len(time_us) > 2 * self._bins
            else np.unique(time_us, return_index=True)[1]
        )
        time_us, value = time_us[rows], value[rows]
        # A bin without a value is no gap where a bin's readings are drawn by two of them.
        widest_us = self._bin_us if self._readings[name] > len(time_us) else 0
        after = _gaps(np.unique(np.concatenate(self._times[name])), widest_us)
        gaps = np.unique(np.searchsorted(time_us, after, side="right") - 1)
        return Line(time_us=time_us, value=value, gaps=gaps, readings=self._readings[name])

    def marked(self) -> Times:
        """The times of the readings to mark, ascending."""
        if not self._marks:
            return np.empty(0, dtype=np.int64)
        time_us = np.concatenate([times for times, _ in self._marks])
        severity = np.concatenate([severities for _, severities in self._marks])
        if len(time_us) > MARK_BINS:
            span = int(time_us.max() - time_us.min()) + 1
            order = np.lexsort((-time_us, severity, (time_us - time_us.min()) * MARK_BINS // span))
            bin_of = ((time_us - time_us.min()) * MARK_BINS // span)[order]
            time_us = time_us[order[np.flatnonzero(np.r_[bin_of[1:] != bin_of[:-1], True])]]
        return np.sort(time_us)

    def _add(self, name: str, time_us: Times, value: Values, readings: int) -> None:
        self._readings[name] += readings
        if len(time_us) > FEW_POINTS:
            rows = self._extremes(time_us, value)
            self._points[name].append((time_us[rows], value[rows]))
            self._times[name].append(_ends(time_us, self._bin_us // PARTS_OF_BIN))
        else:
            self._points[name].append((time_us, value))
            self._times[name].append(time_us)

    def _mark(self, time_us: Times, severity: Values) -> None:
        rows = np.flatnonzero(severity > 0)
        self._marks.append((time_us[rows], severity[rows]))

    def _extremes(self, time_us: Times, value: Values) -> NDArray[np.int64]:
        """Rows of each bin's lowest and highest value, the first of equal ones, and of the first and the last time."""
        if not len(time_us):
            return np.empty(0, dtype=np.int64)
        bin_of = (time_us - self._origin_us) // self._bin_us
        lowest = np.lexsort((time_us, value, bin_of))
        highest = np.lexsort((time_us, -value, bin_of))
        begins = np.flatnonzero(np.r_[True, bin_of[lowest][1:] != bin_of[lowest][:-1]])
        ends = [int(np.argmin(time_us)), int(np.argmax(time_us))]
        rows = np.unique(np.concatenate((lowest[begins], highest[begins], ends)))
        ordered = rows[np.argsort(time_us[rows], kind="stable")]
        _, first = np.unique(time_us[ordered], return_index=True)
        return ordered[first]


def _ends(time_us: Times, part_us: int) -> Times:
    """The first and the last time of each part of time, so that every longer step is still there; all if that is not shorter."""
    if part_us < 2 or len(time_us) < 2:
        return time_us
    ordered = np.sort(time_us)
    changes = np.diff(ordered // part_us) != 0
    ends: Times = ordered[np.r_[True, changes] | np.r_[changes, True]]
    return ends


def _gaps(time_us: Times, widest_us: int) -> Times:
    """The times after which nothing came for more than three usual steps (those around it), and for longer than ``widest_us``."""
    steps = np.diff(time_us)
    if len(steps) < 2:
        return np.empty(0, dtype=np.int64)
    found = []
    for step in np.flatnonzero(steps > widest_us).tolist():
        sides = (steps[max(0, step - GAP_AROUND) : step], steps[step + 1 : step + 1 + GAP_AROUND])
        usual = max((float(np.median(side)) for side in sides if len(side) > 1), default=float(np.median(steps)))
        if steps[step] > GAP_STEPS * usual:
            found.append(time_us[step])
    return np.array(found, dtype=np.int64)
