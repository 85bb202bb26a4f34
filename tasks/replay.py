"""Replay: dead letters go the way of readings once more, after what was wrong has been put right.

On the queue ``batch``, one process at a time, some letters in a transaction, so that live readings never wait for it. Each
letter is read as at the door (its topic says how), with the rules of now and its own time of arrival, and goes through the
pipeline; storing a reading twice changes nothing, so a replay that is killed goes on where it was.
"""

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from sqlalchemy import Connection, Engine

from streamgauge import network_servers
from streamgauge.errors import DeadReason
from streamgauge.queue import BATCH, REPLAY_TASK, Message, ingest_body
from streamgauge.reading import to_microseconds
from streamgauge.settings import WorkerSettings
from streamgauge.storage.audit import write_audit
from streamgauge.storage.dead_letter_rows import (
    REFUSED,
    REPLAYED,
)
from streamgauge.storage.dead_letters import DeadLetter
from streamgauge.storage.replays import (
    Replayed,
    Waiting,
    release_replay_lock,
    request_replay,
    selection_of,
    settle,
    take_waiting,
    try_replay_lock,
)
from streamgauge.wire import Arrival, Limits, Rejected, decode_message, decode_readings, decode_uplink
from tasks.pipeline import Outcome, Services, ingest_each
from tasks.services import ServiceHolder
from tasks.work import Work

log = logging.getLogger("streamgauge.replay")

BEAT = {
    "replay-dead-letters": {
        "task": REPLAY_TASK,
        "schedule": 60.0,
        "options": {"queue": BATCH, "expires": 50},
    },
}
LETTERS = 200
"""So many share one transaction."""
BUDGET_S = 30.0
"""So long one task goes on; then it enqueues the next, and other batch work has its turn."""
HTTP_PREFIX = "POST "


def replay_waiting(services: Services, limits: Limits, budget_s: float = BUDGET_S) -> bool:
    """Replay what waits, as much as the time allows; returns whether something is left.

    Raises:
        Exception: the database was away; what was not settled waits on.
    """
    deadline_s, after = time.monotonic() + budget_s, 0
    with services.engine.connect() as holder:
        if not try_replay_lock(holder):
            return False
        holder.commit()
        try:
            while time.monotonic() < deadline_s:
                letters = take_waiting(holder, LETTERS, after)
                holder.commit()
                if letters:
                    after = letters[-1].id
                    _replay(holder, letters, services, limits)
                elif after:
                    # Somebody may have asked for one before these meanwhile.
                    after = 0
                else:
                    return False
            return True
        finally:
            holder.rollback()
            release_replay_lock(holder)
            holder.commit()


def ask_on(engine: Engine, asked: Mapping[str, Any], budget_s: float = BUDGET_S) -> dict[str, Any] | None:
    """Go on asking for a replay of many, whose first piece was asked for by a person.

    Args:
        engine: of the database.
        asked: ``selection`` (``Selection.said``), ``actor``, ``after`` and ``until`` of ``request_replay``, and ``letters``, how
            many were asked for until now.
        budget_s: so long.

    Returns:
        The same for the rest; None: all are asked for, and the audit log says how many.
    """
    deadline_s, left = time.monotonic() + budget_s, dict(asked)
    selection, actor = selection_of(asked["selection"]), str(asked["actor"])
    while time.monotonic() < deadline_s:
        with engine.begin() as connection:
            piece = request_replay(connection, selection, actor, int(left["after"]), int(left["until"]))
            left |= {"letters": left["letters"] + piece.letters, "after": piece.after}
            if piece.after is None:
                said = {"letters": left["letters"], **selection.said()}
                write_audit(connection, actor=actor, action="dead_letters.replay", subject="dead letters", after=said)
                return None
    return left


