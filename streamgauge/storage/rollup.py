"""The roll-up's state: how far it is, which hours wait to be rolled up again, and each step as one transaction.

``rollup_state.through``: every hour before it is in ``readings_hourly``. It advances over hours that no writer can change any
more without saying so, and writers mark the hours before it that they change in ``rollup_pending``, in their own transaction.

Why no change is missed. All times are Postgres's own.

* A step advances to the whole hour before its transaction's time - ``LAG`` (2 h) at most.
* A writer marks each reading that is older than its transaction's time - ``MARK_AGE`` (1 h).
* A reading that is not marked is thus younger than (writer's begin - 1 h). Were it missed by a step, it would be older than
  (step's begin - 2 h), so that its writer had been under way for an hour when the step began. A worker's hard time limit is 90 s
  (``settings.task_hard_limit_s``), and its transaction ends with its connection.
* A marked reading and its mark become visible together. A step takes marks first and reads afterwards, in a later snapshot: what
  it takes it has seen. A mark that it did not see stays for the next step.
* Steps run one after the other (``ROLLUP_LOCK``). Two at once could roll up the same hour, and the one with the older snapshot
  could write last.
* A mark at or after ``through`` may be dropped: the advance reads that hour later.
* A correction keeps steps away until it is committed (``hold_steps``), so it need mark no more than the hours that are rolled up:
  an hour before ``through`` with a reading that is not rolled up has its mark, and steps after the correction see it.

That holds for writers of this program. One of a version before the roll-up, as there is during a rolling update, marks nothing:
so the last days are compared with their readings once a night (``mark_differences``).

Charts of years read days (``readings_daily``; UTC). A step works the days of its hours out anew, in its transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import QUANTITIES
from streamgauge.storage.binary_copy import copy_array_in
from streamgauge.storage.context import timestamps
from streamgauge.storage.hourly import HOUR, HOUR_FIELDS, Hours, floor_hour, hours_of, read_devices, read_hours
from streamgauge.storage.partitions import existing_months, next_month

ROLLUP_LOCK = 0x5347_0008  # "SG", 8: one key of ours among Postgres's advisory locks
LAG = timedelta(hours=2)
MARK_AGE = timedelta(hours=1)
DEVICES_AT_ONCE = 500
HOURS_AT_ONCE = 500
MOST_READINGS = 500_000
"""A step takes on fewer hours where there are more readings than this, but an hour at least."""
MOMENT = timedelta(microseconds=1)

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_HOLD = text("SELECT pg_advisory_xact_lock_shared(:key)")
_THROUGH = text("SELECT (SELECT through FROM rollup_state) AS through, now() AS now")
_ADVANCE = text("""
INSERT INTO rollup_state (id, through) VALUES (1, :through) ON CONFLICT (id) DO UPDATE SET through = EXCLUDED.through
""")
_DEVICES = text("SELECT id FROM devices ORDER BY id")
_MARK_INCOMING = text(f"""
INSERT INTO rollup_pending (device_id, hour)
SELECT DISTINCT device_id, date_trunc('hour', time, 'UTC') FROM incoming
WHERE time < now() - make_interval(secs => {MARK_AGE.total_seconds():.0f})
""")
_MARK_THESE = text(f"""
INSERT INTO rollup_pending (device_id, hour)
SELECT DISTINCT device_id, date_trunc('hour', time, 'UTC')
FROM unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) AS changed(device_id, time)
WHERE time < now() - make_interval(secs => {MARK_AGE.total_seconds():.0f})
""")
_MARK_RANGE = text("""
INSERT INTO rollup_pending (device_id, hour)
SELECT DISTINCT device_id, hour FROM readings_hourly
WHERE device_id = :id AND hour >= date_trunc('hour', CAST(:first AS timestamptz), 'UTC') AND hour <= :last
""")
_COUNT = text("""
SELECT count(*) FROM (
    SELECT FROM unnest(CAST(:ids AS bigint[])) AS device(id) CROSS JOIN LATERAL (
        SELECT FROM readings WHERE device_id = device.id AND time >= :since AND time < :until) AS reading
    LIMIT :most) AS found
""")
_DROP_EARLY = text("""
DELETE FROM rollup_pending WHERE id IN (
    SELECT id FROM rollup_pending WHERE hour >= COALESCE((SELECT through FROM rollup_state), '-infinity') LIMIT :most)
""")
_TAKE = """
WITH taken AS (
    SELECT DISTINCT device_id, hour FROM (
        SELECT device_id, hour FROM rollup_pending WHERE hour < (SELECT through FROM rollup_state) ORDER BY id LIMIT %s
    ) AS oldest),
