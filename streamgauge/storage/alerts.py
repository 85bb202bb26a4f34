"""Alerts: what is wrong, who has it, what was; each step of a person is written down in the audit log with it.

An alert is open, acknowledged or resolved. What a person does is idempotent: doing it again changes nothing and says so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from streamgauge.storage.audit import write_audit

OPEN: Final = "open"
ACKNOWLEDGED: Final = "acknowledged"
RESOLVED: Final = "resolved"
STATES = (OPEN, ACKNOWLEDGED, RESOLVED)
"""In the order of need."""
MAX_COMMENT_CHARACTERS = 2_000
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert.

    Attributes:
        id: its number.
        rule: the name of the rule that raised it.
        device: the station's name; None for an alert of the whole system, such as many stations silent at once.
        display_name: what people call the station.
        time_zone: the station's; UTC without one.
        state: one of ``STATES``.
        severity: 1 to 4, as of stages.
        cause: what raised it, by ``kind``, as the engine of the rules writes it.
        comment: the newest; those before it are in the audit log.
    """

    id: int
    rule: str
    device: str | None
    display_name: str | None
    time_zone: str
    state: str
    severity: int
    cause: Mapping[str, Any]
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    comment: str | None
    resolved_at: datetime | None
    resolved_by: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of alerts, newest first: just after this one."""

    opened_at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Step:
    """What became of what a person did: the alert as it is now, and whether that changed anything."""

    alert: Alert
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of an alert's history."""

    at: datetime
    actor: str
    action: str
    comment: str | None


class AlertUnknown(LookupError):
    """No alert has this number."""


class AlertResolved(ValueError):
    """The alert is over: nobody can take it any more. ``alert`` is as it is."""

    def __init__(self, alert: Alert) -> None:
        super().__init__(f"alert {alert.id} is resolved")
        self.alert = alert


class BadComment(ValueError):
    """A comment that cannot be kept; the message says why."""


_ALERT = """
SELECT alerts.id, alert_rules.name AS rule, devices.name AS device, devices.display_name,
    coalesce(devices.time_zone, 'UTC') AS time_zone, alerts.state, alerts.severity, alerts.cause, alerts.opened_at,
    alerts.acknowledged_at, alerts.acknowledged_by, alerts.comment, alerts.resolved_at, alerts.resolved_by
FROM alerts JOIN alert_rules ON alert_rules.id = alerts.rule_id LEFT JOIN devices ON devices.id = alerts.device_id
"""
_ONE = text(f"{_ALERT} WHERE alerts.id = :id")
_LOCK = text("SELECT id FROM alerts WHERE id = :id FOR UPDATE")
_URGENT = text(
    f"{_ALERT} WHERE alerts.state = ANY(:states) "
    "ORDER BY alerts.state <> 'open', alerts.severity DESC, alerts.opened_at DESC, alerts.id DESC LIMIT :limit"
)
_COUNT = text("SELECT state, count(*) AS alerts FROM alerts WHERE state <> 'resolved' GROUP BY state")
_WRITE = text("""
UPDATE alerts SET state = :state, comment = :comment, acknowledged_at = :acknowledged_at, acknowledged_by = :acknowledged_by,
    resolved_at = :resolved_at, resolved_by = :resolved_by
WHERE id = :id
""")
_HISTORY = text("""
SELECT at, actor, action, after->>'comment' AS comment FROM audit_log
WHERE subject = :subject ORDER BY at, id LIMIT :limit
""")


def list_alerts(
    connection: Connection,
    *,
    states: Collection[str] = STATES,
    device_id: int | None = None,
    after: Position | None = None,
    limit: int,
) -> list[Alert]:
    """Alerts, newest first.

    Args:
        connection: an open connection.
        states: only these of ``STATES``.
        device_id: only this station's (``devices.id``).
        after: the last alert of the page before; None for the first page.
        limit: at most so many.
    """
    values: dict[str, Any] = {"limit": limit}
    conditions = ["true"]
    if set(states) != set(STATES):
        conditions.append("alerts.state = ANY(:states)")
        values["states"] = list(states)
    if device_id is not None:
        conditions.append("alerts.device_id = :device_id")
        values["device_id"] = device_id
    if after is not None:
        conditions.append("(alerts.opened_at, alerts.id) < (:opened_at, :id)")
        values |= {"opened_at": after.opened_at, "id": after.id}
    query = f"{_ALERT} WHERE {' AND '.join(conditions)} ORDER BY alerts.opened_at DESC, alerts.id DESC LIMIT :limit"
    return [Alert(**row) for row in connection.execute(text(query), values).mappings()]


def list_urgent(connection: Connection, limit: int, states: Collection[str] = (OPEN, ACKNOWLEDGED)) -> list[Alert]:
    """Alerts that are not over, in the order of need: open ones first, the most severe first, the newest first."""
    rows = connection.execute(_URGENT, {"states": list(states), "limit": limit})
    return [Alert(**row) for row in rows.mappings()]


