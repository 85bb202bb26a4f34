"""Forecasts as rows: what was issued, each station's calibration state, and what the web reads of both.

Issuing (``tasks/forecast.py``) reads and writes through ``forecast_windows.py`` and the functions here that say so; pages and API
only read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, text

_NEWEST = text("""
SELECT issued_at, made_at, model_id, method, horizon_s, expected_m, low_m, high_m, baseline_m FROM forecasts
WHERE device_id = :device_id
  AND issued_at = (SELECT issued_at FROM forecasts WHERE device_id = :device_id ORDER BY issued_at DESC LIMIT 1)
ORDER BY horizon_s
""")
_RECORD = text("""
SELECT track.model_id, models.sha256, track.through, track.updated_at, track.record
FROM forecast_tracks track LEFT JOIN models ON models.id = track.model_id
WHERE track.device_id = :device_id AND octet_length(track.state) > 0
""")
_SHA256 = text("SELECT sha256 FROM models WHERE id = :model_id")
_TRACKS = text("""
SELECT device_id, model_id, through, state FROM forecast_tracks WHERE device_id = ANY(:device_ids) ORDER BY device_id
FOR UPDATE
""")
_WRITE_TRACK = text("""
INSERT INTO forecast_tracks (device_id, model_id, through, state, record)
VALUES (:device_id, :model_id, :through, :state, CAST(:record AS jsonb))
ON CONFLICT (device_id) DO UPDATE SET model_id = EXCLUDED.model_id, through = EXCLUDED.through, state = EXCLUDED.state,
    record = EXCLUDED.record, updated_at = now()
""")
_SEEN = text("""
INSERT INTO forecast_tracks (device_id, model_id, through, state, record) VALUES (:device_id, 0, :through, '', '{}')
ON CONFLICT (device_id) DO UPDATE SET through = EXCLUDED.through WHERE forecast_tracks.through < EXCLUDED.through
""")
_WRITE = text("""
INSERT INTO forecasts (device_id, issued_at, horizon_s, model_id, method, expected_m, low_m, high_m, baseline_m)
VALUES (:device_id, :issued_at, :horizon_s, :model_id, :method, :expected_m, :low_m, :high_m, :baseline_m)
ON CONFLICT (device_id, issued_at, horizon_s) DO NOTHING
""")
_REPLACE = text("""
DELETE FROM forecasts
USING unnest(CAST(:device_ids AS bigint[]), CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]))
      AS span(device_id, since, until)
WHERE forecasts.device_id = span.device_id AND issued_at > span.since AND issued_at < span.until
""")
_DELETE = text("""
DELETE FROM forecasts WHERE (device_id, issued_at, horizon_s) IN (
  SELECT device_id, issued_at, horizon_s FROM forecasts WHERE issued_at < :before AND made_at < :before
  ORDER BY issued_at LIMIT :most)
""")
_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
FORECAST_LOCK = 0x5347_0003
"""("SG", 3): the workers' one key for issuing forecasts, among Postgres's advisory locks."""


EXPIRES_AFTER_S = 7_200.0
"""A forecast whose newest reading is older than this is shown as out of date: its shorter horizons have passed, and its longer
ones rest on the water of two hours ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonForecast:
    """What is expected so long after the issue; metres. ``method`` is what is shown: ``model`` or ``persistence``."""

    horizon_s: int
    expected_m: float
    low_m: float
    high_m: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedForecast:
    """One issue of one station.

    Attributes:
        issued_at: time of the newest reading it rests on.
        made_at: when it was computed; None before it is written.
        baseline_m: the level at issue, which is what persistence expects for every horizon.
        model_id: the model that made it.
        horizons: shortest first.
    """

    issued_at: datetime
    baseline_m: float
    model_id: int
    horizons: tuple[HorizonForecast, ...]
    made_at: datetime | None = None

    def age_s(self, now: datetime) -> float:
        """How old its newest reading is."""
        return (now - self.issued_at).total_seconds()

    def is_expired(self, now: datetime) -> bool:
        """Whether it is to be shown as out of date."""
        return self.age_s(now) > EXPIRES_AFTER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRecord:
    """How good a station's forecasts have been.

    Attributes:
        model_id: the model that its track is of.
        model_sha256: that model's identity.
        through: newest reading that the track has seen.
        updated_at: when it was last written.
        record: per horizon errors beside the baselines' and coverage: ``streamgauge.scoring.forecast.Track.record``.
    """

    model_id: int
    model_sha256: str | None
    through: datetime
    updated_at: datetime
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrack:
    """A station's calibration state as it is stored; an empty one stands for none."""

    device_id: int
    model_id: int
    through: datetime
    state: bytes


