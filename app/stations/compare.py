"""Several stations on one time axis, as one JSON object for the script that draws them, and as a table.

Times are seconds since 1970; lengths are in metres, and a script multiplies them by ``factor``. Each of ``stations`` has its
letter, its title, the columns time and level (null breaks a line), and its mean over the window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from app.i18n import Words
from app.measures import Measures
from app.stations.chart import INSTANT, LONGEST_FROM_READINGS, Column, Floats, broken_columns, corrected, line_columns
from app.stations.downsample import choose_extremes
from app.stations.window import Window
from streamgauge.quality.flags import Flag
from streamgauge.reading import from_microseconds
from streamgauge.storage.corrections import read_corrections
from streamgauge.storage.read_chart import read_chart
from streamgauge.storage.read_readings import LEVEL_FLAG, Device, Extent, read_columns
from streamgauge.storage.station import read_long_mean

MOST = 6
"""More lines cannot be told apart without colours."""
MODES = ("own", "level", "mean")
LETTERS = "ABCDEF"
BINS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One station of a comparison: its letter, and its figures over the window with no unit; dashes where there are none.

    ``out_since``: when it was put out of service, else empty.
    """

    letter: str
    name: str
    title: str
    datum: str
    out_since: str
    lowest: str
    mean: str
    highest: str
    highest_at: str
    has_readings: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The chart's JSON object, and one line of the table per station."""

    content: Mapping[str, Any]
    rows: tuple[Compared, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    columns: list[Column]
    time_us: Any
    value: Floats
    mean_m: float | None


def joint_extent(extents: Sequence[Extent | None]) -> Extent | None:
    """From the oldest reading of all to the newest of all."""
    known = [extent for extent in extents if extent is not None]
    if not known:
        return None
    return Extent(oldest=min(one.oldest for one in known), newest=max(one.newest for one in known))


def make_comparison(
    connection: Connection, devices: Sequence[Device], window: Window, mode: str, zone: ZoneInfo, t: Words
) -> Comparison:
    """Read every station's level over a window."""
    measures = Measures(t)
    lines = [_read_line(connection, device, window) for device in devices]
    return Comparison(
        content={
            "zone": zone.key,
            "unit": measures.level_unit,
            "factor": measures.factor,
            "start": window.start.timestamp(),
            "end": window.end.timestamp(),
            "mode": mode,
            "stations": [
                {"letter": letter, "title": title_of(device), "columns": line.columns, "mean": line.mean_m}
                for letter, device, line in zip(LETTERS, devices, lines, strict=False)
            ],
        },
        rows=tuple(
            _row(letter, device, line, zone, measures, t)
            for letter, device, line in zip(LETTERS, devices, lines, strict=False)
        ),
    )


def title_of(device: Device) -> str:
    """What people call a station."""
    return device.display_name or device.name


def _read_line(connection: Connection, device: Device, window: Window) -> _Line:
    if window.end - window.start > LONGEST_FROM_READINGS:
        found = read_chart(connection, device.id, window.start, window.end, BINS, ("level_m",)).lines.get("level_m")
        if found is None:
            return _Line(columns=[[], []], time_us=np.empty(0), value=np.empty(0), mean_m=None)
        mean_m = read_long_mean(connection, device.id, window.start, window.end)
        return _Line(columns=line_columns(found), time_us=found.time_us, value=found.value, mean_m=mean_m)
    read = read_columns(connection, device.id, window.start, window.end, ("level_m", LEVEL_FLAG))
    corrections = read_corrections(connection, [device.id], window.start, window.end + INSTANT)
    columns = corrected(read, corrections, device.id)
    level = np.where(columns.values[LEVEL_FLAG] == Flag.FAIL, np.nan, columns.values["level_m"])
    usable = np.isfinite(level)
    return _Line(
        columns=broken_columns(
            columns, choose_extremes(columns.time_us, level, BINS), ("level_m",), {"level_m": level}
        ),
        time_us=columns.time_us[usable],
        value=level[usable],
        mean_m=float(level[usable].mean()) if usable.any() else None,
    )


def _row(letter: str, device: Device, line: _Line, zone: ZoneInfo, measures: Measures, t: Words) -> Compared:
    has_readings = len(line.value) > 0
    highest = int(np.argmax(line.value)) if has_readings else 0
    return Compared(
        letter=letter,
        name=device.name,
        title=title_of(device),
        datum=device.datum or t("datum.unknown"),
        out_since=t.when(device.decommissioned_at, zone) if device.decommissioned_at else "",
        lowest=measures.level(float(line.value.min()) if has_readings else None),
        mean=measures.level(line.mean_m),
        highest=measures.level(float(line.value[highest]) if has_readings else None),
        highest_at=t.moment(from_microseconds(int(line.time_us[highest])), zone) if has_readings else "",
        has_readings=has_readings,
    )
