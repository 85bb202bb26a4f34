"""``/api/v1/alerts``: what is wrong, and what programs do with it for people."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from flask import Response
from msgspec import Meta, Struct, field
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from app.api.access import token_name
from app.api.answers import json_answer
from app.api.declare import endpoint, json_of, read_body
from app.api.parameters import decode_position_cursor, encode_position_cursor
from app.api.schemas import AlertPage, AlertState, CommentBody, Cursor, OneAlert, OptionalCommentBody
from app.connections import connections
from streamgauge.storage.alerts import (
    STATES,
    Alert,
    AlertResolved,
    AlertUnknown,
    BadComment,
    Position,
    Step,
    acknowledge_alert,
    comment_alert,
    get_alert,
    list_alerts,
    resolve_alert,
)
from streamgauge.storage.read_readings import find_device

MAX_ALERTS = 1_000
DEFAULT_ALERTS = 100
_TAG = "Alerts"
_UNKNOWN = "No alert has this number."


class AlertsQuery(Struct, kw_only=True):
    """Which alerts."""

    state: Annotated[list[AlertState], Meta(description="In one of these states; may be given several times.")] = field(
        default_factory=list
    )
    device: Annotated[str | None, Meta(description="Of this device.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ALERTS)] = DEFAULT_ALERTS
    cursor: Cursor | None = None


@endpoint(
    "GET",
    "/alerts",
    scope="read",
    tag=_TAG,
    summary="Alerts, newest first",
    query=AlertsQuery,
    answers={200: json_of("A page of alerts.", AlertPage)},
    problems=(400, 404),
)
def get_alerts(query: AlertsQuery) -> Response:
    """Those that are not over: `state=open&state=acknowledged`."""
    after = Position(*decode_position_cursor(query.cursor)) if query.cursor else None
    with connections().engine.connect() as connection:
        device_id = None
        if query.device:
            device = find_device(connection, query.device)
            if device is None:
                raise NotFound("No device of this name is registered.")
            device_id = device.id
        states = query.state or STATES
        found = list_alerts(connection, states=states, device_id=device_id, after=after, limit=query.limit + 1)
    page = found[: query.limit]
    following = encode_position_cursor(page[-1].opened_at, page[-1].id) if len(found) > query.limit else None
    return json_answer({"alerts": [alert_object(alert) for alert in page], "next": following})


@endpoint(
    "GET",
    "/alerts/<int:alert_id>",
    scope="read",
    tag=_TAG,
    summary="One alert",
    answers={200: json_of("The alert.", OneAlert)},
    problems=(404,),
)
def get_one_alert(alert_id: int) -> Response:
    """What raised it, and who has it."""
    with connections().engine.connect() as connection:
        alert = get_alert(connection, alert_id)
    if alert is None:
        raise NotFound(_UNKNOWN)
    return json_answer({"alert": alert_object(alert)})


@endpoint(
    "POST",
    "/alerts/<int:alert_id>/acknowledge",
    scope="write",
    tag=_TAG,
    summary="Take an alert",
    body=(OptionalCommentBody,),
    needs_body=False,
    answers={200: json_of("It is taken, now or before.", OneAlert)},
    problems=(400, 404, 409),
)
def post_alert_acknowledge(alert_id: int) -> Response:
    """Whoever was first has it; again changes nothing, but a new comment is kept. 409 for an alert that is over."""
    return _act(alert_id, acknowledge_alert, read_body(OptionalCommentBody, may_be_empty=True).comment)


@endpoint(
    "POST",
    "/alerts/<int:alert_id>/comment",
    scope="write",
    tag=_TAG,
    summary="Say something of an alert",
    body=(CommentBody,),
    answers={200: json_of("The comment is kept.", OneAlert)},
    problems=(400, 404),
)
def post_alert_comment(alert_id: int) -> Response:
    """In whatever state it is; the comments before it stay in the audit log."""
    return _act(alert_id, comment_alert, read_body(CommentBody).comment)


@endpoint(
    "POST",
    "/alerts/<int:alert_id>/resolve",
    scope="write",
    tag=_TAG,
    summary="Say that an alert is over",
    body=(OptionalCommentBody,),
    needs_body=False,
    answers={200: json_of("It is over, now or before.", OneAlert)},
    problems=(400, 404),
)
def post_alert_resolve(alert_id: int) -> Response:
    """Again changes nothing, but a new comment is kept."""
    return _act(alert_id, resolve_alert, read_body(OptionalCommentBody, may_be_empty=True).comment)


def alert_object(alert: Alert) -> dict[str, Any]:
    """An alert as the API shows it."""
    fields = asdict(alert)
    return {name: value for name, value in fields.items() if name not in {"display_name", "time_zone"}}


def _act(alert_id: int, act: Callable[..., Step], comment: str | None) -> Response:
    try:
        with connections().engine.begin() as connection:
            step = act(connection, alert_id, by=f"API token {token_name()}", comment=comment)
    except AlertUnknown:
        raise NotFound(_UNKNOWN) from None
    except AlertResolved as error:
        by = error.alert.resolved_by or "itself"
        raise Conflict(f"Alert {alert_id} is over already: resolved by {by}. Nothing was changed.") from None
    except BadComment as error:
        raise BadRequest(f"The {error}. Nothing was changed.") from None
    return json_answer({"alert": alert_object(step.alert)})