def newest_forecast(connection: Connection, device_id: int) -> IssuedForecast | None:
    """A station's newest issue; None if there was none yet."""
    rows = connection.execute(_NEWEST, {"device_id": device_id}).all()
    if not rows:
        return None
    first = rows[0]
    horizons = tuple(
        HorizonForecast(
            horizon_s=row.horizon_s,
            expected_m=row.expected_m,
            low_m=row.low_m,
            high_m=row.high_m,
            method=row.method,
        )
        for row in rows
    )
    return IssuedForecast(
        issued_at=first.issued_at,
        made_at=first.made_at,
        baseline_m=first.baseline_m,
        model_id=first.model_id,
        horizons=horizons,
    )


def forecast_record(connection: Connection, device_id: int) -> ForecastRecord | None:
    """How good a station's forecasts have been; None before its first issue."""
    row = connection.execute(_RECORD, {"device_id": device_id}).one_or_none()
    if row is None:
        return None
    return ForecastRecord(
        model_id=row.model_id,
        model_sha256=row.sha256,
        through=row.through,
        updated_at=row.updated_at,
        record=row.record,
    )


def model_sha256(connection: Connection, model_id: int) -> str | None:
    """A model's identity by its number."""
    found = connection.execute(_SHA256, {"model_id": model_id}).scalar()
    return None if found is None else str(found)


def lock_forecasts(connection: Connection) -> bool:
    """Take the one lock for issuing forecasts until the transaction ends; False if another worker has it."""
    return bool(connection.execute(_LOCK, {"key": FORECAST_LOCK}).scalar_one())


def read_tracks(connection: Connection, device_ids: Sequence[int]) -> dict[int, StoredTrack]:
    """The stored tracks of these stations, locked until the transaction ends. For issuing."""
    rows = connection.execute(_TRACKS, {"device_ids": list(device_ids)})
    return {
        row.device_id: StoredTrack(
            device_id=row.device_id, model_id=row.model_id, through=row.through, state=bytes(row.state)
        )
        for row in rows
    }


def write_tracks(connection: Connection, tracks: Sequence[tuple[StoredTrack, Mapping[str, Any]]]) -> None:
    """Write tracks with their records in place of what is stored. For issuing."""
    if tracks:
        connection.execute(
            _WRITE_TRACK,
            [
                {
                    "device_id": track.device_id,
                    "model_id": track.model_id,
                    "through": track.through,
                    "state": track.state,
                    "record": orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
                }
                for track, record in tracks
            ],
        )


def mark_seen(connection: Connection, seen: Mapping[int, datetime]) -> None:
    """Note that readings up to these times gave nothing to forecast from, so that they are not looked at again. For issuing.

    A station that has no track yet gets one with an empty state, which is none.
    """
    if seen:
        connection.execute(_SEEN, [{"device_id": device_id, "through": moment} for device_id, moment in seen.items()])


def write_forecasts(connection: Connection, issued: Mapping[int, IssuedForecast]) -> None:
    """Write one issue per station (by device id); an issue for an instant that has one already changes nothing. For issuing."""
    rows = [
        {
            "device_id": device_id,
            "issued_at": issue.issued_at,
            "model_id": issue.model_id,
            "baseline_m": issue.baseline_m,
            "horizon_s": horizon.horizon_s,
            "method": horizon.method,
            "expected_m": horizon.expected_m,
            "low_m": horizon.low_m,
            "high_m": horizon.high_m,
        }
        for device_id, issue in issued.items()
        for horizon in issue.horizons
    ]
    if rows:
        connection.execute(_WRITE, rows)


def replace_forecasts(connection: Connection, since: Mapping[int, datetime], until: Mapping[int, datetime]) -> None:
    """Delete, by device id, the forecasts between two that stay. For issuing."""
    if since:
        numbers = sorted(since)
        moments = {"since": [since[number] for number in numbers], "until": [until[number] for number in numbers]}
        connection.execute(_REPLACE, {"device_ids": numbers, **moments})


def delete_old_forecasts(connection: Connection, now: datetime, keep: timedelta, most: int = 20_000) -> int:
    """Delete at most so many rows that were made, and whose readings were taken, longer ago than ``keep``; returns how many.

    Forecasts from replayed records, whose readings may be years old, stay as long as any other.
    """
    return connection.execute(_DELETE, {"before": now - keep, "most": most}).rowcount
