"""The one place where a call becomes a Celery message: task names, queues, and the functions that enqueue.

Parts that enqueue (subscriber, web) know tasks by name only; workers (``tasks/``) give the names their code. When a task's
readings are committed, its worker puts a notice on a bounded Redis stream, ``streamgauge:stored``, for the part that waits.
"""

import base64
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any
from uuid import uuid4

import orjson
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from streamgauge.errors import NotCommittedInTime, QueueUnavailable
from streamgauge.reading import FLOAT_FIELDS, Reading, to_microseconds
from streamgauge.wire import RawUplink, Rejected

READINGS, ALERTS, BATCH = "readings", "alerts", "batch"
QUEUES = (READINGS, ALERTS, BATCH)

INGEST_TASK = "streamgauge.ingest"
MAKE_PARTITIONS_TASK = "streamgauge.maintenance.make_partitions"
DELETE_FORECASTS_TASK = "streamgauge.maintenance.delete_old_forecasts"
FORECAST_TASK = "streamgauge.forecast"
CALIBRATE_TASK = "streamgauge.calibrate"
LEARN_QUALITY_TASK = "streamgauge.quality.learn"
RESCORE_TASK = "streamgauge.rescore.chunk"
TEND_RUNS_TASK = "streamgauge.rescore.tend"
RETRAIN_TASK = "streamgauge.models.retrain"
SHADOW_TASK = "streamgauge.models.shadow"
MIRROR_TASK = "streamgauge.models.mirror"
DRIFT_TASK = "streamgauge.drift"
ROLLUP_TASK = "streamgauge.rollup"
LOOK_AGAIN_TASK = "streamgauge.rollup.look_again"
REPLAY_TASK = "streamgauge.dead_letters.replay"
QUEUE_OF_TASK = {
    INGEST_TASK: READINGS,
    FORECAST_TASK: ALERTS,
    MAKE_PARTITIONS_TASK: BATCH,
    DELETE_FORECASTS_TASK: BATCH,
    CALIBRATE_TASK: BATCH,
    LEARN_QUALITY_TASK: BATCH,
    RESCORE_TASK: BATCH,
    TEND_RUNS_TASK: BATCH,
    RETRAIN_TASK: BATCH,
    SHADOW_TASK: BATCH,
    MIRROR_TASK: BATCH,
    DRIFT_TASK: BATCH,
    ROLLUP_TASK: BATCH,
    LOOK_AGAIN_TASK: BATCH,
    REPLAY_TASK: BATCH,
}
"""What somebody waits for goes by ``readings`` and ``alerts``; what may take its time by ``batch``, with workers of its own."""

log = logging.getLogger("streamgauge.queue")

STORED_KEY = "streamgauge:stored"
STORED_MAX_NOTICES = 20_000
MAX_LOSSES_NAMED = 20
MAX_LOSS_CHARACTERS = 300
"""Notices stay small: so many messages' losses are named, in so many characters each."""
SOCKET_TIMEOUT_S = 5.0

_VALUE_NAMES = (*FLOAT_FIELDS, "seq")
_values = attrgetter(*_VALUE_NAMES)


