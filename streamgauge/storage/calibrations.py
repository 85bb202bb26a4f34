"""Calibrations as rows: per station and model, valid from ``since`` on. They are added, never changed."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, TextClause, text

from streamgauge.reading import to_microseconds
from streamgauge.scoring.calibration import Calibration, Calibrations, InvalidCalibration
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows

log = logging.getLogger("streamgauge.calibrations")

DAILY = timedelta(hours=23)
"""A station gets a new calibration when its newest is older than this."""

_READ = text("""
SELECT wanted.device_id, wanted.model_id, found.made_for, found.since, found.body
FROM unnest(CAST(:devices AS bigint[]), CAST(:models AS integer[]), CAST(:firsts AS timestamptz[]),
            CAST(:lasts AS timestamptz[])) AS wanted(device_id, model_id, first, last)
CROSS JOIN LATERAL (
  (SELECT model_id AS made_for, since, body FROM calibrations c
   WHERE c.device_id = wanted.device_id AND c.model_id = wanted.model_id AND c.since > wanted.first AND c.since <= wanted.last)
  UNION ALL
  (SELECT model_id, since, body FROM calibrations c
   WHERE c.device_id = wanted.device_id AND c.model_id = wanted.model_id AND c.since <= wanted.first
   ORDER BY since DESC LIMIT 1)
) AS found
""")
# What the station's other models have, until the wanted one has its first: asked only for the few that have none at `first`.
_READ_LENT = text("""
SELECT wanted.device_id, wanted.model_id, found.made_for, found.since, found.body
FROM unnest(CAST(:devices AS bigint[]), CAST(:models AS integer[]), CAST(:firsts AS timestamptz[]),
            CAST(:lasts AS timestamptz[])) AS wanted(device_id, model_id, first, last)
CROSS JOIN LATERAL (
  (SELECT DISTINCT ON (since) model_id AS made_for, since, body FROM calibrations c
   WHERE c.device_id = wanted.device_id AND c.model_id NOT IN (0, wanted.model_id)
     AND c.since > wanted.first AND c.since <= wanted.last
   ORDER BY since, model_id DESC)
  UNION ALL
  (SELECT model_id, since, body FROM calibrations c
   WHERE c.device_id = wanted.device_id AND c.model_id NOT IN (0, wanted.model_id) AND c.since <= wanted.first
   ORDER BY since DESC, model_id DESC LIMIT 1)
) AS found
""")
_WRITE = text("""
INSERT INTO calibrations (device_id, model_id, since, body, rows)
VALUES (:device_id, :model_id, :since, CAST(:body AS jsonb), :rows) ON CONFLICT DO NOTHING
""")
_DUE = text("""
SELECT id, name FROM devices WHERE decommissioned_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM calibrations WHERE device_id = devices.id AND since > :newer_than
      AND model_id = COALESCE(CAST(CAST(:site_models AS jsonb)->>devices.id::text AS integer), :general))
  AND EXISTS (SELECT 1 FROM readings WHERE device_id = devices.id AND time > :newer_than AND time <= :now)
  AND id > :after
ORDER BY id LIMIT :limit
""")
_LEVELS = """
SELECT time, level_m FROM readings
WHERE device_id = %s AND time >= %s AND time < %s AND level_m IS NOT NULL
  AND COALESCE(extra->>'simulated', '0') IN ('0', '0.0')
