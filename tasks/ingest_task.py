"""The ingest task around the pipeline: patience while the database is away, metrics, and the notice to whoever waits."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from billiard.exceptions import SoftTimeLimitExceeded
from redis import RedisError

from streamgauge import logs, metrics
from streamgauge.queue import INGEST_TASK, Notice, announce_stored
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.pipeline import Outcome, Services, ingest_each, is_transient
from tasks.work import Work

log = logging.getLogger("streamgauge.ingest")

PATIENCE_S = 20.0
"""So long a task waits for a database that is away; after that it fails, and its sender enqueues it again."""
RETRY_FIRST_S, RETRY_MOST_S = 0.05, 2.0


def run_ingest(services: Services, task_id: str, recipient: str, body: Mapping[str, Any]) -> None:
    """Carry out one ingest task and say so once it is committed.

    Args:
        services: of this process.
        task_id: named in the notice.
        recipient: who waits for it.
        body: what ``streamgauge.queue.ingest_body`` made.

    Raises:
        Exception: the database was away for too long; nothing is stored, the sender sends again.
    """
    with (
        logs.bind(task_id=task_id),
        metrics.TASK_SECONDS.labels(INGEST_TASK).time(),
        metrics.TASK_FAILURES.labels(INGEST_TASK).count_exceptions(),
    ):
        work = Work.from_body(body)
        outcome = patiently(lambda: ingest_each(work, services), time.monotonic() + PATIENCE_S)
        _count(outcome)
        try:
            notice = Notice(task_id, recipient, outcome.dead_by_message(), outcome.losses_by_message())
            announce_stored(services.redis, notice)
        except RedisError:
            # The readings are safe; the sender hears nothing, sends the task again, and that changes nothing.
            log.warning("notice not delivered", exc_info=True)


def patiently(attempt: Callable[[], Outcome], deadline_s: float) -> Outcome:
    """Repeat what fails for passing reasons, with backoff and jitter, until a deadline of the monotonic clock.

    Raises:
        Exception: the last failure, after the deadline, or one that waiting does not help.
    """
    wait_s = RETRY_FIRST_S
    while True:
        try:
            return attempt()
        except Exception as error:
            if not is_retried(error) or time.monotonic() + wait_s > deadline_s:
                raise
            log.warning("database not reached", extra={"error": str(error), "retry_in_s": round(wait_s, 2)})
        time.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(2 * wait_s, RETRY_MOST_S)


def is_retried(error: Exception) -> bool:
    """Whether it is worth trying again in this task: passing reasons, but not once the task's own time is up."""
    return is_transient(error) and not isinstance(error, SoftTimeLimitExceeded)


def _count(outcome: Outcome) -> None:
    now_us = time.time() * MICROSECONDS_PER_SECOND
    for stored in outcome.stored:
        metrics.READINGS_STORED.inc(len(stored.names))
        metrics.READINGS_DUPLICATE.inc(stored.duplicates)
        for flags, count in Counter(stored.new.flags).items():
            if flag := orjson.loads(flags).get("level_m"):
                metrics.FLAGS.labels(str(flag)).inc(count)
        for delay_s, count in _distinct((now_us - stored.new.received_us) / MICROSECONDS_PER_SECOND):
            _observe(delay_s, count)
    for lost in outcome.lost:
        metrics.READINGS_DEAD.labels(lost.letter.reason).inc()
    for (network, result), count in outcome.uplinks.items():
        metrics.UPLINKS.labels(network, result).inc(count)
    for model, count in outcome.problems.items():
        metrics.UPLINK_PROBLEMS.labels(model).inc(count)


def _distinct(values: Any) -> list[tuple[float, int]]:
    distinct, counts = np.unique(values, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


def _observe(delay_s: float, count: int) -> None:
    for _ in range(count):
        metrics.READING_DELAY.observe(delay_s)
