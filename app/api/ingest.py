"""``POST /api/v1/readings``: 201 when the readings are committed, not before."""

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from flask import Response, request
from redis import RedisError

from app.api.access import needs
from app.api.answers import json_answer
from app.api.blueprint import blueprint
from app.connections import Connections, connections
from app.errors import RETRY_AFTER_S, problem
from streamgauge.errors import DeadReason, NotCommittedInTime, QueueUnavailable
from streamgauge.metrics import READINGS_DEAD, READINGS_RECEIVED
from streamgauge.queue import (
    Message,
    enqueue_ingest,
    ingest_body,
    new_task_id,
    newest_notice_id,
    wait_for_commit,
)
from streamgauge.reading import Reading, to_microseconds
from streamgauge.settings import WebSettings
from streamgauge.wire import Limits, Rejected, decode_readings

log = logging.getLogger(__name__)
TOPIC = "POST /api/v1/readings"
SOURCE = "http"
RECIPIENT = "web"
MAX_NAMED_PROBLEMS = 100


@dataclass(slots=True)
class Received:
    """What one request held; ``rejected`` with the index of each in the request's array (None: the request as a whole)."""

    readings: list[Reading] = field(default_factory=list)
    rejected: list[tuple[int | None, Rejected]] = field(default_factory=list)


@blueprint.post("/readings")
@needs("write")
def post_readings() -> Response:
    """Take one reading or an array of them through the queue, and answer when a worker has committed them."""
    linked = connections()
    now = datetime.now(UTC)
    received = receive(request.get_data(), limits_of(linked.settings), now)
    READINGS_RECEIVED.labels(SOURCE).inc(len(received.readings) + sum(item.readings for _, item in received.rejected))
    for _, item in received.rejected:
        READINGS_DEAD.labels(item.reason).inc(max(1, item.readings))
    try:
        dead_later = _commit(linked, received, now)
    except NotCommittedInTime:
        detail = (
            f"The readings are queued, but their commit was not heard of within {linked.settings.commit_timeout_s:g} s. "
            "Send them again: repeating is harmless."
        )
        return problem(503, "Not committed in time", detail, {"Retry-After": str(RETRY_AFTER_S)})
    return _answer(received, dead_later)


def limits_of(settings: WebSettings) -> Limits:
    """What is accepted at the door, the same as for MQTT."""
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_batch_readings=settings.max_batch_readings,
        earliest=settings.earliest_time,
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
    )


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


def _commit(linked: Connections, received: Received, now: datetime) -> int:
    """Enqueue, and wait for the commit of everything. Returns how many sound readings the worker had to set aside."""
    settings = linked.settings
    deadline_s = time.monotonic() + settings.commit_timeout_s
    message = [Message(TOPIC, SOURCE, to_microseconds(now))]
    rejected = [(0, item) for _, item in received.rejected]
    size = settings.task_max_readings
    dead = 0
    try:
        after_id = newest_notice_id(linked.waiting_redis)
    except RedisError as error:
        raise QueueUnavailable(f"Redis did not answer ({error})") from error
    for first in range(0, max(1, len(received.readings)), size):
        part = [(0, reading) for reading in received.readings[first : first + size]]
        task_id = new_task_id()
        enqueue_ingest(linked.producer, task_id, RECIPIENT, ingest_body(message, part, rejected if first == 0 else []))
        # One after the other: two workers could otherwise take consecutive readings of a station in either order.
        left_s = max(0.001, deadline_s - time.monotonic())
        dead += sum(wait_for_commit(linked.waiting_redis, task_id, after_id, left_s).dead.values())
    return dead


def _answer(received: Received, dead_later: int) -> Response:
    stored = len(received.readings) - dead_later
    dead = sum(item.readings for _, item in received.rejected) + dead_later
    if not received.rejected and not dead_later:
        return json_answer({"stored": stored, "dead": 0}, 201)
    named: list[dict[str, Any]] = [
        {"index": index, "reason": str(item.reason), "detail": item.detail}
        for index, item in received.rejected[:MAX_NAMED_PROBLEMS]
    ]
    detail = f"{dead} of {stored + dead} readings were refused and kept as dead letters; {stored} are stored."
    if dead_later:
        detail += f" Of them {dead_later} by the worker: an unknown device, or other values at a time that is stored."
    return problem(422, "Readings refused", detail, stored=stored, dead=dead, errors=named)
