"""``/admin/audit``: who changed what, when, from what to what."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import abort, render_template, request

from app.admin.blueprint import blueprint
from app.connections import connections
from app.i18n import Words, words
from app.session.roles import needs_role
from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.storage.audit import Entry, Wanted, audit_actions, read_audit

ENTRIES_SHOWN = 50
MAX_FILTER_LENGTH = 200
MAX_VALUE_LENGTH = 300
MAX_CHANGES = 40
FILTERS = ("actor", "action", "subject", "from", "until")
_NOTHING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that became another; None where it was, or is, not mentioned at all."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry in the list."""

    at: str
    actor: str
    action: str
    subject: str
    changes: list[Change]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The filters as somebody filled them in, with what is wrong, by field."""

    texts: Mapping[str, str]
    wanted: Wanted
    faults: Mapping[str, str] = field(default_factory=dict)


@blueprint.get("/admin/audit")
@needs_role("admin")
def show_audit() -> tuple[str, int]:
    """Entries, the newest first; the filters and the place are the URL."""
    filters, cursor = _read_filters(words()), request.args.get("before", "")
    before = _read_cursor(cursor) if cursor else None
    with connections().engine.connect() as connection:
        actions = audit_actions(connection)
        found = [] if filters.faults else read_audit(connection, filters.wanted, before=before, limit=ENTRIES_SHOWN + 1)
    shown = found[:ENTRIES_SHOWN]
    page = render_template(
        "admin/audit.html",
        place="audit",
        filters=filters,
        actions=actions,
        lines=[_line(entry, words()) for entry in shown],
        older=_address(filters.texts, shown[-1]) if len(found) > ENTRIES_SHOWN else None,
        is_first=before is None,
        is_filtered=any(filters.texts.values()),
    )
    return page, 422 if filters.faults else 200


def changes(before: object, after: object) -> list[Change]:
    """What became of what, name by name, nothing being ``""``; names within names are joined by dots, what stayed is left out."""
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        Change(name=name, before=_text(old.get(name, _NOTHING)), after=_text(new.get(name, _NOTHING)))
        for name in dict.fromkeys([*old, *new])
        if old.get(name, _NOTHING) != new.get(name, _NOTHING)
    ]


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif value is not None or name:
        yield name, value


def _text(value: object) -> str | None:
    if value is _NOTHING:
        return None
    if value is None:
        return ""
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said if len(said) <= MAX_VALUE_LENGTH else said[:MAX_VALUE_LENGTH] + "…"


def _line(entry: Entry, t: Words) -> Line:
    found = changes(entry.before, entry.after)
    return Line(
        at=t.moment(entry.at, UTC, seconds=True),
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        changes=found[:MAX_CHANGES],
        left_out=max(0, len(found) - MAX_CHANGES),
    )


def _read_filters(t: Words) -> Filters:
    texts = {name: request.args.get(name, "").strip()[:MAX_FILTER_LENGTH] for name in FILTERS}
    faults: dict[str, str] = {}
    days: dict[str, datetime | None] = {}
    for name in ("from", "until"):
        try:
            days[name] = _day(texts[name])
        except ValueError:
            days[name], faults[name] = None, t("admin.audit.error.day")
    first, last = days["from"], days["until"]
    if first and last and first > last:
        faults["from"] = t("admin.audit.error.order")
    wanted = Wanted(
        actor=texts["actor"],
        action=texts["action"],
        subject=texts["subject"],
        since=first,
        until=last + timedelta(days=1) if last else None,
    )
    return Filters(texts=texts, wanted=wanted, faults=faults)


def _day(text: str) -> datetime | None:
    if not text:
        return None
    day = date.fromisoformat(text)
    if not 1970 <= day.year <= 9000:
        raise ValueError(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    time_us, _, entry_id = cursor.partition("-")
    if not all(part.isdecimal() and part.isascii() and len(part) < 18 for part in (time_us, entry_id)):
        abort(400)
    return from_microseconds(int(time_us)), int(entry_id)


def _address(texts: Mapping[str, str], last: Entry) -> str:
    query: dict[str, Any] = {name: text for name, text in texts.items() if text}
    return "/admin/audit?" + urlencode({**query, "before": f"{to_microseconds(last.at)}-{last.id}"})
