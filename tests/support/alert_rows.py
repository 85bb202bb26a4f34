"""Alerts as the engine of the rules will write them, for tests of what people and programs do with them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

STAGE_CAUSE = {
    "kind": "stage",
    "stage": "BĐ II",
    "severity": 2,
    "level_m": 1.92,
    "threshold_m": 1.9,
    "time": "2026-11-21T02:30:00.000Z",
    "direction": "up",
}


def add_rule(connection: Connection, name: str = "Over a stage") -> int:
    """A rule; what it says does not matter here."""
    row = connection.execute(
        text("INSERT INTO alert_rules (name, rule) VALUES (:name, '{}') RETURNING id"), {"name": name}
    )
    return int(row.scalar_one())


def add_alert(
    connection: Connection,
    device: str | None,
    *,
    cause: Mapping[str, Any] = STAGE_CAUSE,
    severity: int = 2,
    state: str = "open",
    opened_at: datetime | None = None,
    rule_id: int | None = None,
) -> int:
    """An alert of a registered station, or of none."""
    values = {
        "rule": rule_id or add_rule(connection),
        "device": device,
        "state": state,
        "cause": json.dumps(dict(cause)),
        "severity": severity,
        "opened": opened_at or datetime.now(UTC),
    }
    row = connection.execute(
        text(
            "INSERT INTO alerts (rule_id, device_id, state, cause, severity, opened_at, acknowledged_at, resolved_at) "
            "VALUES (:rule, (SELECT id FROM devices WHERE name = :device), :state, CAST(:cause AS jsonb), :severity, :opened, "
            "CASE WHEN :state <> 'open' THEN now() END, CASE WHEN :state = 'resolved' THEN now() END) RETURNING id"
        ),
        values,
    )
    return int(row.scalar_one())
