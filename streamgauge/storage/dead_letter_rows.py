"""Dead letters as people handle them: found, looked at, and asked to be replayed after what was wrong has been put right.

``replay_state`` is null (nobody asked), ``waiting`` (asked, not yet done), ``replayed`` (it became readings, or another dead
letter that says what is wrong now) or ``refused`` (still wrong for the same reason). Nothing is ever deleted here.

A device that repeats a mistake makes millions of them. So what is selected by state and reason is found by an index; of what
must be looked at one by one (words, times) a look covers the newest ``LOOKED_AT``, and the next one goes on below them; counts
end where nobody counts along; and a replay of many is asked for in pieces.
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
LOOKED_AT = 20_000
"""So many letters are looked at for one page, where no index finds what is selected."""
COUNTED = 10_000
"""Letters of a reason, and those of a replay, are counted no further."""
AT_ONCE = 10_000
"""So many letters are asked to be replayed in one transaction."""
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
# The reasons that there are, each found by the index; a version that was rolled back may have left some that this one knows not.
_REASONS = """
WITH RECURSIVE reasons AS (
    (SELECT reason FROM dead_letters ORDER BY reason LIMIT 1)
    UNION ALL
    SELECT (SELECT next.reason FROM dead_letters AS next WHERE next.reason > reasons.reason ORDER BY next.reason LIMIT 1)
    FROM reasons WHERE reasons.reason IS NOT NULL)
"""
_NEWEST = f"(SELECT {_COLUMNS} FROM dead_letters WHERE {{condition}} AND id < :before ORDER BY id DESC LIMIT :window)"
_OF_DEVICE = r"(device = :device OR (reason = 'unknown_device' AND detail LIKE :eui ESCAPE '\'))"


def _newest_with(column: str, value: str, condition: str = "true", columns: str = _COLUMNS) -> str:
    """The newest letters with this value in a column that leads an index."""
    # A range in the order of the index instead of an equality: the planner, which does not know how rare one value is among the
    # open ones, would rather go through all letters by id until it has found enough.
    return f"""(SELECT {columns} FROM dead_letters
    WHERE {condition} AND {column} BETWEEN {value} AND {value} AND id < :before ORDER BY {column}, id DESC LIMIT :window)"""


_NEWEST_OPEN = f"""(SELECT newest.* FROM reasons CROSS JOIN LATERAL
    {_newest_with("reason", "reasons.reason", _OF_STATE[OPEN])} AS newest)"""
_COUNT_BY_REASON = text(f"""
{_REASONS} SELECT reason, counted.n FROM reasons CROSS JOIN LATERAL (SELECT count(*) AS n
    FROM {_newest_with("reason", "reasons.reason", _OF_STATE[OPEN], "id")} AS newest) AS counted
WHERE n > 0 ORDER BY 2 DESC, 1
""")


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

    def branches(self) -> tuple[Sequence[str], bool]:
        """Queries that each find other candidates by an index, the newest first; and whether all that they find is selected."""
        rest = bool(self.words or self.since or self.until)
        if self.letter_id is not None:
            return [_NEWEST.format(condition="id = :letter_id")], False
        if self.device is not None:
            found = [_newest_with("device", ":device")]
            others = "device IS DISTINCT FROM :device"
            if self.dev_eui:
                found.append(_newest_with("reason", "'unknown_device'", f"{_OF_STATE[OPEN]} AND {others}"))
            if self.dev_eui and self.state in (None, REPLAYED):
                found.append(_NEWEST.format(condition=f"{_OF_STATE[REPLAYED]} AND {others}"))
            return found, False
        if self.state in (WAITING, REFUSED, REPLAYED):
            is_exact = not rest and self.reason is None
            return [_NEWEST.format(condition=_OF_STATE[str(self.state)])], is_exact
        if self.reason is not None:
            found = [_newest_with("reason", ":reason", _OF_STATE[OPEN])]
            if self.state is None:
                found.append(_NEWEST.format(condition=_OF_STATE[REPLAYED]))
            return found, not rest and self.state is not None
        if self.state is None or rest:
            return [_NEWEST.format(condition="true")], not rest
        return [_NEWEST_OPEN], True

    def candidates(self, limit: int) -> tuple[str, int]:
        """The query for what is looked at, below ``:before``; and how much, its ``:window``, for so many rows."""
        branches, is_exact = self.branches()
        query = (
            f"(SELECT * FROM ({' UNION ALL '.join(branches)}) AS found ORDER BY id DESC LIMIT :window) AS candidates"
        )
        return query, limit if is_exact else max(limit, LOOKED_AT)

    def said(self) -> dict[str, Any]:
        """The selection for the audit log, and for another process (``selection_of``)."""
        found = {
            "state": self.state,
            "reason": self.reason,
            "device": self.device,
            "dev_eui": self.dev_eui,
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


def list_letters(connection: Connection, selection: Selection, before: int, limit: int) -> list[Letter]:
    """The selected dead letters with ids below ``before``, the newest first: fewer than ``limit`` may be all that one look finds.

    ``looked_to`` says whether there is more to look at.
    """
    where, values = selection.where()
    candidates, window = selection.candidates(limit)
    query = f"{_REASONS} SELECT * FROM {candidates} WHERE {where} ORDER BY id DESC LIMIT :limit"
    values |= {"before": before, "limit": limit, "window": window}
    return [Letter(**row) for row in connection.execute(text(query), values).mappings()]


def looked_to(connection: Connection, selection: Selection, before: int) -> int | None:
    """Below which id the next look begins, if ``list_letters`` found fewer than its limit; None: it looked at everything."""
    if selection.branches()[1]:
        return None
    _, values = selection.where()
    candidates, window = selection.candidates(0)
    query = f"{_REASONS} SELECT count(*), min(id) FROM {candidates}"
    found, lowest = connection.execute(text(query), {**values, "before": before, "window": window}).one()
    return int(lowest) if found == window else None


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
    """How many are selected, counting no further than ``at_most``, and no further than one look reaches (``looked_to``)."""
    where, values = selection.where()
    source, values["most"] = "dead_letters", at_most
    if not selection.branches()[1]:
        source, window = selection.candidates(0)
        values |= {"before": MAX_ID, "window": window}
    query = f"{_REASONS} SELECT count(*) FROM (SELECT FROM {source} WHERE {where} LIMIT :most) AS found"
    return int(connection.execute(text(query), values).scalar_one())


def count_by_reason(connection: Connection) -> Mapping[str, int]:
    """How many there are for each reason that have not become something else, the commonest first; up to ``COUNTED`` + 1 each."""
    rows = connection.execute(_COUNT_BY_REASON, {"before": MAX_ID, "window": COUNTED + 1})
    return {str(reason): int(count) for reason, count in rows}


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
    """How replays go: what waits, and what came of those that were settled last, at or after ``since``."""
    query = text("""
    SELECT (SELECT count(*) FROM (SELECT FROM dead_letters WHERE replay_state = 'waiting' LIMIT :most) AS counting) AS waiting,
        count(*) FILTER (WHERE replay_state = 'replayed') AS replayed,
        count(*) FILTER (WHERE replay_state = 'refused') AS refused
    FROM (SELECT replay_state FROM dead_letters WHERE replayed_at IS NOT NULL AND replayed_at >= :since
        ORDER BY replayed_at DESC LIMIT :most) AS settled
    """)
    return Progress(**connection.execute(query, {"since": since, "most": COUNTED + 1}).mappings().one())


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
