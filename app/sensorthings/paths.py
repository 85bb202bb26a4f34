"""Resource paths (OGC 18-088, 9.2): from ``Things(1)/Datastreams(9)/Observations`` to a set, and what is known of its rows."""

import re
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from streamgauge.storage.sensorthings.filters import BadQuery
from streamgauge.storage.sensorthings.model import ENTITIES, Entity, is_one
from streamgauge.storage.sensorthings.query import Key, Query, datastream_key, observation_key, read_rows

MAX_SEGMENTS = 8
_SEGMENT = re.compile(r"([A-Za-z]+)(?:\((?:(\d{1,18})|'([^']{1,80})')\))?")
REF, VALUE = "$ref", "$value"


class NotThere(LookupError):
    """There is no such entity or property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path leads to.

    Attributes:
        entity: the set, or the set of the one.
        key: what is known of the rows.
        is_one: one entity is meant.
        property: of that entity, only this; empty for all.
        ending: ``$ref``, ``$value`` or nothing.
    """

    entity: Entity
    key: Key
    is_one: bool
    property: str = ""
    ending: str = ""


def find_target(connection: Connection, path: str) -> Target:
    """Follow a path; every entity on the way is looked for.

    Raises:
        NotThere: the path leads nowhere.
        BadQuery: it is no path.
    """
    segments = [segment for segment in path.split("/") if segment]
    if not segments or len(segments) > MAX_SEGMENTS or "\0" in path:
        raise NotThere(path)
    target = _first(segments[0])
    if target.is_one:
        _must_be(connection, target)
    for segment in segments[1:]:
        target = _next(connection, target, segment)
    return target


def _first(segment: str) -> Target:
    name, key = _read(segment, None)
    if name not in ENTITIES:
        raise NotThere(segment)
    return Target(entity=ENTITIES[name], key=key or Key(), is_one=key is not None)


def _next(connection: Connection, target: Target, segment: str) -> Target:
    if target.ending or (target.property and segment != VALUE):
        raise NotThere(segment)
    if segment == REF and not target.property:
        return replace(target, ending=REF)
    if segment == VALUE and target.property:
        return replace(target, ending=VALUE)
    if not target.is_one:
        raise NotThere(segment)
    name, stated = _read(segment, target.entity)
    if name not in target.entity.links:
        if stated is not None:
            raise NotThere(segment)
        return replace(target, property=name)
    entity = ENTITIES[target.entity.links[name]]
    key = target.key.seen_by(entity)
    if stated is not None:
        joined = key.joined(stated)
        if joined is None or is_one(name):
            raise NotThere(segment)
        key = joined
    found = Target(entity=entity, key=key, is_one=is_one(name) or stated is not None)
    if found.is_one:
        _must_be(connection, found)
    return found


def _read(segment: str, above: Entity | None) -> tuple[str, Key | None]:
    found = _SEGMENT.fullmatch(segment)
    if found is None:
        raise NotThere(segment)
    name, number, text = found[1], found[2], found[3]
    if number is None and text is None:
        return name, None
    plural = name if above is None else above.links.get(name, "")
    if plural == "Observations":
        key = observation_key(text or "")
    elif number is None:
        raise BadQuery(f"{segment}: numbers of {plural or name} are written without quotes")
    elif plural == "Datastreams":
        key = datastream_key(int(number))
    elif plural == "ObservedProperties":
        key = Key(quantity=int(number))
    else:
        key = Key(device=int(number))
    if key is None:
        raise NotThere(segment)
    return name, key


def _must_be(connection: Connection, target: Target) -> None:
    if not read_rows(connection, Query(entity=target.entity, key=target.key, top=1)):
        raise NotThere(target.entity.singular)
