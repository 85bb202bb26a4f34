"""Sessions of the pages: who is signed in, where, until when. A session's token is only ever seen here as its SHA-256.

``expires_at`` is the earlier of two ends, the session's own and that of its idleness; it moves with every use that is noted.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, text

from streamgauge.storage.users import COLUMNS as USER_COLUMNS
from streamgauge.storage.users import User

ROTATE_AFTER_S = 900
HONOUR_PREVIOUS_S = 60
"""So long after a rotation requests that were under way may still bring the token before. Longer, if the new one has never been
seen: then the answer that carried it was lost on its way."""
NOTE_USE_EVERY_S = 60
MAX_AGENT_LENGTH = 300

_ALIVE = "s.ended_at IS NULL AND s.expires_at > now() AND u.disabled_at IS NULL"
_KNOWN = f"""
(s.token_sha256 = :sha256 OR (
    s.previous_sha256 = :sha256
    AND (s.rotated_at > now() - interval '{HONOUR_PREVIOUS_S} s' OR s.last_seen_at <= s.rotated_at)
))
"""
_FIND = text(f"""
SELECT s.id AS session_id, s.provider, now() AS at,
    s.rotated_at <= now() - interval '{ROTATE_AFTER_S} s'
        OR (s.token_sha256 <> :sha256 AND s.rotated_at <= now() - interval '{HONOUR_PREVIOUS_S} s') AS is_due,
    s.token_sha256 = :sha256
        AND (s.last_seen_at <= s.rotated_at OR s.last_seen_at < now() - interval '{NOTE_USE_EVERY_S} s') AS is_stale,
    {", ".join(f"u.{column}" for column in USER_COLUMNS)}
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE {_KNOWN} AND {_ALIVE}
""")
_ADD = text("""
INSERT INTO sessions (token_sha256, user_id, expires_at, address, agent, provider)
VALUES (:sha256, :user_id, now() + make_interval(secs => LEAST(:idle_s, :lifetime_s)), :address, :agent, :provider)
RETURNING id
""")
_EXPIRES = "LEAST(created_at + make_interval(secs => :lifetime_s), now() + make_interval(secs => :idle_s))"
_NOTE_USE = text(f"UPDATE sessions SET last_seen_at = now(), expires_at = {_EXPIRES} WHERE id = :id")
_ROTATE = text(f"""
UPDATE sessions SET token_sha256 = :new, previous_sha256 = :old, rotated_at = :at, last_seen_at = :at, expires_at = {_EXPIRES}
WHERE id = :id AND ended_at IS NULL
    AND (token_sha256 = :old OR (previous_sha256 = :old AND rotated_at <= now() - interval '{HONOUR_PREVIOUS_S} s'))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a session may last: ``idle_s`` without a request, ``lifetime_s`` in all."""

    idle_s: float
    lifetime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that holds now.

    Attributes:
        id: its row.
        user: who is signed in.
        provider: how: ``password`` or ``oidc``.
        is_due: it is time for a new token.
        is_stale: this use is to be noted.
        at: the database's time of the transaction in which it was found.
    """

    id: int
    user: User
    provider: str
    is_due: bool
    is_stale: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A session's last rotation: the hash of the token from then on, of the one before, and when it was."""

    token_sha256: bytes
    previous_sha256: bytes | None
    rotated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSession:
    """A session as its owner sees it."""

    id: int
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    address: str | None
    agent: str | None
    provider: str


def add_session(
    connection: Connection,
    *,
    token_sha256: bytes,
    user_id: int,
    limits: Limits,
    address: str | None,
    agent: str | None,
    provider: str,
) -> int:
    """Open a session; notes that the user signed in, and clears away that user's sessions that ended long ago.

    Returns:
        Its id.
    """
    connection.execute(text("UPDATE users SET signed_in_at = now() WHERE id = :id"), {"id": user_id})
    old = "DELETE FROM sessions WHERE user_id = :id AND LEAST(expires_at, ended_at) < now() - interval '30 days'"
    connection.execute(text(old), {"id": user_id})
    said = (agent or "").replace("\0", "")[:MAX_AGENT_LENGTH]
    values = {"sha256": token_sha256, "user_id": user_id, "address": address, "agent": said, "provider": provider}
    found = connection.execute(_ADD, {**values, "idle_s": limits.idle_s, "lifetime_s": limits.lifetime_s})
    return int(found.scalar_one())


