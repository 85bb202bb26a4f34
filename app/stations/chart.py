"""What the chart of a station draws, as one JSON object that stands in the page.

Times are seconds since 1970. ``live`` is the last event of the live stream that is surely in it. ``level`` holds columns of
equal length: time, level, expected, low, high; null breaks a line. The level is the corrected one, where an operator corrected
it; ``raw`` holds what the sensor said there, as pairs of time and level. ``corrections`` are those that readings which come from
now on may meet, the oldest first, in the units that are stored.
``marks`` holds the points that a line does not show: suspect, failed, anomalous (an event or a fault, where that is known).
``forecast`` is what is expected from now on, and ``ahead`` how many seconds of it the window shows beyond now. ``stages`` are the
station's, lowest first. ``others`` holds one chart per quantity, with its title.
All lengths are in metres; a script multiplies them by ``factor`` for a user of ``units`` "feet", and adds ``unit``. Other
quantities are multiplied by their ``factor``, and their ``offset`` is added. ``zone`` is the one in which times are told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.i18n import Words
from app.measures import IN_FEET, METRIC, Measures
from app.stations.downsample import LINE_BINS, MICROSECONDS, choose_extremes, choose_marks, find_gaps
from app.stations.forecast import Outlook
from app.stations.window import Window
from app.verdict import quality_of, surprise_of
from streamgauge.quality.flags import Flag
from streamgauge.reading import QUANTITIES, from_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.stages import Stage, stage_above
from streamgauge.storage.corrections import BY_OPERATOR, Covering, correct, is_flagged, read_corrections
from streamgauge.storage.read_chart import Line, read_chart
from streamgauge.storage.read_readings import (
    LEVEL_FLAG,
    Columns,
    Device,
    Mark,
    flag_column,
    raw_column,
    read_columns,
    read_marks,
)

OTHERS = tuple(name for name in QUANTITIES if name != "level_m")
BAND = ("expected_m", "low_m", "high_m")
COLUMNS = ("level_m", LEVEL_FLAG, *BAND, "score", *OTHERS)
LEAST_SPAN_M = 0.10
SPAN_MARGIN = 0.08
BAND_SHARE, AHEAD_SHARE = 0.5, 1.0
"""How far beyond the water its band and what a forecast expects are shown, in parts of the water's own span."""

Column = list[float | None]
Floats = NDArray[np.float64]
INSTANT = timedelta(microseconds=1)
LONGEST_FROM_READINGS = timedelta(days=40)
"""A longer stretch is drawn from its hours, where these are many readings."""
LATE = timedelta(days=1)
"""The browser is told the corrections that reach into so much time before a window's end, or after it: readings come late too."""
MOST_TOLD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The chart's JSON object, and whether there is anything to draw."""

    content: Mapping[str, Any]
    has_readings: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The parts of a chart that come from readings; see the module. ``line`` and ``band`` are what the axis must hold."""

    level: list[Column]
    raw: list[list[float]]
    marks: list[dict[str, Any]]
    others: list[dict[str, Any]]
    line: Floats
    band: Floats
    has_readings: bool


def make_chart(
    connection: Connection,
    device: Device,
    zone: ZoneInfo,
    window: Window,
    outlook: Outlook | None,
    stages: Sequence[Stage],
    live_id: str,
    t: Words,
) -> Chart:
    """Read a window of a device's record and reduce it to what a screen can show, keeping every peak."""
    draw = draw_readings if window.end - window.start <= LONGEST_FROM_READINGS else draw_hours
    drawn = draw(connection, device.id, window, t)
    shown = outlook.drawn(window) if outlook else None
    measures = Measures(t)
    content = {
        "device": device.name,
        "live": live_id,
        "zone": zone.key,
        "units": t.units,
        "unit": measures.level_unit,
        "factor": measures.factor,
        "start": window.start.timestamp(),
        "end": window.end.timestamp() + (window.ahead_s if shown and window.goes_on else 0.0),
        "ahead": window.ahead_s if window.goes_on else 0.0,
        "follows": window.follows and not window.is_past,
        "range": window.key,
        "anomaly": ANOMALY_SCORE,
        "span": level_span(drawn.line, drawn.band, shown["points"] if shown else (), stages),
        "stages": [{"name": stage.name, "level": stage.level_m, "severity": stage.severity} for stage in stages],
        "level": drawn.level,
        "raw": drawn.raw,
        "corrections": told_corrections(connection, device.id, window),
        "marks": drawn.marks,
        "forecast": shown,
        "others": drawn.others,
    }
    return Chart(content=content, has_readings=drawn.has_readings)


