"""``/models/runs``: judging stored readings again: the form, the list, one run with its progress and its report."""

from datetime import UTC, datetime
from typing import Any, cast

from flask import Response, abort, flash, redirect, render_template, request
from sqlalchemy import Connection

from app.addresses import LARGEST_ID, read_before
from app.connections import connections
from app.i18n import words
from app.models.form import Asked, read_form
from app.models.page import MOST_STATIONS, RUNS_LISTED, may_act, read_page
from app.models.routes import acting_required, blueprint
from app.models.runs import make_report, make_run, make_runs
from app.session import login_required
from app.session.roles import actor
from streamgauge.errors import QueueUnavailable
from streamgauge.queue import TEND_RUNS_TASK, enqueue_batch
from streamgauge.storage.audit import write_audit
from streamgauge.storage.read_readings import list_devices
from streamgauge.storage.rescore import ON_DEMAND, Run, RunRefused, create_run, list_runs, read_run, request_cancel


@blueprint.get("/models/runs")
@login_required
def show_runs() -> str:
    """Runs, newest first, by pages (``?before=`` the last id of the page before)."""
    before = read_before()
    with connections().engine.connect() as connection:
        found = list_runs(connection, limit=RUNS_LISTED + 1, before=before)
        runs = make_runs(found[:RUNS_LISTED], _titles(connection), datetime.now(UTC), words())
    return render_template(
        "models/runs.html", runs=runs, has_more=len(found) > RUNS_LISTED, is_first=before == LARGEST_ID
    )


@blueprint.post("/models/runs")
@acting_required
def post_run() -> Response | tuple[str, int]:
    """Ask for a run; the same one that is open already is shown instead of made twice."""
    with connections().engine.connect() as connection:
        asked = read_form(request.form, list_devices(connection, "", MOST_STATIONS), datetime.now(UTC))
    if asked.problems:
        return _again(asked, asked.problems)
    try:
        with connections().engine.begin() as connection:
            made = create_run(
                connection,
                kind=ON_DEMAND,
                by=actor(),
                devices=asked.devices,
                since=asked.since_time,
                until=asked.until_time,
                model=asked.model,
            )
            if not made.merged:
                said = {name: request.form.get(name, "") for name in ("device", "span", "from", "until", "model")}
                write_audit(connection, actor=actor(), action="rescore.start", subject=f"run {made.run_id}", after=said)
    except RunRefused as refusal:
        fields = {"from": "rescore.error.nothing", "model": "rescore.error.model", "": "rescore.error.open"}
        found = {problem.field: fields.get(problem.field, "rescore.error.other") for problem in refusal.problems}
        return _again(asked, found)
    _tend()
    flash(words()("rescore.merged" if made.merged else "rescore.started"))
    return cast("Response", redirect(f"/models/runs/{made.run_id}", code=303))


@blueprint.get("/models/runs/<int:run_id>")
@login_required
def show_run(run_id: int) -> str:
    """One run: its progress while it is open, its report afterwards."""
    return render_template("models/run.html", **_run(run_id))


@blueprint.get("/models/runs/<int:run_id>/progress")
@login_required
def show_progress(run_id: int) -> str:
    """A run's progress, asked for every second or so while it is open: ``?row=1`` as a line of the list."""
    told = request.args.get("told", "")
    template = "models/_run_row_alone.html" if request.args.get("row") else "models/_run_progress.html"
    return render_template(template, told=int(told) if told.isdecimal() and len(told) < 3 else -1, **_run(run_id))


@blueprint.post("/models/runs/<int:run_id>/cancel")
@acting_required
def post_cancel(run_id: int) -> Response:
    """Ask that a run ends; what it has written stays."""
    with connections().engine.begin() as connection:
        is_open = run_id < LARGEST_ID and request_cancel(connection, run_id)
        if is_open:
            write_audit(connection, actor=actor(), action="rescore.cancel", subject=f"run {run_id}")
    if is_open:
        _tend()
    flash(words()("rescore.cancelling" if is_open else "rescore.ended_already"))
    return cast("Response", redirect(f"/models/runs/{run_id}", code=303))


def _run(run_id: int) -> dict[str, Any]:
    with connections().engine.connect() as connection:
        run: Run | None = read_run(connection, run_id) if run_id < LARGEST_ID else None
        if run is None:
            abort(404)
        titles = _titles(connection)
    view = make_run(run, titles, datetime.now(UTC), words())
    report = make_report(run.report, titles, words())
    return {"run": view, "report": report, "may_act": may_act()}


def _titles(connection: Connection) -> dict[str, str]:
    stations = list_devices(connection, "", MOST_STATIONS)
    return {station.name: station.display_name or station.name for station in stations}


def _tend() -> None:
    """Wake the worker; if the queue is away, the schedule does so a little later."""
    try:
        enqueue_batch(connections().producer, TEND_RUNS_TASK)
    except QueueUnavailable:
        flash(words()("rescore.queue_away"))


def _again(asked: Asked, problems: Any) -> tuple[str, int]:
    with connections().engine.connect() as connection:
        content = read_page(connection, words(), asked)
    return render_template("models/index.html", problem=words()("rescore.refused"), problems=problems, **content), 422
