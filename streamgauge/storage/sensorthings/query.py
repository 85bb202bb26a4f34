"""Rows of entities: one by its number, or a page of a set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, text

from streamgauge.reading import from_microseconds
from streamgauge.storage.sensorthings.filters import Bound, fixed_numbers, parse_filter, parse_order
from streamgauge.storage.sensorthings.model import (
    ALL_QUANTITIES,
    CORRECTED,
    CORRECTED_DEVICES,
    DATASTREAM_FACTOR,
    FLAG,
    QUANTITY_ROWS,
    REASON,
    VALUE,
    Entity,
)

MAX_SKIP = 1_000_000
STATEMENT_TIMEOUT_S = 15
_DEVICE = (
    "d.id AS device_id, d.name AS device, d.display_name, d.description, d.river, d.latitude, d.longitude, d.time_zone, "
    "d.datum, d.silence_limit_s, d.stages, d.registered_at, d.decommissioned_at, d.model, d.dev_eui"
)
_READING = (
    f"readings.time, {VALUE} AS result, {FLAG} AS flag, {REASON} AS reason, {CORRECTED} AS corrected, readings.seq, "
    "readings.score, readings.surprise, readings.expected_m"
)


@dataclass(frozen=True, slots=True)
class Key:
    """Which rows, by what is known of them: device, quantity and instant; None for any."""

    device: int | None = None
    quantity: int | None = None
    time_us: int | None = None

    def seen_by(self, entity: Entity) -> "Key":
        """What of it an entity is a view of."""
        return Key(
            self.device if "d" in entity.views else None,
            self.quantity if "q" in entity.views else None,
            self.time_us if "r" in entity.views else None,
        )

    def joined(self, other: "Key") -> "Key | None":
        """Both at once; None if they contradict each other."""
        mine, theirs = (self.device, self.quantity, self.time_us), (other.device, other.quantity, other.time_us)
        if any(one is not None and two is not None and one != two for one, two in zip(mine, theirs, strict=True)):
            return None
        return Key(*(two if one is None else one for one, two in zip(mine, theirs, strict=True)))


@dataclass(frozen=True, slots=True)
class After:
    """Observations by time begin after this one."""

    time: datetime
    device: int
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A page of a set of entities. ``filter`` and ``order`` as they were written, empty for none."""

    entity: Entity
    key: Key = field(default_factory=Key)
    filter: str = ""
    order: str = ""
    skip: int = 0
    top: int = 100
    after: After | None = None


def read_rows(connection: Connection, query: Query) -> Sequence[Mapping[str, Any]]:
    """The rows of a page.

    Raises:
        BadQuery: filter or order cannot be understood.
    """
    query, bound = _narrowed(query), Bound()
    order = _order(query, bound)
    conditions = _conditions(query, bound)
    page = f"LIMIT {bound.add(query.top)} OFFSET {bound.add(query.skip)}"
    keys = ", ".join(f"{sql}{' DESC' if down else ''}" for sql, down in order)
    if query.entity.views == "dqr":
        statement = _observations(query, bound, conditions, order)
    else:
        columns = [column for view, column in (("d", _DEVICE), ("q", "q.id AS quantity")) if view in query.entity.views]
        rows = f"SELECT {', '.join(columns)} FROM {_rows(query.entity)} WHERE {conditions}"
        statement = f"{rows} ORDER BY {keys} {page}"
    return [dict(row) for row in _execute(connection, statement, query.key, bound).mappings()]


def _observations(query: Query, bound: Bound, conditions: str, order: Sequence[tuple[str, bool]]) -> str:
    """Each device's first ones by the index of its readings, and of those the first."""
    sorts = ", ".join(f"{sql} AS sort_{number}" for number, (sql, _) in enumerate(order))
    inner = ", ".join(f"{sql}{' DESC' if down else ''}" for sql, down in order)
    outer = ", ".join(f"sort_{number}{' DESC' if down else ''}" for number, (_, down) in enumerate(order))
    device = "" if query.key.device is None else f"WHERE d.id = {bound.add(query.key.device)}"
    most, top, skip = bound.add(query.top + query.skip), bound.add(query.top), bound.add(query.skip)
    return (
        f"SELECT found.* FROM (SELECT * FROM devices AS d {device}) AS d CROSS JOIN LATERAL ("
        f"SELECT {_DEVICE}, q.id AS quantity, {_READING}, {sorts} FROM readings CROSS JOIN {QUANTITY_ROWS} "
        f"WHERE readings.device_id = d.id AND {conditions} ORDER BY {inner} LIMIT {most}"
        f") AS found ORDER BY {outer} LIMIT {top} OFFSET {skip}"
    )


def count_rows(connection: Connection, query: Query) -> int:
    """How many entities there are on all pages together."""
    bound = Bound()
    conditions = _conditions(replace(_narrowed(query), after=None), bound)
    statement = f"SELECT count(*) FROM {_rows(query.entity)} WHERE {conditions}"
    return int(_execute(connection, statement, query.key, bound).scalar_one())


def _execute(connection: Connection, statement: str, key: Key, bound: Bound) -> CursorResult[Any]:
    """Corrections are looked up for the readings of those devices only that have any."""
    values = bound.values
    if f":{CORRECTED_DEVICES} " in statement:
        device = "" if key.device is None else " AND device_id = :device"
        asked = text(f"SELECT DISTINCT device_id FROM corrections WHERE undone_at IS NULL{device}")
        found = connection.execute(asked, {"device": key.device} if device else {}).scalars().all()
        values = {**values, CORRECTED_DEVICES: list(found)}
    return connection.execute(text(statement), values)


