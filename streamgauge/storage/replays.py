"""Replays of dead letters: asked for by people, in pieces where they are many, and carried out by ``tasks.replay``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.storage.audit import write_audit
from streamgauge.storage.dead_letter_rows import COUNTED, MAX_ID, Selection, in_order

AT_ONCE = 10_000
"""So many letters are asked to be replayed in one transaction."""
REPLAY_LOCK = 7_340_025
"""Of Postgres's advisory locks: one process replays at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A dead letter that is to be replayed, with its bytes."""

    id: int
    topic: str
    source: str
    reason: str
    payload: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of replaying one: ``state`` is ``REPLAYED`` or ``REFUSED``, ``detail`` says more where there is more to say."""

    id: int
    state: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How replays go: letters that still wait, and how many went which way since a time; up to ``COUNTED`` + 1 of each."""

    waiting: int
    replayed: int
    refused: int

    @property
    def many_wait(self) -> bool:
        """Whether more wait than were counted."""
        return self.waiting > COUNTED

    @property
    def many_settled(self) -> bool:
        """Whether these are the latest of more."""
        return self.replayed + self.refused > COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A piece of a replay that was asked for: how many letters, and after which one it goes on; None: there are no more."""

    letters: int
    after: int | None


def newest_letter(connection: Connection) -> int:
    """The newest one's id: what comes later is not part of a replay that is asked for now. 0 if there is none."""
    return int(connection.execute(text("SELECT COALESCE(max(id), 0) FROM dead_letters")).scalar_one())


def request_replay(
    connection: Connection, selection: Selection, actor: str, after: int = 0, until: int = MAX_ID
) -> Asked:
    """Ask that the selected dead letters are replayed, except those that wait already or have become something else.

    Args:
        connection: in a transaction of its own, as at most ``AT_ONCE`` are asked for: call again for the rest.
        selection: which ones.
        actor: who asks.
        after: only those with greater ids; 0 is the beginning, which is written into the audit log.
        until: and none with a greater one than this (``newest_letter``).
    """
    where, values = selection.where()
    # One that arrives again at this moment is passed over: waiting for it could be waiting in a circle.
    query = f"""
    WITH picked AS (
        SELECT id FROM dead_letters WHERE {where} AND (replay_state IS NULL OR replay_state = 'refused')
            AND id > :after AND id <= :newest
        ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED),
    asked AS (
        UPDATE dead_letters SET replay_state = 'waiting', replay_detail = NULL, replayed_by = :by
        FROM picked WHERE dead_letters.id = picked.id RETURNING dead_letters.id)
    SELECT count(*) AS letters, max(id) AS last FROM asked
    """
    values |= {"by": actor, "after": after, "newest": until, "most": AT_ONCE}
    row = connection.execute(text(query), values).one()
    is_all = row.letters < AT_ONCE
    if row.letters and not after:
        said = {"letters": row.letters, **({} if is_all else {"and_more": True}), **selection.said()}
        write_audit(connection, actor=actor, action="dead_letters.replay", subject="dead letters", after=said)
    return Asked(letters=int(row.letters), after=None if is_all else int(row.last))


def selection_of(said: Mapping[str, Any]) -> Selection:
    """The selection that ``Selection.said`` told."""
    facts = {name: said.get(name) for name in ("state", "reason", "device", "dev_eui", "words")}
    since, until = (datetime.fromisoformat(said[name]) if said.get(name) else None for name in ("since", "until"))
    return Selection(**facts, since=since, until=until, letter_id=said.get("letter"))


def take_waiting(connection: Connection, limit: int, after: int = 0) -> list[Waiting]:
    """The first of those that wait, in order of arrival; only those with greater ids than ``after``."""
    # With it, what was settled a moment ago is not gone through once more for every piece, whichever index the planner takes.
    query = text(
        "SELECT id, topic, source, reason, payload, received_at FROM dead_letters "
        "WHERE replay_state = 'waiting' AND id > :after ORDER BY id LIMIT :limit"
    )
    return [
        Waiting(**{**row, "payload": bytes(row["payload"])})
        for row in connection.execute(query, {"limit": limit, "after": after}).mappings()
    ]


def settle(connection: Connection, outcomes: Sequence[Replayed]) -> None:
    """Write down what came of them."""
    query = text(
        "UPDATE dead_letters SET replay_state = :state, replay_detail = :detail, replayed_at = now() "
        "WHERE id = :id AND replay_state = 'waiting'"
    )
    for outcome in outcomes:
        detail = None if outcome.detail is None else outcome.detail.replace("\0", "\\0")
        connection.execute(query, {"id": outcome.id, "state": outcome.state, "detail": detail})


def read_progress(connection: Connection, since: datetime) -> Progress:
    """How replays go: what waits, and what came of those that were settled last, at or after ``since``."""
    query = text("""
    SELECT (SELECT count(*) FROM (SELECT FROM dead_letters WHERE replay_state = 'waiting' LIMIT :most) AS counting) AS waiting,
        count(*) FILTER (WHERE replay_state = 'replayed') AS replayed,
        count(*) FILTER (WHERE replay_state = 'refused') AS refused
    FROM (SELECT replay_state FROM dead_letters WHERE replayed_at IS NOT NULL AND replayed_at >= :since
        ORDER BY replayed_at DESC LIMIT :most) AS settled
    """)
    with in_order(connection):
        return Progress(**connection.execute(query, {"since": since, "most": COUNTED + 1}).mappings().one())


def try_replay_lock(connection: Connection) -> bool:
    """Become the one that replays, until ``release_replay_lock`` or the connection's end; False if there is one already."""
    return bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": REPLAY_LOCK}).scalar_one())


def release_replay_lock(connection: Connection) -> None:
    """Let another one replay."""
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": REPLAY_LOCK})