ORDER BY time DESC LIMIT %s
"""
_LEVEL_FIELDS = {"time": ">i8", "level_m": ">f8"}


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """One row: valid for readings of a station, judged by a model, from ``since`` (aware) on.

    Attributes:
        device_id: the station.
        model_id: the model that judges.
        since: from when on.
        calibration: what is ordinary.
        made_for: the model that it was made for, where that is another one (``read_calibrations``); else ``None``.
    """

    device_id: int
    model_id: int
    since: datetime
    calibration: Calibration
    made_for: int | None = None


Key = tuple[int, int]
"""Device and model id."""
Span = tuple[datetime, datetime | None]
"""From when to when (aware, both included) calibrations are wanted; ``None``: also all that become valid later."""


def read_calibrations(connection: Connection, spans: Mapping[Key, Span]) -> list[StoredCalibration]:
    """The calibrations that are valid at the beginning of each span or become so within it.

    Until a model has its own first one of a station, the station's other models lend theirs, the newest each time: what a
    station's water does, and how its sensor trembles, a new model does not change. Of equally new ones the younger model's
    counts. As rows are only added, and for times to come, a reading finds the same ones whenever it is judged.

    One that cannot be read is told in the log and left out.

    Args:
        connection: an open connection.
        spans: by device and model.
    """
    own = _read(connection, _READ, spans)
    first_own: dict[Key, datetime] = {}
    for row in own:
        key = (row.device_id, row.model_id)
        first_own[key] = min(row.since, first_own.get(key, row.since))
    without = {key: span for key, span in spans.items() if key not in first_own or first_own[key] > span[0]}
    lent = _read(connection, _READ_LENT, without)
    return own + [row for row in lent if row.since < first_own.get((row.device_id, row.model_id), _NEVER)]


_NEVER = datetime.max.replace(tzinfo=UTC)


def _read(connection: Connection, query: TextClause, spans: Mapping[Key, Span]) -> list[StoredCalibration]:
    if not spans:
        return []
    values = {
        "devices": [device_id for device_id, _ in spans],
        "models": [model_id for _, model_id in spans],
        "firsts": [first for first, _ in spans.values()],
        "lasts": ["infinity" if last is None else last.isoformat() for _, last in spans.values()],
    }
    found = []
    for row in connection.execute(query, values):
        try:
            calibration = Calibration.from_json(row.body)
        except InvalidCalibration as error:
            told = {"device_id": row.device_id, "model_id": row.made_for, "since": row.since, "error": str(error)}
            log.warning("calibration not used", extra=told)
            continue
        made_for = None if row.made_for == row.model_id else row.made_for
        found.append(StoredCalibration(row.device_id, row.model_id, row.since, calibration, made_for))
    return found


def write_calibrations(connection: Connection, rows: Iterable[StoredCalibration]) -> None:
    """Add calibrations; one that is there already (same station, model and time) stays as it is."""
    values = [
        {
            "device_id": row.device_id,
            "model_id": row.model_id,
            "since": row.since,
            "body": orjson.dumps(row.calibration.to_json()).decode(),
            "rows": row.calibration.rows,
        }
        for row in rows
    ]
    if values:
        connection.execute(_WRITE, values)


def due_devices(
    connection: Connection, general_model: int, site_models: Mapping[int, int], now: datetime, after: int, limit: int
) -> list[tuple[int, str]]:
    """Id and name of the stations that reported in the last ``DAILY`` and whose model has no calibration from that time, by id.

    Args:
        connection: an open connection.
        general_model: the model of stations that are not in ``site_models``.
        site_models: model ids by device id.
        now: aware.
        after: only ids above it.
        limit: at most so many.
    """
    site = orjson.dumps({str(device): model for device, model in site_models.items()}).decode()
    values = {"general": general_model, "site_models": site, "newer_than": now - DAILY, "now": now}
    rows = connection.execute(_DUE, {**values, "after": after, "limit": limit})
    return [(row.id, row.name) for row in rows]


def read_levels(
    connection: Connection, device_id: int, first: datetime, until: datetime, rows_max: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times (microseconds since 1970) and levels (metres) of a station's newest readings in [first, until), oldest first.

    Readings that were made by hand are left out.
    """
    rows = copy_rows(connection, _LEVELS, (device_id, first, until, rows_max), _LEVEL_FIELDS)[::-1]
    return rows["time"].astype(np.int64) + POSTGRES_EPOCH_US, rows["level_m"].astype(np.float64)


def by_model(rows: Iterable[StoredCalibration]) -> dict[int, Calibrations]:
    """As judging takes them, by the model that judges."""
    found: dict[int, list[tuple[int, int, Calibration]]] = {}
    for row in rows:
        valid = (row.device_id, to_microseconds(row.since), row.calibration)
        found.setdefault(row.model_id, []).append(valid)
    return {model_id: Calibrations(valid) for model_id, valid in found.items()}