def find_session(connection: Connection, token_sha256: bytes) -> OpenSession | None:
    """The session of this token with its user, if it holds: not ended, not expired, its user not disabled. One query."""
    row = connection.execute(_FIND, {"sha256": token_sha256}).one_or_none()
    if row is None:
        return None
    return OpenSession(
        id=row.session_id, user=_user(row), provider=row.provider, is_due=row.is_due, is_stale=row.is_stale, at=row.at
    )


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(**{column: getattr(row, column) for column in USER_COLUMNS})


def note_use(connection: Connection, session_id: int, limits: Limits) -> None:
    """Write down that a session was used; its idle time begins anew."""
    values = {"id": session_id, "idle_s": limits.idle_s, "lifetime_s": limits.lifetime_s}
    connection.execute(_NOTE_USE, values)


def rotate(connection: Connection, found: OpenSession, *, old_sha256: bytes, new_sha256: bytes, limits: Limits) -> bool:
    """Give a session a new token, as of the time when it was found; the token before is honoured for a moment.

    Returns:
        False, with nothing changed, when another request did so meanwhile.
    """
    values = {"id": found.id, "old": old_sha256, "new": new_sha256, "at": found.at}
    changed = connection.execute(_ROTATE, {**values, "idle_s": limits.idle_s, "lifetime_s": limits.lifetime_s})
    return changed.rowcount == 1


def last_rotation(connection: Connection, session_id: int) -> Rotation | None:
    """What a session's token is now and was before, however long ago; None if the session was ended or is not there."""
    query = "SELECT token_sha256, previous_sha256, rotated_at FROM sessions WHERE id = :id AND ended_at IS NULL"
    row = connection.execute(text(query), {"id": session_id}).one_or_none()
    if row is None:
        return None
    previous = None if row.previous_sha256 is None else bytes(row.previous_sha256)
    return Rotation(token_sha256=bytes(row.token_sha256), previous_sha256=previous, rotated_at=row.rotated_at)


def rotate_soon(connection: Connection, user_id: int) -> None:
    """Every session of a user gets a new token with its next request, and the one before is not honoured any more."""
    query = "UPDATE sessions SET rotated_at = 'epoch', previous_sha256 = NULL WHERE user_id = :id AND ended_at IS NULL"
    connection.execute(text(query), {"id": user_id})


def end_sessions(
    connection: Connection, user_id: int, *, only: int | None = None, all_but: int | None = None
) -> list[int]:
    """End sessions of a user: one, all but one, or all.

    Returns:
        The ids of those that held until now.
    """
    query = text(
        "UPDATE sessions SET ended_at = now() WHERE user_id = :user_id AND ended_at IS NULL AND expires_at > now() "
        "AND (CAST(:only AS bigint) IS NULL OR id = :only) AND (CAST(:but AS bigint) IS NULL OR id <> :but) RETURNING id"
    )
    return list(connection.execute(query, {"user_id": user_id, "only": only, "but": all_but}).scalars())


def list_sessions(connection: Connection, user_id: int) -> list[ListedSession]:
    """The sessions of a user that hold, the one used last first."""
    query = text(
        "SELECT s.id, s.created_at, s.last_seen_at, s.expires_at, s.address, s.agent, s.provider "
        f"FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.user_id = :user_id AND {_ALIVE} "
        "ORDER BY s.last_seen_at DESC, s.id DESC"
    )
    return [ListedSession(**row) for row in connection.execute(query, {"user_id": user_id}).mappings()]


def living_sessions(connection: Connection, session_ids: Collection[int]) -> set[int]:
    """Which of these sessions hold still; one query for all."""
    if not session_ids:
        return set()
    query = text(f"SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ANY(:ids) AND {_ALIVE}")
    return set(connection.execute(query, {"ids": list(session_ids)}).scalars())
