"""``POST /api/v1/webhooks/chirpstack`` and ``…/tts``: uplinks that a network server sends itself.

201 when what the uplink held is committed, not before; 204 for what holds nothing to be stored; 422 with the dead letter's
reason for what is refused. From the door on an uplink goes the same way as one that came by MQTT.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Response, request
from msgspec import Meta, Struct
from werkzeug.exceptions import BadRequest

from app.api.answers import json_answer
from app.api.commit import answer_not_committed, commit, limits_of, refuse_if_full
from app.api.declare import Answer, endpoint, json_of
from app.api.schemas import CommittedObject
from app.connections import connections
from app.errors import problem
from streamgauge.errors import NotCommittedInTime
from streamgauge.metrics import READINGS_DEAD, READINGS_RECEIVED, UPLINKS
from streamgauge.network_servers import chirpstack, the_things_stack
from streamgauge.queue import Message
from streamgauge.reading import to_microseconds
from streamgauge.wire import Arrival, decode_uplink


class EventQuery(Struct, kw_only=True):
    """What ChirpStack adds to the address."""

    event: Annotated[str | None, Meta(description="Which event it is; `up` where it is absent.")] = None


_ANSWERS = {
    201: json_of("What the uplink held is committed.", CommittedObject),
    204: Answer("It holds nothing to be stored."),
}


@endpoint(
    "POST",
    "/webhooks/chirpstack",
    scope="ingest",
    tag="Readings",
    summary="Take an event of ChirpStack v4's HTTP integration",
    query=EventQuery,
    body=(dict[str, Any],),
    answers=_ANSWERS,
    problems=(400, 422, 503),
)
def post_chirpstack(query: EventQuery) -> Response:
    """It says in ``event`` what it is; everything but uplinks is answered with 204 (docs/network-servers.md)."""
    event = query.event or chirpstack.UPLINK_EVENT
    if event in chirpstack.OTHER_EVENTS:
        return _ignored(chirpstack.NETWORK)
    if event != chirpstack.UPLINK_EVENT:
        known = ", ".join(sorted({chirpstack.UPLINK_EVENT} | chirpstack.OTHER_EVENTS))
        raise BadRequest(f"event must be one of ChirpStack v4's: {known}")
    return _take(chirpstack.NETWORK)


@endpoint(
    "POST",
    "/webhooks/tts",
    scope="ingest",
    tag="Readings",
    summary="Take an upstream message of The Things Stack v3's webhooks",
    body=(dict[str, Any],),
    answers=_ANSWERS,
    problems=(422, 503),
)
def post_the_things_stack() -> Response:
    """Everything but uplinks is answered with 204 (docs/network-servers.md)."""
    return _take(the_things_stack.NETWORK)


def _take(network: str) -> Response:
    linked = connections()
    now = datetime.now(UTC)
    arrival = decode_uplink(network, request.get_data(), limits_of(linked.settings), now)
    if arrival.ignored is not None:
        return _ignored(network)
    if (refusal := refuse_if_full(linked)) is not None:
        return refusal
    READINGS_RECEIVED.labels(network).inc()
    for item in arrival.rejected:
        READINGS_DEAD.labels(item.reason).inc()
        UPLINKS.labels(network, "refused").inc()
    message = Message(f"POST {request.path}", network, to_microseconds(now))
    try:
        committed = commit(linked, message, [], arrival.rejected, arrival.uplinks)
    except NotCommittedInTime:
        return answer_not_committed(linked.settings, "The uplink is")
    lost = _first_reason(arrival) or next(((loss.reason, loss.detail) for loss in committed.losses.values()), None)
    if lost is None:
        return json_answer({"committed": True}, 201)
    reason, detail = lost
    return problem(422, "Uplink refused", f"{detail} It is kept as a dead letter.", reason=reason)


def _first_reason(arrival: Arrival) -> tuple[str, str] | None:
    return next(((str(item.reason), item.detail) for item in arrival.rejected), None)


def _ignored(network: str) -> Response:
    UPLINKS.labels(network, "ignored").inc()
    return Response(status=204)
