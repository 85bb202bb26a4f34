"""``/operations/dead-letters``: find them, see their bytes and what was wrong, replay one, a selection or a device's."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from flask import Response, abort, flash, redirect, render_template, request
from werkzeug.datastructures import MultiDict

from app.addresses import LARGEST_ID, read_before
from app.connections import connections
from app.i18n import words
from app.operations.blueprint import blueprint
from app.operations.presenter import content_of, counted_text, make_letter, make_letters
from app.preferences import safe_next
from app.session.roles import actor, has_role, needs_role
from app.times import BadTime, read_time
from streamgauge.errors import DeadReason, QueueUnavailable
from streamgauge.queue import REPLAY_TASK, enqueue_batch
from streamgauge.storage.dead_letter_rows import (
    COUNTED,
    LOOKED_AT,
    MAX_ID,
    MAX_WORDS,
    OPEN,
    STATES,
    Selection,
    count_by_reason,
    count_letters,
    get_letter,
    known_reason,
    list_letters,
    looked_to,
)
from streamgauge.storage.read_readings import find_device
from streamgauge.storage.replays import (
    newest_letter,
    read_progress,
    request_replay,
)

PAGE = 50
EVERYTHING = "all"
PROGRESS_WINDOW = timedelta(hours=1)
PATH = "/operations/dead-letters"
FILTERS = ("state", "reason", "device", "words", "since", "until")


@blueprint.get(PATH)
@needs_role("viewer")
def show_letters() -> str:
    """The list, newest first; its filters are the address."""
    selection, ignored = read_selection(request.args)
    before = read_before()
    with connections().engine.connect() as connection:
        found = list_letters(connection, selection, before, PAGE + 1)
        looked = looked_to(connection, selection, before) if len(found) <= PAGE else None
        count = count_letters(connection, selection, COUNTED + 1)
        reasons = count_by_reason(connection)
        is_whole = count > COUNTED or looked_to(connection, selection, MAX_ID) is None
        progress = read_progress(connection, datetime.now(UTC) - PROGRESS_WINDOW)
    return render_template(
        "operations/letters.html",
        letters=make_letters(found[:PAGE], datetime.now(UTC), words()),
        following=found[PAGE - 1].id if len(found) > PAGE else looked,
        looked_at=LOOKED_AT if looked else 0,
        is_first=before == LARGEST_ID,
        count=min(count, COUNTED),
        counted_all=count <= COUNTED and is_whole,
        reasons={reason: counted_text(number, words()) for reason, number in reasons.items()},
        all_reasons=[str(reason) for reason in DeadReason],
        states=STATES,
        chosen=request.args,
        ignored=ignored,
        progress=progress,
        counted=COUNTED,
        may_act=has_role("operator"),
        address=_address,
    )


@blueprint.get(f"{PATH}/progress")
@needs_role("viewer")
def show_progress() -> str:
    """How replays go, asked for every second while something waits."""
    with connections().engine.connect() as connection:
        progress = read_progress(connection, datetime.now(UTC) - PROGRESS_WINDOW)
    return render_template("operations/_progress.html", progress=progress, counted=COUNTED)


@blueprint.get(f"{PATH}/<int:letter_id>")
@needs_role("viewer")
def show_letter(letter_id: int) -> str:
    """One: what was wrong, and its bytes."""
    found = _get(letter_id)
    return render_template(
        "operations/letter.html",
        letter=make_letter(found[0], datetime.now(UTC), words()),
        content=content_of(found[1]),
        may_act=has_role("operator"),
    )


@blueprint.get(f"{PATH}/<int:letter_id>/payload")
@needs_role("viewer")
def get_payload(letter_id: int) -> Response:
    """Its bytes as they came, as a file."""
    headers = {"Content-Disposition": f'attachment; filename="dead-letter-{letter_id}.bin"'}
    return Response(_get(letter_id)[1], content_type="application/octet-stream", headers=headers)


@blueprint.post(f"{PATH}/replay")
@needs_role("operator")
def post_replay() -> Response:
    """Replay: ``letter`` one, ``device`` a device's, else what the filters select. ``next`` says where to go afterwards."""
    selection, ignored = read_selection(request.form)
    if ignored:
        # A selection that cannot be read must never become a larger one.
        abort(422)
    if selection.device is not None:
        with connections().engine.connect() as connection:
            device = find_device(connection, selection.device)
        if device is not None and request.form.get("device"):
            selection = Selection(**{**_fields(selection), "dev_eui": device.dev_eui})
    with connections().engine.begin() as connection:
        newest = newest_letter(connection)
        asked = request_replay(connection, selection, actor(), until=newest)
    t = words()
    if asked.after is not None:
        rest = {"selection": selection.said(), "actor": actor(), "letters": asked.letters}
        if _wake(
            {"asked": {**rest, "after": asked.after, "until": newest}}, "operations.queue_away_many", asked.letters
        ):
            flash(t("operations.replaying_many", n=t.number(asked.letters, 0)))
    elif asked.letters:
        _wake({}, "operations.queue_away")
        flash(t.count("operations.replaying", asked.letters))
    else:
        flash(t("operations.nothing_to_replay"))
    return cast("Response", redirect(safe_next(request.form.get("next") or PATH), code=303))


