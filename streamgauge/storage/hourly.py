"""Hours out of readings: what ``readings_hourly`` says of a device, an hour and a quantity, worked out from the readings.

Corrections are applied (``storage.corrections``). A value is usable if it is there and its flag is not 4 (fail).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.flags import Flag
from streamgauge.reading import QUANTITIES, from_microseconds
from streamgauge.scoring.anomaly import ANOMALY_SCORE
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_columns
from streamgauge.storage.context import timestamps
from streamgauge.storage.corrections import Covering, correct, read_corrections

HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NEVER_US = int(np.iinfo(np.int64).min)
"""Instead of a time where there is none: Postgres's ``-infinity``."""
FAILED_SEVERITY, SUSPECT_SEVERITY = 4.0, 3.0

_VALUES = ", ".join(
    f"COALESCE({name}, 'NaN') AS {name}, CASE WHEN {name} IS NULL THEN {int(Flag.MISSING)} "
    f"ELSE COALESCE((flags->>'{name}')::smallint, 2) END::smallint AS {name}_flag"
    for name in QUANTITIES
)
_ROW = f"device_id, time, COALESCE(score, 'NaN') AS score, {_VALUES}"
_OF_DEVICES = f"""
SELECT reading.* FROM unnest(%s::bigint[]) AS device(id) CROSS JOIN LATERAL (
    SELECT {_ROW} FROM readings WHERE device_id = device.id AND time >= %s AND time < %s ORDER BY time LIMIT %s) AS reading
"""
_OF_HOURS = f"""
SELECT reading.* FROM unnest(%s::bigint[], %s::timestamptz[]) AS wanted(id, hour) CROSS JOIN LATERAL (
    SELECT {_ROW} FROM readings WHERE device_id = wanted.id AND time >= wanted.hour AND time < wanted.hour + interval '1 hour'
        AND time >= %s AND time < %s ORDER BY time) AS reading
"""
_OF_TIMES = f"""
SELECT reading.* FROM unnest(%s::timestamptz[]) AS wanted(moment) CROSS JOIN LATERAL (
    SELECT {_ROW} FROM readings WHERE device_id = %s AND time = wanted.moment AND time >= %s AND time <= %s LIMIT 1) AS reading
"""
_FIELDS = {
    "device_id": ">i8",
    "time": ">i8",
    "score": ">f8",
    **{name: dtype for quantity in QUANTITIES for name, dtype in ((quantity, ">f8"), (f"{quantity}_flag", ">i2"))},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Readings as arrays, corrected.

    Attributes:
        device_id: int64[n].
        time_us: microseconds since 1970, int64[n].
        score: NaN where there is none, float64[n].
        value: per quantity, NaN where there is none, float64[n].
        flag: per quantity, 9 where there is no value, int16[n].
    """

    device_id: NDArray[np.int64]
    time_us: NDArray[np.int64]
    score: NDArray[np.float64]
    value: dict[str, NDArray[np.float64]]
    flag: dict[str, NDArray[np.int16]]

    def usable(self, quantity: str) -> NDArray[np.bool_]:
        """Which values count, bool[n]."""
        counts: NDArray[np.bool_] = np.isfinite(self.value[quantity]) & (self.flag[quantity] != Flag.FAIL)
        return counts

    def severity(self, quantity: str) -> NDArray[np.float64]:
        """How much each value asks to be looked at, float64[n]: 4 failed, 3 suspect, else its score if it is marked, else 0."""
        flag = self.flag[quantity]
        found = np.select([flag == Flag.FAIL, flag == Flag.SUSPECT], [FAILED_SEVERITY, SUSPECT_SEVERITY], 0.0)
        if quantity == "level_m":
            score = np.nan_to_num(self.score)
            found = np.where((found == 0) & (score >= ANOMALY_SCORE), score, found)
        severity: NDArray[np.float64] = np.where(np.isfinite(self.value[quantity]), found, 0.0)
        return severity


HOUR_FIELDS = {
    "device_id": ">i8", "hour": ">i8", "quantity": ">i2", "n": ">i4", "low": ">f8", "mean": ">f8", "high": ">f8",
    "low_at": ">i8", "high_at": ">i8", "suspect": ">i4", "failed": ">i4", "marked_at": ">i8", "severity": ">f4",
}  # fmt: skip
"""The columns of hours, with the types that Postgres has for them; ``quantity`` is an index of ``QUANTITIES``."""

Hours = dict[str, NDArray[Any]]
"""Hours by column (``HOUR_FIELDS``): times in microseconds since 2000 or ``NEVER_US``, NaN where there is no value."""


def read_devices(
    connection: Connection, device_ids: Sequence[int], since: datetime, until: datetime, most: int | None = None
) -> Stretch:
    """The readings of devices in [since, until), by device and time; ``most``: of each device the first ones."""
    found = copy_columns(connection, _OF_DEVICES, (list(device_ids), since, until, most), _FIELDS)
    return _stretch(found, read_corrections(connection, device_ids, since, until))


def read_hours(connection: Connection, device_id: NDArray[np.int64], hour_us: NDArray[np.int64]) -> Stretch:
    """The readings of these devices' hours (microseconds since 1970), pair by pair."""
    since, until = from_microseconds(int(hour_us.min())), from_microseconds(int(hour_us.max())) + HOUR
    parameters = (device_id.tolist(), timestamps(hour_us), since, until)
    found = copy_columns(connection, _OF_HOURS, parameters, _FIELDS)
    return _stretch(found, read_corrections(connection, np.unique(device_id).tolist(), since, until))


def read_times(connection: Connection, device_id: int, time_us: NDArray[np.int64]) -> Stretch:
    """The readings of a device at these times (microseconds since 1970, ascending)."""
    if not len(time_us):
        return _stretch({name: np.empty(0, dtype=dtype) for name, dtype in _FIELDS.items()}, ())
    since, until = from_microseconds(int(time_us[0])), from_microseconds(int(time_us[-1]))
    found = copy_columns(connection, _OF_TIMES, (timestamps(time_us), device_id, since, until), _FIELDS)
    return _stretch(found, read_corrections(connection, [device_id], since, until + HOUR))


def _stretch(found: dict[str, NDArray[Any]], corrections: Iterable[Covering]) -> Stretch:
    device_id, time_us = found["device_id"].astype(np.int64), found["time"].astype(np.int64) + POSTGRES_EPOCH_US
    listed = list(corrections)
    both = {
        name: correct(
            listed,
            name,
            device_id,
            time_us,
            found[name].astype(np.float64, copy=False),
            found[f"{name}_flag"].astype(np.int16, copy=False),
        )
        for name in QUANTITIES
    }
    return Stretch(
        device_id=device_id,
        time_us=time_us,
        score=found["score"].astype(np.float64, copy=False),
        value={name: value for name, (value, _) in both.items()},
        flag={name: flag for name, (_, flag) in both.items()},
    )


def hours_of(stretch: Stretch) -> Hours:
    """Every hour and quantity of which the readings hold a value, usable or not."""
    parts = [_quantity_hours(stretch, number) for number in range(len(QUANTITIES))]
    hours = {name: np.concatenate([part[name] for part in parts]) for name in HOUR_FIELDS}
    # Rows that are read together should lie together: a chart reads one device, hour after hour.
    order = np.lexsort((hours["quantity"], hours["hour"], hours["device_id"]))
    return {name: column[order] for name, column in hours.items()}


def _quantity_hours(stretch: Stretch, number: int) -> Hours:
    name = QUANTITIES[number]
    rows = np.flatnonzero(np.isfinite(stretch.value[name]))
    rows = rows[np.lexsort((stretch.time_us[rows], stretch.device_id[rows]))]
    device_id, time_us = stretch.device_id[rows], stretch.time_us[rows]
    hour = time_us // HOUR_US
    begins = np.flatnonzero(np.r_[True, (device_id[1:] != device_id[:-1]) | (hour[1:] != hour[:-1])][: len(rows)])
    count = len(begins)
    group = np.repeat(np.arange(count), np.diff(np.r_[begins, len(rows)]))
    value, usable, flag = stretch.value[name][rows], stretch.usable(name)[rows], stretch.flag[name][rows]
    severity = stretch.severity(name)[rows]
    n = np.bincount(group, weights=usable, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, weights=np.where(usable, value, 0.0), minlength=count) / n
    low, low_at = _extreme(group, count, -value, usable, time_us)
    high, high_at = _extreme(group, count, value, usable, time_us)
    worst, marked_at = _extreme(group, count, severity, severity > 0, time_us)
    return {
        "device_id": device_id[begins],
        "hour": hour[begins] * HOUR_US - POSTGRES_EPOCH_US,
        "quantity": np.full(count, number, dtype=np.int16),
        "n": n.astype(np.int32),
        "low": -low,
        "mean": np.clip(mean, -low, high),
        "high": high,
        "low_at": low_at,
        "high_at": high_at,
        "suspect": np.bincount(group, weights=flag == Flag.SUSPECT, minlength=count).astype(np.int32),
        "failed": np.bincount(group, weights=flag == Flag.FAIL, minlength=count).astype(np.int32),
        "marked_at": marked_at,
        "severity": worst.astype(np.float32),
    }


def _extreme(
    group: NDArray[np.int64],
    count: int,
    value: NDArray[np.float64],
    counts: NDArray[np.bool_],
    time_us: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The greatest value of each group and its first time (since 2000); NaN and ``NEVER_US`` of a group where nothing counts."""
    greatest, at = np.full(count, np.nan), np.full(count, NEVER_US)
    rows = np.flatnonzero(counts)
    if not len(rows):
        return greatest, at
    begins = np.flatnonzero(np.r_[True, group[rows][1:] != group[rows][:-1]])
    present = group[rows[begins]]
    greatest[present] = np.maximum.reduceat(value[rows], begins)
    first = rows[value[rows] == greatest[group[rows]]][::-1]
    # Of several equal ones the first in time stays, as it is written last.
    at[group[first]] = time_us[first] - POSTGRES_EPOCH_US
    return greatest, at


def floor_hour(moment: datetime) -> datetime:
    """The beginning of a moment's hour, UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
