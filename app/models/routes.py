"""``/models``: which model is in use, what may take its place, and the moves between them."""

import logging
from collections.abc import Callable
from typing import cast

from flask import Blueprint, Response, abort, flash, redirect, render_template, request
from sqlalchemy import Connection

from app.connections import connections
from app.i18n import words
from app.models.page import may_act, read_known, read_page
from app.models.presenter import SHORT, make_model
from app.session import login_required
from app.session.roles import actor, needs_role
from streamgauge.queue import RETRAIN_TASK, enqueue_batch
from streamgauge.storage.model_aliases import (
    GENERAL,
    REASON_MAX_CHARACTERS,
    MoveOutdated,
    MoveRefused,
    Seen,
    challenge,
    promote,
    roll_back,
    withdraw,
)
from streamgauge.storage.models import read_model

log = logging.getLogger(__name__)

blueprint = Blueprint("models", __name__)

acting_required = needs_role("operator")
"""Let only those in who may change something."""


@blueprint.get("/models")
@login_required
def show() -> str:
    """The page."""
    with connections().engine.connect() as connection:
        return render_template("models/index.html", **read_page(connection, words()))


@blueprint.get("/models/<int:model_id>")
@login_required
def show_model(model_id: int) -> str:
    """A model's card, to read."""
    with connections().engine.connect() as connection:
        model = read_model(connection, model_id) if model_id < 2**31 else None
        if model is None:
            abort(404)
        places = [alias for alias in read_known(connection).aliases if alias.model_id == model_id]
    found = model.card.get("libraries")
    named = [f"{name} {version}" for name, version in found.items()] if isinstance(found, dict) else []
    return render_template(
        "models/model.html",
        model=make_model(model, words()),
        stored=model,
        places=places,
        libraries=words()("list.separator").join(named),
        may_act=may_act(),
    )


@blueprint.post("/models/<int:model_id>/promote")
@acting_required
def post_promote(model_id: int) -> Response | tuple[str, int]:
    """Make a model champion of a scope; without a passed gate only for a written reason."""
    reason = request.form.get("reason", "").strip()[:REASON_MAX_CHARACTERS] or None
    _known(model_id)
    if "force" in request.form and reason is None:
        return _refused(words()("models.reason_needed"))

    def move(connection: Connection, scope: int) -> str:
        promote(connection, device_id=scope, model_id=model_id, by=actor(), reason=reason, seen=_seen())
        return words()("models.promoted", model=_short(connection, model_id))

    return _move(move)


@blueprint.post("/models/<int:model_id>/challenge")
@acting_required
def post_challenge(model_id: int) -> Response | tuple[str, int]:
    """Let a model score in the shadow of a scope's champion."""
    _known(model_id)

    def move(connection: Connection, scope: int) -> str:
        challenge(connection, device_id=scope, model_id=model_id, by=actor())
        return words()("models.challenges", model=_short(connection, model_id))

    return _move(move)


@blueprint.post("/models/roll-back")
@acting_required
def post_roll_back() -> Response | tuple[str, int]:
    """Give a scope the champion that it had before."""

    def move(connection: Connection, scope: int) -> str:
        back = roll_back(connection, device_id=scope, by=actor(), seen=_seen())
        if back is None:
            return words()("models.rolled_back_to_general")
        return words()("models.rolled_back", model=_short(connection, back))

    return _move(move)


@blueprint.post("/models/withdraw")
@acting_required
def post_withdraw() -> Response | tuple[str, int]:
    """Take a scope's challenger away."""

    def move(connection: Connection, scope: int) -> str:
        withdraw(connection, device_id=scope, by=actor(), seen=_seen())
        return words()("models.withdrawn")

    return _move(move)


@blueprint.post("/models/retrain")
@acting_required
def post_retrain() -> Response:
    """Ask for a new model from the stored history; what comes of it becomes a challenger."""
    enqueue_batch(connections().producer, RETRAIN_TASK, {"devices": None, "by": actor()})
    flash(words()("models.retraining"))
    return cast("Response", redirect("/models", code=303))


def _move(move: Callable[[Connection, int], str]) -> Response | tuple[str, int]:
    """Carry out a move of an alias in one transaction, and say what happened."""
    scope = request.form.get("scope", str(GENERAL))
    if not scope.isdecimal() or len(scope) > 18:
        abort(400)
    try:
        with connections().engine.begin() as connection:
            said = move(connection, int(scope))
    except MoveOutdated as refusal:
        log.info("move of a model refused", extra={"reason": str(refusal), "by": actor()})
        return _refused(words()("models.outdated"))
    except MoveRefused as refusal:
        log.info("move of a model refused", extra={"reason": str(refusal), "by": actor()})
        return _refused(words()("models.refused"), str(refusal))
    flash(said)
    return cast("Response", redirect("/models", code=303))


def _known(model_id: int) -> None:
    if model_id >= 2**31:  # no id that Postgres could look for
        abort(404)


def _seen() -> Seen | None:
    """Which model the page showed in the place that is to change: its id, or nothing for none. Scripts may leave it out."""
    shown = request.form.get("seen")
    if shown is None:
        return None
    if shown and not (shown.isascii() and shown.isdecimal() and len(shown) < 10):
        abort(400)
    return Seen(model_id=int(shown) if shown else None)


def _refused(problem: str, detail: str = "") -> tuple[str, int]:
    with connections().engine.connect() as connection:
        content = read_page(connection, words())
    return render_template("models/index.html", problem=problem, detail=detail, **content), 409


def _short(connection: Connection, model_id: int) -> str:
    model = read_model(connection, model_id)
    return model.sha256[:SHORT] if model else str(model_id)
