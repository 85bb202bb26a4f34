"""The live hub behind the development server, over real TCP: who stalls, whose session ends, who is one too many."""

import json
import re
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.cookiejar import CookieJar

import pytest
from flask import Flask
from redis import Redis
from simple_websocket import ConnectionClosed
from sqlalchemy import Engine, text
from werkzeug.serving import make_server

from app import create_app
from app.live import writer
from app.live.routes import keep_hub_while, live_hub, stop_hub
from app.session.passwords import generate_password, hash_password
from streamgauge.live.stream import append
from streamgauge.storage.users import add_user
from tests.integration.test_app_live import PromptClient, levels
from tests.support.system import wait_until
from tests.support.web import NOWHERE

MOST_CLIENTS = 3


@dataclass
class Served:
    """An application on a port."""

    app: Flask
    port: int
    cookie: str = ""

    def browser(self, query: str = "") -> PromptClient:
        """A WebSocket."""
        headers = {"Cookie": self.cookie, "Origin": "http://127.0.0.1"}
        return PromptClient(f"ws://127.0.0.1:{self.port}/live?{query}", headers=headers)

    def sign_in(self, password: str) -> None:
        """Get a session's cookie."""
        jar = CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        token = re.search(r'name="csrf_token" value="([^"]+)"', opener.open(self.url("/login")).read().decode())
        assert token
        form = {"csrf_token": token[1], "name": "officer", "password": password, "next": "/health"}
        opener.open(self.url("/login"), urllib.parse.urlencode(form).encode())
        self.cookie = "; ".join(f"{item.name}={item.value}" for item in jar)

    def url(self, path: str) -> str:
        """An address."""
        return f"http://127.0.0.1:{self.port}{path}"

    def handshake(self) -> socket.socket:
        """A WebSocket that is only asked for, by somebody with small buffers who then reads nothing."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.connect(("127.0.0.1", self.port))
        lines = (
            "GET /live HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            f"Cookie: {self.cookie}",
        )
        sock.sendall("\r\n".join((*lines, "", "")).encode())
        return sock


@pytest.fixture
def served(engine: Engine, redis: "Redis", database_url: str, redis_url: str) -> Iterator[Served]:
    settings = replace(NOWHERE, database_url=database_url, redis_url=redis_url, live_max_clients=MOST_CLIENTS)
    app = create_app(settings)
    live_hub(app).check_sessions_every(0.3)
    password = generate_password()
    with engine.begin() as connection:
        assert add_user(connection, "officer", hash_password(password), "viewer")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found = Served(app, server.server_port)
    found.sign_in(password)
    yield found
    stop_hub(app)
    server.shutdown()
    thread.join(10)
    server.server_close()


def next_of(kind: str, browser: PromptClient, timeout_s: float = 10.0) -> dict[str, object]:
    end_at = time.monotonic() + timeout_s
    while time.monotonic() < end_at:
        said = browser.receive(timeout=0.2)
        if said is not None and json.loads(said)["type"] == kind:
            found: dict[str, object] = json.loads(said)
            return found
    raise TimeoutError(kind)


def send(redis: "Redis", level_m: float, padding: int = 0) -> None:
    append(redis, [{"device": "a", "time": "-", "level_m": level_m, "padding": "x" * padding}])


def test_the_development_server_serves_it_too_and_no_frame_is_compressed(served: Served, redis: "Redis") -> None:
    sock = served.handshake()
    sock.settimeout(5)
    data = b""
    while b'"hello"' not in data:
        data += sock.recv(4_096)
    head = data.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101")
    assert b"extensions" not in head
    send(redis, 1.5)
    while b"1.5" not in data:
        data += sock.recv(4_096)
    sock.close()


def test_who_reads_nothing_is_let_go_and_costs_nobody_anything(
    served: Served, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STALL_LIMIT_S", 1.5)
    stalled, browser = served.handshake(), served.browser()
    next_of("hello", browser)
    wait_until(lambda: live_hub(served.app).count == 2, "not both are there")
    send(redis, 1.0, padding=3_000_000)
    assert levels(next_of("readings", browser)) == [1.0]
    for level_m in (2.0, 3.0):
        send(redis, level_m)
        assert levels(next_of("readings", browser)) == [level_m]
    wait_until(lambda: live_hub(served.app).count == 1, "it was not let go")
    stalled.close()
    browser.close()


def test_one_too_many_is_asked_to_come_again(served: Served) -> None:
    browsers = [served.browser() for _ in range(MOST_CLIENTS)]
    for browser in browsers:
        next_of("hello", browser)
    connection = HTTPConnection("127.0.0.1", served.port, timeout=10)
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        "Cookie": served.cookie,
    }
    connection.request("GET", "/live", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status"], answer.headers["Retry-After"]) == (503, 503, "15")
    connection.close()
    browsers.pop().close()
    wait_until(lambda: not live_hub(served.app).is_full, "there is still no room")
    browsers.append(served.browser())
    next_of("hello", browsers[-1])
    for browser in browsers:
        browser.close()


def test_a_socket_ends_with_its_session(served: Served, engine: Engine) -> None:
    browser = served.browser()
    next_of("hello", browser)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sessions SET ended_at = now()"))
    with pytest.raises(ConnectionClosed) as closed:
        next_of("nothing", browser)
    assert closed.value.reason == 4401


def test_who_comes_while_it_stops_is_let_go(served: Served) -> None:
    browser = served.browser()
    next_of("hello", browser)
    keep_hub_while(served.app, lambda: False)
    for late in (browser, served.browser()):
        with pytest.raises((ConnectionClosed, OSError)):
            next_of("nothing", late)
