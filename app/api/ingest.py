"""``POST /api/v1/readings``: 201 when the readings are committed, not before."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Response, request

from app.api.answers import json_answer
from app.api.commit import Committed, answer_not_committed, commit, limits_of, refuse_if_full
from app.api.declare import endpoint, json_of
from app.api.schemas import StoredObject, WireReading
from app.connections import connections
from app.errors import problem
from streamgauge.errors import DeadReason, NotCommittedInTime
from streamgauge.metrics import READINGS_DEAD, READINGS_RECEIVED
from streamgauge.queue import Message
from streamgauge.reading import Reading, to_microseconds
from streamgauge.wire import Limits, Rejected, decode_readings

log = logging.getLogger(__name__)
TOPIC = "POST /api/v1/readings"
SOURCE = "http"
MAX_NAMED_PROBLEMS = 100


@dataclass(slots=True)
class Received:
    """What one request held; ``rejected`` with the index of each in the request's array (None: the request as a whole)."""

    readings: list[Reading] = field(default_factory=list)
    rejected: list[tuple[int | None, Rejected]] = field(default_factory=list)


@endpoint(
    "POST",
    "/readings",
    scope="ingest",
    tag="Readings",
    summary="Take readings",
    body=(WireReading, list[WireReading]),
    answers={201: json_of("Every reading is committed.", StoredObject)},
    problems=(422, 503),
)
def post_readings() -> Response:
    """One reading or an array of them goes through the queue, and the answer comes when a worker has committed them.

    Refused readings (422) are named with their place in the array and kept as dead letters; the others are stored. 503 says that
    nothing is known to be stored; sending it again is harmless.
    """
    linked = connections()
    if (refusal := refuse_if_full(linked)) is not None:
        return refusal
    now = datetime.now(UTC)
    received = receive(request.get_data(), limits_of(linked.settings), now)
    READINGS_RECEIVED.labels(SOURCE).inc(len(received.readings) + sum(item.readings for _, item in received.rejected))
    for _, item in received.rejected:
        READINGS_DEAD.labels(item.reason).inc(max(1, item.readings))
    message = Message(TOPIC, SOURCE, to_microseconds(now))
    try:
        committed = commit(linked, message, received.readings, [item for _, item in received.rejected])
    except NotCommittedInTime:
        return answer_not_committed(linked.settings, "The readings are")
    return _answer(received, committed)


def receive(payload: bytes, limits: Limits, now: datetime) -> Received:
    """Validate a request's body; each refused reading keeps its place in the array."""
    try:
        content = orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        rejected = Rejected(DeadReason.NOT_JSON, f"not JSON in UTF-8: {error}", payload, 1)
        return Received(rejected=[(None, rejected)])
    if not isinstance(content, list) or not 1 <= len(content) <= limits.max_batch_readings:
        readings, refused = decode_readings(content, payload, limits, now)
        return Received(readings, [(None, item) for item in refused])
    received = Received()
    for index, item in enumerate(content):
        readings, refused = decode_readings([item], b"", limits, now)
        received.readings += readings
        received.rejected += [(index, rejection._replace(payload=_own_bytes(item, payload))) for rejection in refused]
    return received


def _own_bytes(item: object, payload: bytes) -> bytes:
    """One item of an array as bytes, to be kept; the whole request if it is nested deeper than can be written."""
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:
        return payload


def _answer(received: Received, committed: Committed) -> Response:
    stored = len(received.readings) - committed.dead
    dead = sum(item.readings for _, item in received.rejected) + committed.dead
    if not dead and not received.rejected:
        return json_answer({"stored": stored, "dead": 0}, 201)
    named: list[dict[str, Any]] = [
        {"index": index, "reason": str(item.reason), "detail": item.detail}
        for index, item in received.rejected[:MAX_NAMED_PROBLEMS]
    ]
    detail = f"{dead} of {stored + dead} readings were refused and kept as dead letters; {stored} are stored."
    if committed.dead:
        detail += (
            f" Of them {committed.dead} by the worker: an unknown device, or other values at a time that is stored."
        )
    return problem(422, "Readings refused", detail, stored=stored, dead=dead, errors=named)
