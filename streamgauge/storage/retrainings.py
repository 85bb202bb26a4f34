"""Trainings on stored history: one at a time, and what came of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from streamgauge.storage.audit import write_audit

RETRAIN_LOCK = 0x5347_0007  # "SG", 7: one key of ours among Postgres's advisory locks
ACTION = "models.retrain"

_TRAINED = text("SELECT device_id, max(created_at) AS at FROM models WHERE device_id IS NOT NULL GROUP BY device_id")
_LOG = text("SELECT at, actor, subject, after FROM audit_log WHERE action = :action ORDER BY id DESC LIMIT :most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """What came of a training.

    Attributes:
        at: when it ended.
        by: who asked for it; ``schedule`` for beat.
        scope: ``all stations``, or a device's name.
        outcome: ``challenger``, ``kept``, ``unchanged``, ``too_little`` or ``failed``.
        model_id: the model that came out.
        detail: in words.
        took_s: how long it took.
    """

    at: datetime
    by: str
    scope: str
    outcome: str
    model_id: int | None
    detail: str
    took_s: float | None


@contextmanager
def one_at_a_time(engine: Engine) -> Iterator[bool]:
    """Whether nobody else trains; nobody else will begin before this ends, or its connection does."""
    with engine.connect() as connection:
        free = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": RETRAIN_LOCK}).scalar())
        connection.commit()
        try:
            yield free
        finally:
            if free:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": RETRAIN_LOCK})
                connection.commit()


def write_retraining(connection: Connection, *, by: str, scope: str, came_to: Mapping[str, Any]) -> None:
    """Write down what came of a training: ``outcome``, ``model_id``, ``detail``, ``took_s``."""
    write_audit(connection, actor=by, action=ACTION, subject=scope, after=came_to)


def retrainings(connection: Connection, limit: int = 20) -> list[Retraining]:
    """The newest trainings, newest first."""
    return [
        Retraining(at=row.at, by=row.actor, scope=row.subject, **_came_to(row.after or {}))
        for row in connection.execute(_LOG, {"action": ACTION, "most": limit})
    ]


def last_trained(connection: Connection) -> dict[int, datetime]:
    """When a model of its own was last made, by station."""
    return {row.device_id: row.at for row in connection.execute(_TRAINED)}


def _came_to(after: Mapping[str, Any]) -> dict[str, Any]:
    known = {"outcome": "failed", "model_id": None, "detail": "", "took_s": None}
    return known | {name: after[name] for name in known if name in after}
