"""``/api/v1/rescore-runs``: ask for stored readings to be scored again, follow it, cancel it (docs/rescoring.md)."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from flask import Response, request
from msgspec import Meta, Struct
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from app.api.access import token_name
from app.api.answers import json_answer
from app.api.blueprint import blueprint
from app.api.declare import endpoint, json_of
from app.api.parameters import decode_id_cursor, encode_id_cursor, read_time
from app.api.schemas import Cursor, OneRun, RunBody, RunPage
from app.connections import connections
from app.errors import problem
from streamgauge.errors import QueueUnavailable
from streamgauge.queue import TEND_RUNS_TASK, enqueue_batch
from streamgauge.storage.audit import write_audit
from streamgauge.storage.rescore import (
    ON_DEMAND,
    FieldProblem,
    Run,
    RunRefused,
    create_run,
    find_problems,
    list_runs,
    read_run,
    request_cancel,
)

log = logging.getLogger(__name__)

FIELDS = ("devices", "from", "until", "model")
MAX_RUNS = 100
DEFAULT_RUNS = 20
MAX_BODY_BYTES = 2**20
MAX_ID = 2**63 - 1


_TAG = "Re-scoring"


class RunsQuery(Struct, kw_only=True):
    """Which runs."""

    limit: Annotated[int, Meta(ge=1, le=MAX_RUNS)] = DEFAULT_RUNS
    cursor: Cursor | None = None


@endpoint(
    "POST",
    "/rescore-runs",
    scope="write",
    tag=_TAG,
    summary="Ask for stored readings to be judged again",
    body=(RunBody,),
    answers={
        200: json_of("The same run is open already.", OneRun, headers={"Location": "The run."}),
        202: json_of("The run is asked for.", OneRun, headers={"Location": "The run."}),
    },
    problems=(400, 422),
)
def post_rescore_run() -> Response:
    """What must be so of the range, the devices and the model is told in docs/rescoring.md."""
    try:
        asked, problems = read_request(request.get_data(), datetime.now(UTC))
        with connections().engine.begin() as connection:
            if problems:
                raise RunRefused(_all_problems(connection, asked, problems))
            created = create_run(connection, kind=ON_DEMAND, by=_actor(), **asked)
            if not created.merged:
                said = {"devices": asked["devices"], "model": asked["model"]}
                said |= {"from": asked["since"].isoformat(), "until": asked["until"].isoformat()}
                subject = f"run {created.run_id}"
                write_audit(connection, actor=_actor(), action="rescore.start", subject=subject, after=said)
    except RunRefused as error:
        named = [{"field": item.field, "detail": item.detail} for item in error.problems]
        return problem(422, "Run refused", f"The run was not made: {error}", errors=named)
    _wake()
    answer = json_answer({"run": run_object(_find(created.run_id))}, 200 if created.merged else 202)
    answer.headers["Location"] = f"{blueprint.url_prefix}/rescore-runs/{created.run_id}"
    return answer


@endpoint(
    "GET",
    "/rescore-runs",
    scope="read",
    tag=_TAG,
    summary="Runs, newest first",
    query=RunsQuery,
    answers={200: json_of("A page of runs, without their reports.", RunPage)},
    problems=(400,),
)
def get_rescore_runs(query: RunsQuery) -> Response:
    """Those that are over stay listed."""
    before = decode_id_cursor(query.cursor) if query.cursor else None
    with connections().engine.connect() as connection:
        runs = list_runs(connection, limit=query.limit + 1, before=before)
    page = runs[: query.limit]
    following = encode_id_cursor(page[-1].id) if len(runs) > query.limit else None
    return json_answer({"runs": [run_object(run, with_report=False) for run in page], "next": following})


@endpoint(
    "GET",
    "/rescore-runs/<int:run_id>",
    scope="read",
    tag=_TAG,
    summary="One run with its progress and, once it has ended, its report",
    answers={200: json_of("The run.", OneRun)},
    problems=(404,),
)
def get_rescore_run(run_id: int) -> Response:
    """What changed stands in ``report``."""
    return json_answer({"run": run_object(_find(run_id))})


@endpoint(
    "POST",
    "/rescore-runs/<int:run_id>/cancel",
    scope="write",
    tag=_TAG,
    summary="Ask that a run ends",
    answers={202: json_of("It ends soon.", OneRun)},
    problems=(404, 409),
)
def post_rescore_run_cancel(run_id: int) -> Response:
    """A chunk that is under way is finished, and what was written stays."""
    run = _find(run_id)
    with connections().engine.begin() as connection:
        asked = request_cancel(connection, run_id)
        if asked:
            write_audit(connection, actor=_actor(), action="rescore.cancel", subject=f"run {run_id}")
    if not asked:
        raise Conflict(f"Run {run_id} has ended already: it is {run.state}.")
    _wake()
    return json_answer({"run": run_object(_find(run_id))}, 202)


def read_request(payload: bytes, now: datetime) -> tuple[dict[str, Any], list[FieldProblem]]:
    """The arguments of ``create_run`` in a request's body, None where one is wrong, and what is wrong with them.

    Problems are fields that are unknown, missing or of another type, and a beginning in the future without an end.

    Args:
        payload: the body.
        now: stands in for ``until``.

    Raises:
        BadRequest: it is no JSON object.
    """
    if len(payload) > MAX_BODY_BYTES:
        raise BadRequest(f"The body is longer than {MAX_BODY_BYTES} bytes")
    try:
        body = orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON in UTF-8: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest('The body must be a JSON object, for example {"from": "2026-01-01T00:00:00Z"}')
    problems = [
        FieldProblem(name[:64], f"unknown; known are {', '.join(FIELDS)}") for name in body if name not in FIELDS
    ][:10]
    asked: dict[str, Any] = {"devices": _devices(body, problems), "model": _model(body, problems)}
    asked |= {"since": _time(body, "from", None, problems), "until": _time(body, "until", now, problems)}
    if body.get("until") is None and asked["since"] is not None and asked["since"] >= now:
        problems.append(FieldProblem("from", "must be before now, which stands for until where that is absent"))
    return asked, problems


def _all_problems(
    connection: Connection, asked: Mapping[str, Any], problems: Sequence[FieldProblem]
) -> list[FieldProblem]:
    """What the body shows to be wrong, and what the stored rows show of its other fields."""
    named = {item.field for item in problems}
    devices = asked["devices"]
    found = find_problems(
        connection,
        devices=None if devices is None else sorted(set(devices)),
        since=asked["since"],
        until=asked["until"],
        model=asked["model"],
    )
    times = {"from", "until"}
    told = named | times if named & times else named
    return [*problems, *(item for item in found if item.field not in told)]


def run_object(run: Run, *, with_report: bool = True) -> dict[str, Any]:
    """A run as the API shows it."""
    asked = run.parameters
    shown = {
        "id": run.id,
        "kind": run.kind,
        "state": run.state,
        **{name: asked.get(name) for name in FIELDS},
        "model_sha256": run.model_sha256,
        "created_at": run.created_at,
        "created_by": run.created_by,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "cancel_requested_at": run.cancel_requested_at,
        "chunks": {"all": run.chunks, "done": run.chunks_done, "failed": run.chunks_failed},
        "readings": {"all": run.readings, "done": run.readings_done},
        "readings_per_s": run.readings_per_s,
        "eta_s": run.eta_s,
        "error": run.error,
    }
    return shown | {"report": run.report} if with_report else shown


def _actor() -> str:
    return f"API token {token_name()}"


def _find(run_id: int) -> Run:
    run = None
    if run_id <= MAX_ID:
        with connections().engine.connect() as connection:
            run = read_run(connection, run_id)
    if run is None:
        raise NotFound("No re-scoring run has this number.")
    return run


def _wake() -> None:
    try:
        enqueue_batch(connections().producer, TEND_RUNS_TASK, expires_s=60)
    except QueueUnavailable:
        # The run is written down; beat wakes the batch worker every few seconds.
        log.warning("batch worker not woken", exc_info=True)


def _devices(body: Mapping[str, Any], problems: list[FieldProblem]) -> list[str] | None:
    devices = body.get("devices")
    if devices is None or (isinstance(devices, list) and all(isinstance(name, str) for name in devices)):
        return devices
    problems.append(FieldProblem("devices", "must be an array of names, or null for every station"))
    return None


def _model(body: Mapping[str, Any], problems: list[FieldProblem]) -> str | None:
    model = body.get("model", "champion")
    if isinstance(model, str):
        return model
    problems.append(FieldProblem("model", "must be champion, challenger or a model's SHA-256"))
    return None


def _time(
    body: Mapping[str, Any], name: str, default: datetime | None, problems: list[FieldProblem]
) -> datetime | None:
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value:
        problems.append(FieldProblem(name, "must be an RFC 3339 time, for example 2018-06-22T12:00:00Z"))
        return None
    try:
        return read_time({name: value}, name, datetime.max)  # noqa: DTZ901 - never used: the value is there
    except BadRequest as error:
        problems.append(FieldProblem(name, str(error.description)))
        return None
