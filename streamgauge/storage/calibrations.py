"""Calibrations as rows: per station and model, valid from ``since`` on. They are added, never changed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import to_microseconds
from streamgauge.scoring.calibration import Calibration, InvalidCalibration
from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_rows

log = logging.getLogger("streamgauge.calibrations")

DAILY = timedelta(hours=23)
"""A station gets a new calibration when its newest is older than this."""

_READ = text("""
SELECT wanted.device_id, wanted.model_id, found.since, found.body
FROM unnest(CAST(:devices AS bigint[]), CAST(:models AS integer[])) AS wanted(device_id, model_id)
CROSS JOIN LATERAL (
  (SELECT since, body FROM calibrations c WHERE c.device_id = wanted.device_id AND c.model_id = wanted.model_id
     AND c.since > :first ORDER BY since)
  UNION ALL
  (SELECT since, body FROM calibrations c WHERE c.device_id = wanted.device_id AND c.model_id = wanted.model_id
     AND c.since <= :first ORDER BY since DESC LIMIT 1)
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
    """One row: valid for readings of a station, judged by a model, from ``since`` (aware) on."""

    device_id: int
    model_id: int
    since: datetime
    calibration: Calibration


def read_calibrations(
    connection: Connection, pairs: Sequence[tuple[int, int]], first: datetime
) -> list[StoredCalibration]:
    """The calibrations that are valid at ``first`` or become so later. One that cannot be read is told in the log and left out.

    Args:
        connection: an open connection.
        pairs: device and model ids.
        first: aware.
    """
    if not pairs:
        return []
    values = {"devices": [pair[0] for pair in pairs], "models": [pair[1] for pair in pairs], "first": first}
    found = []
    for row in connection.execute(_READ, values):
        try:
            calibration = Calibration.from_json(row.body)
        except InvalidCalibration as error:
            told = {"device_id": row.device_id, "model_id": row.model_id, "since": row.since, "error": str(error)}
            log.warning("calibration not used", extra=told)
            continue
        found.append(StoredCalibration(row.device_id, row.model_id, row.since, calibration))
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


def keyed(rows: Iterable[StoredCalibration]) -> list[tuple[int, int, Calibration]]:
    """As ``streamgauge.scoring.calibration.Calibrations`` takes them; the rows are of one model per station."""
    return [(row.device_id, to_microseconds(row.since), row.calibration) for row in rows]
