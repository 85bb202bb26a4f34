"""Dead letters as people handle them: found, looked at, and asked to be replayed after what was wrong has been put right.

``replay_state`` is null (nobody asked), ``waiting`` (asked, not yet done), ``replayed`` (it became readings, or another dead
letter that says what is wrong now) or ``refused`` (still wrong for the same reason). Nothing is ever deleted here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.errors import DeadReason
from streamgauge.storage.audit import write_audit

WAITING, REPLAYED, REFUSED = "waiting", "replayed", "refused"
OPEN = "open"
STATES = (OPEN, WAITING, REFUSED, REPLAYED)
"""What a selection may ask for; ``open`` is everything that has not become something else."""
MAX_ID = 2**63 - 1
MAX_WORDS = 100
REPLAY_LOCK = 7_340_025
"""Of Postgres's advisory locks: one process replays at a time."""

_COLUMNS = (
    "id, topic, source, reason, detail, device, readings, times_seen, received_at, last_received_at, stored_at, replayed_at, "
    "replay_state, replay_detail, replayed_by, octet_length(payload) AS bytes"
)
_OF_STATE = {
    OPEN: "replay_state IS DISTINCT FROM 'replayed'",
    WAITING: "replay_state = 'waiting'",
    REFUSED: "replay_state = 'refused'",
    REPLAYED: "replay_state = 'replayed'",
}
_OF_DEVICE = r"(device = :device OR (reason = 'unknown_device' AND detail LIKE :eui ESCAPE '\'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter, without its bytes: ``bytes`` says how many there are."""

    id: int
    topic: str
    source: str
    reason: str
    detail: str
    device: str | None
    readings: int
    times_seen: int
    received_at: datetime
    last_received_at: datetime
    stored_at: datetime
    replayed_at: datetime | None
    replay_state: str | None
    replay_detail: str | None
    replayed_by: str | None
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters; what is absent restricts nothing.

    Attributes:
        state: one of ``STATES``, or None for all.
        reason: one of ``DeadReason``.
        device: the device that it names.
        dev_eui: with ``device``: also those that no device was registered for, if they name this DevEUI.
        words: part of the topic, the detail or the device's name.
        since: first received at or after this time, aware.
        until: and before this one.
        letter_id: this one alone.
    """

    state: str | None = OPEN
    reason: str | None = None
    device: str | None = None
    dev_eui: str | None = None
    words: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    letter_id: int | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition in SQL, and its values."""
        parts, values = ["true"], dict[str, Any]()
        if self.state in _OF_STATE:
            parts.append(_OF_STATE[str(self.state)])
        if self.reason is not None:
            parts.append("reason = :reason")
            values["reason"] = self.reason
        if self.device is not None:
            parts.append(_OF_DEVICE if self.dev_eui else "device = :device")
            values |= {"device": self.device} | ({"eui": f"%DevEUI {self.dev_eui}%"} if self.dev_eui else {})
        if self.words:
            parts.append(
                r"(topic ILIKE :words ESCAPE '\' OR detail ILIKE :words ESCAPE '\' OR device ILIKE :words ESCAPE '\')"
            )
            values["words"] = f"%{_literally(self.words[:MAX_WORDS])}%"
        for name, sign in (("since", ">="), ("until", "<")):
            if getattr(self, name) is not None:
                parts.append(f"received_at {sign} :{name}")
                values[name] = getattr(self, name)
        if self.letter_id is not None:
            parts.append("id = :letter_id")
            values["letter_id"] = self.letter_id
        return " AND ".join(parts), values

    def said(self) -> dict[str, Any]:
        """The selection for the audit log."""
        found = {
            "state": self.state,
            "reason": self.reason,
            "device": self.device,
            "words": self.words,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
            "letter": self.letter_id,
        }
        return {name: value for name, value in found.items() if value is not None}


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
    """How a replay goes: letters that still wait, and of those that were asked for since a time how many went which way."""

    waiting: int
    replayed: int
    refused: int