gone AS (
    DELETE FROM rollup_pending USING taken
    WHERE rollup_pending.device_id = taken.device_id AND rollup_pending.hour = taken.hour)
SELECT device_id, hour FROM taken ORDER BY device_id, hour
"""
_PENDING = text("SELECT count(*) FROM (SELECT FROM rollup_pending LIMIT :most) AS found")
_STAGE = text("""
CREATE TEMPORARY TABLE IF NOT EXISTS rolled (
    device_id bigint, hour timestamptz, quantity smallint, n integer, low float8, mean float8, high float8, low_at timestamptz,
    high_at timestamptz, suspect integer, failed integer, marked_at timestamptz, severity real) ON COMMIT DELETE ROWS
""")
_COPY = f"COPY rolled ({', '.join(HOUR_FIELDS)}) FROM STDIN (FORMAT binary)"
_NAMES = "ARRAY[" + ", ".join(f"'{name}'" for name in QUANTITIES) + "]"
_STAGED = f"""
SELECT device_id, hour, ({_NAMES})[quantity + 1] AS quantity, n, NULLIF(low, 'NaN') AS low, NULLIF(mean, 'NaN') AS mean,
    NULLIF(high, 'NaN') AS high, NULLIF(low_at, '-infinity') AS low_at, NULLIF(high_at, '-infinity') AS high_at, suspect, failed,
    NULLIF(marked_at, '-infinity') AS marked_at, NULLIF(severity, 'NaN') AS severity
FROM rolled"""
_INSERT = text(f"INSERT INTO readings_hourly ({', '.join(HOUR_FIELDS)}) {_STAGED}")
_SPAN = "device_id = ANY(CAST(:ids AS bigint[])) AND {time} >= :since AND {time} < :until"
_HOURS = "unnest(CAST(:ids AS bigint[]), CAST(:hours AS timestamptz[])) AS taken(id, at)"
# Sums of the same numbers in another order differ in their last digits.
_MARK_DIFFERENT = text(f"""
INSERT INTO rollup_pending (device_id, hour)
SELECT DISTINCT device_id, hour FROM ({_STAGED}) AS wanted
FULL JOIN (SELECT * FROM readings_hourly WHERE {_SPAN.format(time="hour")}) AS found USING (device_id, hour, quantity)
WHERE abs(wanted.mean - found.mean) > 1e-9 * greatest(1, abs(found.mean)) OR (wanted.mean IS NULL) <> (found.mean IS NULL)
    OR ROW(wanted.n, wanted.low, wanted.high, wanted.low_at, wanted.high_at, wanted.suspect, wanted.failed, wanted.marked_at,
        wanted.severity) IS DISTINCT FROM ROW(found.n, found.low, found.high, found.low_at, found.high_at, found.suspect,
        found.failed, found.marked_at, found.severity)
""")
_DELETE_SPAN = text(f"DELETE FROM readings_hourly WHERE {_SPAN.format(time='hour')}")
_DELETE_HOURS = text(f"""
DELETE FROM readings_hourly USING {_HOURS} WHERE device_id = taken.id AND hour = taken.at
""")
# A day is worked out from its hours, and goes with the last of them.
_DELETE_DAYS_OF_SPAN = text(f"DELETE FROM readings_daily WHERE {_SPAN.format(time='day')} AND quantity = ANY({_NAMES})")
_DELETE_DAYS_OF_HOURS = text(f"""
DELETE FROM readings_daily USING (SELECT DISTINCT id, date_trunc('day', at, 'UTC') AS day FROM {_HOURS}) AS wanted
WHERE device_id = wanted.id AND readings_daily.day = wanted.day AND quantity = ANY({_NAMES})
""")
_DAYS = """
INSERT INTO readings_daily (device_id, day, quantity, n, low, mean, high, low_at, high_at, suspect, failed, marked_at, severity)
SELECT device_id, date_trunc('day', hour, 'UTC'), quantity, sum(n), min(low), sum(mean * n) / NULLIF(sum(n), 0),
    max(high), (array_agg(low_at ORDER BY low, low_at))[1], (array_agg(high_at ORDER BY high DESC NULLS LAST, high_at))[1],
    sum(suspect), sum(failed), (array_agg(marked_at ORDER BY severity DESC NULLS LAST, marked_at))[1], max(severity)
