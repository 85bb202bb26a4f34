"""Drift reports: what the assessment reads, its rows, and what pages and metrics read of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import to_microseconds
from streamgauge.scoring.drift import WeekRows
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows

WEEK = timedelta(weeks=1)
ROWS_PER_DAY_MAX = 3_000
"""Of a station that reports more often than every half minute, so many readings of each day's beginning are looked at."""
JUDGED_HORIZON_S = 3_600
"""The horizon whose errors are compared from week to week."""
_OUTCOME_WITHIN_S = 900
"""A forecast's outcome is the first sound reading within so long after the instant that it was for."""
_FRESH_WEEKS = 3
"""A report older than so many weeks no longer counts as a station's state."""

_IS_REAL = "COALESCE(extra->>'simulated', '0') IN ('0', '0.0')"
_FLAG = "COALESCE((flags->>'level_m')::smallint, 9::smallint)"
_ROWS = f"""
SELECT near.time, near.level_m, near.flag, near.expected_m, near.score
FROM generate_series(%s::timestamptz, %s::timestamptz - interval '1 day', interval '1 day') AS day
CROSS JOIN LATERAL (
  SELECT time, level_m, {_FLAG} AS flag, COALESCE(expected_m, 'NaN') AS expected_m, COALESCE(score, 'NaN') AS score
  FROM readings WHERE device_id = %s AND time >= day AND time < day + interval '1 day'
    AND level_m IS NOT NULL AND {_IS_REAL}
  ORDER BY time LIMIT {ROWS_PER_DAY_MAX}) AS near
"""
_ROW_FIELDS = {"time": ">i8", "level_m": ">f8", "flag": ">i2", "expected_m": ">f8", "score": ">f8"}
_OUTCOMES = f"""
SELECT issue.issued_at, abs(issue.expected_m - outcome.level_m), abs(issue.baseline_m - outcome.level_m)
FROM (
  SELECT DISTINCT ON (date_bin('15 minutes', issued_at, '2000-01-01+00')) issued_at, expected_m, baseline_m FROM forecasts
  WHERE device_id = %s AND horizon_s = {JUDGED_HORIZON_S} AND issued_at >= %s AND issued_at < %s
  ORDER BY date_bin('15 minutes', issued_at, '2000-01-01+00'), issued_at) AS issue
CROSS JOIN LATERAL (
  SELECT level_m FROM readings WHERE device_id = %s AND time >= issue.issued_at + interval '{JUDGED_HORIZON_S} s'
    AND time <= issue.issued_at + interval '{JUDGED_HORIZON_S + _OUTCOME_WITHIN_S} s'
    AND level_m IS NOT NULL AND {_FLAG} <= 2 AND {_IS_REAL}
  ORDER BY time LIMIT 1) AS outcome
"""
_OUTCOME_FIELDS = {"issued_at": ">i8", "error_m": ">f8", "persistence_m": ">f8"}

