"""What a station's forecasts were worth: what was forecast for each time beside what came, and beside "stays as it is"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.i18n import Words
from app.measures import Measures
from app.stations.chart import INSTANT, corrected
from app.stations.downsample import MICROSECONDS, choose_extremes, choose_marks, find_gaps
from app.stations.window import Window
from streamgauge.quality.flags import Flag
from streamgauge.reading import from_microseconds
from streamgauge.storage.corrections import read_corrections
from streamgauge.storage.read_readings import LEVEL_FLAG, Device, read_columns
from streamgauge.storage.station import PastForecasts, read_horizons, read_past_forecasts

LONGEST = timedelta(days=31)
DEFAULT_HORIZON_S = 3_600
NEAR_US = 450 * MICROSECONDS
"""A reading is what came of a forecast if it lies so near to its time …"""
NEAR_SHARE = 0.5
"""… and nearer than so much of what was forecast ahead."""
BINS, MARK_BINS = 350, 200
FEWEST = 12
"""With fewer forecasts that have come true or not, no figure is given."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """One that may be chosen."""

    seconds: int
    text: str
    is_shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The picture and its sentence: errors are mean absolute ones with their unit, shares are of the forecasts judged.

    ``content`` is the chart's JSON object, None if there is nothing to draw; ``model`` and the other figures are empty where
    there are too few.
    """

    horizons: tuple[Horizon, ...]
    after: str
    content: Mapping[str, Any] | None
    judged: str
    model: str
    persistence: str
    covered: str
    is_better: bool
    since: str
    until: str


def make_worth(
    connection: Connection, device: Device, horizon_text: str | None, window: Window, zone: ZoneInfo, t: Words
) -> Worth | None:
    """The forecasts for the newest month of a window at most; None before a station's first forecast."""
    horizons = read_horizons(connection, device.id)
    if not horizons:
        return None
    chosen = choose_horizon(horizon_text, horizons)
    start = max(window.start, window.end - LONGEST)
    past = read_past_forecasts(connection, device.id, chosen, start, window.end)
    came = _what_came(connection, device, past, chosen)
    judged = np.isfinite(came)
    errors, stays = np.abs(past.expected_m - came)[judged], np.abs(past.baseline_m - came)[judged]
    covered = ((came >= past.low_m) & (came <= past.high_m))[judged]
    enough = len(errors) >= FEWEST
    return Worth(
        horizons=tuple(Horizon(seconds=h, text=t.duration(h), is_shown=h == chosen) for h in horizons),
        after=t.duration(chosen),
        content=_content(past, came, start.timestamp(), window.end.timestamp(), zone, t) if len(errors) else None,
        judged=t.number(len(errors), 0),
        model=_error(float(errors.mean()), t) if enough else "",
        persistence=_error(float(stays.mean()), t) if enough else "",
        covered=t("unit.percent", n=t.number(100 * float(covered.mean()), 0)) if enough else "",
        is_better=enough and bool(errors.mean() < stays.mean()),
        since=t.when(start, zone),
        until=t.when(window.end, zone),
    )


def choose_horizon(wanted: str | None, horizons: Sequence[int]) -> int:
    """The horizon that an address names, else an hour, else the nearest to it."""
    if wanted is not None and wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and int(wanted) in horizons:
        return int(wanted)
    return min(horizons, key=lambda seconds: abs(seconds - DEFAULT_HORIZON_S))


def _what_came(connection: Connection, device: Device, past: PastForecasts, horizon_s: int) -> Floats:
    """The undoubted level nearest to each forecast's time; NaN where none is near."""
    came = np.full(len(past.time_us), np.nan)
    if not len(came):
        return came
    near_us = min(NEAR_US, int(NEAR_SHARE * horizon_s * MICROSECONDS))
    first, last = (from_microseconds(int(time)) for time in (past.time_us[0] - near_us, past.time_us[-1] + near_us))
    read = read_columns(connection, device.id, first, last, ("level_m", LEVEL_FLAG))
    columns = corrected(read, read_corrections(connection, [device.id], first, last + INSTANT), device.id)
    flag = columns.values[LEVEL_FLAG]
    usable = np.isfinite(columns.values["level_m"]) & (flag != Flag.FAIL) & (flag != Flag.SUSPECT)
    times, levels = columns.time_us[usable], columns.values["level_m"][usable]
    if not len(times):
        return came
    after = np.clip(np.searchsorted(times, past.time_us), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(times[after] - past.time_us) <= np.abs(times[before] - past.time_us), after, before)
    is_near = np.abs(times[nearest] - past.time_us) <= near_us
    came[is_near] = levels[nearest[is_near]]
    return came


def _content(past: PastForecasts, came: Floats, start: float, end: float, zone: ZoneInfo, t: Words) -> dict[str, Any]:
    """The chart's object; times in seconds since 1970, lengths in metres; null breaks a line."""
    rows = np.union1d(
        choose_extremes(past.time_us, past.expected_m, BINS),
        choose_marks(past.time_us, np.nan_to_num(np.abs(past.expected_m - came)), MARK_BINS),
    )
    rows = np.union1d(rows, choose_extremes(past.time_us, came, BINS))
    gaps = find_gaps(past.time_us, past.expected_m, rows) + 1
    seconds = past.time_us[rows] / MICROSECONDS
    middles = (seconds[gaps - 1] + seconds[gaps]) / 2 if len(gaps) else np.empty(0)
    columns: list[list[float | None]] = [[*np.insert(seconds, gaps, middles).round(3).tolist()]]
    for values in (came, past.expected_m, past.low_m, past.high_m, past.baseline_m):
        column = np.insert(values[rows], gaps, np.nan).round(4).tolist()
        columns.append([value if value == value else None for value in column])
    measures = Measures(t)
    return {
        "zone": zone.key,
        "factor": measures.factor,
        "unit": measures.level_unit,
        "start": max(start, float(seconds[0])),
        "end": min(end, float(seconds[-1])) if len(seconds) > 1 else end,
        "columns": columns,
    }


def _error(error_m: float, t: Words) -> str:
    measures = Measures(t)
    if measures.in_feet:
        return t("worth.inches", n=measures.error(error_m))
    return t("worth.cm", n=t.number(error_m * 100, 1))
