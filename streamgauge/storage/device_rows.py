"""All that people say of a device: read, searched, and written with what it was before in the audit log."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from streamgauge.reading import DEVICE_NAME
from streamgauge.storage.audit import write_audit

State = Literal["registered", "auto", "decommissioned", "never_heard"]
STATES: tuple[State, ...] = ("registered", "auto", "never_heard", "decommissioned")
"""``auto``: registered by its own first reading, and nobody has looked at it since. The other two are in service."""
PAGE_ROWS = 50
UNIQUE_VIOLATION = "23505"
"""PostgreSQL manual, appendix A."""
SILENCE_LIMIT_S = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A row of ``devices``. What is from ``id`` on down is the database's own and is never written from here."""

    name: str
    display_name: str | None = None
    river: str | None = None
    description: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str = "UTC"
    datum: str | None = None
    silence_limit_s: int = SILENCE_LIMIT_S
    gross_min_m: float | None = None
    gross_max_m: float | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)
    dev_eui: str | None = None
    model: str | None = None
    codec_parameters: dict[str, float] = field(default_factory=dict)
    installation: dict[str, float] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    id: int | None = None
    auto_registered: bool = False
    registered_at: datetime | None = None
    decommissioned_at: datetime | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What people say of it, by column."""
        return {name: getattr(self, name) for name in SAID}

    @property
    def version(self) -> str:
        """Changes whenever anything of it does; for ``seen``, and for ETags."""
        held = {**self.said, "auto": self.auto_registered, "out": self.decommissioned_at}
        return hashlib.sha256(orjson.dumps(held, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


SAID = (
    *("display_name", "river", "description", "latitude", "longitude", "time_zone", "datum", "silence_limit_s"),
    *("gross_min_m", "gross_max_m", "stages", "dev_eui", "model", "codec_parameters", "installation", "quality"),
)
"""The columns that people fill in; the name is for ever."""
NOT_THERE = ""
"""In place of a version in ``seen``: there was no such device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDevice:
    """A line of the list; ``heard_at``: the time of its newest reading."""

    name: str
    display_name: str | None
    river: str | None
    model: str | None
    dev_eui: str | None
    time_zone: str
    silence_limit_s: int
    auto_registered: bool
    decommissioned_at: datetime | None
    heard_at: datetime | None


