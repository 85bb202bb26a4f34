"""The path as it runs now: what waits in each queue, who works, what the live stream brings. What does not answer is told so."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from app.connections import Connections
from streamgauge.live.gateways import GatewayNow, read_gateways
from streamgauge.live.stream import LIVE_KEY
from streamgauge.metrics import LIVE_CLIENTS
from streamgauge.queue import QUEUES, queue_length

log = logging.getLogger(__name__)
WORKERS_TIMEOUT_S = 1.0
RATE_WINDOW_S = 60
MOST_EVENTS = 2_000
LONG_QUEUE = 16
"""A queue with so many waiting tasks stands out: a worker takes a few milliseconds for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker: its name, how many processes it has, which queues it takes, how many tasks it works on."""

    name: str
    processes: int
    queues: tuple[str, ...]
    active: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisNow:
    """What Redis says: tasks waiting by queue, events of the live stream in the last minute, memory in bytes."""

    version: str
    queues: Mapping[str, int]
    events: int
    events_more: bool
    newest_event_s: float | None
    bytes: int


def read_redis(redis: Redis, now: datetime | None = None) -> RedisNow | None:
    """What Redis says, or None if it does not answer."""
    moment = (now or datetime.now(UTC)).timestamp()
    try:
        facts: Any = redis.info("server") | redis.info("memory")
        since = f"{int((moment - RATE_WINDOW_S) * 1000)}-0"
        recent: Any = redis.xrevrange(LIVE_KEY, "+", since, count=MOST_EVENTS)
        newest: Any = redis.xrevrange(LIVE_KEY, count=1)
        return RedisNow(
            version=str(facts.get("redis_version", "")),
            queues={queue: queue_length(redis, queue) for queue in QUEUES},
            events=len(recent),
            events_more=len(recent) == MOST_EVENTS,
            newest_event_s=moment - int(newest[0][0].split(b"-")[0]) / 1000 if newest else None,
            bytes=int(facts.get("used_memory", 0)),
        )
    except (RedisError, OSError):
        log.warning("redis not reached", exc_info=True)
        return None


def read_workers(producer: Celery) -> Sequence[Worker] | None:
    """The workers that answer within a second, by name; None if nothing can be asked."""
    try:
        inspect = producer.control.inspect(timeout=WORKERS_TIMEOUT_S)
        stats: Mapping[str, Any] = inspect.stats() or {}
        if not stats:
            return ()
        queues: Mapping[str, Any] = inspect.active_queues() or {}
        active: Mapping[str, Any] = inspect.active() or {}
    except (OperationalError, RedisError, OSError):
        log.warning("workers not reached", exc_info=True)
        return None
    return tuple(
        Worker(
            name=name,
            processes=len((found.get("pool") or {}).get("processes") or ()),
            queues=tuple(sorted(str(queue.get("name")) for queue in queues.get(name) or ())),
            active=len(active.get(name) or ()),
        )
        for name, found in sorted(stats.items())
    )


def read_known_gateways(redis: Redis) -> Sequence[GatewayNow] | None:
    """What gateways said of themselves last, or None if Redis does not answer."""
    try:
        return read_gateways(redis)
    except (RedisError, OSError):
        log.warning("redis not reached", exc_info=True)
        return None


def live_clients() -> int:
    """Browsers on ``/live`` of this process."""
    return sum(int(sample.value) for metric in LIVE_CLIENTS.collect() for sample in metric.samples)


def links(linked: Connections) -> list[tuple[str, str]]:
    """Name and address of the tools beside these pages, as far as settings name them."""
    settings = linked.settings
    found = (("flower", settings.flower_url), ("kibana", settings.kibana_url), ("grafana", settings.grafana_url))
    return [(name, url) for name, url in found if url]
