"""``/devices/register/csv``: many devices by a table, looked at before anything is done."""

import logging
import zlib
from typing import cast

from flask import Response, abort, flash, redirect, render_template, request
from redis.exceptions import RedisError

from app.connections import connections
from app.devices.entry import Problem
from app.devices.plan import OUTCOMES, Plan, PlanOutdated, apply_plan, make_plan
from app.devices.presenter import field_label, make_preview, say
from app.devices.routes import Answer, blueprint
from app.devices.table import COLUMNS, EXAMPLE, MAX_BYTES, MAX_ROWS, TableRefused, template, write_table
from app.i18n import words
from app.session.roles import actor, has_role, needs_role
from streamgauge.storage.device_rows import DeviceRow, list_all_rows

log = logging.getLogger(__name__)
KEPT_S = 3_600
"""So long an uploaded table waits for being applied."""
LINES_SHOWN = 200
"""So many lines of each kind are shown; all of them are counted and applied."""
FORM_OVERHEAD_BYTES = 64 * 1024
UPLOAD = "devices.post_csv"


@blueprint.url_value_preprocessor
def allow_large_upload(endpoint: str | None, _: dict[str, object] | None) -> None:
    """Let operators send a whole table; everybody else, and every other form, has the ordinary limit.

    Before the check of the CSRF token, which reads the form.
    """
    if endpoint == UPLOAD:
        request.max_content_length = MAX_BYTES + FORM_OVERHEAD_BYTES if has_role("operator") else FORM_OVERHEAD_BYTES


@blueprint.get("/devices/register/csv")
@needs_role("operator")
def show_csv() -> str:
    """Where a table is given, and what may stand in it."""
    return _upload_page(None)


@blueprint.post("/devices/register/csv")
@needs_role("operator")
def post_csv() -> Answer:
    """Look at a table: nothing is changed."""
    file = request.files.get("file")
    content = file.read(MAX_BYTES + 1) if file else b""
    if not content:
        return _upload_page(Problem("file", "devices.csv.no_file")), 422
    if len(content) > MAX_BYTES:
        abort(413)
    try:
        with connections().engine.connect() as connection:
            plan = make_plan(connection, content)
    except TableRefused as refusal:
        return _upload_page(refusal.problem), 422
    try:
        connections().redis.set(_key(), zlib.compress(content, 6), ex=KEPT_S)
    except RedisError:
        log.warning("an uploaded table could not be kept", exc_info=True)
        abort(503)
    return _preview_page(plan)


@blueprint.post("/devices/register/csv/apply")
@needs_role("operator")
def post_apply() -> Answer:
    """Do what was looked at, and nothing else."""
    try:
        kept = cast("bytes | None", connections().redis.get(_key()))
    except RedisError:
        log.warning("an uploaded table could not be read back", exc_info=True)
        abort(503)
    if kept is None:
        return _upload_page(Problem("file", "devices.csv.gone")), 409
    content = zlib.decompress(kept)
    try:
        with connections().engine.begin() as connection:
            plan = apply_plan(connection, content, request.form.get("digest", ""), actor=actor())
    except PlanOutdated as outdated:
        return _preview_page(outdated.plan, is_outdated=True), 409
    except TableRefused as refusal:
        return _upload_page(refusal.problem), 422
    connections().redis.delete(_key())
    t = words()
    done = {name: t.number(plan.counts[name], 0) for name in OUTCOMES}
    flash(t("devices.csv.done", new=done["new"], changed=done["changed"], wrong=done["wrong"]))
    return cast("Response", redirect("/devices", code=303))


@blueprint.get("/devices/register/template.csv")
@needs_role("operator")
def get_template() -> Response:
    """An empty table with an example that is passed over when it is read."""
    return _file(template(), "streamgauge-devices-template.csv")


@blueprint.get("/devices/register/devices.csv")
@needs_role("operator")
def get_devices() -> Response:
    """Every device in service as such a table: to be changed and given back."""
    rows: list[DeviceRow] = []
    with connections().engine.connect() as connection:
        while page := list_all_rows(connection, rows[-1].name if rows else ""):
            rows += page
    return _file("".join(write_table(rows)), "streamgauge-devices.csv")


def _file(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, content_type="text/csv; charset=utf-8", headers=headers)


def _key() -> str:
    return f"streamgauge:devices-csv:{actor()}"


def _upload_page(problem: Problem | None) -> str:
    t = words()
    columns = [(name, field_label(name, t), EXAMPLE.get(name, "")) for name in COLUMNS]
    return render_template(
        "devices/csv.html",
        fault=say(problem, t) if problem else None,
        columns=columns,
        most_rows=MAX_ROWS,
        most_megabytes=MAX_BYTES // 2**20,
    )


def _preview_page(plan: Plan, *, is_outdated: bool = False) -> str:
    t = words()
    groups = [(outcome, make_preview(plan.of(outcome)[:LINES_SHOWN], t)) for outcome in OUTCOMES if outcome != "same"]
    return render_template(
        "devices/preview.html",
        plan=plan,
        counts=plan.counts,
        groups=groups,
        shown=LINES_SHOWN,
        is_outdated=is_outdated,
        to_apply=plan.counts["new"] + plan.counts["changed"],
    )
