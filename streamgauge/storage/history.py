"""What somebody wants of the record: which stations, when, which quantities, how marked; and pages of it, newest first."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.quality.flags import Flag
from streamgauge.reading import FLOAT_FIELDS, QUANTITIES
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.storage.corrections import corrected_flag_sql, corrected_sql, read_corrections
from streamgauge.storage.read_readings import SCORED, Device, find_device, read_extent

MARKS = ("good", "suspect", "failed", "surprising", "corrected")
"""What readings may be chosen by, besides all of them."""
STEP = timedelta(microseconds=1)
FIRST_STRETCH = timedelta(days=31)
LONGEST_STRETCH = timedelta(days=366 * 100)
QUICK_S, SLOW_S = 0.2, 1.0
"""A question that took less makes the next one reach further, one that took more less far."""
SEARCH_S = 3.0
"""So long one page may search; then it shows what it has, and from where the next one goes on."""
AFTER_ALL = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which readings.

    Attributes:
        devices: whose, registered, decommissioned ones as well.
        start: first time, aware.
        end: the time after the last, aware.
        quantities: readings that have none of these are left out; marks are theirs.
        mark: one of ``MARKS``, or empty for every reading.
    """

    devices: tuple[Device, ...]
    start: datetime
    end: datetime
    quantities: tuple[str, ...] = QUANTITIES
    mark: str = ""


def conditions(selection: Selection, corrected: frozenset[str]) -> str:
    """What a reading must fulfil besides device and time, as SQL that begins with AND; the table is called ``readings``.

    Args:
        selection: which readings.
        corrected: quantities that operators corrected: there the corrected flag decides, which takes longer to find.

    Raises:
        ValueError: a quantity or mark that is none.
    """
    names = selection.quantities
    if not names or not set(names) <= set(QUANTITIES) or selection.mark not in {"", *MARKS}:
        raise ValueError(f"no such quantities or mark: {names} {selection.mark!r}")
    parts = []
    if set(names) != set(QUANTITIES):
        parts.append(_any(f"{name} IS NOT NULL" for name in names))
    if selection.mark in {"suspect", "failed"}:
        parts.append(_flagged(names, corrected, Flag.SUSPECT if selection.mark == "suspect" else Flag.FAIL))
    elif selection.mark == "good":
        parts.append(_flagged(names, corrected, Flag.GOOD))
        parts.append(f"NOT {_flagged(names, corrected, Flag.SUSPECT, Flag.FAIL)}")
    elif selection.mark == "surprising":
        parts.append(f"(surprise IS NOT NULL OR score >= {ANOMALY_SCORE})")
    elif selection.mark == "corrected":
        listed = ", ".join(f"'{name}'" for name in names)
        parts.append(
            "EXISTS (SELECT FROM corrections WHERE corrections.device_id = readings.device_id "
            f"AND quantity IN ({listed}) AND undone_at IS NULL AND readings.time BETWEEN first AND last)"
        )
    return "".join(f" AND {part}" for part in parts)


def _any(parts: Any) -> str:
    return f"({' OR '.join(parts)})"


def _flagged(names: Sequence[str], corrected: frozenset[str], *flags: Flag) -> str:
    listed = ", ".join(f"'{int(flag)}'" for flag in flags)
    return _any(f"coalesce({flag_column(name, corrected)} IN ({listed}), false)" for name in names)


def flag_column(name: str, corrected: frozenset[str]) -> str:
    """The flag that counts, as SQL; a text."""
    return f"({corrected_flag_sql(name)})::text" if name in corrected else f"flags->>'{name}'"


def corrected_column(name: str) -> str:
    """The value that stands in for a reading's raw one, as SQL; NULL where that is no other."""
    return f"nullif({corrected_sql(name)}, readings.{name})"


