"""What a call of the API takes and gives, declared once: read from here, and written into the OpenAPI document from here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, cast

import msgspec
from flask import Response, current_app, request
from msgspec import Struct
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, NotAcceptable, RequestEntityTooLarge, UnsupportedMediaType

from app.api.access import Scope, needs
from app.api.blueprint import blueprint
from app.declared import public

JSON = "application/json"
CURL_DEFAULT = "application/x-www-form-urlencoded"
"""What curl calls every body of which it is told nothing; a script that never said otherwise goes on working."""
_BODY_TYPES = frozenset({"", JSON, CURL_DEFAULT, "application/octet-stream", "text/plain"})
MAX_BODY_BYTES = 2**20
MAX_EXPLAINED_CHOICES = 12
Q = TypeVar("Q", bound=Struct)
B = TypeVar("B", bound=Struct)
View = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer.

    Attributes:
        says: when it is given.
        content: by media type the type of its body; several types where it may be one of them, ``bytes`` for what is no JSON.
        headers: by name what they say.
    """

    says: str
    content: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def json_of(says: str, *kinds: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(says, {JSON: kinds}, headers or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a view takes and gives.

    Attributes:
        method: GET, POST, PATCH.
        path: below the API's root, as Flask writes it.
        summary: one line.
        details: what else there is to know, in Markdown.
        tag: under which the document lists it.
        scope: what a caller must have; None: nothing.
        query: its query parameters.
        body: what its body may be, one of these.
        needs_body: whether an empty body is refused.
        answers: by status.
        problems: the statuses of its problem details beside those of every call.
    """

    method: str
    path: str
    summary: str
    details: str
    tag: str
    scope: Scope | None
    query: type[Struct] | None
    body: tuple[Any, ...]
    needs_body: bool
    answers: Mapping[int, Answer]
    problems: tuple[int, ...]


def endpoint(
    method: str,
    path: str,
    *,
    summary: str,
    tag: str,
    answers: Mapping[int, Answer],
    scope: Scope | None,
    query: type[Struct] | None = None,
    body: tuple[Any, ...] = (),
    needs_body: bool = True,
    problems: tuple[int, ...] = (),
) -> Callable[[View], View]:
    """Serve a view under the API's root, with what it takes and gives.

    The view gets its query as ``query``, checked. What it gives to a GET has an ETag and is not sent again to whoever has it.
    The view's docstring stands in the document.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def called(**path_values: Any) -> Response:
            _check_accept(answers)
            if body:
                _check_body_type()
            if query is not None:
                path_values["query"] = read_query(query, request.args)
            return _conditional(view(**path_values))

        served = cast("View", public(called) if scope is None else needs(scope)(called))
        cast("Any", served).streamgauge_api = Declaration(
            method=method,
            path=path,
            summary=summary,
            details=(view.__doc__ or "").replace("``", "`"),
            tag=tag,
            scope=scope,
            query=query,
            body=body,
            needs_body=needs_body,
            answers=answers,
            problems=problems,
        )
        blueprint.add_url_rule(path, view.__name__, served, methods=[method])
        return served

    return decorate


def read_query(kind: type[Q], arguments: "MultiDict[str, str]") -> Q:
    """Query parameters by their declaration; an empty one counts as absent, one that is not declared is passed over.

    Raises:
        BadRequest: naming the parameter and what it must be.
    """
    found: dict[str, Any] = {}
    for item in msgspec.structs.fields(kind):
        name = item.encode_name
        is_list = isinstance(_bare(msgspec.inspect.type_info(item.type)), msgspec.inspect.ListType)
        value = [text for text in arguments.getlist(name) if text] if is_list else arguments.get(name)
        if not value:
            continue
        try:
            found[item.name] = msgspec.convert(value, item.type, strict=False)
        except msgspec.ValidationError:
            raise BadRequest(f"{name} {must_be(item.type)}") from None
        except UnicodeEncodeError:
            raise BadRequest(f"{name} is no text in UTF-8") from None
    return kind(**found)


def read_body(kind: type[B], *, may_be_empty: bool = False) -> B:
    """The JSON body of the current request by its declaration.

    Raises:
        BadRequest: it is no JSON object, or names the member that is wrong.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge(f"The body is longer than {MAX_BODY_BYTES} bytes")
    payload = request.get_data()
    if len(payload) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge(f"The body is longer than {MAX_BODY_BYTES} bytes")
    if may_be_empty and not payload.strip():
        return kind()
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body is not as the document says: {error}") from None


def must_be(kind: Any) -> str:
    """What a parameter of this type must be, as the end of a sentence."""
    info = msgspec.inspect.type_info(kind)
    if (said := _said(info)) is not None:
        return f"must {said}"
    info = _bare(info)
    if isinstance(info, msgspec.inspect.ListType):
        info = _bare(info.item_type)
    if isinstance(info, msgspec.inspect.LiteralType):
        return f"must be one of {', '.join(str(value) for value in info.values[:MAX_EXPLAINED_CHOICES])}"
    if isinstance(info, msgspec.inspect.IntType):
        return f"must be a whole number from {info.ge} to {info.le}"
    if isinstance(info, msgspec.inspect.BoolType):
        return "must be true or false"
    if isinstance(info, msgspec.inspect.StrType) and info.max_length:
        return f"must have at most {info.max_length} characters"
    return "is not as the document says"


def _bare(info: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """A type without what is said of it, and without that it may be absent."""
    while True:
        if isinstance(info, msgspec.inspect.Metadata):
            info = info.type
        elif isinstance(info, msgspec.inspect.UnionType):
            info = next(part for part in info.types if not isinstance(part, msgspec.inspect.NoneType))
        else:
            return info


def _said(info: msgspec.inspect.Type) -> str | None:
    """What a declaration itself says that a parameter must be: the member ``must`` of its ``extra``."""
    if isinstance(info, msgspec.inspect.UnionType):
        return next((said for part in info.types if (said := _said(part)) is not None), None)
    if not isinstance(info, msgspec.inspect.Metadata):
        return None
    return str(info.extra["must"]) if info.extra and "must" in info.extra else _said(info.type)


def declared_views() -> dict[str, Declaration]:
    """Every declared call of the current application, by endpoint."""
    views = {name: getattr(view, "streamgauge_api", None) for name, view in current_app.view_functions.items()}
    return {name: found for name, found in views.items() if found is not None}


def _check_accept(answers: Mapping[int, Answer]) -> None:
    offered = [kind for status, answer in answers.items() if status < 300 for kind in answer.content]
    if not offered or not request.accept_mimetypes.provided:
        return
    # Who only takes a problem's type asks for what no call gives when all is well.
    if request.accept_mimetypes.best_match(offered) is None:
        raise NotAcceptable(f"This is given as {', '.join(dict.fromkeys(offered))}; Accept names none of these.")


def _check_body_type() -> None:
    kind = request.mimetype.lower()
    if request.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("Send the body as it is: Content-Encoding is not understood here.")
    if kind not in _BODY_TYPES and not kind.endswith("+json"):
        raise UnsupportedMediaType("Send the body as JSON in UTF-8, with Content-Type: application/json.")


def _conditional(response: Response) -> Response:
    """To a GET: a tag of the content, and 304 without content for whoever has it already."""
    if request.method not in {"GET", "HEAD"} or response.status_code != 200 or response.is_streamed:
        return response
    if not response.headers.get("ETag"):
        response.add_etag()
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return cast("Response", response.make_conditional(request))
