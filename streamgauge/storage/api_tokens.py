"""API tokens: bearer secrets of programs, kept only as their SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

SCOPES = ("read", "ingest", "write")
"""``read``: every GET of the API. ``ingest``: readings come in. ``write``: what else changes something; implies ``ingest``."""
IMPLIED = {"ingest": ("ingest", "write")}
"""By scope those of which one is enough; for the others the scope itself."""
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


def add_token(connection: Connection, name: str, token_sha256: bytes, scopes: Sequence[str]) -> int:
    """Keep a token.

    Returns:
        Its id.

    Raises:
        ValueError: a scope that is none of ``SCOPES``.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValueError(f"scopes must be some of {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}")
    query = text("INSERT INTO api_tokens (name, token_sha256, scopes) VALUES (:name, :sha256, :scopes) RETURNING id")
    return int(connection.execute(query, {"name": name, "sha256": token_sha256, "scopes": list(scopes)}).scalar_one())


def use_token(connection: Connection, token_sha256: bytes) -> ApiToken | None:
    """The token of this hash unless it is unknown, revoked or expired; notes that it was used."""
    query = text(
        "SELECT id, name, scopes, last_used_at IS NULL OR last_used_at < now() - make_interval(secs => :step) AS stale "
        "FROM api_tokens "
        "WHERE token_sha256 = :sha256 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
    )
    row = connection.execute(query, {"sha256": token_sha256, "step": LAST_USED_STEP_S}).one_or_none()
    if row is None:
        return None
    if row.stale:
        connection.execute(text("UPDATE api_tokens SET last_used_at = now() WHERE id = :id"), {"id": row.id})
    return ApiToken(id=row.id, name=row.name, scopes=tuple(row.scopes))