FROM readings_hourly"""
_DAYS_OF_SPAN = text(f"{_DAYS} WHERE {_SPAN.format(time='hour')} GROUP BY 1, 3, 2 ORDER BY 1, 3, 2")
_DAYS_OF_HOURS = text(f"""{_DAYS}
JOIN (SELECT DISTINCT id, date_trunc('day', at, 'UTC') AS day FROM {_HOURS}) AS wanted
    ON device_id = wanted.id AND hour >= wanted.day AND hour < wanted.day + interval '24 hours'
GROUP BY 1, 3, 2 ORDER BY 1, 3, 2
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step did.

    Attributes:
        readings: how many it read.
        hours: how many hours of devices and quantities it wrote.
        through: how far the roll-up is now; of a step over marked hours how far it was.
        fits: of as many hours or marks as were asked for, how many a step can take on here.
    """

    readings: int
    hours: int
    through: datetime | None
    fits: int


def read_through(connection: Connection) -> datetime | None:
    """Every hour before this one is rolled up, except those that are marked; None: none is."""
    through: datetime | None = connection.execute(_THROUGH).one().through
    return through


def count_pending(connection: Connection, at_most: int) -> int:
    """How many marks there are, counting no further than ``at_most``."""
    return int(connection.execute(_PENDING, {"most": at_most}).scalar_one())


def mark_incoming(connection: Connection) -> None:
    """Mark the hours of old readings among those in the temporary table ``incoming`` (``write_readings``)."""
    connection.execute(_MARK_INCOMING)


def mark_readings(connection: Connection, device_ids: Sequence[int], times: Sequence[datetime]) -> None:
    """Mark the hours of stored readings that were changed, as far as they are old; pair by pair."""
    if device_ids:
        connection.execute(_MARK_THESE, {"ids": list(device_ids), "times": list(times)})


def hold_steps(connection: Connection) -> None:
    """Wait for the step that is under way, about a second, and keep further ones away until this transaction ends."""
    connection.execute(_HOLD, {"key": ROLLUP_LOCK})


def mark_hours(connection: Connection, device_id: int, first: datetime, last: datetime) -> None:
    """Mark every hour of a device in [first, last] that is rolled up, as after a correction.

    Args:
        connection: in the transaction that changes them; one that has ``hold_steps`` and then the device's lock
            (``context.lock_devices``) makes live readings wait for no step.
        device_id: ``devices.id``.
        first: aware.
        last: aware, inclusive.
    """
    hold_steps(connection)
    connection.execute(_MARK_RANGE, {"id": device_id, "first": first, "last": last})


def all_devices(connection: Connection) -> list[int]:
    """The ids of all devices, decommissioned ones too."""
    return list(connection.execute(_DEVICES).scalars())


def horizon(connection: Connection) -> datetime:
    """How far the roll-up may be by now."""
    now: datetime = connection.execute(_THROUGH).one().now
    return floor_hour(now - LAG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a step takes on: [since, until), and of as many hours as were asked for, how many fit (``MOST_READINGS``)."""

    since: datetime
    until: datetime
    fits: int


def next_window(connection: Connection, device_ids: Sequence[int], since: datetime | None, hours: int) -> Window | None:
    """The next hours to roll up: at most so many, of one month, none of a month that has no partition; None: it is up to date.

    Args:
        connection: an open connection.
        device_ids: of these devices.
        since: where to begin; None for the beginning of the record.
        hours: most hours; fewer where there are many readings.
    """
    end = horizon(connection)
    for month in existing_months(connection):
        begin = max(month, since or month)
        last = min(next_month(month), end)
        if begin < last:
            fits = _fitting(connection, device_ids, begin, min(last, begin + hours * HOUR), hours)
            return Window(since=begin, until=min(last, begin + fits * HOUR), fits=fits)
    return None


