"""Dead letters as people handle them: found and looked at. ``streamgauge.storage.replays`` is about replaying them.

``replay_state`` is null (nobody asked), ``waiting`` (asked, not yet done), ``replayed`` (it became readings, or another dead
letter that says what is wrong now) or ``refused`` (still wrong for the same reason). Nothing is ever deleted here.

A device that repeats a mistake makes millions of them. So what is selected by state and reason is found by an index; of what
must be looked at one by one (words, times) a look covers the newest ``LOOKED_AT``, and the next one goes on below them; and
counts end where nobody counts along.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.errors import DeadReason

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


@contextmanager
def in_order(connection: Connection) -> Iterator[None]:
    """While this lasts, the planner goes through an index in its order: letters that came within the last minute are in no
    statistics yet, and were there few of them, as it then thinks, to read all and sort them would be better.
    """
    names = ("enable_bitmapscan", "enable_seqscan", "jit")
    connection.execute(text("; ".join(f"SET LOCAL {name} = off" for name in names)))
    yield
    connection.execute(text("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in names)))


def list_letters(connection: Connection, selection: Selection, before: int, limit: int) -> list[Letter]:
    """The selected dead letters with ids below ``before``, the newest first: fewer than ``limit`` may be all that one look finds.

    ``looked_to`` says whether there is more to look at.
    """
    where, values = selection.where()
    candidates, window = selection.candidates(limit)
    query = f"{_REASONS} SELECT * FROM {candidates} WHERE {where} ORDER BY id DESC LIMIT :limit"
    values |= {"before": before, "limit": limit, "window": window}
    with in_order(connection):
        return [Letter(**row) for row in connection.execute(text(query), values).mappings()]


def looked_to(connection: Connection, selection: Selection, before: int) -> int | None:
    """Below which id the next look begins, if ``list_letters`` found fewer than its limit; None: it looked at everything."""
    if selection.branches()[1]:
        return None
    _, values = selection.where()
    candidates, window = selection.candidates(0)
    query = f"{_REASONS} SELECT count(*), min(id) FROM {candidates}"
    with in_order(connection):
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
    with in_order(connection):
        return int(connection.execute(text(query), values).scalar_one())


def count_by_reason(connection: Connection) -> Mapping[str, int]:
    """How many there are for each reason that have not become something else, the commonest first; up to ``COUNTED`` + 1 each."""
    with in_order(connection):
        rows = connection.execute(_COUNT_BY_REASON, {"before": MAX_ID, "window": COUNTED + 1}).all()
    return {str(reason): int(count) for reason, count in rows}


def known_reason(word: str | None) -> str | None:
    """The reason of this name, or None for a word that is none."""
    return str(DeadReason(word)) if word in {str(reason) for reason in DeadReason} else None


def _literally(words: str) -> str:
    return words.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