class DeviceChanged(Exception):
    """Somebody else has changed these devices since they were looked at; nothing was written."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"changed by somebody else meanwhile: {', '.join(sorted(names))}")
        self.names = frozenset(names)


class EuiTaken(Exception):
    """Another device has this DevEUI; nothing was written. ``holder``: its name, empty if two of what was given share it."""

    def __init__(self, dev_eui: str, holder: str) -> None:
        super().__init__(f"the DevEUI {dev_eui} belongs to {holder or 'another device'}")
        self.dev_eui = dev_eui
        self.holder = holder


_JSON_OBJECTS = ("codec_parameters", "installation", "quality")
_COLUMNS = ", ".join(
    (
        "name",
        *(name for name in SAID if name not in {"stages", *_JSON_OBJECTS}),
        "coalesce(stages, '[]') AS stages",
        *(f"coalesce({name}, '{{}}') AS {name}" for name in _JSON_OBJECTS),
        *("id", "auto_registered", "registered_at", "decommissioned_at"),
    )
)
_ROWS = f"SELECT {_COLUMNS} FROM devices WHERE name = ANY(:names) ORDER BY name"
_TYPES = {
    **dict.fromkeys(("latitude", "longitude", "gross_min_m", "gross_max_m"), "double precision"),
    **dict.fromkeys(("stages", *_JSON_OBJECTS), "jsonb"),
    "silence_limit_s": "integer",
}
_GIVEN = "jsonb_to_recordset(CAST(:rows AS jsonb)) AS given({})".format(
    ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in ("name", *SAID))
)
_INSERT = text(
    f"INSERT INTO devices (name, {', '.join(SAID)}) SELECT name, {', '.join(SAID)} FROM {_GIVEN} ORDER BY name "
    "ON CONFLICT (name) DO NOTHING RETURNING name"
)
_UPDATE = text(
    f"UPDATE devices SET {', '.join(f'{name} = given.{name}' for name in SAID)}, auto_registered = false "
    f"FROM {_GIVEN} WHERE devices.name = given.name"
)
_SEARCHED = " OR ".join(
    f"{name} ILIKE :pattern" for name in ("name", "display_name", "river", "description", "model", "dev_eui")
)
# The hourly roll-up is one small index; only where it knows nothing are the readings' many partitions asked.
_HEARD = "(EXISTS (SELECT FROM readings_hourly WHERE device_id = d.id) OR EXISTS (SELECT FROM readings WHERE device_id = d.id))"
_IN_STATE: Mapping[str, str] = {
    "": "true",
    "registered": "decommissioned_at IS NULL AND NOT auto_registered",
    "auto": "decommissioned_at IS NULL AND auto_registered",
    "never_heard": f"decommissioned_at IS NULL AND NOT {_HEARD}",
    "decommissioned": "decommissioned_at IS NOT NULL",
}


def read_device_row(connection: Connection, name: str, *, lock: bool = False) -> DeviceRow | None:
    """All that is said of a device, decommissioned or not; None if there is none, also for what can be no name.

    Args:
        connection: an open connection.
        name: the wire's device.
        lock: until the transaction ends, nobody else changes it.
    """
    return read_device_rows(connection, [name], lock=lock).get(name)


def read_device_rows(connection: Connection, names: Collection[str], *, lock: bool = False) -> dict[str, DeviceRow]:
    """The same of several devices, by name."""
    sound = [name for name in names if DEVICE_NAME.fullmatch(name)]
    query = text(_ROWS + (" FOR UPDATE" if lock else ""))
    return {row["name"]: DeviceRow(**row) for row in connection.execute(query, {"names": sound}).mappings()}


def list_all_rows(connection: Connection, after: str = "", limit: int = 1_000) -> list[DeviceRow]:
    """Every device in service, by name, a page at a time; for handing them all out."""
    query = text(
        f"SELECT {_COLUMNS} FROM devices WHERE name > :after AND decommissioned_at IS NULL ORDER BY name LIMIT :limit"
    )
    return [DeviceRow(**row) for row in connection.execute(query, {"after": after, "limit": limit}).mappings()]


def holders_of(connection: Connection, euis: Collection[str]) -> dict[str, str]:
    """Which devices have these DevEUIs (upper case), decommissioned or not."""
    query = text("SELECT dev_eui, name FROM devices WHERE dev_eui = ANY(:euis)")
    return {row.dev_eui: row.name for row in connection.execute(query, {"euis": list(euis)})}


def models_of_siblings(connection: Connection, dev_eui: str, digits: int) -> list[tuple[str, int]]:
    """Which models the devices have whose DevEUI begins with the same digits, and how many of each, most first."""
    query = text(
        "SELECT model, count(*) FROM devices WHERE model IS NOT NULL AND left(dev_eui, :digits) = left(:eui, :digits) "
        "AND dev_eui <> :eui GROUP BY model ORDER BY count(*) DESC, model LIMIT 3"
    )
    return [(row[0], row[1]) for row in connection.execute(query, {"eui": dev_eui, "digits": digits})]


def list_devices(
    connection: Connection, search: str = "", state: str = "", cursor: str = "", limit: int = PAGE_ROWS
) -> list[ListedDevice]:
    """A page of the list, by name.

    Args:
        connection: an open connection.
        search: part of a name, river, description, model or DevEUI; case does not matter.
        state: one of ``STATES``, or empty for all.
        cursor: the last name of the page before; empty for the first.
        limit: at most so many.
    """
    values = {"pattern": _pattern(search), "cursor": cursor.replace("\0", ""), "limit": limit}
    where = f"name > :cursor AND {_IN_STATE[state]}" + (f" AND ({_SEARCHED})" if search.strip() else "")
    page = (
        "SELECT id, name, display_name, river, model, dev_eui, time_zone, silence_limit_s, auto_registered, "
        f"decommissioned_at FROM devices d WHERE {where} ORDER BY name LIMIT :limit"
    )
    newest = "(SELECT time FROM readings WHERE device_id = page.id ORDER BY time DESC LIMIT 1)"
    query = text(f"SELECT page.*, {newest} AS heard_at FROM ({page}) page ORDER BY name")
    rows = connection.execute(query, values).mappings()
    return [ListedDevice(**{name: value for name, value in row.items() if name != "id"}) for row in rows]


def count_devices(connection: Connection, search: str = "") -> dict[str, int]:
    """How many there are in each state ("" for all) among those that match; ``never_heard`` is not counted: it would ask
    each device's readings.
    """
    counted = {state: where for state, where in _IN_STATE.items() if state != "never_heard"}
    columns = ", ".join(f'count(*) FILTER (WHERE {where}) AS "{state or "all"}"' for state, where in counted.items())
    where = f" WHERE {_SEARCHED}" if search.strip() else ""
    row = (
        connection.execute(text(f"SELECT {columns} FROM devices d{where}"), {"pattern": _pattern(search)})
        .mappings()
        .one()
    )
    return {state: row[state or "all"] for state in counted}


def write_device(
    connection: Connection, row: DeviceRow, *, actor: str, seen: str | None = None
) -> Literal["created", "changed", "same"]:
    """Register a device or change what is said of it, and write down who did and what it was before.

    Args:
        connection: a connection in a transaction.
        row: how it is to be.
        actor: the person's name.
        seen: the ``version`` that the person was shown, or ``NOT_THERE``; None: whatever there is now.

    Raises:
        DeviceChanged: it is not as ``seen`` any more.
        EuiTaken: another device has its DevEUI.
    """
    created, changed = write_devices(connection, [row], actor=actor, seen=None if seen is None else {row.name: seen})
    return "created" if created else "changed" if changed else "same"


def write_devices(
    connection: Connection, rows: Sequence[DeviceRow], *, actor: str, seen: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """The same for several devices (each at most once), all or none; returns the names of the new and of the changed ones."""
    given = {row.name: row for row in rows}
    known = read_device_rows(connection, given, lock=True)
    if seen is not None:
        now = {name: known[name].version if name in known else NOT_THERE for name in given}
        if outdated := {name for name in given if seen.get(name) != now[name]}:
            raise DeviceChanged(outdated)
    _refuse_taken_euis(connection, rows)
    new = [row for row in rows if row.name not in known]
    changed = [row for row in rows if row.name in known and _differs(known[row.name], row)]
    try:
        with connection.begin_nested():
            written = set(connection.execute(_INSERT, {"rows": _json(new)}).scalars()) if new else set()
            if missing := {row.name for row in new} - written:
                raise DeviceChanged(missing)
            if changed:
                connection.execute(_UPDATE, {"rows": _json(changed)})
    except IntegrityError as error:
        if getattr(error.orig, "pgcode", None) != UNIQUE_VIOLATION:
            raise
        # Somebody gave another device the DevEUI between our look and our writing.
        raise EuiTaken(_eui_in(str(error.orig)), "") from error
    for row in new:
        said = {name: value for name, value in row.said.items() if value not in (None, [], {})}
        write_audit(connection, actor=actor, action="device.register", subject=f"device {row.name}", after=said)
    for row in changed:
        before, after = differences(known[row.name], row)
        write_audit(
            connection, actor=actor, action="device.update", subject=f"device {row.name}", before=before, after=after
        )
    return [row.name for row in new], [row.name for row in changed]


def differences(before: DeviceRow, after: DeviceRow) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changes, by column: the values before and after. Looked at by a person counts as a change too."""
    old, new = _compared(before), _compared(replace(after, auto_registered=False))
    names = [name for name in new if old[name] != new[name]]
    return {name: old[name] for name in names}, {name: new[name] for name in names}


