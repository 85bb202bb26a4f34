"""``$filter`` and ``$orderby`` as SQL with bound values (OGC 18-088, 9.3.3.5: built-in operators and functions)."""

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from streamgauge.storage.sensorthings.model import ENTITIES, HAS_STREAM, QUANTITY_ROWS, Entity

MAX_CHARACTERS = 4_000
MAX_DEPTH = 60
MAX_PATH = 6


class BadQuery(ValueError):
    """What was asked for is wrong; the text says what."""


class NotOffered(BadQuery):
    """The standard knows it, and it is not offered here."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A piece of SQL; ``views``: which of d, q and r it is about."""

    sql: str
    kind: str
    views: frozenset[str] = frozenset()


@dataclass(slots=True)
class Bound:
    """Values of a statement by their names in it."""

    values: dict[str, Any] = field(default_factory=dict)

    def add(self, value: Any) -> str:
        """A name for a value."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"


NUMBER, TEXT, TIME, SPAN, BOOL, POINT, AREA, NULL = "number", "text", "time", "span", "bool", "point", "area", "null"
_COMPARISONS = {ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
_PARTS = ("year", "month", "day", "hour", "minute")
_UTC = "({} AT TIME ZONE 'UTC')"


FUNCTIONS: Mapping[str, tuple[tuple[str, ...], str, Callable[..., str]]] = {
    "substringof": ((TEXT, TEXT), BOOL, lambda part, text: f"(strpos({text}, {part}) > 0)"),
    "contains": ((TEXT, TEXT), BOOL, lambda text, part: f"(strpos({text}, {part}) > 0)"),
    "startswith": ((TEXT, TEXT), BOOL, lambda text, part: f"starts_with({text}, {part})"),
    "endswith": ((TEXT, TEXT), BOOL, lambda text, part: f"(right({text}, length({part})) = {part})"),
    "length": ((TEXT,), NUMBER, "length({})".format),
    "indexof": ((TEXT, TEXT), NUMBER, lambda text, part: f"(strpos({text}, {part}) - 1)"),
    "tolower": ((TEXT,), TEXT, "lower({})".format),
    "toupper": ((TEXT,), TEXT, "upper({})".format),
    "trim": ((TEXT,), TEXT, "btrim({})".format),
    "concat": ((TEXT, TEXT), TEXT, "({} || {})".format),
    "round": ((NUMBER,), NUMBER, "round(CAST({} AS numeric))".format),
    "floor": ((NUMBER,), NUMBER, "floor({})".format),
    "ceiling": ((NUMBER,), NUMBER, "ceiling({})".format),
    "now": ((), TIME, lambda: "now()"),
    "mindatetime": ((), TIME, lambda: "CAST('-infinity' AS timestamptz)"),
    "maxdatetime": ((), TIME, lambda: "CAST('infinity' AS timestamptz)"),
    "date": ((TIME,), TIME, lambda time: f"(date_trunc('day', {_UTC.format(time)}) AT TIME ZONE 'UTC')"),
    "second": ((TIME,), NUMBER, lambda time: f"floor(extract(second FROM {_UTC.format(time)}))"),
    "fractionalseconds": ((TIME,), NUMBER, lambda time: f"mod(extract(second FROM {time}), 1)"),
    "totaloffsetminutes": ((TIME,), NUMBER, "CASE WHEN {} IS NOT NULL THEN 0 END".format),
    **{part: ((TIME,), NUMBER, lambda time, part=part: f"extract({part} FROM {_UTC.format(time)})") for part in _PARTS},
    "geo.distance": ((POINT, POINT), NUMBER, "({} <-> {})".format),
    "geo.intersects": ((POINT, AREA), BOOL, "({} <@ {})".format),
    "st_intersects": ((POINT, AREA), BOOL, "({} <@ {})".format),
    "st_within": ((POINT, AREA), BOOL, "({} <@ {})".format),
    "st_disjoint": ((POINT, AREA), BOOL, "(NOT {} <@ {})".format),
    "st_equals": ((POINT, POINT), BOOL, "({} ~= {})".format),
}
NOT_OFFERED = {"geo.length", "st_touches", "st_overlaps", "st_crosses", "st_contains", "st_relate", "time"}


def parse_filter(entity: Entity, text: str, bound: Bound) -> str:
    """A filter as an SQL condition.

    Raises:
        BadQuery: it cannot be understood, or knows no such property.
    """
    found = _Translation(entity, bound).boolean(_parse(text), 0)
    return found.sql


def fixed_numbers(text: str) -> dict[str, int]:
    """By path, the numbers that a filter demands of properties: what it says by ``eq``, and by ``and`` only.

    Raises:
        BadQuery: it cannot be understood.
    """
    found: dict[str, int] = {}
    waiting: list[Any] = [_parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            waiting += [node.left, node.right]
        elif isinstance(node, ast.Compare) and isinstance(node.comparator, ast.Eq):
            path, number = (node.right, node.left) if isinstance(node.left, ast.Integer) else (node.left, node.right)
            if (
                isinstance(path, ast.Identifier | ast.Attribute)
                and isinstance(number, ast.Integer)
                and len(number.val) < 19
            ):
                found["/".join(_path(path))] = int(number.val)
    return found


def parse_order(entity: Entity, text: str, bound: Bound) -> list[tuple[str, bool]]:
    """SQL to sort by, and whether downwards.

    Raises:
        BadQuery: it cannot be understood, or leads to more than one entity.
    """
    order = []
    for item in text.split(","):
        words = item.split()
        if not 1 <= len(words) <= 2 or (len(words) == 2 and words[1].lower() not in {"asc", "desc"}):
            raise BadQuery(f"$orderby: {item.strip()!r} is not a property, or one with asc or desc")
        found = _Translation(entity, bound).expression(_parse(words[0]), 0)
        if found.views - set(entity.views) or found.kind in {NULL, AREA, POINT, BOOL}:
            raise BadQuery(f"$orderby: {words[0]!r} has no order")
        order.append((found.sql, words[-1].lower() == "desc"))
    return order


def _parse(text: str) -> ast._Node:
    if len(text) > MAX_CHARACTERS:
        raise BadQuery(f"longer than {MAX_CHARACTERS} characters")
    parser = ODataParser()
    # The library knows OData's functions; SensorThings has others, and which there are is decided here.
    cast("Any", parser)._function_call = ast.Call  # noqa: SLF001
    # "@iot.id" is what answers call "id"; inside of quotes it is a text.
    plain = "".join(
        part if number % 2 else part.replace("@iot.id", "id")
        for number, part in enumerate(re.split(r"('(?:[^']|'')*')", text))
    )
    try:
        found = parser.parse(ODataLexer().tokenize(plain))
    except (ODataException, RecursionError, ValueError, NotImplementedError, AttributeError) as error:
        raise BadQuery(f"{text!r} cannot be read: {error}") from None
    if found is None:
        raise BadQuery(f"{text!r} cannot be read")
    return found  # type: ignore[no-any-return]


class _Translation:
    def __init__(self, entity: Entity, bound: Bound) -> None:
        self._entity = entity
        self._bound = bound

    def boolean(self, node: Any, depth: int) -> Expression:
        """A condition; one about rows that the entity is linked with holds if it holds for any of them."""
        if isinstance(node, ast.BoolOp):
            left, right = self.boolean(node.left, depth + 1), self.boolean(node.right, depth + 1)
            word = "AND" if isinstance(node.op, ast.And) else "OR"
            return Expression(f"({left.sql} {word} {right.sql})", BOOL)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Expression(f"(NOT coalesce({self.boolean(node.operand, depth + 1).sql}, false))", BOOL)
        found = self.expression(node, depth)
        if found.kind != BOOL:
            raise BadQuery("a filter must be a condition, such as result gt 1.5")
        return Expression(self._any(found), BOOL)

    def _any(self, found: Expression) -> str:
        more = "".join(sorted(found.views - set(self._entity.views)))
        if not more:
            return found.sql
        if "r" in more:
            raise NotOffered("filters by the Observations of something are not offered: ask for Observations")
        rows = "devices AS d" if more == "d" else QUANTITY_ROWS
        if len(more) == 2:
            rows = f"devices AS d CROSS JOIN {QUANTITY_ROWS}"
        return f"EXISTS (SELECT FROM {rows} WHERE {HAS_STREAM} AND {found.sql})"

    def expression(self, node: Any, depth: int) -> Expression:
        """Anything that has a value."""
        if depth > MAX_DEPTH:
            raise BadQuery("too deeply nested")
        if isinstance(node, ast.Identifier | ast.Attribute):
            return self._property(_path(node))
        if isinstance(node, ast._Literal):  # noqa: SLF001
            return self._literal(node)
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            return self.boolean(node, depth)
        if isinstance(node, ast.UnaryOp):
            found = self._of(NUMBER, self.expression(node.operand, depth + 1))
            return Expression(f"(-{found.sql})", NUMBER, found.views)
        raise BadQuery(f"{type(node).__name__} is not offered here")

    def _property(self, path: list[str]) -> Expression:
        entity, rest = self._entity, path
        while rest and rest[0] in entity.links:
            entity, rest = ENTITIES[entity.links[rest[0]]], rest[1:]
        found = entity.properties.get("/".join(rest))
        if found is None or len(path) > MAX_PATH:
            raise BadQuery(
                f"{'/'.join(path)!r} is no property of {self._entity.plural} that can be filtered or sorted by"
            )
        return Expression(found.sql, found.kind, frozenset(entity.views))

    def _literal(self, node: Any) -> Expression:
        if isinstance(node, ast.Null):
            return Expression("NULL", NULL)
        if isinstance(node, ast.Geography):
            return _geography(node.val, self._bound)
        try:
            value = node.py_val
        except (ValueError, OverflowError):
            raise BadQuery(f"{node.val!r} is out of range") from None
        if isinstance(value, bool):
            return Expression("true" if value else "false", BOOL)
        if isinstance(value, int | float):
            return Expression(f"CAST({self._bound.add(_finite(value))} AS float8)", NUMBER)
        if isinstance(node, ast.DateTime | ast.Date):
            time = value if isinstance(value, datetime) else datetime.combine(value, datetime.min.time())
            time = time if time.tzinfo else time.replace(tzinfo=UTC)
            return Expression(f"CAST({self._bound.add(time)} AS timestamptz)", TIME)
        if isinstance(node, ast.Duration):
            return Expression(f"CAST({self._bound.add(value)} AS interval)", SPAN)
        return Expression(f"CAST({self._bound.add(str(value))} AS text)", TEXT)

    def _comparison(self, node: ast.Compare, depth: int) -> Expression:
        left = self.expression(node.left, depth + 1)
        if isinstance(node.comparator, ast.In):
            items = [self._of(left.kind, self._literal(item)) for item in node.right.val]  # type: ignore[attr-defined]
            return Expression(f"({left.sql} IN ({', '.join(item.sql for item in items)}))", BOOL, left.views)
        right, views = self.expression(node.right, depth + 1), left.views
        views = views | right.views
        sign = _COMPARISONS[type(node.comparator)]
        if NULL in {left.kind, right.kind}:
            if sign not in {"=", "<>"}:
                raise BadQuery("null can only be compared by eq and ne")
            known = right if left.kind == NULL else left
            return Expression(f"({known.sql} IS {'NOT ' if sign == '<>' else ''}NULL)", BOOL, views)
        if left.kind != right.kind or left.kind in {POINT, AREA}:
            raise BadQuery(f"a {left.kind} cannot be compared with a {right.kind}")
        return Expression(f"({left.sql} {sign} {right.sql})", BOOL, views)

    def _arithmetic(self, node: ast.BinOp, depth: int) -> Expression:
        left, right = self.expression(node.left, depth + 1), self.expression(node.right, depth + 1)
        sign, views = _ARITHMETIC[type(node.op)], left.views | right.views
        if sign in "+-" and left.kind == TIME and right.kind == SPAN:
            return Expression(f"({left.sql} {sign} {right.sql})", TIME, views)
        if sign == "-" and left.kind == TIME and right.kind == TIME:
            return Expression(f"({left.sql} - {right.sql})", SPAN, views)
        self._of(NUMBER, left)
        self._of(NUMBER, right)
        if sign == "%":
            return Expression(f"mod(CAST({left.sql} AS numeric), CAST({right.sql} AS numeric))", NUMBER, views)
        return Expression(f"({left.sql} {sign} {right.sql})", NUMBER, views)

    def _call(self, node: ast.Call, depth: int) -> Expression:
        name = str(cast("Any", node.func).full_name()).lower()
        if name in NOT_OFFERED:
            raise NotOffered(f"the function {name} is not offered")
        if name == "substring":
            return self._substring(node, depth)
        if name not in FUNCTIONS:
            raise BadQuery(f"there is no function {name}")
        kinds, kind, write = FUNCTIONS[name]
        if len(node.args) != len(kinds):
            raise BadQuery(f"{name} takes {len(kinds)} arguments")
        given = [
            self._of(wanted, self.expression(argument, depth + 1))
            for wanted, argument in zip(kinds, node.args, strict=True)
        ]
        views = frozenset[str]().union(*(one.views for one in given))
        return Expression(write(*(one.sql for one in given)), kind, views)

    def _substring(self, node: ast.Call, depth: int) -> Expression:
        if len(node.args) not in {2, 3}:
            raise BadQuery("substring takes 2 or 3 arguments")
        text = self._of(TEXT, self.expression(node.args[0], depth + 1))
        numbers = [self._of(NUMBER, self.expression(one, depth + 1)) for one in node.args[1:]]
        begin = f"CAST({numbers[0].sql} AS int) + 1"
        count = f" FOR greatest(0, CAST({numbers[1].sql} AS int))" if len(numbers) == 2 else ""
        return Expression(f"substring({text.sql} FROM {begin}{count})", TEXT, text.views)

    @staticmethod
    def _of(kind: str, found: Expression) -> Expression:
        if found.kind != kind:
            raise BadQuery(f"a {found.kind} stands where a {kind} must")
        return found


def _path(node: Any) -> list[str]:
    if isinstance(node, ast.Identifier):
        return [str(cast("Any", node).full_name())]
    return [*_path(node.owner), node.attr]


def _finite(value: float) -> float:
    """A number as all are compared; Python's whole numbers know no end, and its floats have one."""
    with contextlib.suppress(OverflowError):
        if math.isfinite(found := float(value)):
            return found
    raise BadQuery("a number is out of range")


_NUMBER = r"[+-]?\d{1,9}(?:\.\d{1,15})?"
_PAIR = rf"{_NUMBER}\s+{_NUMBER}"


def _geography(text: str, bound: Bound) -> Expression:
    """A point or a polygon without holes, as well-known text: longitude first."""
    wkt = text.strip().upper().removeprefix("SRID=4326;")
    if found := re.fullmatch(rf"POINT\s*\(\s*({_PAIR})\s*\)", wkt):
        x, y = found[1].split()
        return Expression(f"CAST({bound.add(f'({x},{y})')} AS point)", POINT)
    if found := re.fullmatch(rf"POLYGON\s*\(\s*\(\s*({_PAIR}(?:\s*,\s*{_PAIR})+)\s*\)\s*\)", wkt):
        corners = ",".join(f"({','.join(pair.split())})" for pair in found[1].split(","))
        return Expression(f"CAST({bound.add(f'({corners})')} AS polygon)", AREA)
    raise NotOffered("of geographies, POINT and POLYGON without holes are offered")
