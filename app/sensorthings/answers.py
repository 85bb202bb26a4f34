"""What is answered: sets page by page, entities with what they expand, Observations as data arrays."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy import Connection

from app.sensorthings.options import DATA_ARRAY, Options
from app.sensorthings.paths import REF, NotThere, Target
from app.sensorthings.render import Span, id_of, properties_of, self_link
from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.storage.sensorthings.filters import BadQuery
from streamgauge.storage.sensorthings.model import ENTITIES, Entity, is_one
from streamgauge.storage.sensorthings.query import (
    After,
    Key,
    Query,
    count_rows,
    datastream_id,
    is_by_time,
    observation_key,
    read_rows,
    read_spans,
)

MAX_QUESTIONS = 2_000
"""So many sets one request may expand."""
MAX_ENTITIES = 20_000
"""So many entities one answer holds, those that are expanded included, as often as they are: it is made before it is sent."""
MAX_S = 15.0
"""So long one request asks the database; the question under way may take its own time."""
PIECE_ENTITIES = 200
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Set:
    """Entities that were expanded: how many there are on all pages if that was asked for, where it goes on, and how many entities
    they are with those in them.
    """

    entities: list[dict[str, Any]]
    count: int | None
    goes_on: str | None
    held: int


@dataclass(slots=True)
class Answering:
    """One request: its connection, the service's root address, and what was expanded already."""

    connection: Connection
    root: str
    known: dict[Any, _Set] = field(default_factory=dict)
    held: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def one(self, target: Target, options: Options) -> dict[str, Any]:
        """One entity.

        Raises:
            NotThere: there is none.
        """
        rows = self._read(Query(entity=target.entity, key=target.key, top=1))
        if not rows:
            raise NotThere(target.entity.singular)
        return self._objects(target.entity, rows, options)[0]

    def page(self, target: Target, options: Options, path: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A page of a set: what surrounds ``value``, and its entities."""
        entity = target.entity
        query = _query(entity, target.key, options)
        rows = self._read(replace(query, top=options.top + 1))
        around: dict[str, Any] = {}
        if options.count:
            around["@iot.count"] = self._count(query)
        if len(rows) > options.top:
            rows = rows[: options.top]
            around["@iot.nextLink"] = f"{self.root}/{path}?{_following(query, options, rows)}"
        if target.ending == REF:
            return around, [{"@iot.selfLink": self_link(self.root, entity, row)} for row in rows]
        if options.data_array:
            return around, self._data_arrays(rows, options)
        return around, self._objects(entity, rows, options)

    def _objects(self, entity: Entity, rows: Sequence[Row], options: Options) -> list[dict[str, Any]]:
        spans: dict[tuple[int, int], Span] = {}
        chosen = set(options.select)
        if entity.plural == "Datastreams" and (not chosen or chosen & {"phenomenonTime", "resultTime"}):
            spans = read_spans(self.connection, [(row["device_id"], row["quantity"]) for row in rows])
        return [self._object(entity, row, options, spans) for row in rows]

    def _object(
        self, entity: Entity, row: Row, options: Options, spans: Mapping[tuple[int, int], Span]
    ) -> dict[str, Any]:
        span = spans.get((row["device_id"], row["quantity"])) if entity.views == "dq" else None
        address = self_link(self.root, entity, row)
        found = {"@iot.id": id_of(entity, row), "@iot.selfLink": address} | properties_of(entity, row, span)
        links = {
            f"{link}@iot.navigationLink": f"{address}/{link}" for link in entity.links if link not in options.expand
        }
        if options.select:
            found = _selected(entity, found, links, options.select)
        else:
            found |= links
        for link, inner in options.expand.items():
            found |= self._expanded(entity, row, address, link, inner)
        return found

    def _expanded(self, entity: Entity, row: Row, address: str, link: str, options: Options) -> dict[str, Any]:
        target = ENTITIES[entity.links[link]]
        key = _key(entity, row).seen_by(target)
        place = (target.plural, key, repr(options))
        known = self.known.get(place)
        if known is None:
            if len(self.known) >= MAX_QUESTIONS:
                raise BadQuery(f"$expand would ask more than {MAX_QUESTIONS} times: ask for fewer with $top")
            known = self.known[place] = self._set(target, key, options, one=is_one(link))
        else:
            # Once more in the answer, if not in memory.
            self._hold(known.held)
        if is_one(link):
            return {link: known.entities[0] if known.entities else None}
        found: dict[str, Any] = {link: known.entities}
        if known.count is not None:
            found[f"{link}@iot.count"] = known.count
        if known.goes_on is not None:
            found[f"{link}@iot.nextLink"] = f"{address}/{link}?{known.goes_on}"
        return found

    def _set(self, target: Entity, key: Key, options: Options, *, one: bool) -> _Set:
        query, held = _query(target, key, options), self.held
        rows = self._read(replace(query, top=1 if one else options.top + 1))
        goes_on = None
        if not one and len(rows) > options.top:
            rows = rows[: options.top]
            goes_on = _following(query, options, rows)
        count = self._count(query) if options.count else None
        entities = self._objects(target, rows, options)
        return _Set(entities, count, goes_on, self.held - held)

    def _read(self, query: Query) -> list[Row]:
        self._check_time()
        rows = list(read_rows(self.connection, query))
        self._hold(len(rows))
        return rows

    def _count(self, query: Query) -> int:
        self._check_time()
        return count_rows(self.connection, query)

    def _hold(self, entities: int) -> None:
        self.held += entities
        if self.held > MAX_ENTITIES:
            raise BadQuery(
                f"$expand would make an answer of more than {MAX_ENTITIES} entities: ask for fewer with $top"
            )

    def _check_time(self) -> None:
        if time.monotonic() - self.began_s > MAX_S:
            raise BadQuery(f"this takes more than {MAX_S:g} s: ask for fewer with $top, or expand less")

    def _data_arrays(self, rows: Sequence[Row], options: Options) -> list[dict[str, Any]]:
        if options.expand:
            raise BadQuery("a dataArray expands nothing")
        names = options.select or ("id", "phenomenonTime", "result", "resultTime", "resultQuality", "parameters")
        entity = ENTITIES["Observations"]
        arrays: dict[int, list[list[Any]]] = {}
        for row in rows:
            found = {"id": id_of(entity, row)} | properties_of(entity, row, None)
            unknown = [name for name in names if name not in found]
            if unknown:
                raise BadQuery(f"$select: Observations have no {unknown[0]!r}")
            arrays.setdefault(datastream_id(row["device_id"], row["quantity"]), []).append(
                [found[name] for name in names]
            )
        return [
            {
                "Datastream@iot.navigationLink": f"{self.root}/Datastreams({number})",
                "components": list(names),
                f"{DATA_ARRAY}@iot.count": len(values),
                DATA_ARRAY: values,
            }
            for number, values in arrays.items()
        ]


def pieces(around: Mapping[str, Any], entities: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """A set as JSON, a few hundred entities at a time."""
    head = orjson.dumps(around)[1:-1]
    yield b"{" + (head + b"," if head else b"") + b'"value":['
    for first in range(0, len(entities), PIECE_ENTITIES):
        piece = orjson.dumps(entities[first : first + PIECE_ENTITIES])[1:-1]
        yield b"," + piece if first else piece
    yield b"]}"


def _selected(
    entity: Entity, found: Mapping[str, Any], links: Mapping[str, str], names: Sequence[str]
) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for name in names:
        if name in {"id", "@iot.id"}:
            chosen["@iot.id"] = found["@iot.id"]
        elif name in found:
            chosen[name] = found[name]
        elif f"{name}@iot.navigationLink" in links:
            chosen[f"{name}@iot.navigationLink"] = links[f"{name}@iot.navigationLink"]
        elif name not in OPTIONAL.get(entity.plural, ()) and name not in entity.links:
            raise BadQuery(f"$select: {entity.plural} have no {name!r}")
    return chosen


OPTIONAL: Mapping[str, tuple[str, ...]] = {"Datastreams": ("observedArea", "phenomenonTime", "resultTime")}
"""What not every entity of a set has."""


def _key(entity: Entity, row: Row) -> Key:
    return Key(
        device=row["device_id"] if "d" in entity.views else None,
        quantity=row["quantity"] if "q" in entity.views else None,
        time_us=to_microseconds(row["time"]) if "r" in entity.views else None,
    )


def _query(entity: Entity, key: Key, options: Options) -> Query:
    query = Query(
        entity=entity,
        key=key,
        filter=options.filter,
        order=options.order,
        skip=options.skip,
        top=options.top,
    )
    if not options.token:
        return query
    last = observation_key(options.token)
    if last is None or last.device is None or last.quantity is None or last.time_us is None or not is_by_time(query):
        raise BadQuery("$skiptoken is none that this service gave out")
    return replace(query, after=After(from_microseconds(last.time_us), last.device, last.quantity))


def _following(query: Query, options: Options, rows: Sequence[Row]) -> str:
    given = {"$filter": options.filter, "$orderby": options.order, "$select": ",".join(options.select)}
    given |= {"$expand": _written(options.expand), "$resultFormat": DATA_ARRAY if options.data_array else ""}
    given["$top"] = str(options.top)
    given["$count"] = "true" if options.count else ""
    if is_by_time(query) and rows:
        given["$skiptoken"] = str(id_of(query.entity, rows[-1]))
    else:
        given["$skip"] = str(options.skip + len(rows))
    return urlencode({name: value for name, value in given.items() if value}, safe="$,()/';")


def _written(expand: Mapping[str, Options]) -> str:
    items = []
    for link, options in expand.items():
        inner = {"$filter": options.filter, "$orderby": options.order, "$select": ",".join(options.select)}
        inner |= {"$expand": _written(options.expand), "$count": "true" if options.count else ""}
        inner |= {"$top": str(options.top), "$skip": str(options.skip) if options.skip else ""}
        items.append(f"{link}({';'.join(f'{name}={value}' for name, value in inner.items() if value)})")
    return ",".join(items)
