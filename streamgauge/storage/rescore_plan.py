"""What tends re-scoring runs: which model, which chunks, and how a run ends. The batch worker's side of ``rescore``.

All steps may be repeated and interrupted anywhere: each is one transaction under the run's row lock, and whoever finds the row
locked passes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

from streamgauge.storage.model_aliases import CHALLENGER, CHAMPION, GENERAL
from streamgauge.storage.models import usable_of
from streamgauge.storage.rescore import SITE_MODELS, WAITING

REPORTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that waits or runs.

    Attributes:
        parameters: as they are stored.
        model_id: the model of stations without one of their own; None: those are not judged, or it is not settled yet.
        site_models: by device id.
        cancelled: somebody asked for its end.
    """

    id: int
    state: str
    parameters: Mapping[str, Any]
    model_id: int | None
    site_models: Mapping[int, int]
    cancelled: bool

    @property
    def settled(self) -> bool:
        """Whether it is settled which models it uses."""
        return self.model_id is not None or bool(self.site_models)

    def model_of(self, device_id: int) -> int:
        """The model that judges a station.

        Raises:
            KeyError: none does.
        """
        own = self.site_models.get(device_id, self.model_id)
        if own is None:
            raise KeyError(device_id)
        return own


_COLUMNS = "id, state, parameters, model_id, cancel_requested_at IS NOT NULL AS cancelled"
_OPEN = text(f"SELECT {_COLUMNS} FROM rescore_runs WHERE state IN ('waiting', 'running') ORDER BY id")
_ONE = text(f"SELECT {_COLUMNS} FROM rescore_runs WHERE id = :id AND state IN ('waiting', 'running')")
_LOCK = text(
    f"SELECT {_COLUMNS} FROM rescore_runs WHERE id = :id AND state IN ('waiting', 'running') FOR UPDATE SKIP LOCKED"
)
_SETTLE_MODELS = text("""
UPDATE rescore_runs SET model_id = :model_id,
    parameters = parameters || jsonb_build_object('site_models', CAST(:site_models AS jsonb))
WHERE id = :id
""")
_NEXT_DEVICES = text("""
SELECT id FROM devices
WHERE id > :after
    AND (CAST(:names AS text[]) IS NULL OR name = ANY(CAST(:names AS text[])))
    AND (CAST(:only AS bigint[]) IS NULL OR id = ANY(CAST(:only AS bigint[])))
ORDER BY id LIMIT :limit
""")
# A station's first reading begins a chunk, and then each one that is ``size`` readings further on. Chunks are numbered by time:
# stations' readings lie mixed in the table, and what one chunk has read from disk the next ones then find in memory.
_PLAN = text("""
WITH RECURSIVE cut(device_id, first) AS (
    SELECT station.id, (SELECT time FROM readings
        WHERE device_id = station.id AND time >= :since AND time < :until ORDER BY time LIMIT 1)
    FROM unnest(CAST(:devices AS bigint[])) AS station(id)
    UNION ALL
    SELECT cut.device_id, (SELECT time FROM readings
        WHERE readings.device_id = cut.device_id AND time >= cut.first AND time < :until ORDER BY time OFFSET :size LIMIT 1)
    FROM cut WHERE cut.first IS NOT NULL
), piece AS (
    SELECT device_id, first, lead(first) OVER (PARTITION BY device_id ORDER BY first) AS following
    FROM cut WHERE first IS NOT NULL
), numbered AS (
    SELECT *, (SELECT COALESCE(max(number), 0) FROM rescore_chunks WHERE run_id = :id)
        + row_number() OVER (ORDER BY first, device_id) AS number FROM piece
)
INSERT INTO rescore_chunks (run_id, number, device_id, first, until, readings)
SELECT :id, number, device_id, first, COALESCE(following, :until), CASE WHEN following IS NOT NULL THEN :size ELSE
    (SELECT count(*) FROM readings
     WHERE readings.device_id = numbered.device_id AND time >= first AND time < :until) END
FROM numbered
""")
_BEGIN = text("""
UPDATE rescore_runs SET state = 'running', started_at = COALESCE(started_at, now()),
    chunks = (SELECT count(*) FROM rescore_chunks WHERE run_id = :id)
WHERE id = :id
""")
_GIVE_UP = text("""
UPDATE rescore_chunks SET state = 'failed', done_at = now(), report = jsonb_build_object('error', CAST(:error AS text))
WHERE run_id = :id AND state = 'waiting' AND attempts >= :most
""")
_LEFT = text("SELECT EXISTS (SELECT FROM rescore_chunks WHERE run_id = :id AND state = 'waiting')")
_REPORTS = text("""
SELECT devices.name AS device, chunk.state, chunk.report FROM rescore_chunks AS chunk
LEFT JOIN devices ON devices.id = chunk.device_id
WHERE run_id = :id AND chunk.state <> 'waiting' ORDER BY chunk.device_id, chunk.first
""")
_END = text("""
UPDATE rescore_runs SET state = :state, ended_at = now(), started_at = COALESCE(started_at, now()), error = :error,
    report = CAST(:report AS jsonb)
WHERE id = :id
""")
_ALIASES = text("SELECT device_id, model_id FROM model_aliases WHERE alias = :alias")
_CHAMPION_MOVED = text("""
SELECT alias.device_id, devices.name AS device, alias.model_id, alias.moved_at FROM model_aliases AS alias
LEFT JOIN devices ON devices.id = alias.device_id
WHERE alias.alias = 'champion' AND alias.moved_at > :since
    AND EXISTS (SELECT FROM model_promotions AS move WHERE move.device_id = alias.device_id
        AND move.alias = 'champion' AND move.model_id = alias.model_id AND move.previous_model_id IS NOT NULL)
ORDER BY alias.device_id
""")


