"""What was learnt of stations: rows of ``calibrations`` with the model 0, as they hold whichever model judges. Never changed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, text

from streamgauge import metrics
from streamgauge.reading import to_microseconds
from streamgauge.scoring.learnt import Learnt, LearntByTime, read_learnt_body

log = logging.getLogger("streamgauge.learnt")

NO_MODEL = 0
"""In place of a model's id: the row is about the station."""

DAILY = timedelta(hours=23)
"""A station is looked at again when its newest row is older than this."""

_READ = text("""
SELECT wanted.device_id, found.since, found.body
FROM unnest(CAST(:devices AS bigint[]), CAST(:firsts AS timestamptz[]), CAST(:lasts AS timestamptz[]))
     AS wanted(device_id, first, last)
CROSS JOIN LATERAL (
  (SELECT since, body FROM calibrations c WHERE c.device_id = wanted.device_id AND c.model_id = 0
     AND c.since > wanted.first AND c.since <= wanted.last)
  UNION ALL
  (SELECT since, body FROM calibrations c WHERE c.device_id = wanted.device_id AND c.model_id = 0
     AND c.since <= wanted.first ORDER BY since DESC LIMIT 1)
) AS found
""")
_WRITE = text("""
INSERT INTO calibrations (device_id, model_id, since, body, rows)
VALUES (:device_id, 0, :since, CAST(:body AS jsonb), :rows) ON CONFLICT DO NOTHING
""")
_DUE = text("""
SELECT id, name FROM devices WHERE decommissioned_at IS NULL AND id > :after
  AND NOT EXISTS (SELECT 1 FROM calibrations WHERE device_id = devices.id AND model_id = 0 AND since > :newer_than)
  AND EXISTS (SELECT 1 FROM readings WHERE device_id = devices.id AND time > :newer_than AND time <= :now)
ORDER BY id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class StoredLearnt:
    """One row: valid for readings of a station from ``since`` (aware) on.

    Attributes:
        device_id: the station.
        since: from when on.
        learnt: what was learnt; parts that could not be read are left out.
        quality_at: when its limits were learnt; ``None``: not known.
    """

    device_id: int
    since: datetime
    learnt: Learnt
    quality_at: datetime | None = None


def read_learnt(
    connection: Connection, devices: Sequence[int], first: datetime, last: datetime | None = None
) -> list[StoredLearnt]:
    """What is valid for some stations at ``first`` or becomes so by ``last``.

    What cannot be read is told in the log and counted, and the rest is used.

    Args:
        connection: an open connection.
        devices: their ids.
        first: aware.
        last: aware; ``None``: all that is there.
    """
    return read_learnt_within(connection, dict.fromkeys(devices, (first, last)))


def read_learnt_within(
    connection: Connection, spans: Mapping[int, tuple[datetime, datetime | None]]
) -> list[StoredLearnt]:
    """The same, for each station within its own span of time."""
    if not spans:
        return []
    values = {
        "devices": list(spans),
        "firsts": [first for first, _ in spans.values()],
        "lasts": ["infinity" if last is None else last.isoformat() for _, last in spans.values()],
    }
    return [_read(row.device_id, row.since, row.body) for row in connection.execute(_READ, values)]


def write_learnt(connection: Connection, row: StoredLearnt) -> None:
    """Add what was learnt; a row that is there already (same station and time) stays as it is."""
    body = row.learnt.to_json() | {"quality_at": row.quality_at and row.quality_at.isoformat()}
    rows = row.learnt.profile.rows if row.learnt.profile else 0
    values = {"device_id": row.device_id, "since": row.since, "body": orjson.dumps(body).decode(), "rows": rows}
    connection.execute(_WRITE, values)


def due_for_learning(connection: Connection, now: datetime, after: int, limit: int) -> list[tuple[int, str]]:
    """Id and name of the stations that reported in the last ``DAILY`` and have not been looked at for so long, by id.

    Args:
        connection: an open connection.
        now: aware.
        after: only ids above it.
        limit: at most so many.
    """
    values = {"newer_than": now - DAILY, "now": now, "after": after, "limit": limit}
    return [(row.id, row.name) for row in connection.execute(_DUE, values)]


def by_time(rows: Iterable[StoredLearnt]) -> LearntByTime:
    """As judging takes them."""
    return LearntByTime((row.device_id, to_microseconds(row.since), row.learnt) for row in rows)


def _read(device_id: int, since: datetime, body: object) -> StoredLearnt:
    learnt, problems = read_learnt_body(body)
    if problems:
        metrics.LEARNT_PROBLEMS.inc(len(problems))
        log.warning("not used of what was learnt", extra={"device_id": device_id, "since": since, "problems": problems})
    return StoredLearnt(device_id, since, learnt, _time(body))


def _time(body: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(body["quality_at"])  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    return moment if moment.tzinfo else None
