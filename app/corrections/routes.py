"""``/stations/<device>/corrections``: correct readings, after a look at what that will do; see what was corrected; undo it."""

from typing import cast

from flask import Blueprint, Response, flash, redirect, render_template, request

from app.addresses import LARGEST_ID, named_device, read_before
from app.connections import connections
from app.corrections.form import HOWS, Asked, empty_form, read_form
from app.corrections.presenter import (
    FLAG_KEYS,
    PreviewView,
    make_correction_view,
    make_preview,
    quantity_name,
)
from app.i18n import words
from app.measures import measures
from app.preferences import zone_of
from app.session.roles import actor, has_role, needs_role
from streamgauge.reading import QUANTITIES
from streamgauge.storage.correcting import (
    MAX_NOTE_CHARACTERS,
    MOST_OF_A_STATION,
    CorrectionRefused,
    list_corrections,
    make_correction,
    preview,
    undo_correction,
)
from streamgauge.storage.read_readings import Device

PAGE = 50

blueprint = Blueprint("corrections", __name__)


@blueprint.get("/stations/<device>/corrections")
@needs_role("viewer")
def show(device: str) -> str:
    """The form (operators) and what was corrected, the newest first (``?before=`` the last number of the page before)."""
    known = _find(device)
    return _render(known, empty_form(request.args, zone_of(known.time_zone)))


@blueprint.post("/stations/<device>/corrections")
@needs_role("operator")
def post_correction(device: str) -> Response | tuple[str, int] | str:
    """Show what a change would do; with ``apply=1`` make it."""
    known = _find(device)
    zone = zone_of(known.time_zone)
    asked = read_form(request.form, zone, measures())
    if asked.change is None:
        return _render(known, asked), 422
    if request.form.get("apply") != "1":
        with connections().engine.connect() as connection:
            covered = preview(connection, known.id, asked.change)
        return _render(known, asked, make_preview(asked.change, covered, zone, words()))
    try:
        with connections().engine.begin() as connection:
            make_correction(connection, device_id=known.id, device=known.name, change=asked.change, actor=actor())
    except CorrectionRefused:
        problems = {"": "corrections.bad.many"}
        return _render(known, Asked(typed=asked.typed, problems=problems)), 422
    flash(words()("corrections.done"))
    return _back(known)


@blueprint.post("/stations/<device>/corrections/<int:correction_id>/undo")
@needs_role("operator")
def post_undo(device: str, correction_id: int) -> Response:
    """Undo a correction; again is harmless."""
    known = _find(device)
    with connections().engine.begin() as connection:
        was_undone = correction_id <= LARGEST_ID and undo_correction(
            connection, device_id=known.id, device=known.name, correction_id=correction_id, actor=actor()
        )
    flash(words()("corrections.undo_done" if was_undone else "corrections.undo_none"))
    return _back(known)


def _find(name: str) -> Device:
    with connections().engine.connect() as connection:
        return named_device(connection, name)


def _back(device: Device) -> Response:
    return cast("Response", redirect(f"/stations/{device.name}/corrections", code=303))


def _render(device: Device, asked: Asked, shown: PreviewView | None = None) -> str:
    zone = zone_of(device.time_zone)
    with connections().engine.connect() as connection:
        found = list_corrections(connection, device.id, read_before(), PAGE + 1)
    t = words()
    return render_template(
        "corrections/index.html",
        device=device,
        title=device.display_name or device.name,
        asked=asked,
        preview=shown,
        corrections=[make_correction_view(one, zone, t) for one in found[:PAGE]],
        following=found[PAGE - 1].id if len(found) > PAGE else None,
        may_write=has_role("operator"),
        quantities={name: quantity_name(name, t) for name in QUANTITIES},
        flags=FLAG_KEYS,
        hows=HOWS,
        most_note_characters=MAX_NOTE_CHARACTERS,
        limits={"n": t.number(MOST_OF_A_STATION, 0), "characters": t.number(MAX_NOTE_CHARACTERS, 0)},
        zone_name=zone.key,
    )