@dataclass(frozen=True, slots=True)
class Message:
    """What a task must know of one message whose readings it carries: where it came from and when (microseconds since 1970)."""

    topic: str
    source: str
    received_us: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a worker set something aside: the first reason of a message. ``reason`` is one of ``DeadReason``'s values."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A worker's word that a task is committed.

    Attributes:
        task_id: which one.
        recipient: for whom.
        dead: by message, how many of its readings and uplinks became dead letters in the worker.
        losses: by message that lost anything, why; for people, and not for every message if there are many.
    """

    task_id: str
    recipient: str
    dead: Mapping[int, int]
    losses: Mapping[int, Loss] = field(default_factory=dict)


def celery_config(redis_url: str, visibility_timeout_s: int = 300) -> dict[str, Any]:
    """What enqueuing parts and workers must agree on; see ``tasks/celery_app.py`` for what concerns workers only."""
    return {
        "broker_url": redis_url,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "visibility_timeout": visibility_timeout_s,
            "socket_timeout": SOCKET_TIMEOUT_S * 2,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_ignore_result": True,
        "task_default_queue": READINGS,
        "task_queues": [_queue(name) for name in QUEUES],
        "task_create_missing_queues": False,
        "task_routes": {task: {"queue": queue} for task, queue in QUEUE_OF_TASK.items()},
        "timezone": "UTC",
        "enable_utc": True,
    }


def _queue(name: str) -> Queue:
    # Each queue has an exchange of its own: by default all would share one, and with it every message.
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]


def make_producer(redis_url: str) -> Celery:
    """A Celery application that only enqueues; it knows no task's code."""
    producer = Celery("streamgauge", set_as_current=False)
    config = celery_config(redis_url)
    # Callers have a loop or a request of their own to get on with: one attempt, and they decide when to try again.
    once = {"max_retries": 0, "interval_start": 0}
    producer.conf.update(config | {"broker_transport_options": config["broker_transport_options"] | once})
    return producer


def new_task_id() -> str:
    """An id for a task; the same one when it is enqueued again."""
    return str(uuid4())


def ingest_body(
    messages: Sequence[Message],
    readings: Sequence[tuple[int, Reading]],
    rejected: Sequence[tuple[int, Rejected]],
    uplinks: Sequence[tuple[int, RawUplink]] = (),
) -> dict[str, Any]:
    """The body of an ingest task: JSON-able, readings as columns, columns without values left out.

    Args:
        messages: the messages that the readings came in.
        readings: at most ``STREAMGAUGE_TASK_MAX_READINGS``, each with the index of its message.
        rejected: what was refused at the door, likewise; stored in the same transaction.
        uplinks: frames that the worker is to decode, likewise.
    """
    columns: dict[str, Any] = {
        "message": [index for index, _ in readings],
        "device": [reading.device for _, reading in readings],
        "time_us": [to_microseconds(reading.time) for _, reading in readings],
    }
    every_column = zip(*(_values(reading) for _, reading in readings), strict=True)
    columns |= {
        name: column
        for name, column in zip(_VALUE_NAMES, every_column, strict=False)
        if column.count(None) < len(column)
    }
    body: dict[str, Any] = {
        "messages": [[message.topic, message.source, message.received_us] for message in messages],
        "columns": columns,
        "extra": {str(row): dict(reading.extra) for row, (_, reading) in enumerate(readings) if reading.extra},
        "dead": [
            [index, str(item.reason), item.detail, base64.b64encode(item.payload).decode(), item.readings]
            for index, item in rejected
        ],
    }
    if uplinks:
        body["uplinks"] = [
            [index, uplink.network, base64.b64encode(uplink.message).decode()] for index, uplink in uplinks
        ]
    return body


def enqueue_ingest(producer: Celery, task_id: str, recipient: str, body: Mapping[str, Any]) -> None:
    """Enqueue one ingest task; enqueuing the same id again is harmless.

    Raises:
        QueueUnavailable: the broker of the queue cannot be reached; call again later.
    """
    # The body travels as one text: orjson writes and reads it many times faster than Celery's own encoder. What people see
    # of it, in Flower and in logs, is how much it holds.
    text = orjson.dumps(body).decode()
    uplinks = f"{len(body['uplinks'])} uplinks, " if "uplinks" in body else ""
    shown = f"('{recipient}', {len(body['columns']['device'])} readings, {uplinks}{len(body['dead'])} dead letters)"
    try:
        producer.send_task(
            INGEST_TASK,
            args=(recipient, text),
            argsrepr=shown,
            kwargsrepr="{}",
            task_id=task_id,
            queue=READINGS,
            retry=False,
            ignore_result=True,
        )
    except (OperationalError, OSError, RedisError) as error:
        raise QueueUnavailable(f"the task queue cannot be reached ({error}); it is tried again") from error