def _replay(connection: Connection, letters: list[Waiting], services: Services, limits: Limits) -> None:
    arrivals = [read_again(letter, limits) for letter in letters]
    messages = [Message(one.topic, one.source, to_microseconds(one.received_at)) for one in letters]
    readings = [(place, reading) for place, found in enumerate(arrivals) for reading in found.readings]
    uplinks = [(place, uplink) for place, found in enumerate(arrivals) for uplink in found.uplinks]
    # What is refused at the door again is a dead letter already; only what gives something goes through the pipeline.
    outcome = Outcome()
    if readings or uplinks:
        outcome = ingest_each(Work.from_body(ingest_body(messages, readings, (), uplinks)), services)
    losses = {lost.message: lost.letter for lost in reversed(outcome.lost)}
    settled = [
        _outcome(letter, found, losses.get(place))
        for place, (letter, found) in enumerate(zip(letters, arrivals, strict=True))
    ]
    settle(connection, settled)
    connection.commit()
    refused = sum(one.state == REFUSED for one in settled)
    log.info("dead letters replayed", extra={"letters": len(settled), "refused": refused})


def _outcome(letter: Waiting, found: Arrival, lost: DeadLetter | None) -> Replayed:
    if lost is not None:
        # A letter of its own says what is wrong now, unless it is this very one.
        is_same = (lost.reason, lost.payload) == (letter.reason, letter.payload)
        state = REFUSED if is_same else REPLAYED
        return Replayed(id=letter.id, state=state, detail=f"{lost.reason}: {lost.detail}")
    if found.rejected:
        rejected = found.rejected[0]
        return Replayed(id=letter.id, state=REFUSED, detail=f"{rejected.reason}: {rejected.detail}")
    return Replayed(id=letter.id, state=REPLAYED, detail=found.ignored)


def read_again(letter: Waiting, limits: Limits) -> Arrival:
    """What a dead letter holds, read with the rules of now, as at its own time of arrival. Nothing is raised.

    A reading that was refused out of an array or a batch stands alone in its letter; so what its topic says of whole messages is
    tried after that.
    """
    if letter.source in network_servers.NETWORKS:
        return decode_uplink(letter.source, letter.payload, limits, letter.received_at)
    alone = _alone(letter, limits)
    if alone is not None:
        return alone
    return decode_message(letter.topic, letter.payload, limits, letter.received_at)


def _alone(letter: Waiting, limits: Limits) -> Arrival | None:
    """Readings that stand in the letter as such; None if it must be read as a message of its topic."""
    by_http = letter.topic.startswith(HTTP_PREFIX)
    try:
        content = orjson.loads(letter.payload)
    except (orjson.JSONDecodeError, RecursionError):
        if not by_http:
            return None
        rejected = Rejected(DeadReason.NOT_JSON, "not JSON in UTF-8", letter.payload, 1)
        return Arrival(source=letter.source, readings=[], rejected=[rejected])
    is_reading = isinstance(content, dict) and "time" in content and "readings" not in content
    if not by_http and not (is_reading and letter.source == "gateway"):
        return None
    readings, refused = decode_readings(content, letter.payload, limits, letter.received_at)
    return Arrival(source=letter.source, readings=readings, rejected=refused)


def limits_of(settings: WorkerSettings) -> Limits:
    """What is accepted at the door, as a worker knows it."""
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_batch_readings=settings.max_batch_readings,
        earliest=settings.earliest_time,
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
    )


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code."""

    @app.task(name=REPLAY_TASK, ignore_result=True, shared=False)
    def replay(asked: dict[str, Any] | None = None) -> None:
        limits = limits_of(holder.settings)
        budget_s = min(BUDGET_S, holder.settings.task_soft_limit_s / 2)
        if asked:
            left = ask_on(holder.get().engine, asked, budget_s)
            replay.apply_async(kwargs={"asked": left} if left else {}, queue=BATCH)
            return
        try:
            has_more = replay_waiting(holder.get(), limits, budget_s)
        except SoftTimeLimitExceeded:
            log.warning("replay interrupted; it goes on within a minute")
            return
        if has_more:
            replay.apply_async(queue=BATCH)
