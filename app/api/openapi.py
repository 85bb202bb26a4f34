"""``GET /api/v1/openapi.json``: the OpenAPI 3.1 document, written from the declarations of the views."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from apispec import APISpec
from flask import Response, current_app

from app.api.answers import json_answer
from app.api.blueprint import blueprint
from app.api.declare import JSON, Answer, Declaration, declared_views, endpoint, json_of
from app.api.schemas import Problem
from app.errors import PROBLEM_TYPE
from streamgauge import __version__
from streamgauge.reading import DEVICE_NAME

OPENAPI_VERSION = "3.1.0"
REFERENCE = "#/components/schemas/{name}"
_DESCRIPTION = """\
Readings of water levels, what was expected, what is wrong, and what is registered.

**Who may call.** `Authorization: Bearer TOKEN`. A token has scopes: `read` for every GET, `ingest` to bring readings, `write` for
whatever else changes something (it may bring readings, too). Whoever is signed in to the pages may read.

**Errors** are problem details (RFC 9457): `detail` says what was wrong and what to do. Times are RFC 3339; answers give UTC.

**Pages.** `next` is an opaque cursor for the following page, null on the last one. A page's content has an `ETag`; send it
as `If-None-Match`, and what has not changed is not sent again (304).

**Repeating** is harmless: readings are told apart by device and time, and alerts take the same step once.\
"""
_TAGS = {
    "Devices": "What is registered, and how it is now.",
    "Readings": "What was measured: out and in.",
    "Alerts": "What is wrong, who has it, what was.",
    "Re-scoring": "Stored readings judged again.",
    "This document": "Described by itself.",
}
_PROBLEMS = {
    400: "A parameter or the body is wrong; `detail` names it.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token has not got the scope.",
    404: "There is nothing of this name or number.",
    406: "None of what `Accept` names is given.",
    409: "It cannot be done any more; nothing was changed.",
    413: "The body is too long.",
    415: "The body is not sent as JSON.",
    422: "Understood and refused; `errors` names each fault.",
    429: "Too many requests: wait as long as `Retry-After` says.",
    503: "Something that this needs does not answer: send it again after `Retry-After`.",
}
_RULE = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")


@endpoint(
    "GET",
    "/openapi.json",
    scope=None,
    tag="This document",
    summary="This document",
    answers={200: json_of("OpenAPI 3.1.", dict[str, Any])},
)
def get_openapi() -> Response:
    """Written from the code of the running version."""
    return json_answer(document())


def document() -> dict[str, Any]:
    """The OpenAPI document of the current application; made once."""
    made: dict[str, Any] | None = current_app.extensions.get("streamgauge_openapi")
    if made is None:
        made = current_app.extensions["streamgauge_openapi"] = write_document(declared_views().values())
    return made


def write_document(declared: Iterable[Declaration]) -> dict[str, Any]:
    """The OpenAPI document of these calls."""
    calls = sorted(declared, key=lambda call: (list(_TAGS).index(call.tag), call.path, call.method))
    spec = APISpec(
        "Streamgauge",
        __version__,
        OPENAPI_VERSION,
        info={"description": _DESCRIPTION},
        tags=[{"name": name, "description": says} for name, says in _TAGS.items()],
        servers=[{"url": blueprint.url_prefix}],
    )
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    for name, schema in _schemas(calls).items():
        spec.components.schema(name, schema)
    for call in calls:
        spec.path(_RULE.sub(r"{\g<name>}", call.path), operations={call.method.lower(): _operation(call)})
    written: dict[str, Any] = spec.to_dict()
    return written


def _schemas(calls: Iterable[Declaration]) -> dict[str, Any]:
    kinds: list[Any] = [Problem]
    for call in calls:
        kinds += call.body
        kinds += [kind for answer in call.answers.values() for kind in answer.content.get(JSON, ())]
    _, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    return components


def _operation(call: Declaration) -> dict[str, Any]:
    statuses = {*call.problems, 429, 503}
    if any(answer.content for answer in call.answers.values()):
        statuses.add(406)
    if call.body:
        statuses |= {413, 415}
    if call.scope:
        statuses |= {401, 403}
    answers = {str(status): _answer(call, status, answer) for status, answer in call.answers.items()}
    if call.query is not None:
        answers["414"] = {
            "description": "The address is longer than the server reads (4,094 bytes); it says so in HTML."
        }
    if call.method == "GET":
        answers["304"] = {"description": "What the ETag in If-None-Match stands for has not changed."}
    answers |= {str(status): _problem(status) for status in sorted(statuses)}
    operation: dict[str, Any] = {
        "summary": call.summary,
        "description": _details(call),
        "operationId": f"{call.method.lower()}{_camel(call.path)}",
        "tags": [call.tag],
        "parameters": [*_path_parameters(call.path), *_query_parameters(call)],
        "responses": answers,
        "security": [{"token": []}] if call.scope else [],
    }
    if call.scope:
        operation["x-scope"] = call.scope
    if call.body:
        operation["requestBody"] = {"required": call.needs_body, "content": {JSON: {"schema": _either(call.body)}}}
    return operation


def _details(call: Declaration) -> str:
    text = " ".join(call.details.split())
    return f"{text}\n\nNeeds a token with the scope `{call.scope}`." if call.scope else text


def _answer(call: Declaration, status: int, answer: Answer) -> dict[str, Any]:
    written: dict[str, Any] = {"description": answer.says}
    if answer.content:
        written["content"] = {media: _content(media, kinds) for media, kinds in answer.content.items()}
    headers = dict(answer.headers)
    if call.method == "GET" and status == 200:
        headers["ETag"] = "Stands for the content; not on files."
    if headers:
        written["headers"] = {
            name: {"description": says, "schema": {"type": "string"}} for name, says in headers.items()
        }
    return written


def _content(media: str, kinds: tuple[Any, ...]) -> dict[str, Any]:
    if kinds == (bytes,):
        return {}
    return {"schema": {"type": "string"} if media != JSON else _either(kinds)}


def _problem(status: int) -> dict[str, Any]:
    written: dict[str, Any] = {
        "description": _PROBLEMS[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE.format(name="Problem")}}},
    }
    if status in {429, 503}:
        written["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
    return written


def _either(kinds: tuple[Any, ...]) -> dict[str, Any]:
    schemas, _ = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    found = []
    for match in _RULE.finditer(path):
        schema: dict[str, Any] = {"type": "integer", "minimum": 1}
        if match["kind"] != "int":
            schema = {"type": "string", "pattern": f"^{DEVICE_NAME.pattern}$"}
        found.append({"name": match["name"], "in": "path", "required": True, "schema": schema})
    return found


def _query_parameters(call: Declaration) -> list[dict[str, Any]]:
    if call.query is None:
        return []
    (_,), components = msgspec.json.schema_components([call.query], ref_template=REFERENCE)
    properties: Mapping[str, Any] = components[call.query.__name__]["properties"]
    return [_query_parameter(name, dict(schema)) for name, schema in properties.items()]


def _query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One parameter; a type that may be null is one that may be absent."""
    says = schema.pop("description", None)
    if (choices := schema.pop("anyOf", None)) is not None:
        inner = next(choice for choice in choices if choice != {"type": "null"})
        schema = {**inner, **schema}
        inner_says = schema.pop("description", None)
        says = says or inner_says
    if schema.get("default", 0) in (None, []):
        del schema["default"]
    parameter: dict[str, Any] = {"name": name, "in": "query", "required": False, "schema": schema}
    return parameter | ({"description": says} if says else {})


def _camel(path: str) -> str:
    return "".join(word.title() for word in re.findall(r"[a-z]+", _RULE.sub(lambda match: match["name"], path)))