def count_unresolved(connection: Connection) -> dict[str, int]:
    """How many alerts are open and how many acknowledged."""
    found = {row.state: int(row.alerts) for row in connection.execute(_COUNT)}
    return {state: found.get(state, 0) for state in (OPEN, ACKNOWLEDGED)}


def get_alert(connection: Connection, alert_id: int) -> Alert | None:
    """The alert of this number, or None."""
    if not 0 <= alert_id <= MAX_ID:
        return None
    row = connection.execute(_ONE, {"id": alert_id}).mappings().one_or_none()
    return None if row is None else Alert(**row)


def read_history(connection: Connection, alert_id: int, limit: int = 200) -> list[Event]:
    """What people did with an alert, oldest first."""
    rows = connection.execute(_HISTORY, {"subject": _subject(alert_id), "limit": limit})
    return [Event(**row) for row in rows.mappings()]


def acknowledge_alert(connection: Connection, alert_id: int, *, by: str, comment: str | None = None) -> Step:
    """Somebody takes an alert. Who was first has it; a comment of whoever comes later is kept as the newest.

    Args:
        connection: a connection in a transaction.
        alert_id: the alert.
        by: who.
        comment: what to say of it; None or blank for nothing.

    Raises:
        AlertUnknown: there is none of this number.
        AlertResolved: it is over.
        BadComment: the comment cannot be kept.
    """
    said = clean_comment(comment)
    alert = _lock(connection, alert_id)
    if alert.state == RESOLVED:
        raise AlertResolved(alert)
    if alert.state == ACKNOWLEDGED:
        return Step(alert, False) if said is None else _comment(connection, alert, by, said)
    changes = {"state": ACKNOWLEDGED, "acknowledged_at": datetime.now(UTC), "acknowledged_by": by}
    return _take_step(connection, alert, by, "alert.acknowledge", changes, said)


def comment_alert(connection: Connection, alert_id: int, *, by: str, comment: str) -> Step:
    """Say something of an alert, in whatever state it is: what was found out is often written down afterwards.

    Raises:
        AlertUnknown: there is none of this number.
        BadComment: the comment is empty or cannot be kept.
    """
    said = clean_comment(comment)
    if said is None:
        raise BadComment("comment is empty")
    return _comment(connection, _lock(connection, alert_id), by, said)


def resolve_alert(connection: Connection, alert_id: int, *, by: str, comment: str | None = None) -> Step:
    """Somebody says that an alert is over. Of one that is over already, only a new comment is kept.

    Raises:
        AlertUnknown: there is none of this number.
        BadComment: the comment cannot be kept.
    """
    said = clean_comment(comment)
    alert = _lock(connection, alert_id)
    if alert.state == RESOLVED:
        return Step(alert, False) if said is None else _comment(connection, alert, by, said)
    changes = {"state": RESOLVED, "resolved_at": datetime.now(UTC), "resolved_by": by}
    return _take_step(connection, alert, by, "alert.resolve", changes, said)


def clean_comment(comment: str | None) -> str | None:
    """A comment without blanks around it and with one kind of line ends; None for nothing said.

    Raises:
        BadComment: it is too long, or has characters that are no text.
    """
    said = (comment or "").replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(said) > MAX_COMMENT_CHARACTERS:
        raise BadComment(f"comment has {len(said)} characters; {MAX_COMMENT_CHARACTERS} are the most")
    if any(
        (ord(character) < 32 and character not in "\n\t") or 0xD800 <= ord(character) < 0xE000 for character in said
    ):
        raise BadComment("comment has characters that are no text")
    return said or None


def _lock(connection: Connection, alert_id: int) -> Alert:
    """The alert, held until the transaction ends: two people cannot both be first."""
    if 0 <= alert_id <= MAX_ID:
        connection.execute(_LOCK, {"id": alert_id})
    alert = get_alert(connection, alert_id)
    if alert is None:
        raise AlertUnknown(f"no alert has the number {alert_id}")
    return alert


def _comment(connection: Connection, alert: Alert, by: str, said: str) -> Step:
    if alert.comment == said:
        return Step(alert, False)
    return _take_step(connection, alert, by, "alert.comment", {}, said)


def _take_step(
    connection: Connection, alert: Alert, by: str, action: str, changes: Mapping[str, Any], said: str | None
) -> Step:
    names = ("state", "comment", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by")
    values = {name: getattr(alert, name) for name in names} | dict(changes)
    values["comment"] = said or alert.comment
    connection.execute(_WRITE, {**values, "id": alert.id})
    before: dict[str, Any] = {"state": alert.state}
    after: dict[str, Any] = {"state": values["state"]}
    if said is not None:
        before, after = before | {"comment": alert.comment}, after | {"comment": said}
    write_audit(connection, actor=by, action=action, subject=_subject(alert.id), before=before, after=after)
    now = get_alert(connection, alert.id)
    assert now is not None
    return Step(now, True)


def _subject(alert_id: int) -> str:
    return f"alert {alert_id}"
