"""The gateway's HTTP: 201 only once the readings are kept, and every refusal in words."""

import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import orjson
import pytest

from gateway import receive_http
from gateway.devices import Device
from gateway.receive_http import THREADS, WAITING_MAX, HttpServer, http_application
from streamgauge.errors import DeadReason
from streamgauge.payloads.installation import Installation
from streamgauge.wire import Rejected

TOKEN = "a-sensor-s-token"
MAX_BYTES = 1_000


def quay() -> Device:
    return Device(
        name="quay",
        codec=None,
        parameters={},
        installation=Installation(),
        activation="ip",
        token_sha256=sha256(TOKEN.encode()).digest(),
    )


class Buffer:
    """Stands for the pipeline: takes everything, and keeps it when it is told to."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.dones: list[Callable[[], None]] = []
        self.has_room, self.keeps, self.refused = True, True, 0

    def handle(self, _device: Device, payload: bytes, done: Callable[[], None]) -> Any:
        if not self.has_room:
            return None
        self.payloads.append(payload)
        self.dones.append(done)
        if self.keeps:
            threading.Timer(0.01, done).start()
        return [object()], [
            Rejected(DeadReason.BAD_NUMBER, "level_m must be a finite number", payload, 1)
        ] * self.refused


@pytest.fixture
def buffer() -> Buffer:
    return Buffer()


@pytest.fixture
def url(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(receive_http, "COMMIT_TIMEOUT_S", 0.2)

    def page(_environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"the page"]

    application = http_application(
        devices=[quay()], handle=buffer.handle, page=page, page_password="see", max_body_bytes=MAX_BYTES
    )
    server = HttpServer(application, "127.0.0.1", 0, MAX_BYTES)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def post(url: str, body: bytes, token: str | None = TOKEN) -> tuple[int, Any, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    status, answer_headers, content = ask(url + "/readings", body, **headers)
    return status, answer_headers, orjson.loads(content)


def test_a_reading_that_is_kept_is_created(url: str, buffer: Buffer) -> None:
    assert post(url, b'{"level_m":1}')[::2] == (201, {"stored": 1, "dead": 0})
    assert buffer.payloads == [b'{"level_m":1}']


@pytest.mark.parametrize("token", [None, "another", "", "ä", TOKEN + " x"])
def test_without_its_token_nothing_is_taken(url: str, buffer: Buffer, token: str | None) -> None:
    status, headers, problem = post(url, b"{}", token if token is None else token.encode("utf-8").decode("latin-1"))
    assert (status, headers["WWW-Authenticate"], problem["status"]) == (401, "Bearer", 401)
    assert buffer.payloads == []


def test_a_full_buffer_and_a_slow_disk_say_later(url: str, buffer: Buffer) -> None:
    buffer.keeps = False
    status, headers, _ = post(url, b"{}")
    assert (status, headers["Retry-After"]) == (503, "5")
    buffer.has_room = False
    assert post(url, b"{}")[0] == 503


def test_while_the_disk_hangs_the_page_and_its_health_still_answer(
    url: str, buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_http, "COMMIT_TIMEOUT_S", 5.0)
    buffer.keeps = False
    answers: list[int] = []
    posting = [threading.Thread(target=lambda: answers.append(post(url, b"{}")[0])) for _ in range(2 * THREADS)]
    for one in posting:
        one.start()
    begun_s = time.monotonic()
    while len(buffer.payloads) < WAITING_MAX and time.monotonic() - begun_s < 2.0:
        time.sleep(0.01)
    assert ask(url + "/health")[0] == 200
    assert time.monotonic() - begun_s < 4.0
    assert len(buffer.payloads) == WAITING_MAX
    buffer.keeps = True
    for done in list(buffer.dones):
        done()
    for one in posting:
        one.join()
    assert set(answers) == {201, 503}


def test_what_is_refused_is_named(url: str, buffer: Buffer) -> None:
    buffer.refused = 2
    status, headers, problem = post(url, b"[]")
    assert (status, headers["Content-Type"]) == (422, "application/problem+json")
    assert (problem["stored"], problem["dead"], problem["errors"][0]["reason"]) == (1, 2, "bad_number")


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 100 * MAX_BYTES])
def test_a_body_that_is_too_long_is_not_read(url: str, buffer: Buffer, length: int) -> None:
    status, _, _ = ask(url + "/readings", b"x" * length, Authorization=f"Bearer {TOKEN}")
    assert status == 413
    assert buffer.payloads == []


def test_health_and_metrics_need_no_password_and_the_page_does(url: str) -> None:
    assert ask(url + "/health")[::2] == (200, b'{"status":"ok"}')
    assert b"python_info" in ask(url + "/metrics")[2]
    assert ask(url + "/")[0] == 401
    assert ask(url + "/", Authorization="Basic aW5zdGFsbGVyOndyb25n")[0] == 401
    assert ask(url + "/", Authorization="Basic !!")[0] == 401
    assert ask(url + "/", Authorization="Basic aW5zdGFsbGVyOnNlZQ==")[::2] == (200, b"the page")


def test_readings_are_posted(url: str) -> None:
    status, headers, _ = ask(url + "/readings")
    assert (status, headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/readings"])
def test_head_has_no_content(url: str, path: str) -> None:
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as one:
        one.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: one.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.endswith(b"\r\n\r\n")
