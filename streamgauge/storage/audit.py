"""Who did what: one row of ``audit_log`` per action of a person, in the transaction that carries it out."""

import json
from collections.abc import Mapping
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
