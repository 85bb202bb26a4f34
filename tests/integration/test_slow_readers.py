"""Who asks and does not read holds up nobody else: a real gunicorn, real sockets that stay full."""

import contextlib
import http.client
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.downloads import MOST, MOST_OF_ONE
from app.sending import MOST_WAITING, THREADS
from embedded.ports import any_free
from embedded.stack import Stack
from tests.support.history_rows import add_device, add_readings
from tests.support.pages import add_bearer
from tests.support.system import Process, wait_until

ROWS = 60_000
CSV = "/api/v1/devices/mill/readings?format=csv"
BIG_FILE = "/static/vendor/swagger-ui/swagger-ui-bundle.js"
"""Anybody may ask for it."""
HEALTH_S = 2.0
PATIENCE_S = 3.0
SERVE = f"""
import socket
import app.gunicorn_conf, app.sending
app.sending.PATIENCE_S = {PATIENCE_S}

def when_ready(server):
    # As little as the system holds for a reader far away; on one machine it holds megabytes.
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)

app.gunicorn_conf.when_ready = when_ready
from gunicorn.app.wsgiapp import run
run()
"""


@pytest.fixture
def port(engine: Engine, stack: Stack, tmp_path: Path) -> Iterator[int]:
    add_readings(engine, add_device(engine, "mill"), ROWS, step_s=60)
    port, log = any_free(), tmp_path / "web.log"
    log.touch()
    flags = ("--config", "python:app.gunicorn_conf", "--bind", f"127.0.0.1:{port}", "app.wsgi:application")
    environ = {
        **os.environ,
        **stack.addresses.as_environment(),
        "STREAMGAUGE_SECRET_KEY": "k" * 40,
        "STREAMGAUGE_RATE_LIMIT": "off",
    }
    web = Process("web", (sys.executable, "-c", SERVE, *flags), environ, log, lambda _: answers(port))
    try:
        web.start()
        yield port
        assert "Traceback" not in log.read_text()
    finally:
        web.kill()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ask(port: int, path: str, headers: dict[str, str]) -> socket.socket:
    """Ask, and read nothing yet."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    asking.connect(("127.0.0.1", port))
    lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    asking.sendall("\r\n".join(lines).encode())
    return asking


def head_of(asking: socket.socket) -> bytes:
    """The beginning of what came; nothing while nothing comes."""
    asking.settimeout(5)
    with contextlib.suppress(OSError):
        return asking.recv(1_500)
    return b""


def test_downloads_that_nobody_reads_leave_room_for_everybody_else(port: int, engine: Engine) -> None:
    token = add_bearer(engine, "read")
    with contextlib.ExitStack() as open_sockets:
        stuck = [open_sockets.enter_context(ask(port, CSV, token)) for _ in range(THREADS)]
        assert answers(port)
        heads = [head_of(one) for one in stuck]
        assert Counter(head[9:12] for head in heads) == {b"200": MOST_OF_ONE, b"503": THREADS - MOST_OF_ONE}
        assert all(b"\r\nretry-after: " in head.lower() for head in heads if head[9:12] == b"503")
        assert answers(port)
        # They are let go, and there is room again: also for who reads to the end.
        wait_until(lambda: whole_file(port, token) >= ROWS, "no download is let in", 4 * PATIENCE_S)


def whole_file(port: int, token: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", CSV, headers=token)
    answer = connection.getresponse()
    lines = answer.read().count(b"\n") if answer.status == 200 else 0
    connection.close()
    time.sleep(0.2)
    return lines


def test_answers_of_any_kind_that_nobody_reads_leave_threads_free(port: int) -> None:
    with contextlib.ExitStack() as open_sockets:
        for _ in range(THREADS + MOST_WAITING):
            open_sockets.enter_context(ask(port, BIG_FILE, {}))
        wait_until(lambda: answers(port), "health does not answer", 3 * PATIENCE_S)
        began_s = time.monotonic()
        while time.monotonic() < began_s + 1:
            assert answers(port)


def test_as_many_callers_as_there_are_share_the_places(port: int, engine: Engine) -> None:
    tokens = [add_bearer(engine, *scopes) for scopes in (("read",), ("ingest", "read"), ("read", "write"))]
    tokens += [add_bearer(engine, *scopes) for scopes in (("ingest", "read", "write"), ("write", "read"))]
    with contextlib.ExitStack() as open_sockets:
        stuck = [open_sockets.enter_context(ask(port, CSV, token)) for token in tokens for _ in range(MOST_OF_ONE)]
        assert answers(port)
        assert Counter(head_of(one)[9:12] for one in stuck) == {b"200": MOST, b"503": MOST_OF_ONE}
