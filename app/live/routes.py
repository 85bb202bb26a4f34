"""The WebSocket ``/live``; what goes over it stands in docs/live.md.

Parameters: ``after``, the id of the last event that the page knows; ``device``, any number of times (none: all devices).
"""

import base64
import binascii
from collections.abc import Callable, Collection
from typing import cast
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from flask_sock import Sock
from redis import RedisError
from simple_websocket import ConnectionError as HandshakeFailed
from simple_websocket import Server
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from app.connections import connections
from app.errors import problem
from app.live.client import Visitor
from app.live.hub import Hub
from app.live.wire import NoThread, take_socket
from app.request_log import request_id
from app.session.identity import current_session_id, sessions_alive, signed_in_user
from app.session.roles import mark
from streamgauge.live.stream import START_ID, newest_id
from streamgauge.settings import WebSettings

MAX_DEVICES = 200
RETRY_AFTER_S = 15
KEY_BYTES = 16
_EXTENSION = "streamgauge_hub"


def current_live_id() -> str:
    """The id up to which a page that is made now knows everything. Ask before the database is asked."""
    try:
        return newest_id(connections().redis)
    except RedisError:
        return START_ID


def live_hub(app: Flask | None = None) -> Hub:
    """The hub of an application; by default of the current one."""
    return cast("Hub", (app or current_app).extensions[_EXTENSION])


def keep_hub_while(app: Flask, is_wanted: Callable[[], bool]) -> None:
    """Let browsers go as soon as ``is_wanted`` says no."""
    if _EXTENSION in app.extensions:
        live_hub(app).is_wanted = is_wanted


def stop_hub(app: Flask) -> None:
    """Let browsers go now, and wait until they were told."""
    if _EXTENSION in app.extensions:
        live_hub(app).stop()


def is_own_origin(origin: str | None, host: str) -> bool:
    """Whether a WebSocket was opened by one of our pages. Programs send no origin; browsers always do."""
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def prepare_handshake() -> Response | None:
    """Refuse the handshake of who is not signed in, of other sites' pages, of those who speak otherwise, and of too many."""
    if request.path != "/live":
        return None
    if not is_own_origin(request.headers.get("Origin"), request.host):
        return problem(403, "Forbidden", "This WebSocket is for pages of this site.")
    if signed_in_user() is None:
        return problem(401, "Not signed in", "Sign in at /login first.")
    if "websocket" in request.headers.get("Upgrade", "").lower() and not _is_sound():
        detail = "This is a WebSocket of version 13 (RFC 6455)."
        return problem(400, "Bad WebSocket handshake", detail, {"Sec-WebSocket-Version": "13"})
    if live_hub().is_full:
        detail = "This process serves as many live pages as it may. The page works without, and tries again."
        return problem(503, "Too many live pages", detail, {"Retry-After": str(RETRY_AFTER_S)})
    # Compressed frames would have to be made, and remembered, for each browser by itself.
    request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    return None


def _is_sound() -> bool:
    try:
        key = base64.b64decode(request.headers.get("Sec-WebSocket-Key", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(key) == KEY_BYTES and request.headers.get("Sec-WebSocket-Version") == "13"


def serve_live(ws: Server) -> None:
    """Hand the browser, which has just been greeted by HTTP, to the hub."""
    devices = frozenset(request.args.getlist("device")[:MAX_DEVICES])
    visitor = Visitor(current_session_id(), request_id())
    live_hub().join(take_socket(ws), devices, request.args.get("after", ""), visitor)


def _answer_bad_handshake(_: Exception) -> Response:
    return problem(400, "Bad WebSocket handshake", "The request's headers are not those of a WebSocket.")


def init_app(app: Flask, settings: WebSettings) -> None:
    """Serve ``/live``."""
    with app.app_context():
        linked = connections()

    def check_sessions(sessions: Collection[int]) -> set[int]:
        with linked.engine.connect() as connection:
            return sessions_alive(connection, sessions)

    app.extensions[_EXTENSION] = Hub(
        linked.make_redis, settings.live_backlog_events, settings.live_max_clients, check_sessions
    )
    app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": NoThread}
    app.before_request(prepare_handshake)
    for error in (RemoteProtocolError, LocalProtocolError, HandshakeFailed):
        app.register_error_handler(error, _answer_bad_handshake)
    sock = Sock()
    sock.route("/live")(mark(serve_live, "viewer"))
    sock.init_app(app)