def open_runs(connection: Connection) -> list[OpenRun]:
    """Runs that wait or run, oldest first."""
    return [_open_run(dict(row)) for row in connection.execute(_OPEN).mappings()]


def find_open_run(connection: Connection, run_id: int) -> OpenRun | None:
    """This run, if it waits or runs."""
    row = connection.execute(_ONE, {"id": run_id}).mappings().one_or_none()
    return None if row is None else _open_run(dict(row))


def lock_run(connection: Connection, run_id: int) -> OpenRun | None:
    """This run with its row locked until the transaction ends; None: it has ended, or somebody is at it."""
    row = connection.execute(_LOCK, {"id": run_id}).mappings().one_or_none()
    return None if row is None else _open_run(dict(row))


def settle_models(connection: Connection, run: OpenRun, shipped_id: int) -> None:
    """Write down which models a run uses, so that moving an alias does not change a run under way.

    Stations whose own model was made for another version of the program go with the general one, as what arrives of them does.

    Args:
        connection: a transaction that holds the run's lock.
        run: the run.
        shipped_id: the model that stands in while there is no champion.
    """
    asked = str(run.parameters["model"])
    if asked in {CHAMPION, CHALLENGER}:
        rows = connection.execute(_ALIASES, {"alias": asked}).all()
        by_device = {int(row.device_id): int(row.model_id) for row in rows}
        fitting = usable_of(connection, by_device.values())
        general = by_device.pop(GENERAL, None)
        by_device = {device: model for device, model in by_device.items() if model in fitting}
        if asked == CHAMPION and general not in fitting:
            general = shipped_id
    else:
        query = text("SELECT id FROM models WHERE sha256 = :sha256")
        general, by_device = connection.execute(query, {"sha256": asked}).scalar(), {}
    site_models = orjson.dumps({str(device): model for device, model in by_device.items()}).decode()
    connection.execute(_SETTLE_MODELS, {"id": run.id, "model_id": general, "site_models": site_models})


