"""Query options of a request and of the entities that it expands (OGC 18-088, 9.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamgauge.storage.sensorthings.filters import BadQuery, NotOffered
from streamgauge.storage.sensorthings.model import ENTITIES, Entity
from streamgauge.storage.sensorthings.query import MAX_SKIP

DEFAULT_TOP = 100
MAX_TOP = 1_000
MAX_OBSERVATIONS = 10_000
MAX_EXPAND_DEPTH = 4
MAX_CHARACTERS = 8_000
DATA_ARRAY = "dataArray"
KNOWN = {"$filter", "$orderby", "$top", "$skip", "$count", "$select", "$expand", "$resultFormat", "$skiptoken"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for of a set, and by navigation property of what it expands."""

    filter: str = ""
    order: str = ""
    top: int = DEFAULT_TOP
    skip: int = 0
    count: bool = False
    select: tuple[str, ...] = ()
    expand: Mapping[str, "Options"] = field(default_factory=dict)
    data_array: bool = False
    token: str = ""


def read_options(entity: Entity, given: Mapping[str, str]) -> Options:
    """The options of a request.

    Raises:
        BadQuery: one is unknown or wrong.
    """
    # Earlier drafts, and clients that follow them, write resultFormat without its sign.
    named = {("$resultFormat" if name == "resultFormat" else name): value for name, value in given.items()}
    return _options(entity, named, 0)


def _options(entity: Entity, given: Mapping[str, str], depth: int) -> Options:
    for name, value in given.items():
        if name not in KNOWN:
            raise BadQuery(f"there is no query option {name!r}")
        if "\0" in value or len(value) > MAX_CHARACTERS:
            raise BadQuery(f"{name} holds a zero byte, or more than {MAX_CHARACTERS} characters")
    format_name = given.get("$resultFormat", "")
    if format_name and (format_name.lower() != DATA_ARRAY.lower() or entity.plural != "Observations" or depth):
        raise NotOffered("of result formats, dataArray is offered, for Observations")
    most = MAX_OBSERVATIONS if entity.plural == "Observations" and not depth else MAX_TOP
    count = given.get("$count", "false").lower()
    if count not in {"true", "false"}:
        raise BadQuery("$count must be true or false")
    return Options(
        filter=given.get("$filter", "").strip(),
        order=given.get("$orderby", "").strip(),
        top=min(_whole(given, "$top", DEFAULT_TOP), most),
        skip=min(_whole(given, "$skip", 0), MAX_SKIP),
        count=count == "true",
        select=tuple(name.strip() for name in given.get("$select", "").split(",") if name.strip()),
        expand=_expand(entity, given.get("$expand", ""), depth),
        data_array=bool(format_name),
        token=given.get("$skiptoken", ""),
    )


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadQuery(f"{name} must be a whole number, not below 0")
    return int(text)


def _expand(entity: Entity, text: str, depth: int) -> dict[str, Options]:
    if not text.strip():
        return {}
    if depth >= MAX_EXPAND_DEPTH:
        raise BadQuery(f"$expand goes no deeper than {MAX_EXPAND_DEPTH}")
    found: dict[str, Options] = {}
    for item in split(text, ","):
        path, _, inner = item.strip().partition("(")
        if inner and not inner.endswith(")"):
            raise BadQuery(f"$expand: a bracket of {item.strip()!r} is not closed")
        link, _, further = path.strip().partition("/")
        if link not in entity.links:
            raise BadQuery(f"$expand: {link!r} is no navigation property of {entity.plural}")
        target = ENTITIES[entity.links[link]]
        given = {"$expand": f"{further}({inner}" if inner else further} if further else _pairs(inner[:-1])
        made = _options(target, given, depth + 1)
        found[link] = _merged(found[link], made) if link in found else made
    return found


def _merged(one: Options, other: Options) -> Options:
    """``Datastreams/Thing,Datastreams/Sensor`` expands both of the same Datastreams."""
    first = one if one != Options(expand=one.expand) else other
    return Options(
        filter=first.filter,
        order=first.order,
        top=first.top,
        skip=first.skip,
        count=first.count,
        select=first.select,
        expand={**one.expand, **other.expand},
    )


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for item in split(text, ";"):
        if item.strip():
            name, sign, value = item.strip().partition("=")
            if not sign:
                raise BadQuery(f"$expand: {item.strip()!r} is no query option")
            pairs[name.strip()] = value
    return pairs


def split(text: str, sign: str) -> Iterable[str]:
    """Parts between signs, those inside of brackets and quotes aside.

    Raises:
        BadQuery: a bracket or quote is not closed.
    """
    begin, depth, is_quoted = 0, 0, False
    for place, character in enumerate(text):
        if character == "'":
            is_quoted = not is_quoted
        elif not is_quoted:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth < 0:
                break
            if character == sign and depth == 0:
                yield text[begin:place]
                begin = place + 1
    if depth or is_quoted:
        raise BadQuery(f"brackets or quotes of {text!r} are not closed")
    yield text[begin:]
