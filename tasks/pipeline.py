"""The way of a reading in the cloud, on one screen: decode, attribute, gather, clean, score, store; commit; publish.

``ingest`` handles a whole task in one transaction. ``ingest_each`` stands around it so that one reading that the pipeline
cannot bear takes nothing else with it: the work is halved until the culprit stands alone, and that becomes a dead letter.
"""

import logging
from collections import Counter
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
from streamgauge.quality.series import IntArray
from streamgauge.queue import Loss
from streamgauge.reading import from_microseconds
from streamgauge.scoring.calibration import Calibrations
from streamgauge.scoring.learnt import NOTHING_LEARNT, LearntByTime
from streamgauge.scoring.model import Model
from streamgauge.storage.dead_letters import write_dead_letters
from streamgauge.storage.partitions import make_partitions, month_of
from tasks.attribute import DeviceDirectory, attribute
from tasks.calibration_memory import CalibrationMemory
from tasks.clean import CleanSeries, Series, clean, gather
from tasks.decode import Accepted, SensorDirectory, decode
from tasks.learnt_memory import LearntMemory
from tasks.models_in_use import ModelsInUse
from tasks.publish import publish
from tasks.score import Judges, judges_of, score_series
from tasks.sensors import gather_sensors, with_late_sensors
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
    sensors: SensorDirectory = field(default_factory=SensorDirectory)
    accepted: Accepted = field(default_factory=Accepted)
    models: ModelsInUse = field(init=False)
    calibrations: CalibrationMemory = field(default_factory=CalibrationMemory)
    learnt: LearntMemory = field(default_factory=LearntMemory)
    months: set[datetime] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.models = ModelsInUse(self.model)


@dataclass(slots=True)
class Outcome:
    """What a task came to.

    Attributes:
        stored: what was stored.
        lost: readings and uplinks that became dead letters in the worker.
        uplinks: how many by (network, outcome).
        problems: how many parts of good frames codecs left out, by model.
    """

    stored: list[Stored] = field(default_factory=list)
    lost: list[LostReading] = field(default_factory=list)
    uplinks: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Outcome") -> None:
        """What another part of the task came to counts here too."""
        self.stored += other.stored
        self.lost += other.lost
        self.uplinks += other.uplinks
        self.problems += other.problems

    def dead_by_message(self) -> dict[int, int]:
        """How many readings of each message became dead letters here."""
        counts: dict[int, int] = {}
        for reading in self.lost:
            counts[reading.message] = counts.get(reading.message, 0) + 1
        return counts

    def losses_by_message(self) -> dict[int, Loss]:
        """Why each message lost something here: its first reason."""
        losses: dict[int, Loss] = {}
        for reading in self.lost:
            losses.setdefault(reading.message, Loss(str(reading.letter.reason), reading.letter.detail))
        return losses


def ingest(work: Work, services: Services) -> Outcome:
    """Handle one task's work in one transaction, then tell the live pages.

    Raises:
        Exception: whatever a step raised; nothing was stored.
    """
    decoded = decode(work, services.engine, services.sensors, services.accepted)
    make_months(services, decoded.work)
    outcome = Outcome(lost=decoded.lost, uplinks=decoded.outcomes, problems=decoded.problems)
    with services.engine.begin() as connection:
        services.models.refresh(connection)
        work_known, devices, unknown = attribute(connection, decoded.work, services.directory)
        outcome.lost += unknown
        if len(work_known):
            series = gather(connection, work_known, devices)
            learnt = learnt_of(connection, series, services)
            series, sensors = gather_sensors(connection, series, work_known, learnt)
            cleaned = clean(series, devices, learnt)
            cleaned, sensors = with_late_sensors(connection, cleaned, sensors, learnt)
            judges = judges_of(connection, cleaned, services.models)
            calibrations = calibrations_of(connection, cleaned, judges, services)
            scored = score_series(cleaned, judges, calibrations, sensors, learnt)
            stored = store(connection, work_known, devices, scored)
            outcome.stored.append(stored)
            outcome.lost += stored.conflicting
        write_dead_letters(connection, [*work.refused, *(reading.letter for reading in outcome.lost)])
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
        services.sensors.forget()
        services.models.forget()
        services.calibrations.forget()
        services.learnt.forget()
        services.months.clear()
        if is_transient(error):
            raise
        sizes = {"readings": len(work), "uplinks": len(work.uplinks), "dead_letters": len(work.refused)}
        log.exception("work not borne", extra=sizes)
        return _isolate(work, services, error)


