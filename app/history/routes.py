"""``/history``: readings of stations by range, quantity and mark, to look at and to take away."""

import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from redis.exceptions import RedisError

from app.connections import connections
from app.downloads import RETRY_AFTER_S, TooManyDownloads, send_file
from app.history.exports import FAILED, ExportNotes, ExportState, is_export_id, new_export_id, read_export
from app.history.form import ALL, BETWEEN, SPANS, read_asked
from app.history.presenter import make_table
from app.i18n import words
from app.request_log import request_id
from app.session.identity import signed_in_user
from app.session.roles import needs_role
from streamgauge.reading import QUANTITIES, from_microseconds, to_microseconds
from streamgauge.storage.export import full_columns, stream_csv
from streamgauge.storage.export_head import csv_preamble
from streamgauge.storage.export_parquet import stream_parquet
from streamgauge.storage.history import (
    MARKS,
    Page,
    Place,
    Selection,
    count_rows,
    read_history,
    suggest_devices,
)

PAGE_ROWS = 100
COUNTED = 10_000
"""Readings are counted up to here; then there are more."""
SUGGESTED = 20
MAX_CHARACTERS = 100
CSV, PARQUET = "csv", "parquet"
LOCAL, UTC_TIMES = "local", "utc"
_PLACE = re.compile(r"(-?\d{1,17})\.(\d{1,19})")

blueprint = Blueprint("history", __name__)


@blueprint.get("/history")
@needs_role("viewer")
def show() -> Response:
    """The form, and what it finds."""
    t = words()
    with connections().engine.connect() as connection:
        asked = read_asked(connection, request.args, datetime.now(UTC), t)
        place = _place(request.args.get("before", ""))
        page, counted = Page([], None, None), None
        if asked.selection is not None:
            page = read_history(connection, asked.selection, place, PAGE_ROWS)
            counted = None if asked.mark else count_rows(connection, asked.selection, COUNTED + 1)
    content = render_template(
        "history/index.html",
        asked=asked,
        table=make_table(page.rows, asked, t),
        page=page,
        older=_write_place(page.following),
        is_first=place is None,
        counted=counted,
        counted_to=COUNTED,
        spans=[*SPANS, ALL, BETWEEN],
        marks=MARKS,
        all_quantities=QUANTITIES,
        export_id=new_export_id(),
    )
    # htmx shows no answer that is called an error; whoever goes without scripts gets the right status.
    refused = bool(asked.problems) and "HX-Request" not in request.headers
    return Response(content, status=422 if refused else 200)


@blueprint.get("/history/stations")
@needs_role("viewer")
def show_stations() -> str:
    """Stations whose names hold what was typed, as options."""
    typed = request.args.get("device", "").strip()[:MAX_CHARACTERS].replace("\0", "")
    with connections().engine.connect() as connection:
        found = suggest_devices(connection, typed, SUGGESTED)
    return render_template("history/_stations.html", stations=found)


@blueprint.get("/history/export")
@needs_role("viewer")
def export() -> Response:
    """The whole selection as a file, in one stream."""
    now = datetime.now(UTC)
    with connections().engine.connect() as connection:
        asked = read_asked(connection, request.args, now, words())
    kind, times = request.args.get("format", CSV), request.args.get("times", LOCAL)
    if asked.selection is None or kind not in {CSV, PARQUET} or times not in {LOCAL, UTC_TIMES}:
        abort(422)
    notes = _notes(request.args.get("export", ""))
    told = notes.told if notes else None
    engine = connections().engine
    if kind == PARQUET:
        chunks = stream_parquet(engine, asked.selection, now, told=told)
        content_type = "application/vnd.apache.parquet"
    else:
        columns, in_local_time = full_columns(asked.quantities), times == LOCAL
        preamble = csv_preamble(asked.selection, columns, now, in_local_time=in_local_time)
        chunks = stream_csv(
            engine, asked.selection, columns=columns, preamble=preamble, in_local_time=in_local_time, told=told
        )
        content_type = "text/csv; charset=utf-8"
    try:
        return send_file(
            notes.follow(chunks) if notes else chunks, content_type, f"{_file_name(asked.selection)}.{kind}"
        )
    except TooManyDownloads as refusal:
        if notes:
            notes.refused()
        page = render_template("error.html", status=refusal.code, key="busy", request_id=request_id())
        return Response(page, status=refusal.code, headers={"Retry-After": str(RETRY_AFTER_S)})


@blueprint.get("/history/exports")
@needs_role("viewer")
def show_export() -> str:
    """How far an export is; a fragment that asks again until it is over."""
    export_id = request.args.get("export", "")
    if not is_export_id(export_id):
        abort(404)
    try:
        state = read_export(connections().redis, _user_id(), export_id)
    except RedisError:
        state = ExportState(state=FAILED, rows=0, share=0.0)
    context: dict[str, Any] = {"state": state, "export_id": export_id, "next_id": new_export_id()}
    return render_template("history/_progress.html", is_first="first" in request.args, **context)


def _notes(export_id: str) -> ExportNotes | None:
    return ExportNotes(connections().redis, _user_id(), export_id) if is_export_id(export_id) else None


def _user_id() -> int:
    user = signed_in_user()
    assert user is not None
    return user.id


def _file_name(selection: Selection) -> str:
    names = selection.devices[0].name if len(selection.devices) == 1 else f"{len(selection.devices)}-stations"
    mark = f"_{selection.mark}" if selection.mark else ""
    name = f"streamgauge_{names}_{selection.start:%Y-%m-%d}_{selection.end:%Y-%m-%d}{mark}"
    return name.replace(":", "_")


def _place(text: str) -> Place | None:
    """Where a page begins; an address that was cut off begins at the first."""
    found = _PLACE.fullmatch(text)
    if found is None or int(found[2]) >= 2**63:
        return None
    try:
        return Place(from_microseconds(int(found[1])), int(found[2]))
    except OverflowError:
        return None


def _write_place(place: Place | None) -> str:
    return f"{to_microseconds(place.time)}.{place.device_id}" if place else ""
