"""``/alerts``: the list in the order of need, one alert with its history, and what an operator does with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from flask import Blueprint, Response, abort, flash, redirect, render_template, request
from sqlalchemy import Connection

from app.alerts.presenter import AlertView, digest, make_alert, make_alerts, make_history
from app.api.parameters import decode_position_cursor, encode_position_cursor
from app.connections import connections
from app.i18n import words
from app.measures import measures
from app.preferences import safe_next
from app.session.roles import actor, has_role, needs_role
from streamgauge.storage.alerts import (
    ACKNOWLEDGED,
    MAX_COMMENT_CHARACTERS,
    OPEN,
    RESOLVED,
    STATES,
    AlertResolved,
    AlertUnknown,
    BadComment,
    Position,
    Step,
    acknowledge_alert,
    comment_alert,
    count_unresolved,
    get_alert,
    list_alerts,
    list_urgent,
    read_history,
    resolve_alert,
)

blueprint = Blueprint("alerts", __name__)
UNRESOLVED, ALL = "unresolved", "all"
CHOICES = {
    UNRESOLVED: (OPEN, ACKNOWLEDGED),
    OPEN: (OPEN,),
    ACKNOWLEDGED: (ACKNOWLEDGED,),
    RESOLVED: (RESOLVED,),
    ALL: STATES,
}
"""What ``?state=`` may be; the first is what counts where nothing is."""
OFFERED = (UNRESOLVED, RESOLVED, ALL)
"""Those that the page offers; the others are for links."""
MOST_URGENT = 200
PAGE = 50


@blueprint.get("/alerts")
@needs_role("viewer")
def show_alerts() -> str:
    """The list: by need while alerts are not over, else newest first, by pages."""
    return render_template("alerts/index.html", **_read_list())


@blueprint.get("/alerts/list")
@needs_role("viewer")
def show_list() -> Response | str:
    """The list alone, asked for every few seconds: nothing (204) while it is as the page has it (``seen=``)."""
    content = _read_list()
    if content["digest"] == request.args.get("seen"):
        return Response(status=204)
    return render_template("alerts/_list.html", **content)


@blueprint.get("/alerts/<int:alert_id>")
@needs_role("viewer")
def show_alert(alert_id: int) -> str:
    """One alert: what raised it, who has it, what was done."""
    return render_template("alerts/alert.html", **_read_alert(alert_id))


@blueprint.post("/alerts/<int:alert_id>/acknowledge")
@needs_role("operator")
def post_acknowledge(alert_id: int) -> Response | tuple[str, int]:
    """Take an alert; again is harmless. Form: ``comment``, ``next`` (a path of ours to go to afterwards)."""
    return _act(alert_id, "acknowledge", acknowledge_alert)


@blueprint.post("/alerts/<int:alert_id>/comment")
@needs_role("operator")
def post_comment(alert_id: int) -> Response | tuple[str, int]:
    """Say something of an alert."""
    return _act(alert_id, "comment", comment_alert)


@blueprint.post("/alerts/<int:alert_id>/resolve")
@needs_role("operator")
def post_resolve(alert_id: int) -> Response | tuple[str, int]:
    """Say that an alert is over; again is harmless."""
    return _act(alert_id, "resolve", resolve_alert)


def _act(alert_id: int, action: str, act: Callable[..., Step]) -> Response | tuple[str, int]:
    typed = request.form.get("comment", "")
    try:
        with connections().engine.begin() as connection:
            step = act(connection, alert_id, by=actor(), comment=typed)
    except AlertUnknown:
        abort(404)
    except AlertResolved:
        return _again(alert_id, action, typed, "alerts.error.resolved", 409)
    except BadComment:
        problem = "alerts.error.comment" if typed.strip() else "alerts.error.empty"
        return _again(alert_id, action, typed, problem, 422)
    target = safe_next(request.form.get("next") or f"/alerts/{alert_id}")
    if target.startswith("/alerts"):
        flash(words()(f"alerts.done.{action}" if step.changed else "alerts.done.nothing"))
    return cast("Response", redirect(target, code=303))


def _again(alert_id: int, action: str, typed: str, problem: str, status: int) -> tuple[str, int]:
    """The alert's own page with what was typed and what is wrong with it."""
    # An alert that is over has no form to take it: what was said of it goes into the one for comments.
    action = "comment" if problem == "alerts.error.resolved" else action
    said = words()(problem, n=words().number(MAX_COMMENT_CHARACTERS, 0))
    content = _read_alert(alert_id) | {"refused": action, "typed": typed, "problem": said}
    return render_template("alerts/alert.html", **content), status


def _read_alert(alert_id: int) -> dict[str, Any]:
    with connections().engine.connect() as connection:
        alert = get_alert(connection, alert_id)
        if alert is None:
            abort(404)
        events = read_history(connection, alert_id)
    t = words()
    return {
        "alert": make_alert(alert, datetime.now(UTC), t, measures()),
        "history": make_history(events, alert.time_zone, t),
        "may_act": has_role("operator"),
        "max_comment": MAX_COMMENT_CHARACTERS,
        "next": safe_next(request.values.get("next") or f"/alerts/{alert_id}"),
    }


def _read_list() -> dict[str, Any]:
    chosen = request.args.get("state", "")
    chosen = chosen if chosen in CHOICES else UNRESOLVED
    with connections().engine.connect() as connection:
        alerts, following = _read_chosen(connection, chosen)
        counts = count_unresolved(connection)
    return {
        "alerts": alerts,
        "following": following,
        "chosen": chosen,
        "choices": OFFERED if chosen in OFFERED else (*OFFERED, chosen),
        "counts": {**counts, UNRESOLVED: sum(counts.values())},
        "is_first": not request.args.get("cursor"),
        "has_more": chosen != ALL and RESOLVED not in CHOICES[chosen] and len(alerts) == MOST_URGENT,
        "most": MOST_URGENT,
        "digest": digest(alerts),
        "may_act": has_role("operator"),
        "max_comment": MAX_COMMENT_CHARACTERS,
    }


def _read_chosen(connection: Connection, chosen: str) -> tuple[list[AlertView], str | None]:
    """The alerts of a list, and the cursor of what follows."""
    states, now = CHOICES[chosen], datetime.now(UTC)
    if RESOLVED not in states:
        return make_alerts(list_urgent(connection, MOST_URGENT, states), now, words(), measures()), None
    cursor = request.args.get("cursor")
    after = Position(*decode_position_cursor(cursor)) if cursor else None
    found = list_alerts(connection, states=states, after=after, limit=PAGE + 1)
    page = found[:PAGE]
    following = encode_position_cursor(page[-1].opened_at, page[-1].id) if len(found) > PAGE else None
    return make_alerts(page, now, words(), measures()), following