def _fitting(connection: Connection, device_ids: Sequence[int], since: datetime, until: datetime, asked: int) -> int:
    """How many hours from ``since`` hold no more than ``MOST_READINGS``, about: a year of few may be followed by one of many."""
    values = {"ids": list(device_ids), "since": since, "most": MOST_READINGS + 1}
    hours = min(asked, -((since - until) // HOUR))
    while hours > 1 and connection.execute(_COUNT, {**values, "until": until}).scalar_one() > MOST_READINGS:
        asked = hours = max(1, hours // 4)
        until = since + hours * HOUR
    return asked


def advance(connection: Connection, hours: int) -> Step | None:
    """Roll up the next hours of all devices and move ``through``; None: it is as far as it may be.

    Args:
        connection: a connection in a transaction that is committed afterwards.
        hours: most hours.
    """
    connection.execute(_LOCK, {"key": ROLLUP_LOCK})
    through, devices = read_through(connection), all_devices(connection)
    window = next_window(connection, devices, through, hours)
    if window is None:
        # Months without a partition hold no reading: they count as rolled up.
        end = horizon(connection)
        if through is None or through < end:
            connection.execute(_ADVANCE, {"through": end})
        return None
    step = roll_up(connection, devices, window.since, window.until)
    connection.execute(_ADVANCE, {"through": window.until})
    return replace(step, through=window.until, fits=window.fits)


def roll_up(connection: Connection, device_ids: Sequence[int], since: datetime, until: datetime) -> Step:
    """Roll up these devices' whole hours [since, until) anew; marks and ``through`` stay as they are."""
    connection.execute(_LOCK, {"key": ROLLUP_LOCK})
    readings = written = 0
    for first in range(0, len(device_ids), DEVICES_AT_ONCE):
        some = list(device_ids[first : first + DEVICES_AT_ONCE])
        stretch = read_devices(connection, some, since, until)
        hours = hours_of(stretch)
        connection.execute(_DELETE_SPAN, {"ids": some, "since": since, "until": until})
        _insert(connection, hours)
        days = {"ids": some, "since": _floor_day(since), "until": _floor_day(until - MOMENT) + 24 * HOUR}
        connection.execute(_DELETE_DAYS_OF_SPAN, days)
        connection.execute(_DAYS_OF_SPAN, days)
        readings, written = readings + len(stretch.time_us), written + len(hours["n"])
    return Step(readings=readings, hours=written, through=read_through(connection), fits=(until - since) // HOUR)


def roll_up_marked(connection: Connection, most: int) -> Step | None:
    """Take at most so many marks and roll up their hours anew; None: there are none.

    Args:
        connection: a connection in a transaction that is committed afterwards.
        most: marks.
    """
    connection.execute(_LOCK, {"key": ROLLUP_LOCK})
    dropped = connection.execute(_DROP_EARLY, {"most": most}).rowcount
    device_id, hour_us = _take(connection, most)
    through = read_through(connection)
    if not len(device_id):
        return Step(readings=0, hours=0, through=through, fits=most) if dropped else None
    values = {"ids": device_id.tolist(), "hours": timestamps(hour_us)}
    connection.execute(_DELETE_HOURS, values)
    readings = written = 0
    for first in range(0, len(device_id), HOURS_AT_ONCE):
        some = slice(first, first + HOURS_AT_ONCE)
        stretch = read_hours(connection, device_id[some], hour_us[some])
        hours = hours_of(stretch)
        _insert(connection, hours)
        readings, written = readings + len(stretch.time_us), written + len(hours["n"])
    connection.execute(_DELETE_DAYS_OF_HOURS, values)
    connection.execute(_DAYS_OF_HOURS, values)
    return Step(readings=readings, hours=written, through=through, fits=most)


def mark_differences(
    connection: Connection, device_ids: Sequence[int], since: datetime, until: datetime
) -> tuple[int, int]:
    """Mark these devices' whole hours [since, until) of which the roll-up says another thing than the readings do.

    It takes no lock: an hour that is changed meanwhile may be marked for nothing, which costs as much as one late reading.

    Returns:
        How many readings it read, and how many hours it marked.
    """
    readings = marked = 0
    for first in range(0, len(device_ids), DEVICES_AT_ONCE):
        some = list(device_ids[first : first + DEVICES_AT_ONCE])
        stretch = read_devices(connection, some, since, until)
        _stage(connection, hours_of(stretch))
        marked += connection.execute(_MARK_DIFFERENT, {"ids": some, "since": since, "until": until}).rowcount
        readings += len(stretch.time_us)
    return readings, marked


def _take(connection: Connection, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = connection.exec_driver_sql(_TAKE, (most,)).all()
    hours = np.array([int(row.hour.astimezone(UTC).timestamp()) for row in rows], dtype=np.int64) * 1_000_000
    return np.array([row.device_id for row in rows], dtype=np.int64), hours


def _insert(connection: Connection, hours: Hours) -> None:
    if len(hours["n"]):
        _stage(connection, hours)
        connection.execute(_INSERT)


def _stage(connection: Connection, hours: Hours) -> None:
    """Bring hours into the temporary table ``rolled``."""
    connection.execute(_STAGE)
    connection.execute(text("TRUNCATE rolled"))
    if len(hours["n"]):
        copy_array_in(connection, _COPY, hours, HOUR_FIELDS)


def _floor_day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
