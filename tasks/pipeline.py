"""The way of a reading in the cloud, on one screen: attribute, gather, clean, score, store; commit; publish.

``ingest`` handles a whole task in one transaction. ``ingest_each`` stands around it so that one reading that the pipeline
cannot bear takes nothing else with it: the work is halved until the culprit stands alone, and that becomes a dead letter.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import psycopg2
from billiard.exceptions import SoftTimeLimitExceeded
from redis import Redis
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from streamgauge.errors import DeadReason
from streamgauge.reading import from_microseconds
from streamgauge.scoring.model import Model
from streamgauge.storage.dead_letters import write_dead_letters
from streamgauge.storage.models import ensure_model
from streamgauge.storage.partitions import make_partitions, month_of
from tasks.attribute import DeviceDirectory, attribute
from tasks.clean import clean, gather
from tasks.publish import publish
from tasks.score import score_series
from tasks.store import Stored, store
from tasks.work import LostReading, Work

log = logging.getLogger("streamgauge.pipeline")

_PASSING = (
    OperationalError,
    InterfaceError,
    # COPY runs on the driver's own connection, past SQLAlchemy's wrapping of its errors.
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    # Our time is up: no reading's fault.
    SoftTimeLimitExceeded,
    MemoryError,
)


@dataclass(slots=True, kw_only=True)
class Services:
    """What a worker process holds: connections, the model, and memories that may be lost at any time."""

    engine: Engine
    redis: "Redis"
    model: Model
    directory: DeviceDirectory
    live_max_events: int
    model_id: int | None = None
    months: set[datetime] = field(default_factory=set)


@dataclass(slots=True)
class Outcome:
    """What a task came to: what was stored, and which readings became dead letters in the worker."""

    stored: list[Stored] = field(default_factory=list)
    lost: list[LostReading] = field(default_factory=list)

    def dead_by_message(self) -> dict[int, int]:
        """How many readings of each message became dead letters here."""
        counts: dict[int, int] = {}
        for reading in self.lost:
            counts[reading.message] = counts.get(reading.message, 0) + 1
        return counts


def ingest(work: Work, services: Services) -> Outcome:
    """Handle one task's work in one transaction, then tell the live pages.

    Raises:
        Exception: whatever a step raised; nothing was stored.
    """
    make_months(services, work)
    outcome = Outcome()
    with services.engine.begin() as connection:
        model_id = remember_model(connection, services)
        work_known, devices, outcome.lost = attribute(connection, work, services.directory)
        if len(work_known):
            series = gather(connection, work_known, devices)
            cleaned = clean(series, devices)
            scored = score_series(cleaned, services.model)
            stored = store(connection, work_known, devices, scored, model_id)
            outcome.stored.append(stored)
            outcome.lost += stored.conflicting
        write_dead_letters(connection, [*work.refused, *(reading.letter for reading in outcome.lost)])
    services.model_id = model_id
    for stored in outcome.stored:
        publish(services.redis, stored, services.live_max_events)
    return outcome


def ingest_each(work: Work, services: Services) -> Outcome:
    """``ingest``, with whatever the pipeline cannot bear set aside as a dead letter.

    Raises:
        Exception: one that ``is_transient``: the database cannot be reached or gave up; the same work may go through later.
    """
    try:
        return ingest(work, services)
    except Exception as error:
        # What is remembered may be what is wrong: a partition dropped, a device or model deleted meanwhile.
        services.directory.forget()
        services.model_id = None
        services.months.clear()
        if is_transient(error):
            raise
        log.exception("work not borne", extra={"readings": len(work), "dead_letters": len(work.refused)})
        return _isolate(work, services, error)


def is_transient(error: Exception) -> bool:
    """Whether the same work may go through later: connections, locks, time limits; not values that Postgres refuses."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, _PASSING)


def _isolate(work: Work, services: Services, error: Exception) -> Outcome:
    outcome = Outcome()
    if len(work) == 1 and not work.refused:
        try:
            # Once more: what this process remembered wrongly (a dropped partition, a device) is forgotten by now.
            return ingest(work, services)
        except Exception as again:
            if is_transient(again):
                raise
            error = again
        outcome.lost.append(work.lose(0, DeadReason.PROCESSING_FAILED, f"{type(error).__name__}: {error}"))
        with services.engine.begin() as connection:
            write_dead_letters(connection, [reading.letter for reading in outcome.lost])
        return outcome
    for part in _halves(work):
        result = ingest_each(part, services)
        outcome.stored += result.stored
        outcome.lost += result.lost
    return outcome


def _halves(work: Work) -> Iterable[Work]:
    """Smaller pieces of work, in order of arrival. Dead letters that cannot be written are no reading's fault: they raise."""
    if work.refused:
        if not len(work):
            raise RuntimeError("Dead letters could not be written; the log line before says why")
        yield work.only_refused()
    rows = np.arange(len(work), dtype=np.int64)
    middle = max(1, len(work) // 2)
    yield work.take(rows[:middle])
    if middle < len(work):
        yield work.take(rows[middle:])


def make_months(services: Services, work: Work) -> None:
    """Make missing partitions for old, replayed or early readings, in a transaction of their own."""
    present = {month_of(from_microseconds(moment)) for moment in _distinct_days(work)} - services.months
    if present:
        with services.engine.begin() as connection:
            make_partitions(connection, present)
        services.months |= present


def remember_model(connection: Connection, services: Services) -> int:
    """The model's id, asked for once per process."""
    if services.model_id is not None:
        return services.model_id
    return ensure_model(connection, services.model.sha256, dict(services.model.card))


def _distinct_days(work: Work) -> list[int]:
    day_us = 86_400_000_000
    return (np.unique(work.time_us // day_us) * day_us).tolist()  # type: ignore[no-any-return]
