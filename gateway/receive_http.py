"""The gateway's HTTP: ``POST /readings`` for sensors with a token, ``/health``, ``/metrics``, and the installer's page.

A WSGI application, served by waitress; no more than an edge program needs.
"""

import base64
import hmac
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any

import orjson
import waitress
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.devices import Device
from streamgauge.reading import Reading
from streamgauge.wire import Rejected

log = logging.getLogger("streamgauge.gateway.http")

COMMIT_TIMEOUT_S = 10.0
RETRY_AFTER_S = 5
PAGE_USER = "installer"
THREADS = 12
WAITING_MAX = 8
"""So many requests wait for the disk at once: the page, /health and /metrics must answer while it hangs or is full."""
TURN_TIMEOUT_S = 0.2
"""So long a request waits to be one of them; a disk that is well has finished with others by then."""
MAX_NAMED_PROBLEMS = 100

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[Mapping[str, Any], StartResponse], Iterable[bytes]]
Handle = Callable[[Device, bytes, Callable[[], None]], tuple[list[Reading], list[Rejected]] | None]
"""(device, payload, done) → readings that were taken and what was refused; None: no room now."""


def http_application(
    *, devices: Iterable[Device], handle: Handle, page: Application, page_password: str | None, max_body_bytes: int
) -> Application:
    """The whole of the gateway's HTTP.

    Args:
        devices: those with a token may post.
        handle: takes a sensor's payload.
        page: serves everything that is not ours.
        page_password: of the page; None: it needs none.
        max_body_bytes: longest request that is read.
    """
    by_token = {device.token_sha256: device for device in devices if device.token_sha256 is not None}
    door = _Door(by_token, handle, max_body_bytes)

    def answer(environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/health":
            return _json(start, HTTPStatus.OK, {"status": "ok"})
        if path == "/metrics":
            start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest(REGISTRY)]
        if path == "/readings":
            return door.answer(environ, start)
        if page_password is not None and not _knows_password(environ, page_password):
            challenge = [("WWW-Authenticate", 'Basic realm="Streamgauge gateway", charset="UTF-8"')]
            detail = f"User {PAGE_USER} and the page's password are needed"
            return _problem(start, HTTPStatus.UNAUTHORIZED, detail, challenge)
        return page(environ, start)

    def application(environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        content = answer(environ, start)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else content

    return application


class _Door:
    """``POST /readings``. Few requests at once wait for the disk, so that the others are answered meanwhile."""

    def __init__(self, by_token: Mapping[bytes, Device], handle: Handle, max_body_bytes: int) -> None:
        self._by_token = by_token
        self._handle = handle
        self._max_body_bytes = max_body_bytes
        self._may_wait = threading.BoundedSemaphore(WAITING_MAX)

    def answer(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return _problem(start, HTTPStatus.METHOD_NOT_ALLOWED, "Readings are posted", [("Allow", "POST")])
        device = _device_of(environ, self._by_token)
        if device is None:
            detail = "A sensor's token is needed: Authorization: Bearer …"
            return _problem(start, HTTPStatus.UNAUTHORIZED, detail, [("WWW-Authenticate", "Bearer")])
        if not self._may_wait.acquire(timeout=TURN_TIMEOUT_S):
            return _later(start, "Others wait for the disk already")
        try:
            return _post_readings(environ, start, device, self._handle, self._max_body_bytes)
        finally:
            self._may_wait.release()


class HttpServer:
    """waitress in a thread of its own."""

    def __init__(self, application: Application, host: str, port: int, max_body_bytes: int) -> None:
        self._sockets: dict[int, Any] = {}
        self._server = waitress.create_server(
            application,
            map=self._sockets,
            host=host,
            port=port,
            threads=THREADS,
            ident="",
            clear_untrusted_proxy_headers=True,
            # One byte more than we take, so that our own answer names the bound.
            max_request_body_size=max_body_bytes + 1,
            connection_limit=100,
            # Clients that say nothing give their place up soon: it takes no token to open a connection.
            channel_timeout=10,
            cleanup_interval=5,
        )
        self.port = int(self._server.effective_port)
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End it; requests that are under way are cut off."""
        if self._thread.ident is None:
            self._close()
            return
        # In its own thread: closing sockets under a loop that waits on them would be an error in it.
        self._server.trigger.pull_trigger(self._close)
        self._thread.join(5)
        self._server.task_dispatcher.shutdown(timeout=1)

    def _close(self) -> None:
        for one in list(self._sockets.values()):
            one.close()


def _post_readings(
    environ: Mapping[str, Any],
    start: StartResponse,
    device: Device,
    handle: Handle,
    max_body_bytes: int,
) -> Iterable[bytes]:
    payload = environ["wsgi.input"].read(max_body_bytes + 1)
    if len(payload) > max_body_bytes:
        return _problem(start, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {max_body_bytes} bytes are taken")
    kept = threading.Event()
    taken = handle(device, payload, kept.set)
    if taken is None:
        return _later(start, "The buffer takes no more at the moment")
    readings, rejected = taken
    if not kept.wait(COMMIT_TIMEOUT_S):
        return _later(start, "The readings are not kept yet; repeating them is harmless")
    if not rejected:
        return _json(start, HTTPStatus.CREATED, {"stored": len(readings), "dead": 0})
    errors = [{"reason": str(item.reason), "detail": item.detail} for item in rejected[:MAX_NAMED_PROBLEMS]]
    detail = f"{len(readings)} readings are kept, {len(rejected)} were refused; their bytes stand in refused.log"
    return _problem(
        start, HTTPStatus.UNPROCESSABLE_ENTITY, detail, stored=len(readings), dead=len(rejected), errors=errors
    )


def _device_of(environ: Mapping[str, Any], by_token: Mapping[bytes, Device]) -> Device | None:
    kind, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return None
    # What is looked up is a hash of the token: how long that takes tells nothing of the token.
    return by_token.get(sha256(token.strip().encode("latin-1", "replace")).digest())


def _knows_password(environ: Mapping[str, Any], password: str) -> bool:
    kind, _, text = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        given = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(given, f"{PAGE_USER}:{password}".encode())


def _later(start: StartResponse, detail: str) -> Iterable[bytes]:
    return _problem(start, HTTPStatus.SERVICE_UNAVAILABLE, detail, [("Retry-After", str(RETRY_AFTER_S))])


def _problem(
    start: StartResponse, status: HTTPStatus, detail: str, headers: Iterable[tuple[str, str]] = (), **more: object
) -> Iterable[bytes]:
    """An RFC 9457 problem."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **more}
    return _json(start, status, body, headers, "application/problem+json")


def _json(
    start: StartResponse,
    status: HTTPStatus,
    body: Mapping[str, object],
    headers: Iterable[tuple[str, str]] = (),
    kind: str = "application/json",
) -> Iterable[bytes]:
    content = orjson.dumps(body)
    start(
        f"{status.value} {status.phrase}",
        [("Content-Type", kind), ("Content-Length", str(len(content))), ("Cache-Control", "no-store"), *headers],
    )
    return [content]