def list_letters(connection: Connection, selection: Selection, before: int, limit: int) -> list[Letter]:
    """The selected dead letters with ids below ``before``, the newest first."""
    where, values = selection.where()
    query = f"SELECT {_COLUMNS} FROM dead_letters WHERE {where} AND id < :before ORDER BY id DESC LIMIT :limit"
    rows = connection.execute(text(query), {**values, "before": before, "limit": limit}).mappings()
    return [Letter(**row) for row in rows]


def get_letter(connection: Connection, letter_id: int) -> tuple[Letter, bytes] | None:
    """One dead letter with its bytes, or None."""
    query = text(f"SELECT {_COLUMNS}, payload FROM dead_letters WHERE id = :id")
    row = connection.execute(query, {"id": letter_id}).mappings().one_or_none()
    if row is None:
        return None
    fields = dict(row)
    payload = bytes(fields.pop("payload"))
    return Letter(**fields), payload


def count_letters(connection: Connection, selection: Selection, at_most: int) -> int:
    """How many are selected, counting no further than ``at_most``."""
    where, values = selection.where()
    query = f"SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE {where} LIMIT :most) AS found"
    return int(connection.execute(text(query), {**values, "most": at_most}).scalar_one())


def count_by_reason(connection: Connection) -> Mapping[str, int]:
    """How many there are for each reason that have not become something else, the commonest first."""
    query = f"SELECT reason, count(*) FROM dead_letters WHERE {_OF_STATE[OPEN]} GROUP BY reason ORDER BY 2 DESC, 1"
    return {str(reason): int(count) for reason, count in connection.execute(text(query))}


def request_replay(connection: Connection, selection: Selection, actor: str) -> int:
    """Ask that the selected dead letters are replayed, except those that wait already or have become something else.

    Returns:
        How many are waiting because of it.
    """
    where, values = selection.where()
    query = (
        "UPDATE dead_letters SET replay_state = 'waiting', replay_detail = NULL, replayed_by = :by "
        f"WHERE {where} AND coalesce(replay_state, 'refused') = 'refused'"
    )
    asked = connection.execute(text(query), {**values, "by": actor}).rowcount
    if asked:
        after = {"letters": asked, **selection.said()}
        write_audit(connection, actor=actor, action="dead_letters.replay", subject="dead letters", after=after)
    return int(asked)


def take_waiting(connection: Connection, limit: int) -> list[Waiting]:
    """The first of those that wait, in order of arrival."""
    query = text(
        "SELECT id, topic, source, reason, payload, received_at FROM dead_letters "
        "WHERE replay_state = 'waiting' ORDER BY id LIMIT :limit"
    )
    return [
        Waiting(**{**row, "payload": bytes(row["payload"])})
        for row in connection.execute(query, {"limit": limit}).mappings()
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
    """How replays go: all that wait, and what came of those that were settled at or after ``since``."""
    query = text(
        "SELECT (SELECT count(*) FROM dead_letters WHERE replay_state = 'waiting') AS waiting, "
        "count(*) FILTER (WHERE replay_state = 'replayed') AS replayed, "
        "count(*) FILTER (WHERE replay_state = 'refused') AS refused "
        "FROM dead_letters WHERE replayed_at >= :since"
    )
    return Progress(**connection.execute(query, {"since": since}).mappings().one())


def try_replay_lock(connection: Connection) -> bool:
    """Become the one that replays, until ``release_replay_lock`` or the connection's end; False if there is one already."""
    return bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": REPLAY_LOCK}).scalar_one())


def release_replay_lock(connection: Connection) -> None:
    """Let another one replay."""
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": REPLAY_LOCK})


def known_reason(word: str | None) -> str | None:
    """The reason of this name, or None for a word that is none."""
    return str(DeadReason(word)) if word in {str(reason) for reason in DeadReason} else None


def _literally(words: str) -> str:
    return words.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
