"""What the chart of a station draws, as one JSON object that stands in the page.

Times are seconds since 1970. ``live`` is the last event of the live stream that is surely in it. ``level`` holds columns of
equal length: time, level, expected, low, high; null breaks a line.
``marks`` holds the points that a line does not show: suspect, failed, anomalous (an event or a fault, where that is known).
``forecast`` is what is expected from now on, and ``ahead`` how many seconds of it the window shows beyond now. ``others`` holds
one chart per quantity. All lengths are in metres; a script multiplies them by ``factor`` for a user of ``units`` "feet".
``zone`` is the one in which times are told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.i18n import Words
from app.measures import Measures
from app.stations.downsample import MICROSECONDS, choose_extremes, choose_marks, find_gaps
from app.stations.forecast import Outlook
from app.stations.window import Window
from app.verdict import quality_of, surprise_of
from streamgauge.quality.flags import Flag
from streamgauge.reading import QUANTITIES, from_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.storage.read_readings import LEVEL_FLAG, Columns, Device, Mark, read_columns, read_marks

OTHERS = tuple(name for name in QUANTITIES if name != "level_m")
BAND = ("expected_m", "low_m", "high_m")
COLUMNS = ("level_m", LEVEL_FLAG, *BAND, "score", *OTHERS)
LEAST_SPAN_M = 0.10
SPAN_MARGIN = 0.08

Column = list[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The chart's JSON object, and whether there is anything to draw."""

    content: Mapping[str, Any]
    has_readings: bool


def make_chart(
    connection: Connection,
    device: Device,
    zone: ZoneInfo,
    window: Window,
    outlook: Outlook | None,
    live_id: str,
    t: Words,
) -> Chart:
    """Read a window of a device's record and reduce it to what a screen can show, keeping every peak."""
    columns = read_columns(connection, device.id, window.start, window.end, COLUMNS)
    level, flag = columns.values["level_m"], columns.values[LEVEL_FLAG]
    line = np.where(flag == Flag.FAIL, np.nan, level)
    rows = choose_extremes(columns.time_us, line)
    marked = choose_marks(columns.time_us, np.where(np.isfinite(level), _severity(columns), 0.0))
    why = read_marks(connection, device.id, [from_microseconds(int(time)) for time in columns.time_us[marked]])
    shown = outlook.drawn(window) if outlook else None
    content = {
        "device": device.name,
        "live": live_id,
        "zone": zone.key,
        "units": t.units,
        "factor": Measures(t).factor,
        "start": window.start.timestamp(),
        "end": window.end.timestamp() + (window.ahead_s if shown and window.goes_on else 0.0),
        "ahead": window.ahead_s if window.goes_on else 0.0,
        "follows": window.follows and not window.is_past,
        "range": window.key,
        "anomaly": ANOMALY_SCORE,
        "span": level_span(line, columns, shown["points"] if shown else ()),
        "level": broken_columns(columns, rows, ("level_m", *BAND), {"level_m": line}),
        "marks": [_mark(columns, int(row), why, t) for row in marked],
        "forecast": shown,
        "others": [_other(columns, name) for name in OTHERS if np.isfinite(columns.values[name]).any()],
    }
    return Chart(content=content, has_readings=len(columns.time_us) > 0)


def _severity(columns: Columns) -> NDArray[np.float64]:
    flag, score = columns.values[LEVEL_FLAG], np.nan_to_num(columns.values["score"])
    severity = np.where(score >= ANOMALY_SCORE, score, 0.0)
    worst: NDArray[np.float64] = np.maximum(
        severity, np.select([flag == Flag.FAIL, flag == Flag.SUSPECT], [4.0, 3.0], 0.0)
    )
    return worst


def level_span(
    line: NDArray[np.float64], columns: Columns, forecast: Sequence[Sequence[float | str]] = ()
) -> list[float]:
    """Lowest and highest level of the axis: what line, band and forecast need, with a margin. It stays while one looks."""
    ahead = np.array([[float(value) for value in point[1:4]] for point in forecast], dtype=np.float64).ravel()
    values = np.concatenate((line, columns.values["low_m"], columns.values["high_m"], ahead))
    values = values[np.isfinite(values)]
    if not len(values):
        return [0.0, 1.0]
    # A single wild band must not flatten the water: the band counts where it is near what was measured.
    usable = line[np.isfinite(line)]
    low, high = float(values.min()), float(values.max())
    if len(usable):
        room = max(LEAST_SPAN_M, float(np.ptp(usable)))
        low, high = max(low, float(usable.min()) - room), min(high, float(usable.max()) + room)
    missing = max(0.0, LEAST_SPAN_M - (high - low))
    margin = (high - low + missing) * SPAN_MARGIN
    return [round(low - missing / 2 - margin, 4), round(high + missing / 2 + margin, 4)]


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


def _mark(columns: Columns, row: int, why: Mapping[datetime, Mark], t: Words) -> dict[str, Any]:
    flag = columns.values[LEVEL_FLAG][row]
    score = columns.values["score"][row]
    mark = why.get(from_microseconds(int(columns.time_us[row])))
    quality = quality_of(int(flag) if flag == flag else None, mark.level_reason if mark else None, t)
    surprise = surprise_of(float(score), mark.surprise, mark.score_reason, t) if mark else None
    return {
        "time": round(float(columns.time_us[row]) / MICROSECONDS, 3),
        "level": round(float(columns.values["level_m"][row]), 4),
        "flag": quality.key,
        "text": quality.sentence if quality.key in {"suspect", "fail"} else "",
        "score": round(float(score), 3) if score == score else None,
        "surprise": surprise.key if surprise else "",
        "why": surprise.sentence if surprise else "",
    }


def _other(columns: Columns, name: str) -> dict[str, Any]:
    rows = choose_extremes(columns.time_us, columns.values[name])
    return {"name": name, "columns": broken_columns(columns, rows, (name,))}
