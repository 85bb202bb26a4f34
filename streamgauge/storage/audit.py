"""Who did what: one row of ``audit_log`` per action of a person, in the transaction that carries it out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

_WRITE = text("""
INSERT INTO audit_log (actor, action, subject, before, after)
VALUES (:actor, :action, :subject, CAST(:before AS jsonb), CAST(:after AS jsonb))
""")


def write_audit(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down an action.

    Args:
        connection: a connection in a transaction: the action's own, so that there is never one without the other.
        actor: the person's name.
        action: what, as ``rescore.start``.
        subject: on what, as ``run 12``.
        before: what held until now, JSON-able (times and the like are written as text).
        after: what holds from now on, JSON-able.
    """
    said = {"actor": actor, "action": action, "subject": subject}
    connection.execute(_WRITE, {**said, "before": _body(before), "after": _body(after)})


def _body(said: Mapping[str, Any] | None) -> str | None:
    # Postgres keeps no NUL, not even escaped.
    return None if said is None else json.dumps(dict(said), default=str).replace("\\u0000", "\\ufffd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of ``audit_log``."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows one wants; what is empty or None does not matter.

    Attributes:
        actor: who, whole.
        action: what, by its beginning: ``user`` finds ``user.create``.
        subject: on what, by any part of it.
        since: from when on.
        until: before when.
    """

    actor: str = ""
    action: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None


_READ = text("""
SELECT id, at, actor, action, subject, before, after FROM audit_log
WHERE (:actor = '' OR actor = :actor)
    AND (:action = '' OR starts_with(action, :action))
    AND (:subject = '' OR strpos(lower(subject), lower(:subject)) > 0)
    AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR at < :until)
    AND (CAST(:before_at AS timestamptz) IS NULL OR (at, id) < (:before_at, CAST(:before_id AS bigint)))
ORDER BY at DESC, id DESC LIMIT :limit
""")


def read_audit(
    connection: Connection, wanted: Wanted, *, before: tuple[datetime, int] | None = None, limit: int
) -> list[Entry]:
    """Rows, the newest first; with ``before`` those older than the row of this time and id."""
    if any("\0" in part for part in (wanted.actor, wanted.action, wanted.subject)):
        return []  # Postgres has no text with a NUL.
    before_at, before_id = before or (None, None)
    values = {"actor": wanted.actor, "action": wanted.action, "subject": wanted.subject}
    page = {
        "since": wanted.since,
        "until": wanted.until,
        "before_at": before_at,
        "before_id": before_id,
        "limit": limit,
    }
    return [Entry(**row) for row in connection.execute(_READ, {**values, **page}).mappings()]


def audit_actions(connection: Connection) -> list[str]:
    """Kinds of actions among the newest 20,000 rows, by name."""
    query = text("SELECT DISTINCT action FROM (SELECT action FROM audit_log ORDER BY at DESC LIMIT 20000) recent")
    return sorted(connection.execute(query).scalars())