def read_selection(arguments: MultiDict[str, str]) -> tuple[Selection, list[str]]:
    """The selection in an address or a form, and the names of what could not be read of it."""
    ignored = []
    state = arguments.get("state") or OPEN
    if state not in (*STATES, EVERYTHING):
        ignored.append("state")
    reason = arguments.get("reason") or None
    if reason is not None and known_reason(reason) is None:
        ignored.append("reason")
    texts = {name: arguments.get(name, "").strip() for name in ("device", "words")}
    ignored += [name for name, text in texts.items() if "\0" in text or len(text) > MAX_WORDS]
    letter = arguments.get("letter", "")
    if letter and not (letter.isascii() and letter.isdecimal() and len(letter) < 19):
        ignored.append("letter")
    times = {name: _time(arguments.get(name, "")) for name in ("since", "until")}
    ignored += [name for name, time in times.items() if time is None and arguments.get(name)]
    if times["since"] and times["until"] and times["since"] >= times["until"]:
        ignored.append("until")
        times["until"] = None
    selection = Selection(
        state=None if state == EVERYTHING else state if state in STATES else OPEN,
        reason=known_reason(reason),
        device=texts["device"] if texts["device"] and "device" not in ignored else None,
        words=texts["words"] if texts["words"] and "words" not in ignored else None,
        since=times["since"],
        until=times["until"],
        letter_id=int(letter) if letter and "letter" not in ignored else None,
    )
    return selection, ignored


def _address(before: int | None = None) -> str:
    """The list's address with its filters as they are."""
    chosen = {name: value for name, value in request.args.items() if name in FILTERS}
    query = urlencode(chosen | ({"before": str(before)} if before else {}))
    return f"{PATH}?{query}" if query else PATH


def _fields(selection: Selection) -> dict[str, Any]:
    return {name: getattr(selection, name) for name in Selection.__dataclass_fields__}


def _time(text: str) -> datetime | None:
    try:
        return read_time(text, UTC)
    except BadTime:
        return None


def _get(letter_id: int) -> tuple[Any, bytes]:
    with connections().engine.connect() as connection:
        found = get_letter(connection, letter_id) if letter_id <= MAX_ID else None
    if found is None:
        abort(404)
    return found


def _wake(kwargs: dict[str, Any], otherwise: str, asked: int = 0) -> bool:
    """Wake the worker; if the queue is away, say so and return False: the schedule wakes it within a minute of its return."""
    try:
        enqueue_batch(connections().producer, REPLAY_TASK, kwargs)
    except QueueUnavailable:
        t = words()
        flash(t(otherwise, n=t.number(asked, 0)))
        return False
    return True
