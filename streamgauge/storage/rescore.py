"""Re-scoring runs as everybody sees them: asking for one, following it, cancelling it. ``rescore_plan`` and ``rescore_chunks``
are the worker's side.

A *run* judges the stored readings of some stations and a time range [since, until) with one model, and writes what it finds to
``scores``, keyed by (device, time, model). ``readings`` keeps what was said at the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

from streamgauge.errors import PermanentError
from streamgauge.reading import DEVICE_NAME, format_time
from streamgauge.storage.model_aliases import CHALLENGER, CHAMPION

ON_DEMAND, SCHEDULED, SHADOW = "on_demand", "scheduled", "shadow"
KINDS = (ON_DEMAND, SCHEDULED, SHADOW)
WAITING, RUNNING, DONE, CANCELLED, FAILED = "waiting", "running", "done", "cancelled", "failed"
OPEN_STATES = (WAITING, RUNNING)

OPEN_RUNS_MAX = 50
"""So many runs may wait or run at once; further ones are refused until some have ended."""
DEVICES_MAX = 10_000
"""Most stations that a run may name; for more, name none: that means all."""
UNKNOWN_NAMED_MAX = 10
RATE_WINDOW_S = 60
"""Readings per second are those of the last minute."""

CREATE_LOCK = 0x5347_0006  # "SG", 6: one key of ours among Postgres's advisory locks
SITE_MODELS = "site_models"
"""In a run's parameters, once it is planned: stations that are judged with a model of their own, as ``{device id: model id}``."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a request: ``devices``, ``from``, ``until``, ``model``; empty: the request as a whole."""

    field: str
    detail: str


class RunRefused(PermanentError):
    """A run that cannot be made.

    Args:
        problems: every one that was found.
    """

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.detail}".lstrip(": ") for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Created:
    """A run that was asked for; ``merged``: the same one was open already, and nothing was made."""

    run_id: int
    merged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run with its progress.

    Attributes:
        parameters: ``devices`` (names, or None for all), ``from``, ``until`` (RFC 3339), ``model`` (as it was asked for).
        model_id: the model, once it is settled which; of stations without a model of their own if an alias was asked for.
        chunks: how many pieces of work there are; they are counted while the run waits.
        readings: stored readings in the range, as far as it is planned.
        readings_per_s: in the last minute, or over the whole run once it has ended; None before the first chunk is done.
        eta_s: seconds that the rest will take at that rate; None if unknown or ended.
        report: what changed (docs/rescoring.md); None while the run is open.
    """

    id: int
    kind: str
    state: str
    parameters: dict[str, Any]
    created_at: datetime
    created_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested_at: datetime | None
    model_id: int | None
    model_sha256: str | None
    chunks: int
    chunks_done: int
    chunks_failed: int
    readings: int
    readings_done: int
    readings_per_s: float | None
    eta_s: float | None
    report: dict[str, Any] | None
    error: str | None

    @property
    def open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in OPEN_STATES

    @property
    def share_done(self) -> float:
        """From 0 to 1, by readings."""
        if self.readings == 0:
            return 0.0 if self.open else 1.0
        return self.readings_done / self.readings


_UNKNOWN_DEVICES = text("""
SELECT name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS asked(name, place)
WHERE NOT EXISTS (SELECT FROM devices WHERE devices.name = asked.name) ORDER BY place
""")
_ANY_READING = text("""
SELECT EXISTS (
    SELECT FROM devices CROSS JOIN LATERAL (
        SELECT FROM readings WHERE device_id = devices.id AND time >= :since AND time < :until LIMIT 1) AS found
    WHERE CAST(:names AS text[]) IS NULL OR devices.name = ANY(CAST(:names AS text[])))
""")
_SAME = text("""
SELECT id FROM rescore_runs
WHERE state IN ('waiting', 'running') AND cancel_requested_at IS NULL AND kind = :kind
    AND parameters - 'site_models' = CAST(:parameters AS jsonb)
