"""The WebSocket ``/live``.

From us: ``{"type": "hello", "id"}``, ``{"type": "readings", "id", "readings"}`` with ``"forecasts"`` where some were issued
(then ``readings`` may be empty), ``{"type": "gap", "id"}`` (ask the database anew) and ``{"type": "heartbeat", "fed"}`` (``fed``
is false while Redis is away). A browser sends nothing.
Parameters: ``after``, the id of the last event that the page knows; ``device``, any number of times (none: all devices).
"""

import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import orjson
from flask import Flask, Response, current_app, request
from flask_sock import Sock
from redis import RedisError
from simple_websocket import Server

from app.connections import connections
from app.errors import problem
from app.live.hub import HEARTBEAT_S, Hub, Subscription, position
from app.session import signed_in_user
from streamgauge.live.stream import START_ID, newest_id
from streamgauge.settings import WebSettings

MAX_DEVICES = 200
MAX_HEARD_FRAMES = 64
"""A browser has nothing to say; one that says so much is let go."""
WAKE_S = 1.0
PING_INTERVAL_S = 20
_EXTENSION = "streamgauge_hub"
POLICY_VIOLATION, GOING_AWAY = 1008, 1001


def current_live_id() -> str:
    """The id up to which a page that is made now knows everything. Ask before the database is asked."""
    try:
        return newest_id(connections().redis)
    except RedisError:
        return START_ID


def live_hub() -> Hub:
    """The current application's hub."""
    return cast("Hub", current_app.extensions[_EXTENSION])


def keep_hub_while(app: Flask, is_wanted: Callable[[], bool]) -> None:
    """Let browsers go as soon as ``is_wanted`` says no."""
    hub = app.extensions.get(_EXTENSION)
    if hub is not None:
        hub.is_wanted = is_wanted


def is_own_origin(origin: str | None, host: str) -> bool:
    """Whether a WebSocket was opened by one of our pages. Programs send no origin; browsers always do."""
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def refuse_strangers() -> Response | None:
    """Refuse the handshake of who is not signed in, and of other sites' pages."""
    if request.path != "/live":
        return None
    if not is_own_origin(request.headers.get("Origin"), request.host):
        return problem(403, "Forbidden", "This WebSocket is for pages of this site.")
    if signed_in_user() is None:
        return problem(401, "Not signed in", "Sign in at /login first.")
    return None


def serve_live(ws: Server) -> None:
    """Send one browser what concerns it until it leaves or we stop."""
    hub = live_hub()
    devices = frozenset(request.args.getlist("device")[:MAX_DEVICES])
    after = request.args.get("after", "")
    subscription = hub.subscribe(devices)
    try:
        sent_id = _catch_up(ws, hub, devices, after)
        _follow(ws, hub, subscription, sent_id)
    finally:
        hub.unsubscribe(subscription)


def _catch_up(ws: Server, hub: Hub, devices: frozenset[str], after: str) -> str:
    """Send what was missed since ``after``; returns the id up to which the browser now knows everything."""
    now_id = current_live_id()
    _send(ws, type="hello", id=now_id)
    if not after:
        return now_id
    try:
        missed = hub.missed_since(connections().redis, after)
    except RedisError:
        missed = None
    if missed is None:
        _send(ws, type="gap", id=now_id)
        return now_id
    for frames in missed:
        if text := frames.about(devices):
            ws.send(text)
    return missed[-1].event.id if missed else after


def _follow(ws: Server, hub: Hub, subscription: Subscription, sent_id: str) -> None:
    heard, next_heartbeat_s = 0, time.monotonic() + HEARTBEAT_S
    was_fed = True
    while hub.is_wanted():
        missed, waiting = subscription.take(WAKE_S)
        if missed:
            sent_id = current_live_id()
            _send(ws, type="gap", id=sent_id)
        for frames in waiting:
            # After a catch-up, the first events in the queue may have been sent already.
            if position(frames.event.id) > position(sent_id):
                if text := frames.about(subscription.devices):
                    ws.send(text)
                sent_id = frames.event.id
        if time.monotonic() >= next_heartbeat_s or hub.is_fed != was_fed:
            was_fed, next_heartbeat_s = hub.is_fed, time.monotonic() + HEARTBEAT_S
            _send(ws, type="heartbeat", fed=was_fed)
        while ws.receive(timeout=0) is not None:
            heard += 1
            if heard > MAX_HEARD_FRAMES:
                ws.close(POLICY_VIOLATION, "nothing is expected here")
                return
    ws.close(GOING_AWAY, "restarting")


def _send(ws: Server, **members: object) -> None:
    ws.send(orjson.dumps(members).decode())


def init_app(app: Flask, settings: WebSettings) -> None:
    """Serve ``/live``."""
    with app.app_context():
        linked = connections()
    app.extensions[_EXTENSION] = Hub(linked.make_redis, settings.live_backlog_events)
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": PING_INTERVAL_S, "max_message_size": 4_096}
    app.before_request(refuse_strangers)
    sock = Sock()
    sock.route("/live")(serve_live)
    sock.init_app(app)