def enqueue_batch(
    producer: Celery, task: str, kwargs: Mapping[str, Any] | None = None, expires_s: float | None = None
) -> None:
    """Enqueue a task of the queue ``batch`` by its name.

    Args:
        producer: what enqueues.
        task: one of the names above.
        kwargs: its arguments, JSON-able.
        expires_s: nobody need begin it after so long.

    Raises:
        QueueUnavailable: the broker of the queue cannot be reached; call again later.
    """
    try:
        producer.send_task(
            task, kwargs=dict(kwargs or {}), queue=BATCH, expires=expires_s, retry=False, ignore_result=True
        )
    except (OperationalError, OSError, RedisError) as error:
        raise QueueUnavailable(f"the task queue cannot be reached ({error}); it is tried again") from error


def queue_length(redis: "Redis", queue: str) -> int:
    """How many tasks wait in a queue.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    length: Any = redis.llen(queue)
    return int(length)


def announce_stored(redis: "Redis", notice: Notice) -> None:
    """Tell the waiting part that a task is committed.

    Raises:
        redis.RedisError: Redis did not take it; the waiting part will enqueue the task again, which is harmless.
    """
    dead = orjson.dumps({str(message): count for message, count in notice.dead.items()})
    fields: Any = {"task": notice.task_id, "to": notice.recipient, "dead": dead}
    if notice.losses:
        named = list(notice.losses.items())[:MAX_LOSSES_NAMED]
        fields["why"] = orjson.dumps(
            {str(message): [loss.reason, loss.detail[:MAX_LOSS_CHARACTERS]] for message, loss in named}
        )
    redis.xadd(STORED_KEY, fields, maxlen=STORED_MAX_NOTICES, approximate=True)


def parse_notices(answer: Any) -> tuple[str | None, list[Notice]]:
    """The last id and the notices in an answer to XREAD on ``STORED_KEY``, whichever protocol version it came in."""
    if not answer:
        return None, []
    streams = answer.items() if isinstance(answer, dict) else answer
    last_id: str | None = None
    notices: list[Notice] = []
    for _key, entries in streams:
        nested = len(entries) == 1 and entries[0] and isinstance(entries[0][0], list | tuple)
        for entry_id, fields in entries[0] if nested else entries:
            last_id = entry_id.decode()
            values = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
            try:
                dead = {int(message): int(count) for message, count in orjson.loads(values[b"dead"]).items()}
                losses = _losses(values[b"why"]) if b"why" in values else {}
                notices.append(Notice(values[b"task"].decode(), values[b"to"].decode(), dead, losses))
            except (KeyError, ValueError, AttributeError, TypeError):
                # Somebody else's entry, or another version's: its task is enqueued again, which is harmless.
                log.warning("notice not understood", extra={"entry": last_id})
    return last_id, notices


def _losses(text: bytes) -> dict[int, Loss]:
    return {int(message): Loss(str(reason), str(detail)) for message, (reason, detail) in orjson.loads(text).items()}


def newest_notice_id(redis: "Redis") -> str:
    """The id after which notices of tasks that are enqueued from now on will stand."""
    newest: Any = redis.xrevrange(STORED_KEY, count=1)
    return newest[0][0].decode() if newest else "0-0"


def wait_for_commit(redis: "Redis", task_id: str, after_id: str, timeout_s: float) -> Notice:
    """Wait until a worker says that this task is committed.

    Args:
        redis: a client whose socket timeout is longer than ``timeout_s``, or none.
        task_id: the task.
        after_id: ``newest_notice_id`` from before it was enqueued.
        timeout_s: how long to wait.

    Raises:
        NotCommittedInTime: nothing was heard; the task may still be carried out, and repeating it is harmless.
        QueueUnavailable: Redis did not answer.
    """
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            answer = redis.xread({STORED_KEY: after_id}, block=max(1, int(left_s * 1000)), count=1_000)
        except RedisError as error:
            raise QueueUnavailable(f"Redis did not answer while a commit was awaited ({error})") from error
        last_id, notices = parse_notices(answer)
        after_id = last_id or after_id
        for notice in notices:
            if notice.task_id == task_id:
                return notice
    raise NotCommittedInTime(f"no commit was heard of within {timeout_s:g} s; repeating the readings is harmless")