ORDER BY id LIMIT 1
""")
_CREATE = text("""
INSERT INTO rescore_runs (state, kind, created_by, parameters)
VALUES ('waiting', :kind, :by, CAST(:parameters AS jsonb)) RETURNING id
""")
_CANCEL = text("""
UPDATE rescore_runs SET cancel_requested_at = COALESCE(cancel_requested_at, now())
WHERE id = :id AND state IN ('waiting', 'running') RETURNING id
""")
_RUNS = """
SELECT run.id, run.kind, run.state, run.parameters, run.created_at, run.created_by, run.started_at, run.ended_at,
    run.cancel_requested_at, run.model_id, models.sha256 AS model_sha256, {report} AS report, run.error,
    progress.*, EXTRACT(epoch FROM COALESCE(run.ended_at, now()) - run.started_at)::double precision AS took_s
FROM rescore_runs AS run LEFT JOIN models ON models.id = run.model_id
CROSS JOIN LATERAL (
    SELECT count(*) AS chunks, count(*) FILTER (WHERE state = 'done') AS chunks_done,
        count(*) FILTER (WHERE state = 'failed') AS chunks_failed, COALESCE(sum(readings), 0)::bigint AS readings,
        COALESCE(sum(readings) FILTER (WHERE state = 'done'), 0)::bigint AS readings_done,
        COALESCE(sum(readings) FILTER (WHERE state = 'done' AND done_at > now() - make_interval(secs => :window)), 0)::bigint
            AS readings_lately
    FROM rescore_chunks WHERE run_id = run.id) AS progress
