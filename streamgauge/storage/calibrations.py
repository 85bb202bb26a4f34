"""Calibrations as rows: per station and model, valid from ``since`` on. They are added, never changed."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, text

from streamgauge.reading import to_microseconds
from streamgauge.scoring.calibration import Calibration, InvalidCalibration

log = logging.getLogger("streamgauge.calibrations")

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
SELECT id FROM devices WHERE decommissioned_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM calibrations WHERE device_id = devices.id AND since > :newer_than
      AND model_id = COALESCE(CAST(CAST(:site_models AS jsonb)->>devices.id::text AS integer), :general))
ORDER BY id LIMIT :limit
""")


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
    connection: Connection, general_model: int, site_models: dict[int, int], newer_than: datetime, limit: int
) -> list[int]:
    """Stations in use whose model has no calibration since after ``newer_than``, by id.

    Args:
        connection: an open connection.
        general_model: the model of stations that are not in ``site_models``.
        site_models: model ids by device id.
        newer_than: aware.
        limit: at most so many.
    """
    site = orjson.dumps({str(device): model for device, model in site_models.items()}).decode()
    values = {"general": general_model, "site_models": site, "newer_than": newer_than, "limit": limit}
    return [row.id for row in connection.execute(_DUE, values)]


def keyed(rows: Iterable[StoredCalibration]) -> list[tuple[int, int, Calibration]]:
    """As ``streamgauge.scoring.calibration.Calibrations`` takes them; the rows are of one model per station."""
    return [(row.device_id, to_microseconds(row.since), row.calibration) for row in rows]
