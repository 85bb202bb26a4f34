"""``/sensorthings/v1.1``: the OGC SensorThings API v1.1 (OGC 18-088), to read."""

import logging
from typing import Any

import orjson
from flask import Blueprint, Response, request
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, OperationalError
from werkzeug.exceptions import HTTPException

from app.api.access import needs
from app.connections import connections
from app.sensorthings.answers import Answering, pieces
from app.sensorthings.options import Options, read_options
from app.sensorthings.paths import REF, VALUE, NotThere, Target, find_target
from app.sensorthings.render import self_link
from streamgauge.storage.sensorthings.filters import BadQuery, NotOffered
from streamgauge.storage.sensorthings.model import ENTITIES
from streamgauge.storage.sensorthings.query import Query, limit_time, read_rows

log = logging.getLogger(__name__)

PREFIX = "/sensorthings/v1.1"
QUERY_CANCELED = "57014"
_REQ = "http://www.opengis.net/spec/iot_sensing/1.1/req"
CONFORMANCE = (
    f"{_REQ}/datamodel",
    f"{_REQ}/resource-path/resource-path-to-entities",
    f"{_REQ}/request-data",
    f"{_REQ}/data-array/data-array",
)

blueprint = Blueprint("sensorthings", __name__, url_prefix=PREFIX)


@blueprint.get("/", strict_slashes=False)
@needs("read")
def show_root() -> Response:
    """The sets that there are, and what of the standard is offered."""
    sets = [{"name": name, "url": f"{_root()}/{name}"} for name in ENTITIES]
    return _json({"serverSettings": {"conformance": list(CONFORMANCE)}, "value": sets})


@blueprint.get("/<path:path>")
@needs("read")
def show(path: str) -> Response:
    """An entity, a set, a property, its value, or links."""
    with connections().engine.connect() as connection:
        limit_time(connection)
        target = find_target(connection, path.strip("/"))
        options = read_options(target.entity, request.args.to_dict())
        answering = Answering(connection, _root())
        if target.is_one:
            return _one(connection, answering, target, options)
        around, entities = answering.page(target, options, path.strip("/"))
    return Response(pieces(around, entities), content_type="application/json")


def _one(connection: Connection, answering: Answering, target: Target, options: Options) -> Response:
    if target.ending == REF:
        row = read_rows(connection, Query(entity=target.entity, key=target.key, top=1))[0]
        return _json({"@iot.selfLink": self_link(answering.root, target.entity, row)})
    found = answering.one(target, options)
    if not target.property:
        return _json(found)
    if target.property not in found or "@" in target.property:
        raise NotThere(target.property)
    value = found[target.property]
    if value is None:
        return Response(status=204)
    if target.ending == VALUE:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return Response(text, content_type="text/plain; charset=utf-8")
    return _json({target.property: value})


def _root() -> str:
    return f"{request.url_root.rstrip('/')}{PREFIX}"


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")


def _error(status: int, message: str) -> Response:
    """An error as SensorThings servers and clients write and read it."""
    return _json({"code": status, "type": "error", "message": message}, status)


@blueprint.errorhandler(BadQuery)
def answer_bad_query(error: BadQuery) -> Response:
    """What was asked for is wrong, or not offered."""
    return _error(501 if isinstance(error, NotOffered) else 400, str(error))


@blueprint.errorhandler(NotThere)
def answer_not_there(error: NotThere) -> Response:
    """There is nothing of the kind."""
    return _error(404, f"There is nothing at this address: {error}")


@blueprint.errorhandler(DataError)
def answer_bad_value(_: DataError) -> Response:
    """A filter that cannot be worked out, such as a division by zero."""
    return _error(400, "The filter cannot be worked out with these values.")


@blueprint.errorhandler(OperationalError)
def answer_too_much(error: OperationalError) -> Response:
    """A question that takes too long, or a database that is away."""
    if getattr(error.orig, "pgcode", None) == QUERY_CANCELED:
        return _error(400, "This takes too long: ask for one Datastream, or for less time by phenomenonTime.")
    log.error("database does not answer", extra={"error": str(error.orig)})
    return _error(503, "The database does not answer.")


@blueprint.errorhandler(HTTPException)
def answer_http_error(error: HTTPException) -> Response:
    """Whatever else is refused."""
    return _error(error.code or 500, error.description or "")