_WITHOUT = text("""
SELECT id, name FROM devices WHERE decommissioned_at IS NULL AND registered_at < :until
  AND NOT EXISTS (SELECT 1 FROM drift_reports WHERE device_id = devices.id AND week = :week)
ORDER BY id LIMIT :limit
""")
_MODEL = text("""
SELECT model_id FROM readings WHERE device_id = :device_id AND time < :until AND model_id IS NOT NULL
ORDER BY time DESC LIMIT 1
""")
_WRITE = text("""
INSERT INTO drift_reports (device_id, week, model_id, verdict, figures)
VALUES (:device_id, :week, :model_id, :verdict, CAST(:figures AS jsonb))
ON CONFLICT (device_id, week) DO UPDATE SET model_id = EXCLUDED.model_id, verdict = EXCLUDED.verdict,
    figures = EXCLUDED.figures, made_at = now()
""")
_NEWEST = """
SELECT devices.name AS device, devices.display_name, report.week, report.verdict, report.figures, report.model_id, report.made_at
FROM devices CROSS JOIN LATERAL (
  SELECT * FROM drift_reports WHERE device_id = devices.id ORDER BY week DESC LIMIT 1) AS report
WHERE devices.decommissioned_at IS NULL
"""
_OVERVIEW = text(f"{_NEWEST} ORDER BY (report.verdict = 'changed') DESC, devices.name")
_HISTORY = text("""
SELECT devices.name AS device, devices.display_name, report.week, report.verdict, report.figures, report.model_id, report.made_at
FROM drift_reports report JOIN devices ON devices.id = report.device_id
WHERE report.device_id = :device_id ORDER BY report.week DESC LIMIT :weeks
""")
_CHANGED = text(f"SELECT count(*) FROM ({_NEWEST}) AS newest WHERE verdict = 'changed' AND week >= :since")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One station's report on one week.

    Attributes:
        device: the wire's name.
        display_name: for people, where there is one.
        week: its first instant, a Monday, UTC.
        verdict: ``steady``, ``changed`` or ``unknown``.
        figures: readings, reference_weeks, reasons, measures: see ``streamgauge.scoring.drift.Drift.figures``.
        model_id: the model that scored the week; 0 for none.
        made_at: when it was written.
    """

    device: str
    display_name: str | None
    week: datetime
    verdict: str
    figures: Mapping[str, Any]
    model_id: int
    made_at: datetime


def drift_overview(connection: Connection) -> list[DriftRow]:
    """The newest report of every device that has one and is in use, changed ones first."""
    return [DriftRow(**row) for row in connection.execute(_OVERVIEW).mappings()]


def drift_history(connection: Connection, device_id: int, weeks: int = 26) -> list[DriftRow]:
    """A station's reports, newest first."""
    return [
        DriftRow(**row) for row in connection.execute(_HISTORY, {"device_id": device_id, "weeks": weeks}).mappings()
    ]


def count_changed(connection: Connection, now: datetime) -> int:
    """How many stations' newest report, if it is of the last weeks, says changed."""
    return int(connection.execute(_CHANGED, {"since": now - _FRESH_WEEKS * WEEK}).scalar_one())


def devices_without_report(connection: Connection, week: datetime, limit: int) -> list[tuple[int, str]]:
    """Number and name of devices in use that have no report on a week; those registered after it are not asked for one."""
    rows = connection.execute(_WITHOUT, {"week": week, "until": week + WEEK, "limit": limit})
    return [(row.id, row.name) for row in rows]


def write_drift(
    connection: Connection, device_id: int, week: datetime, verdict: str, figures: Mapping[str, Any]
) -> None:
    """Write a report, in place of an earlier one on the same week."""
    model_id = connection.execute(_MODEL, {"device_id": device_id, "until": week + WEEK}).scalar()
    values = {
        "device_id": device_id,
        "week": week,
        "model_id": model_id or 0,
        "verdict": verdict,
        "figures": orjson.dumps(figures).decode(),
    }
    connection.execute(_WRITE, values)


def read_weeks(connection: Connection, device_id: int, first: datetime, weeks: int) -> list[WeekRows]:
    """A station's rows of some weeks that follow each other, and how its forecasts of those weeks turned out.

    Args:
        connection: a connection in a transaction.
        device_id: the station.
        first: the first week's first instant.
        weeks: how many.
    """
    until = first + weeks * WEEK
    rows = copy_rows(connection, _ROWS, (first, until, device_id), _ROW_FIELDS)
    outcomes = copy_rows(connection, _OUTCOMES, (device_id, first, until, device_id), _OUTCOME_FIELDS)
    edges = [to_microseconds(first + number * WEEK) - POSTGRES_EPOCH_US for number in range(weeks + 1)]
    in_week = _slices(rows["time"], edges)
    of_week = _slices(outcomes["issued_at"], edges)
    return [
        WeekRows(
            time_us=rows["time"][part].astype(np.int64) + POSTGRES_EPOCH_US,
            level_m=rows["level_m"][part].astype(np.float64),
            flag=rows["flag"][part].astype(np.int16),
            expected_m=rows["expected_m"][part].astype(np.float64),
            score=rows["score"][part].astype(np.float64),
            forecast_error_m=outcomes["error_m"][known].astype(np.float64),
            persistence_error_m=outcomes["persistence_m"][known].astype(np.float64),
        )
        for part, known in zip(in_week, of_week, strict=True)
    ]


def _slices(moments: NDArray[Any], edges: list[int]) -> list[slice]:
    places = np.searchsorted(moments, edges).tolist()
    return [slice(first, last) for first, last in pairwise(places)]
