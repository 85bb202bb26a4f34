"""``/devices``: which there are, one device, registering and changing it, taking it out of service and back."""

from dataclasses import replace
from typing import Any, cast

from flask import Blueprint, Response, abort, flash, redirect, render_template, request
from sqlalchemy import Connection

from app.connections import connections
from app.devices.entry import Problem, Typed, settle, typed_of
from app.devices.form import choices, make_form, read_form, reckon, with_preset
from app.devices.presenter import describe, make_faults, make_lines, now, say
from app.i18n import words
from app.preferences import zone_of
from app.security import allow_feature
from app.session.roles import actor, has_role, needs_role
from streamgauge.payloads import registry
from streamgauge.storage.dead_letter_rows import Selection, count_letters
from streamgauge.storage.device_rows import (
    NOT_THERE,
    PAGE_ROWS,
    STATES,
    DeviceChanged,
    DeviceRow,
    EuiTaken,
    count_devices,
    decommission,
    list_devices,
    read_device_row,
    recommission,
    write_device,
)
from streamgauge.storage.read_readings import Extent, read_extent

blueprint = Blueprint("devices", __name__)
Answer = str | tuple[str, int] | Response
LETTERS_COUNTED = 10_000
DATUM_FREE = ("level", "depth")
"""What gives a level also while nobody has said how high the sensor stands."""


@blueprint.get("/devices")
@needs_role("viewer")
def show_list() -> str:
    """The list: ``?q=`` searches, ``?state=`` chooses, ``?after=`` is the last name of the page before."""
    search, after = request.args.get("q", "")[:100], request.args.get("after", "")[:64]
    state = next((known for known in STATES if known == request.args.get("state")), "")
    with connections().engine.connect() as connection:
        found = list_devices(connection, search, state, after, PAGE_ROWS + 1)
        counts = count_devices(connection, search)
    return render_template(
        "devices/index.html",
        lines=make_lines(found[:PAGE_ROWS], now(), words()),
        next_after=found[PAGE_ROWS - 1].name if len(found) > PAGE_ROWS else None,
        is_first=not after,
        counts=counts,
        states=STATES,
        search=search,
        state=state,
    )


@blueprint.get("/devices/<name>")
@needs_role("viewer")
def show_device(name: str) -> str:
    """One device."""
    with connections().engine.connect() as connection:
        row = _known(connection, name)
        extent = read_extent(connection, row.id or 0)
        letters = count_letters(connection, Selection(device=row.name, dev_eui=row.dev_eui), LETTERS_COUNTED)
    return render_template("devices/device.html", **_device_page(row, extent, letters))


@blueprint.get("/devices/register/new")
@needs_role("operator")
def show_new() -> str:
    """An empty form; ``?name=`` and ``?dev_eui=`` fill those fields, for links from dead letters."""
    given = {name: request.args.get(name, "")[:100] for name in ("name", "dev_eui", "model")}
    return _form_page(Typed(fields={"time_zone": "UTC", "silence_limit_minutes": "60", **given}))


@blueprint.post("/devices/register/new")
@needs_role("operator")
def post_new() -> Answer:
    """Register a device."""
    return _take(None)


@blueprint.get("/devices/<name>/edit")
@needs_role("operator")
def show_edit(name: str) -> str:
    """The form of a device."""
    with connections().engine.connect() as connection:
        row = _known(connection, name)
    return _form_page(typed_of(row), row)


@blueprint.post("/devices/<name>/edit")
@needs_role("operator")
def post_edit(name: str) -> Answer:
    """Change what is said of a device."""
    with connections().engine.connect() as connection:
        row = _known(connection, name)
    return _take(row)


@blueprint.post("/devices/<name>/decommission")
@needs_role("operator")
def post_decommission(name: str) -> Response:
    """Take a device out of service."""
    with connections().engine.begin() as connection:
        _known(connection, name)
        done = decommission(connection, name, actor=actor())
    flash(words()("devices.said.decommissioned" if done else "devices.said.was_out"))
    return _to_device(name)


@blueprint.post("/devices/<name>/recommission")
@needs_role("operator")
def post_recommission(name: str) -> Response:
    """Take a device into service again."""
    with connections().engine.begin() as connection:
        _known(connection, name)
        done = recommission(connection, name, actor=actor())
    flash(words()("devices.said.recommissioned" if done else "devices.said.was_in"))
    return _to_device(name)


def _take(known: DeviceRow | None) -> Answer:
    """Carry out what a posted form asks for: another look at it, or to save it."""
    typed, asked = read_form(request.form), request.form.get("do", "save")
    if known is not None:
        typed = replace(typed, fields={**typed.fields, "name": known.name})
    if asked != "save":
        shown = with_preset(typed, asked.removeprefix("preset-")) if asked.startswith("preset-") else typed
        return _form_page(shown, known)
    row, problems = settle(typed, known)
    if problems:
        return _form_page(typed, known, problems), 422
    seen = request.form.get("seen", "") if known else NOT_THERE
    try:
        with connections().engine.begin() as connection:
            came = write_device(connection, row, actor=actor(), seen=seen)
    except DeviceChanged:
        where, key = ("", "changed") if known else ("name", "name_taken")
        return _form_page(typed, known, (Problem(where, f"devices.fault.{key}"),)), 409
    except EuiTaken as error:
        taken = Problem("dev_eui", "devices.fault.eui_taken", {"holder": error.holder or "?"})
        return _form_page(typed, known, (taken,)), 422
    flash(words()(f"devices.said.{came}"))
    return _to_device(row.name)


def _form_page(typed: Typed, known: DeviceRow | None = None, problems: tuple[Problem, ...] = ()) -> str:
    return form_page(typed, known, problems)


def form_page(typed: Typed, known: DeviceRow | None = None, problems: tuple[Problem, ...] = (), **more: Any) -> str:
    """The form with what was typed and what is wrong with it.

    Args:
        typed: what stands in it.
        known: the device; None for a new one.
        problems: by field.
        more: what else the page says, such as what a QR code said.
    """
    allow_feature("geolocation")
    t = words()
    seen = request.form.get("seen") or (known.version if known else "")
    return render_template(
        "devices/form.html",
        form=make_form(typed, request.form.get("sample", ""), problems),
        found=make_faults(problems, t),
        say=lambda problem: say(problem, t),
        known=known,
        seen=seen,
        **choices(),
        **more,
    )


def _device_page(row: DeviceRow, extent: Extent | None, letters: int) -> dict[str, Any]:
    t = words()
    measures = registry.find(row.model).measures if row.model in registry.models() else None
    typed = typed_of(row)
    return {
        "device": row,
        "about": describe(row, t),
        "extent": extent,
        "heard": t.age(max(0.0, (now() - extent.newest).total_seconds())) if extent else "",
        "zone": zone_of(row.time_zone),
        "letters": letters,
        "arithmetic": reckon(measures, typed) if measures in {"distance", "depth", "pressure", "level"} else None,
        "needs_height": measures not in (None, "other", *DATUM_FREE) and "sensor_height_m" not in row.installation,
        "may_act": has_role("operator"),
    }


def _known(connection: Connection, name: str) -> DeviceRow:
    row = read_device_row(connection, name)
    if row is None:
        abort(404)
    return row


def _to_device(name: str) -> Response:
    return cast("Response", redirect(f"/devices/{name}", code=303))