def plan_chunks(connection: Connection, run: OpenRun, *, devices_at_once: int, chunk_readings: int) -> bool:
    """Make the chunks of the next stations of a waiting run; after the last ones it runs.

    Args:
        connection: a transaction that holds the run's lock.
        run: a waiting run whose models are settled.
        devices_at_once: so many stations with readings at most.
        chunk_readings: so many readings a chunk at most.

    Returns:
        Whether there is more to plan.
    """
    assert run.state == WAITING
    query = text("SELECT COALESCE(max(device_id), 0) FROM rescore_chunks WHERE run_id = :id")
    after = int(connection.execute(query, {"id": run.id}).scalar_one())
    only = None if run.model_id is not None else sorted(run.site_models)
    window = {"since": datetime.fromisoformat(run.parameters["from"])}
    window["until"] = datetime.fromisoformat(run.parameters["until"])
    while True:
        choice = {"after": after, "names": run.parameters["devices"], "only": only, "limit": devices_at_once}
        devices = list(connection.execute(_NEXT_DEVICES, choice).scalars())
        if not devices:
            connection.execute(_BEGIN, {"id": run.id})
            return False
        planned = connection.execute(_PLAN, {"id": run.id, "devices": devices, "size": chunk_readings, **window})
        if planned.rowcount:
            return True
        after = devices[-1]


def any_left(connection: Connection, run_id: int) -> bool:
    """Whether a chunk of the run waits."""
    return bool(connection.execute(_LEFT, {"id": run_id}).scalar_one())


def give_up(connection: Connection, run_id: int, attempts_max: int) -> int:
    """Fail the chunks that ended their worker so often; returns how many.

    Args:
        connection: a transaction that holds the run's lock, so that no chunk of it is under way.
        run_id: the run.
        attempts_max: from so many attempts on.
    """
    error = f"it was begun {attempts_max} times and never ended: its worker was killed, or ran out of memory or time"
    return connection.execute(_GIVE_UP, {"id": run_id, "most": attempts_max, "error": error}).rowcount


def chunk_reports(connection: Connection, run_id: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(device, state, report) of every chunk that has ended, by device and time."""
    options = {"yield_per": REPORTS_AT_ONCE}
    found = connection.execute(_REPORTS, {"id": run_id}, execution_options=options)
    for row in found:
        yield row.device or "?", row.state, dict(row.report or {})


def end_run(
    connection: Connection, run_id: int, state: str, report: Mapping[str, Any] | None, error: str | None
) -> None:
    """End a run; the transaction holds its lock."""
    text_of_report = None if report is None else orjson.dumps(report).decode()
    connection.execute(_END, {"id": run_id, "state": state, "report": text_of_report, "error": error})


@dataclass(frozen=True, slots=True)
class MovedChampion:
    """A scope whose champion was replaced: its device (None: every station without a model of its own), the new one, when."""

    device: str | None
    model_id: int
    moved_at: datetime


def moved_champions(connection: Connection, since: datetime) -> Sequence[MovedChampion]:
    """Champions that replaced another since then."""
    rows = connection.execute(_CHAMPION_MOVED, {"since": since}).all()
    return [MovedChampion(row.device, int(row.model_id), row.moved_at) for row in rows]


def scheduled_since(connection: Connection, moment: datetime) -> bool:
    """Whether a scheduled run was made after that moment and not cancelled or failed."""
    query = text(
        "SELECT EXISTS (SELECT FROM rescore_runs WHERE kind = 'scheduled' AND created_at > :moment "
        "AND state NOT IN ('cancelled', 'failed'))"
    )
    return bool(connection.execute(query, {"moment": moment}).scalar_one())


def _open_run(row: dict[str, Any]) -> OpenRun:
    site_models = {int(device): int(model) for device, model in row["parameters"].get(SITE_MODELS, {}).items()}
    return OpenRun(**row, site_models=site_models)
