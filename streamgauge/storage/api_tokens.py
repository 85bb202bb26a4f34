"""API tokens: bearer secrets of programs, kept only as their SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

SCOPES = ("read", "ingest", "write")
"""``read``: every GET of the API. ``ingest``: readings come in. ``write``: what else changes something; implies ``ingest``."""
IMPLIED = {"ingest": ("ingest", "write")}
"""By scope those of which one is enough; for the others the scope itself."""
SCOPES_OF_ROLE = {"viewer": ("read",), "operator": SCOPES, "admin": SCOPES}
"""What a token made by a user may do at most: the user's role bounds it, also when the role changes later."""
LAST_USED_STEP_S = 60
"""``last_used_at`` is written at most so often, so that reading does not mean writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token that may be used now."""

    id: int
    name: str
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        """Whether the token is good for a call that needs this scope."""
        return not set(self.scopes).isdisjoint(IMPLIED.get(scope, (scope,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedToken:
    """A token as people see it: everything but what would let one use it."""

    id: int
    name: str
    scopes: list[str]
    user_id: int | None
    user_name: str | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def state(self, now: datetime) -> str:
        """``usable``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "usable"


def add_token(
    connection: Connection,
    name: str,
    token_sha256: bytes,
    scopes: Sequence[str],
    *,
    user_id: int | None = None,
    created_by: str | None = None,
    expires_at: datetime | None = None,
) -> int:
    """Keep a token.

    Args:
        connection: a connection in a transaction.
        name: what it is for.
        token_sha256: its hash.
        scopes: what it may do.
        user_id: whose it is: it ends with its user, whose role bounds it. None for a token of the system's.
        created_by: the name of who made it.
        expires_at: from when on it is not good any more; None for never.

    Returns:
        Its id.

    Raises:
        ValueError: a scope that is none of ``SCOPES``.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValueError(f"scopes must be some of {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}")
    query = text(
        "INSERT INTO api_tokens (name, token_sha256, scopes, user_id, created_by, expires_at) "
        "VALUES (:name, :sha256, :scopes, :user_id, :created_by, :expires_at) RETURNING id"
    )
    values = {"name": name, "sha256": token_sha256, "scopes": list(scopes)}
    whose = {"user_id": user_id, "created_by": created_by, "expires_at": expires_at}
    return int(connection.execute(query, {**values, **whose}).scalar_one())


def use_token(connection: Connection, token_sha256: bytes) -> ApiToken | None:
    """The token of this hash unless it is unknown, revoked or expired, or its user disabled; notes that it was used.

    Its scopes are those that it was given and that its user's role allows now.
    """
    query = text(
        "SELECT t.id, t.name, t.scopes, u.role, "
        "t.last_used_at IS NULL OR t.last_used_at < now() - make_interval(secs => :step) AS stale "
        "FROM api_tokens t LEFT JOIN users u ON u.id = t.user_id "
        "WHERE t.token_sha256 = :sha256 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) "
        "AND u.disabled_at IS NULL"
    )
    row = connection.execute(query, {"sha256": token_sha256, "step": LAST_USED_STEP_S}).one_or_none()
    if row is None:
        return None
    if row.stale:
        connection.execute(text("UPDATE api_tokens SET last_used_at = now() WHERE id = :id"), {"id": row.id})
    allowed = SCOPES if row.role is None else SCOPES_OF_ROLE.get(row.role, ())
    return ApiToken(id=row.id, name=row.name, scopes=tuple(scope for scope in row.scopes if scope in allowed))


_LIST = """
SELECT t.id, t.name, t.scopes, t.user_id, u.name AS user_name, t.created_by, t.created_at, t.expires_at, t.revoked_at,
    t.last_used_at
FROM api_tokens t LEFT JOIN users u ON u.id = t.user_id
"""


def list_tokens(
    connection: Connection, *, user_id: int | None = None, before: int | None = None, limit: int
) -> list[ListedToken]:
    """Tokens, the newest first: of one user, or of all; with ``before`` those with a lower id."""
    query = text(
        f"{_LIST} WHERE (CAST(:user_id AS bigint) IS NULL OR t.user_id = :user_id) "
        "AND (CAST(:before AS bigint) IS NULL OR t.id < :before) ORDER BY t.id DESC LIMIT :limit"
    )
    rows = connection.execute(query, {"user_id": user_id, "before": before, "limit": limit}).mappings()
    return [ListedToken(**row) for row in rows]


def revoke_token(connection: Connection, token_id: int, *, user_id: int | None = None) -> ListedToken | None:
    """Revoke a token; with ``user_id`` only if it is this user's.

    Returns:
        The token as it was, or None if there is none that could be revoked.
    """
    query = text(
        f"{_LIST} WHERE t.id = :id AND t.revoked_at IS NULL "
        "AND (CAST(:user_id AS bigint) IS NULL OR t.user_id = :user_id) FOR UPDATE OF t"
    )
    row = connection.execute(query, {"id": token_id, "user_id": user_id}).mappings().one_or_none()
    if row is None:
        return None
    connection.execute(text("UPDATE api_tokens SET revoked_at = now() WHERE id = :id"), {"id": token_id})
    return ListedToken(**row)


def revoke_tokens(connection: Connection, user_id: int) -> list[int]:
    """Revoke all tokens of a user; returns the ids of those that were not revoked until now."""
    query = "UPDATE api_tokens SET revoked_at = now() WHERE user_id = :id AND revoked_at IS NULL RETURNING id"
    return sorted(connection.execute(text(query), {"id": user_id}).scalars())


def count_usable(connection: Connection, user_id: int) -> int:
    """How many tokens of a user are good now."""
    query = text(
        "SELECT count(*) FROM api_tokens "
        "WHERE user_id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
    )
    return int(connection.execute(query, {"id": user_id}).scalar_one())