def draw_readings(connection: Connection, device_id: int, window: Window, t: Words) -> Drawn:
    """A stretch of weeks at most, from the readings, with what was expected of each."""
    corrections = read_corrections(connection, [device_id], window.start, window.end + INSTANT)
    touched = [name for name in OTHERS if any(one.quantity == name for one in corrections)]
    wanted = (*COLUMNS, *map(raw_column, touched), *map(flag_column, touched))
    read = read_columns(connection, device_id, window.start, window.end, wanted)
    columns = corrected(read, corrections, device_id)
    level, flag = columns.values["level_m"], columns.values[LEVEL_FLAG]
    line = np.where(flag == Flag.FAIL, np.nan, level)
    rows = choose_extremes(columns.time_us, line)
    marked = choose_marks(columns.time_us, np.where(np.isfinite(level), _severity(columns), 0.0))
    why = read_marks(connection, device_id, [from_microseconds(int(time)) for time in columns.time_us[marked]])
    score = columns.values["score"]
    return Drawn(
        level=broken_columns(columns, rows, ("level_m", *BAND), {"level_m": line}),
        raw=raw_points(read, columns),
        marks=[
            _mark(int(columns.time_us[row]), level[row], flag[row], score[row], why, corrections, t) for row in marked
        ],
        others=[_other(columns, name, t) for name in OTHERS if np.isfinite(columns.values[name]).any()],
        line=line,
        band=np.concatenate((columns.values["low_m"], columns.values["high_m"])),
        has_readings=len(columns.time_us) > 0,
    )


def draw_hours(connection: Connection, device_id: int, window: Window, t: Words) -> Drawn:
    """A stretch of months or years: every bin's lowest and highest value at its exact time; what was expected is not drawn."""
    data = read_chart(connection, device_id, window.start, window.end, LINE_BINS)
    marks = data.marks
    why = read_marks(connection, device_id, [from_microseconds(int(time)) for time in marks.time_us])
    level = data.lines.get("level_m")
    columns = line_columns(level) if level else [[], []]
    nothing: Column = [None] * len(columns[0])
    corrections = read_corrections(connection, [device_id], window.start, window.end + INSTANT)
    rows = np.flatnonzero(np.isfinite(marks.level_m))
    return Drawn(
        level=[*columns, nothing, nothing, nothing],
        raw=[],
        marks=[
            _mark(int(marks.time_us[row]), marks.level_m[row], marks.flag[row], marks.score[row], why, corrections, t)
            for row in rows
        ],
        others=[
            {**quantity_axis(name, t), "columns": line_columns(line)}
            for name, line in data.lines.items()
            if name != "level_m"
        ],
        line=level.value if level else np.empty(0),
        band=np.empty(0),
        has_readings=bool(data.lines) or len(marks.time_us) > 0,
    )


def line_columns(line: Line) -> list[Column]:
    """A reduced line as columns of seconds and values, with a null in every gap."""
    seconds = line.time_us / MICROSECONDS
    after = line.gaps + 1
    middles = (seconds[after - 1] + seconds[after]) / 2 if len(after) else np.empty(0)
    return [[*np.insert(seconds, after, middles).round(3).tolist()], _nullable(np.insert(line.value, after, np.nan))]


def _severity(columns: Columns) -> NDArray[np.float64]:
    flag, score = columns.values[LEVEL_FLAG], np.nan_to_num(columns.values["score"])
    severity = np.where(score >= ANOMALY_SCORE, score, 0.0)
    worst: NDArray[np.float64] = np.maximum(
        severity, np.select([flag == Flag.FAIL, flag == Flag.SUSPECT], [4.0, 3.0], 0.0)
    )
    return worst


def corrected(columns: Columns, corrections: Sequence[Covering], device_id: int) -> Columns:
    """The columns with what operators said of the quantities whose raw values and flags are among them."""
    values, count = dict(columns.values), len(columns.time_us)
    for name in dict.fromkeys(one.quantity for one in corrections):
        raw, flag = values.get(raw_column(name)), values.get(flag_column(name))
        if raw is None or flag is None or not count:
            continue
        value, whole_flag = correct(
            corrections,
            name,
            np.full(count, device_id),
            columns.time_us,
            raw,
            np.nan_to_num(flag, nan=float(Flag.MISSING)).astype(np.int16),
        )
        values[flag_column(name)] = np.where(np.isnan(flag) & (whole_flag == Flag.MISSING), np.nan, whole_flag)
        # Of all but the level, what failed is absent (``read_columns``).
        values[name] = value if name == "level_m" else np.where(whole_flag == Flag.FAIL, np.nan, value)
    return Columns(time_us=columns.time_us, values=values)


def told_corrections(connection: Connection, device_id: int, window: Window) -> list[dict[str, Any]]:
    """The corrections that readings may meet which come while somebody looks."""
    found = read_corrections(connection, [device_id], window.end - LATE, window.end + LATE)
    return [
        {
            "name": one.quantity,
            "first": one.first_us / MICROSECONDS,
            "last": one.last_us / MICROSECONDS,
            "flag": one.flag,
            "value": one.value,
            "shift": one.shift,
        }
        for one in found[-MOST_TOLD:]
    ]


def raw_points(read: Columns, shown: Columns) -> list[list[float]]:
    """What the sensor said where the level was corrected: pairs of time and level, the farthest of each bin if they are many."""
    raw, level = read.values["level_m"], shown.values["level_m"]
    rows = choose_marks(read.time_us, np.nan_to_num(np.abs(raw - level)))
    return [
        [round(time_us / MICROSECONDS, 3), round(value, 4)]
        for time_us, value in zip(read.time_us[rows].tolist(), raw[rows].tolist(), strict=True)
    ]


