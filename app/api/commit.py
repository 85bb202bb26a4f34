"""From a request to the commit of what it held: through the same queue and workers as everything that comes by MQTT."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from flask import Response
from redis import RedisError

from app.connections import Connections
from app.errors import RETRY_AFTER_S, problem
from streamgauge.errors import QueueUnavailable
from streamgauge.queue import (
    READINGS,
    Loss,
    Message,
    enqueue_ingest,
    ingest_body,
    new_task_id,
    newest_notice_id,
    queue_length,
    wait_for_commit,
)
from streamgauge.reading import Reading
from streamgauge.settings import WebSettings
from streamgauge.wire import Limits, RawUplink, Rejected

RECIPIENT = "web"
FULL_RETRY_AFTER_S = 10


@dataclass(frozen=True, slots=True)
class Committed:
    """What the worker had to set aside of a request: how many readings and uplinks, and why, as far as it is told."""

    dead: int = 0
    losses: Mapping[int, Loss] = field(default_factory=dict)


def limits_of(settings: WebSettings) -> Limits:
    """What is accepted at the door, the same as for MQTT."""
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_batch_readings=settings.max_batch_readings,
        earliest=settings.earliest_time,
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
    )


def refuse_if_full(linked: Connections) -> Response | None:
    """503 while as many tasks wait as make the subscriber pause: what comes by HTTP must not starve what comes by MQTT.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    try:
        waiting = queue_length(linked.redis, READINGS)
    except RedisError as error:
        raise QueueUnavailable(f"Redis did not answer ({error})") from error
    if waiting < linked.settings.queue_pause_length:
        return None
    detail = (
        f"{waiting} tasks wait for workers, {linked.settings.queue_pause_length} are the most. Nothing was taken: "
        "send it again later."
    )
    return problem(503, "Queue full", detail, {"Retry-After": str(FULL_RETRY_AFTER_S)})


def commit(
    linked: Connections,
    message: Message,
    readings: Sequence[Reading],
    rejected: Sequence[Rejected],
    uplinks: Sequence[RawUplink] = (),
) -> Committed:
    """Enqueue what one request held, and wait until all of it is committed.

    Raises:
        NotCommittedInTime: nothing was heard of it in time.
        QueueUnavailable: Redis does not answer.
    """
    settings = linked.settings
    deadline_s = time.monotonic() + settings.commit_timeout_s
    size = settings.task_max_readings
    dead, losses = 0, dict[int, Loss]()
    try:
        after_id = newest_notice_id(linked.waiting_redis)
    except RedisError as error:
        raise QueueUnavailable(f"Redis did not answer ({error})") from error
    others = [(0, item) for item in rejected], [(0, uplink) for uplink in uplinks]
    for first in range(0, max(1, len(readings)), size):
        part = [(0, reading) for reading in readings[first : first + size]]
        task_id = new_task_id()
        body = ingest_body([message], part, *(others if first == 0 else ([], [])))
        enqueue_ingest(linked.producer, task_id, RECIPIENT, body)
        # One after the other: two workers could otherwise take consecutive readings of a station in either order.
        notice = wait_for_commit(linked.waiting_redis, task_id, after_id, max(0.001, deadline_s - time.monotonic()))
        dead += sum(notice.dead.values())
        losses = {**notice.losses, **losses}
    return Committed(dead, losses)


def answer_not_committed(settings: WebSettings, what: str) -> Response:
    """503: it may still be stored, and repeating it is harmless.

    Args:
        settings: of the web.
        what: what was sent, as the beginning of a sentence: "The readings are".
    """
    detail = (
        f"{what} queued, but the commit was not heard of within {settings.commit_timeout_s:g} s. "
        "Send it again: repeating is harmless."
    )
    return problem(503, "Not committed in time", detail, {"Retry-After": str(RETRY_AFTER_S)})
