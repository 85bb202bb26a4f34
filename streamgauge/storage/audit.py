"""Who did what: one row of ``audit_log`` per action of a person, in the transaction that carries it out."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

_WRITE = text("""
INSERT INTO audit_log (actor, action, subject, after) VALUES (:actor, :action, :subject, CAST(:after AS jsonb))
""")


def write_audit(
    connection: Connection, *, actor: str, action: str, subject: str, after: Mapping[str, Any] | None = None
) -> None:
    """Write down an action.

    Args:
        connection: a connection in a transaction: the action's own, so that there is never one without the other.
        actor: the person's name.
        action: what, as ``rescore.start``.
        subject: on what, as ``run 12``.
        after: what holds from now on, JSON-able.
    """
    body = None if after is None else json.dumps(dict(after))
    connection.execute(_WRITE, {"actor": actor, "action": action, "subject": subject, "after": body})