WHERE {condition} ORDER BY run.id DESC LIMIT :limit
"""


def create_run(
    connection: Connection,
    *,
    kind: str,
    by: str,
    devices: Sequence[str] | None,
    since: datetime,
    until: datetime,
    model: str,
) -> Created:
    """Ask for a run. It is planned and carried out by the batch worker, once the task ``TEND_RUNS_TASK`` or beat wakes it.

    Asking for what is open already gives that run: the second one would write the same rows.

    Args:
        connection: a connection in a transaction.
        kind: ``ON_DEMAND``, ``SCHEDULED`` or ``SHADOW``.
        by: who asks.
        devices: the wire's names; None for every registered station.
        since: first instant, aware.
        until: the instant after the last, aware.
        model: ``champion`` or ``challenger`` (of each station), or a model's SHA-256.

    Raises:
        RunRefused: with all that is wrong.
    """
    assert kind in KINDS
    names = None if devices is None else sorted(set(devices))
    problems = find_problems(connection, devices=names, since=since, until=until, model=model)
    if problems:
        raise RunRefused(problems)
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    if not connection.execute(_ANY_READING, {"since": since, "until": until, "names": names}).scalar_one():
        whose = "any station" if names is None else "these stations"
        raise RunRefused([FieldProblem("from", f"no reading of {whose} is stored between from and until")])
    asked = {"devices": names, "from": format_time(since), "until": format_time(until), "model": model}
    parameters = orjson.dumps(asked).decode()
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CREATE_LOCK})
    same = connection.execute(_SAME, {"kind": kind, "parameters": parameters}).scalar()
    if same is not None:
        return Created(int(same), merged=True)
    if count_open(connection) >= OPEN_RUNS_MAX:
        raise RunRefused([FieldProblem("", f"{OPEN_RUNS_MAX} runs wait or run already: wait for one, or cancel one")])
    made = connection.execute(_CREATE, {"kind": kind, "by": by, "parameters": parameters}).scalar_one()
    return Created(int(made), merged=False)


def count_open(connection: Connection) -> int:
    """How many runs wait or run."""
    query = text("SELECT count(*) FROM rescore_runs WHERE state IN ('waiting', 'running')")
    return int(connection.execute(query).scalar_one())


def list_runs(
    connection: Connection, *, limit: int = 20, before: int | None = None, kind: str | None = None
) -> list[Run]:
    """Runs, newest first, without their reports.

    Args:
        connection: a connection.
        limit: at most so many.
        before: only runs with a smaller id, for the next page.
        kind: only runs of this kind.
    """
    condition = (
        "(CAST(:before AS bigint) IS NULL OR run.id < :before) AND (CAST(:kind AS text) IS NULL OR kind = :kind)"
    )
    query = text(_RUNS.format(report="CAST(NULL AS jsonb)", condition=condition))
    values = {"before": before, "kind": kind, "limit": limit, "window": RATE_WINDOW_S}
    return [_run(dict(row)) for row in connection.execute(query, values).mappings()]


def read_run(connection: Connection, run_id: int) -> Run | None:
    """One run with its report; None if there is none of this id."""
    query = text(_RUNS.format(report="run.report", condition="run.id = :id"))
    row = connection.execute(query, {"id": run_id, "limit": 1, "window": RATE_WINDOW_S}).mappings().one_or_none()
    return None if row is None else _run(dict(row))


def request_cancel(connection: Connection, run_id: int) -> bool:
    """Ask that an open run ends. A chunk that is under way is finished; what was written stays.

    Returns:
        Whether the run is open; False: there is no such run, or it has ended.
    """
    return connection.execute(_CANCEL, {"id": run_id}).scalar() is not None


def _run(row: dict[str, Any]) -> Run:
    took_s, lately = row.pop("took_s"), row.pop("readings_lately")
    running = row["state"] in OPEN_STATES
    seconds = took_s if took_s is None or not running else min(took_s, RATE_WINDOW_S)
    done = lately if running else row["readings_done"]
    rate = done / seconds if seconds and done else None
    eta_s = (row["readings"] - row["readings_done"]) / rate if rate and row["state"] == RUNNING else None
    return Run(**row, readings_per_s=rate, eta_s=eta_s)


def find_problems(
    connection: Connection,
    *,
    devices: Sequence[str] | None,
    since: datetime | None,
    until: datetime | None,
    model: str | None,
) -> list[FieldProblem]:
    """Everything that is wrong with what a run is asked for; a time or model of None is passed over. See ``create_run``."""
    return [
        *(_time_problems(since, until) if since is not None and until is not None else []),
        *_device_problems(connection, devices),
        *(_model_problems(connection, model) if model is not None else []),
    ]


def _time_problems(since: datetime, until: datetime) -> list[FieldProblem]:
    naive = [name for name, moment in (("from", since), ("until", until)) if moment.tzinfo is None]
    if naive:
        return [FieldProblem(name, "the time has no offset: add Z for UTC, or for example +07:00") for name in naive]
    return [] if since < until else [FieldProblem("until", "until must be after from")]


def _device_problems(connection: Connection, names: Sequence[str] | None) -> list[FieldProblem]:
    if names is None:
        return []
    if not 1 <= len(names) <= DEVICES_MAX:
        return [FieldProblem("devices", f"name 1 to {DEVICES_MAX} stations, or none at all for every station")]
    known = [name for name in names if DEVICE_NAME.fullmatch(name)]
    unknown = [name for name in names if name not in set(known)]
    unknown += connection.execute(_UNKNOWN_DEVICES, {"names": known}).scalars()
    if not unknown:
        return []
    shown = ", ".join(repr(name[:64]) for name in unknown[:UNKNOWN_NAMED_MAX])
    more = f" and {len(unknown) - UNKNOWN_NAMED_MAX} more" if len(unknown) > UNKNOWN_NAMED_MAX else ""
    return [FieldProblem("devices", f"not registered: {shown}{more}")]


def _model_problems(connection: Connection, model: str) -> list[FieldProblem]:
    if model == CHAMPION:
        return []
    if model == CHALLENGER:
        query = text("SELECT EXISTS (SELECT FROM model_aliases WHERE alias = 'challenger')")
        there = connection.execute(query).scalar_one()
        return [] if there else [FieldProblem("model", "there is no challenger at present")]
    known = (
        "\x00" not in model
        and connection.execute(
            text("SELECT EXISTS (SELECT FROM models WHERE sha256 = :sha256)"), {"sha256": model}
        ).scalar_one()
    )
    detail = f"no model has the SHA-256 {model[:64]!r}: give champion, challenger or a whole SHA-256"
    return [] if known else [FieldProblem("model", detail)]