def level_span(
    line: Floats, band: Floats, forecast: Sequence[Sequence[float | str]] = (), stages: Sequence[Stage] = ()
) -> list[float]:
    """Lowest and highest level of the axis, which is for the water, with a margin. It stays while one looks.

    What was and what is expected counts as far as a share of the water's own span beyond it; farther out it is cut off at the
    edge, so that a single wild band does not flatten the water. The stage above the water, and above what is expected of it, is
    shown too, if that costs no more than half of the picture. ``static/js/chart.js`` lets the axis grow in the same way.
    """
    water = line[np.isfinite(line)]
    ahead = np.array([[float(value) for value in point[1:4]] for point in forecast], dtype=np.float64).reshape(-1, 3)
    bands = np.concatenate((band, ahead[:, 1:].ravel()))
    bands = bands[np.isfinite(bands)]
    expected = ahead[:, 0]
    if not len(water):
        water = expected if len(expected) else bands
    if not len(water):
        return [0.0, 1.0]
    low, high = float(water.min()), float(water.max())
    span = (low, high)
    low, high = _reaching(low, high, expected, span, AHEAD_SHARE)
    above = stage_above(high, stages)
    if above is not None and above.level_m - high <= max(LEAST_SPAN_M, high - low):
        high = above.level_m
    low, high = _reaching(low, high, bands, span, BAND_SHARE)
    missing = max(0.0, LEAST_SPAN_M - (high - low))
    margin = (high - low + missing) * SPAN_MARGIN
    return [round(low - missing / 2 - margin, 4), round(high + missing / 2 + margin, 4)]


def _reaching(low: float, high: float, values: Floats, water: tuple[float, float], share: float) -> tuple[float, float]:
    """The axis from low to high grown by values, each as far as a share of the water's span beyond the water."""
    if not len(values):
        return low, high
    room = share * max(LEAST_SPAN_M, water[1] - water[0])
    return (
        min(low, max(float(values.min()), water[0] - room)),
        max(high, min(float(values.max()), water[1] + room)),
    )


def broken_columns(
    columns: Columns,
    rows: NDArray[np.int64],
    names: Sequence[str],
    replaced: Mapping[str, NDArray[np.float64]] | None = None,
) -> list[Column]:
    """Columns of the chosen rows, time first, with a row of nulls in every gap of the first of them."""
    first = (replaced or {}).get(names[0], columns.values[names[0]])
    gaps = find_gaps(columns.time_us, first, rows) + 1
    seconds = columns.time_us[rows] / MICROSECONDS
    middles = (seconds[gaps - 1] + seconds[gaps]) / 2 if len(gaps) else np.empty(0)
    result: list[Column] = [[*np.insert(seconds, gaps, middles).round(3).tolist()]]
    for name in names:
        values = (replaced or {}).get(name, columns.values[name])[rows]
        result.append(_nullable(np.insert(values, gaps, np.nan)))
    return result


def _nullable(values: NDArray[np.float64]) -> Column:
    return [value if value == value else None for value in values.round(4).tolist()]


def _mark(
    time_us: int,
    level: float,
    flag: float,
    score: float,
    why: Mapping[datetime, Mark],
    corrections: Sequence[Covering],
    t: Words,
) -> dict[str, Any]:
    mark = why.get(from_microseconds(time_us))
    is_decided = is_flagged(corrections, "level_m", time_us)
    reason = BY_OPERATOR if is_decided else mark.level_reason if mark else None
    quality = quality_of(int(flag) if flag == flag else None, reason, t)
    surprise = surprise_of(float(score), mark.surprise, mark.score_reason, t) if mark else None
    return {
        "time": round(time_us / MICROSECONDS, 3),
        "level": round(float(level), 4),
        "flag": quality.key,
        "text": quality.sentence if quality.key in {"suspect", "fail"} else "",
        "score": round(float(score), 3) if score == score else None,
        "surprise": surprise.key if surprise else "",
        "why": surprise.sentence if surprise else "",
    }


def _other(columns: Columns, name: str, t: Words) -> dict[str, Any]:
    rows = choose_extremes(columns.time_us, columns.values[name])
    return {**quantity_axis(name, t), "columns": broken_columns(columns, rows, (name,))}


def quantity_axis(name: str, t: Words) -> dict[str, Any]:
    """How a script draws a quantity: its title with the unit, its decimals, and what makes stored values into shown ones."""
    measures = Measures(t)
    scale = (IN_FEET if measures.in_feet else METRIC)[name]
    offset = scale.convert(0.0)
    return {
        "name": name,
        "title": t("chart.quantity", name=t(f"quantity.{name}"), unit=t(scale.unit)),
        "decimals": scale.decimals,
        "factor": scale.convert(1.0) - offset,
        "offset": offset,
    }