def decommission(connection: Connection, name: str, *, actor: str) -> bool:
    """Take a device out of service: its readings become dead letters, its history stays. False if it was out already."""
    return _set_service(connection, name, actor, "decommission")


def recommission(connection: Connection, name: str, *, actor: str) -> bool:
    """Take a device into service again. False if it was in service."""
    return _set_service(connection, name, actor, "recommission")


def _set_service(connection: Connection, name: str, actor: str, verb: Literal["decommission", "recommission"]) -> bool:
    value, condition = ("now()", "IS NULL") if verb == "decommission" else ("NULL", "IS NOT NULL")
    known = read_device_row(connection, name, lock=True)
    query = text(
        f"UPDATE devices SET decommissioned_at = {value} WHERE name = :name AND decommissioned_at {condition} "
        "RETURNING decommissioned_at"
    )
    found = None if known is None else connection.execute(query, {"name": name}).one_or_none()
    if known is None or found is None:
        return False
    before, after = ({"decommissioned_at": at and at.isoformat()} for at in (known.decommissioned_at, found[0]))
    write_audit(connection, actor=actor, action=f"device.{verb}", subject=f"device {name}", before=before, after=after)
    return True


def _refuse_taken_euis(connection: Connection, rows: Sequence[DeviceRow]) -> None:
    wanted: dict[str, str] = {}
    for row in rows:
        if row.dev_eui is not None and wanted.setdefault(row.dev_eui, row.name) != row.name:
            raise EuiTaken(row.dev_eui, wanted[row.dev_eui])
    for dev_eui, holder in holders_of(connection, wanted).items():
        if holder != wanted[dev_eui]:
            raise EuiTaken(dev_eui, holder)


def _differs(known: DeviceRow, row: DeviceRow) -> bool:
    return bool(differences(known, row)[1])


def _compared(row: DeviceRow) -> dict[str, Any]:
    return {**row.said, "auto_registered": row.auto_registered}


def _json(rows: Sequence[DeviceRow]) -> str:
    """The rows for Postgres; what is empty is null, as a row that was never filled in has it."""
    given = [{name: value if value not in ([], {}) else None for name, value in asdict(row).items()} for row in rows]
    return orjson.dumps([{"name": row["name"], **{name: row[name] for name in SAID}} for row in given]).decode()


def _eui_in(detail: str) -> str:
    found = re.search(r"\b[0-9A-F]{16}\b", detail)
    return found[0] if found else ""


def _pattern(search: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", search.strip().replace("\0", "")[:100])
    return f"%{escaped}%"
