"""``/stations/<device>/records``: a site's notes and photos, to read, add and take away."""

from typing import cast

from flask import Blueprint, Response, abort, flash, redirect, render_template, request

from app.addresses import LARGEST_ID, named_device
from app.connections import connections
from app.i18n import words
from app.preferences import zone_of
from app.session.roles import actor, has_role, needs_role
from app.site.pictures import LONGEST_WAIT_S, MAX_BYTES, MAX_PIXELS, MAX_PIXELS_WHOLE, BadPicture, read_picture
from streamgauge.storage.read_readings import Device
from streamgauge.storage.site_records import (
    MAX_NOTE_CHARACTERS,
    MOST_NOTES,
    MOST_PHOTOS,
    TooManyNotes,
    TooManyPhotos,
    add_note,
    add_photo,
    list_notes,
    list_photos,
    read_photo,
    remove_note,
    remove_photo,
)

MAX_CAPTION_CHARACTERS = 200
FORM_BYTES = 64 * 2**10
"""What a form may have around the photo."""
PHOTO_MAX_AGE_S = 86_400

blueprint = Blueprint("site", __name__)


@blueprint.get("/stations/<device>/records")
@needs_role("viewer")
def show_records(device: str) -> str:
    """Notes and photos: a page, and to HTMX the part that other pages show."""
    template = "site/_records.html" if "HX-Request" in request.headers else "site/records.html"
    return _render(template, _find(device))


@blueprint.post("/stations/<device>/notes")
@needs_role("operator")
def post_note(device: str) -> Response | tuple[str, int]:
    """Keep a note (``text``)."""
    known, said = _find(device), request.form.get("text", "")
    try:
        with connections().engine.begin() as connection:
            add_note(connection, device_id=known.id, device=known.name, words=said, actor=actor())
    except TooManyNotes:
        problem = words()("records.notes_many", n=MOST_NOTES)
        return _render("site/records.html", known, note=said, note_problem=problem), 422
    except ValueError:
        problem = words()("records.note_bad", n=words().number(MAX_NOTE_CHARACTERS, 0))
        return _render("site/records.html", known, note=said, note_problem=problem), 422
    return _back(known, "records.note_added")


@blueprint.post("/stations/<device>/notes/<int:note_id>/remove")
@needs_role("operator")
def post_remove_note(device: str, note_id: int) -> Response:
    """Take a note away."""
    known = _find(device)
    with connections().engine.begin() as connection:
        if note_id > LARGEST_ID or not remove_note(
            connection, device_id=known.id, device=known.name, note_id=note_id, actor=actor()
        ):
            abort(404)
    return _back(known, "records.note_removed")


@blueprint.post("/stations/<device>/photos")
@needs_role("operator")
def post_photo(device: str) -> Response:
    """Keep a photo (``photo``) with what it shows (``caption``)."""
    known = _find(device)
    caption = request.form.get("caption", "").strip()
    try:
        if len(caption) > MAX_CAPTION_CHARACTERS or "\0" in caption:
            raise BadPicture("caption")
        sent = request.files.get("photo")
        picture = read_picture(sent.read(MAX_BYTES + 1) if sent else b"")
        with connections().engine.begin() as connection:
            add_photo(
                connection, device_id=known.id, device=known.name, picture=picture, caption=caption, actor=actor()
            )
    except (BadPicture, TooManyPhotos) as error:
        return _refuse_photo(known, caption, error.reason if isinstance(error, BadPicture) else "many")
    return _back(known, "records.photo_added")


@blueprint.get("/stations/<device>/photos/<int:photo_id>")
@needs_role("viewer")
def show_photo(device: str, photo_id: int) -> Response:
    """A photo's bytes; ``?small=1`` for the small one."""
    known = _find(device)
    with connections().engine.connect() as connection:
        found = (
            read_photo(connection, known.id, photo_id, small=bool(request.args.get("small")))
            if photo_id <= LARGEST_ID
            else None
        )
    if found is None:
        abort(404)
    # A photo never changes under its number; who signs out leaves none behind in shared caches.
    headers = {"Cache-Control": f"private, max-age={PHOTO_MAX_AGE_S}", "Content-Disposition": "inline"}
    return Response(found[0], content_type=found[1], headers=headers)


@blueprint.post("/stations/<device>/photos/<int:photo_id>/remove")
@needs_role("operator")
def post_remove_photo(device: str, photo_id: int) -> Response:
    """Take a photo away."""
    known = _find(device)
    with connections().engine.begin() as connection:
        if photo_id > LARGEST_ID or not remove_photo(
            connection, device_id=known.id, device=known.name, photo_id=photo_id, actor=actor()
        ):
            abort(404)
    return _back(known, "records.photo_removed")


@blueprint.before_app_request
def _let_photos_be_large() -> None:
    """A photo may be larger than a message of readings; nobody else's form may."""
    if request.endpoint == "site.post_photo":
        request.max_content_length = MAX_BYTES + FORM_BYTES


def _find(name: str) -> Device:
    with connections().engine.connect() as connection:
        return named_device(connection, name)


def _back(device: Device, said: str) -> Response:
    flash(words()(said))
    return cast("Response", redirect(f"/stations/{device.name}/records", code=303))


def _refuse_photo(device: Device, caption: str, reason: str) -> Response:
    problem = words()(
        f"records.photo_bad.{reason}",
        mebibytes=MAX_BYTES // 2**20,
        n=MOST_PHOTOS,
        characters=MAX_CAPTION_CHARACTERS,
        millions=MAX_PIXELS // 10**6,
        millions_whole=MAX_PIXELS_WHOLE // 10**6,
    )
    page = _render("site/records.html", device, caption=caption, photo_problem=problem)
    if reason == "busy":
        return Response(page, 503, {"Retry-After": str(LONGEST_WAIT_S)})
    return Response(page, 422)


def _render(template: str, device: Device, **typed: str) -> str:
    with connections().engine.connect() as connection:
        notes, photos = list_notes(connection, device.id), list_photos(connection, device.id)
    return render_template(
        template,
        device=device,
        title=device.display_name or device.name,
        notes=notes,
        photos=photos,
        zone=zone_of(device.time_zone),
        may_write=has_role("operator"),
        most_note_characters=MAX_NOTE_CHARACTERS,
        most_caption_characters=MAX_CAPTION_CHARACTERS,
        **typed,
    )