def is_transient(error: Exception) -> bool:
    """Whether the same work may go through later: connections, locks, time limits; not values that Postgres refuses."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, _PASSING)


def _isolate(work: Work, services: Services, error: Exception) -> Outcome:
    outcome = Outcome()
    if len(work) + len(work.uplinks) == 1 and not work.refused:
        try:
            # Once more: what this process remembered wrongly (a dropped partition, a device) is forgotten by now.
            return ingest(work, services)
        except Exception as again:
            if is_transient(again):
                raise
            error = again
        lose = work.lose_uplink if work.uplinks else work.lose
        outcome.lost.append(lose(0, DeadReason.PROCESSING_FAILED, f"{type(error).__name__}: {error}"))
        with services.engine.begin() as connection:
            write_dead_letters(connection, [reading.letter for reading in outcome.lost])
        return outcome
    for part in _halves(work):
        outcome.add(ingest_each(part, services))
    return outcome


def _halves(work: Work) -> Iterable[Work]:
    """Smaller pieces of work, in order of arrival. Dead letters that cannot be written are no reading's fault: they raise."""
    if not len(work) and not work.uplinks:
        raise RuntimeError("Dead letters could not be written; the log line before says why")
    if work.refused:
        yield work.only_refused()
    for first, last in _half_ranges(len(work.uplinks)):
        yield work.only_uplinks(work.uplinks[first:last])
    for first, last in _half_ranges(len(work)):
        yield work.take(np.arange(first, last, dtype=np.int64))


def _half_ranges(count: int) -> list[tuple[int, int]]:
    middle = max(1, count // 2)
    return [(first, last) for first, last in ((0, min(middle, count)), (middle, count)) if first < last]


def make_months(services: Services, work: Work) -> None:
    """Make missing partitions for old, replayed or early readings, in a transaction of their own."""
    present = {month_of(from_microseconds(moment)) for moment in _distinct_days(work)} - services.months
    if present:
        with services.engine.begin() as connection:
            make_partitions(connection, present)
        services.months |= present


def calibrations_of(
    connection: Connection, cleaned: CleanSeries, judges: Judges, services: Services
) -> dict[int, Calibrations]:
    """The calibrations of the stations that are judged, by model."""
    targets = cleaned.targets
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for model_id in np.unique(judges.model_id).tolist():
        rows = targets[judges.model_id == model_id]
        own = _spans(cleaned.series.station[rows], cleaned.series.time_us[rows])
        spans |= {(station, model_id): span for station, span in own.items()}
    return services.calibrations.read(connection, spans)


def learnt_of(connection: Connection, series: Series, services: Services) -> LearntByTime:
    """What was learnt of the stations that are judged."""
    if not len(series.station):
        return NOTHING_LEARNT
    return services.learnt.read(connection, _spans(series.station, series.time_us))


def _spans(station: IntArray, time_us: IntArray) -> dict[int, tuple[int, int]]:
    """The first and the last time of each station, microseconds since 1970."""
    order = np.lexsort((time_us, station))
    stations, begins = np.unique(station[order], return_index=True)
    ends = np.append(begins[1:], len(order)) - 1
    times = time_us[order]
    return dict(zip(stations.tolist(), zip(times[begins].tolist(), times[ends].tolist(), strict=True), strict=True))


def _distinct_days(work: Work) -> list[int]:
    day_us = 86_400_000_000
    return (np.unique(work.time_us // day_us) * day_us).tolist()  # type: ignore[no-any-return]