def corrected_quantities(
    connection: Connection, devices: Sequence[Device], start: datetime, end: datetime
) -> frozenset[str]:
    """Of which quantities anything in [start, end) was corrected."""
    found = read_corrections(connection, [device.id for device in devices], start, end)
    return frozenset(one.quantity for one in found)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after the reading of this device and time, newest first and devices by their number."""

    time: datetime
    device_id: int


@dataclass(frozen=True, slots=True)
class Page:
    """Readings, newest first. ``following``: where the next page begins; None if there is none.

    ``searched_to``: the search was given up here for want of time before the page was full; None otherwise.
    """

    rows: list[Mapping[str, Any]]
    following: Place | None
    searched_to: datetime | None


_FIELDS = ", ".join((*FLOAT_FIELDS, "seq", "extra", "flags", "reasons", *SCORED, "surprise"))


def read_history(connection: Connection, selection: Selection, after: Place | None, limit: int) -> Page:
    """One page of a selection; each row has ``device_id``, ``<quantity>_corrected`` and ``<quantity>_flag``.

    The record is searched backwards in stretches of time, so that a rare mark in twenty years costs many short questions, and
    not one that the server gives up.
    """
    end = selection.end if after is None else min(selection.end, after.time + STEP)
    extents = [read_extent(connection, device.id) for device in selection.devices]
    known = [extent for extent in extents if extent is not None]
    if not known:
        return Page([], None, None)
    start = max(selection.start, min(extent.oldest for extent in known))
    end = min(end, max(extent.newest for extent in known) + STEP)
    corrected = corrected_quantities(connection, selection.devices, start, end)
    rows: list[Mapping[str, Any]] = []
    stretch, begun_s = FIRST_STRETCH, time.monotonic()
    while start < end and len(rows) <= limit:
        asked_s = time.monotonic()
        since = max(start, end - stretch) if end - start > stretch else start
        rows += _read_stretch(connection, selection, corrected, (since, end), after, limit + 1 - len(rows))
        end, took_s = since, time.monotonic() - asked_s
        stretch = next_stretch(stretch, took_s)
        if time.monotonic() - begun_s > SEARCH_S and len(rows) <= limit and start < end:
            return Page(rows, Place(end, AFTER_ALL), end)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = Place(last["time"], last["device_id"])
    return Page(rows[:limit], following, None)


def next_stretch(stretch: timedelta, took_s: float) -> timedelta:
    """How far the next question reaches, by how long the last one took."""
    if took_s < QUICK_S:
        return min(stretch * 2, LONGEST_STRETCH)
    return max(stretch / 2, timedelta(hours=1)) if took_s > SLOW_S else stretch


def _read_stretch(
    connection: Connection,
    selection: Selection,
    corrected: frozenset[str],
    span: tuple[datetime, datetime],
    after: Place | None,
    limit: int,
) -> list[Mapping[str, Any]]:
    values = [
        f"{corrected_column(name) if name in corrected else 'NULL::float8'} AS {name}_corrected" for name in QUANTITIES
    ]
    flags = [f"{flag_column(name, corrected)} AS {name}_flag" for name in QUANTITIES]
    beyond = "" if after is None else " AND (time < :after OR device_id > :after_device)"
    query = text(
        f"SELECT found.* FROM unnest(cast(:ids AS bigint[])) AS wanted(id) CROSS JOIN LATERAL ("
        f"SELECT device_id, time, {_FIELDS}, {', '.join(values + flags)} FROM readings WHERE device_id = wanted.id "
        f"AND time >= :start AND time < :end{beyond}{conditions(selection, corrected)} ORDER BY time DESC LIMIT :limit"
        ") AS found ORDER BY time DESC, device_id LIMIT :limit"
    )
    asked: dict[str, Any] = {
        "ids": [device.id for device in selection.devices],
        "start": span[0],
        "end": span[1],
        "limit": limit,
    }
    if after is not None:
        asked |= {"after": after.time, "after_device": after.device_id}
    return [dict(row) for row in connection.execute(query, asked).mappings()]


def count_rows(connection: Connection, selection: Selection, at_most: int) -> int:
    """How many readings a selection has, counting no further than ``at_most``."""
    found = 0
    corrected = corrected_quantities(connection, selection.devices, selection.start, selection.end)
    query = text(
        "SELECT count(*) FROM (SELECT FROM readings WHERE device_id = :id AND time >= :start AND time < :end"
        f"{conditions(selection, corrected)} LIMIT :limit) AS found"
    )
    for device in selection.devices:
        values = {"id": device.id, "start": selection.start, "end": selection.end, "limit": at_most - found}
        found += int(connection.execute(query, values).scalar_one())
        if found >= at_most:
            break
    return found


def suggest_devices(connection: Connection, words: str, limit: int) -> list[Device]:
    """Devices whose name or display name holds these words, by name; decommissioned ones as well."""
    like = "%" + "".join(f"\\{sign}" if sign in "\\%_" else sign for sign in words) + "%"
    query = text(
        "SELECT name FROM devices WHERE name ILIKE :like OR display_name ILIKE :like ORDER BY name LIMIT :limit"
    )
    names = connection.execute(query, {"like": like, "limit": limit}).scalars().all()
    return [device for name in names if (device := find_device(connection, name)) is not None]