def is_by_time(query: Query) -> bool:
    """Whether a page of Observations goes on after its last by time: no number of skipped rows makes it slow."""
    words = query.order.split()
    return query.entity.views == "dqr" and (
        not words or (words[0] in {"phenomenonTime", "resultTime"} and "," not in query.order)
    )


def read_spans(
    connection: Connection, streams: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], tuple[datetime, datetime]]:
    """First and last time of each Datastream that has any, by device and quantity."""
    ends = ", ".join(
        f"(SELECT time FROM readings WHERE device_id = d.id AND {VALUE} IS NOT NULL ORDER BY time {way} LIMIT 1) AS {name}"
        for way, name in (("ASC", "oldest"), ("DESC", "newest"))
    )
    rows = connection.execute(
        text(
            f"SELECT d.id AS device, q.id AS quantity, {ends} FROM "
            "unnest(CAST(:devices AS bigint[]), CAST(:quantities AS int[])) AS wanted(device, quantity) "
            f"JOIN devices AS d ON d.id = wanted.device JOIN {QUANTITY_ROWS} ON q.id = wanted.quantity"
        ),
        {"devices": [one[0] for one in streams], "quantities": [one[1] for one in streams]},
    )
    return {(row.device, row.quantity): (row.oldest, row.newest) for row in rows if row.oldest is not None}


def limit_time(connection: Connection) -> None:
    """Let no question of this transaction take longer than a reader waits."""
    connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))


def _narrowed(query: Query) -> Query:
    """The same with what its filter says of device and quantity in its key, so that no other station's readings are looked at."""
    if query.entity.views != "dqr" or not query.filter:
        return query
    for path, number in fixed_numbers(query.filter).items():
        said = {
            "Datastream/id": datastream_key(number),
            "Datastream/Thing/id": Key(device=number),
            "FeatureOfInterest/id": Key(device=number),
            "Datastream/ObservedProperty/id": Key(quantity=number),
        }.get(path)
        # Where it contradicts the key, the filter itself finds nothing.
        if said is not None and (joined := query.key.joined(said)) is not None:
            query = replace(query, key=joined)
    return query


def _rows(entity: Entity) -> str:
    return {
        "d": "devices AS d",
        "q": QUANTITY_ROWS,
        "dq": f"devices AS d CROSS JOIN {QUANTITY_ROWS}",
        "dqr": f"devices AS d JOIN readings ON readings.device_id = d.id CROSS JOIN {QUANTITY_ROWS}",
    }[entity.views]


def _conditions(query: Query, bound: Bound) -> str:
    entity, key = query.entity, query.key.seen_by(query.entity)
    # Who knows a Datastream's number gets it, whatever the first and last readings hold.
    is_known = entity.views == "dq" and key.device is not None and key.quantity is not None
    parts = [] if is_known else [entity.condition]
    if key.device is not None:
        parts.append(f"d.id = {bound.add(key.device)}")
        if "r" in entity.views:
            parts.append(f"readings.device_id = {bound.add(key.device)}")
    if key.quantity is not None:
        parts.append(f"q.id = {bound.add(key.quantity)}")
    if key.time_us is not None:
        parts.append(f"readings.time = {bound.add(from_microseconds(key.time_us))}")
    if query.after is not None:
        parts += _after(query.after, query.order.lower().split()[-1:] == ["desc"], bound)
    if query.filter:
        parts.append(parse_filter(entity, query.filter, bound))
    return " AND ".join(parts) or "true"


def _after(after: After, down: bool, bound: Bound) -> list[str]:
    time = bound.add(after.time)
    ties = f"(d.id, q.id) > ({bound.add(after.device)}, {bound.add(after.quantity)})"
    sign = "<" if down else ">"
    return [f"readings.time {sign}= {time}", f"(readings.time {sign} {time} OR {ties})"]


def _order(query: Query, bound: Bound) -> list[tuple[str, bool]]:
    order = parse_order(query.entity, query.order, bound) if query.order else []
    last = {"r": ["readings.time"], "d": ["d.id"], "q": ["q.id"]}
    for view in "rdq":
        order += [(sql, False) for sql in last[view] if view in query.entity.views and sql not in dict(order)]
    return order


def datastream_id(device: int, quantity: int) -> int:
    """A Datastream's number."""
    return device * DATASTREAM_FACTOR + quantity


def datastream_key(number: int) -> Key | None:
    """What a Datastream's number says; None if there is none of it."""
    device, quantity = divmod(number, DATASTREAM_FACTOR)
    return Key(device, quantity) if quantity in ALL_QUANTITIES else None


EARLIEST_US = -62_135_596_800_000_000
LATEST_US = 253_402_300_799_999_999
_OBSERVATION_ID = re.compile(r"([0-9]{1,19})-([0-9]{1,3})-(-?[0-9]{1,18})")


def observation_key(text_of_id: str) -> Key | None:
    """What an Observation's id says; None if it is none of ours."""
    parts = _OBSERVATION_ID.fullmatch(text_of_id)
    if parts is None:
        return None
    device, quantity, time_us = (int(part) for part in parts.groups())
    known = quantity in ALL_QUANTITIES and 0 <= device < 2**63 and EARLIEST_US <= time_us <= LATEST_US
    return Key(device, quantity, time_us) if known else None
