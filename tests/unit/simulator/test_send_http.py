"""The HTTP sender against a real server on a socket, whose answers the test writes."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from simulator.errors import InputFault, Refused, Unreachable
from simulator.send_http import HttpOptions, HttpSender, retry_after_s
from streamgauge.reading import Reading

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Cloud:
    """What the server answers, one entry per request (the last one for ever), and what it heard."""

    answers: list[tuple[int, dict[str, str], bytes]]
    heard: list[tuple[str, str | None, Any]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    url: str = ""


@contextmanager
def serving(cloud: Cloud) -> Iterator[Cloud]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            cloud.heard.append((self.path, self.headers.get("Authorization"), body))
            cloud.connections.add(self.client_address)
            status, headers, content = cloud.answers.pop(0) if len(cloud.answers) > 1 else cloud.answers[0]
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class gives
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield cloud
        finally:
            server.shutdown()


def send(cloud: Cloud, count: int, **changes: Any) -> HttpSender:
    options = HttpOptions(**{"url": cloud.url, "token": "secret", "batch_size": 4, "first_pause_s": 0.01, **changes})
    with closing(HttpSender(options)) as sender:
        for number in range(count):
            sender.send(Reading(device="a", time=START + timedelta(seconds=number), level_m=float(number)))
        sender.finish()
    return sender


CREATED: tuple[int, dict[str, str], bytes] = (201, {}, b"")


def test_readings_are_posted_in_order_with_the_token_over_one_connection() -> None:
    with serving(Cloud([CREATED])) as cloud:
        ledger = send(cloud, 10).ledger
    assert [path for path, *_ in cloud.heard] == ["/api/v1/readings"] * 3
    assert {token for _, token, _ in cloud.heard} == {"Bearer secret"}
    assert [item["level_m"] for *_, body in cloud.heard for item in body] == [float(n) for n in range(10)]
    assert (ledger.sent, ledger.stored, ledger.dead, ledger.complete()) == (10, 10, 0, True)
    assert len(cloud.connections) == 1


def test_503_lost_connections_and_503_again_are_repeated_until_201() -> None:
    answers = [(503, {"Retry-After": "0"}, b""), (0, {}, b""), (503, {}, b"{}"), CREATED]
    with serving(Cloud(answers)) as cloud:
        ledger = send(cloud, 4).ledger
    assert len(cloud.heard) == 4
    assert all(body == cloud.heard[0][2] for *_, body in cloud.heard)
    assert (ledger.sent, ledger.stored, ledger.resent) == (4, 4, 12)


def test_retry_after_is_honoured() -> None:
    began = datetime.now(UTC)
    with serving(Cloud([(503, {"Retry-After": "1"}, b""), CREATED])) as cloud:
        send(cloud, 1)
    assert datetime.now(UTC) - began >= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("header", "pause_s"),
    [(None, None), ("7", 7.0), (" 0 ", 0.0), ("999999999999", 300.0), ("soon", None), ("-3", None),
     ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_both_forms_of_retry_after(header: str | None, pause_s: float | None) -> None:
    assert retry_after_s(header, START) == pause_s


def test_refused_readings_are_counted_and_the_rest_goes_on() -> None:
    problem = (422, {}, b'{"title": "Not readings", "detail": "level_m"}')
    with serving(Cloud([problem, CREATED])) as cloud:
        ledger = send(cloud, 8).ledger
    assert (ledger.stored, ledger.dead, ledger.complete()) == (4, 4, False)


def test_the_servers_own_count_is_believed() -> None:
    with serving(Cloud([(201, {}, b'{"stored": 3, "dead": 1}')])) as cloud:
        ledger = send(cloud, 4).ledger
    assert (ledger.stored, ledger.dead) == (3, 1)


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_server_that_does_not_want_us_ends_the_run(status: int) -> None:
    with serving(Cloud([(status, {}, b'{"title": "No"}')])) as cloud, pytest.raises(Refused, match=f"{status} No"):
        send(cloud, 4)
    assert len(cloud.heard) == 1


def test_a_server_that_is_not_there_ends_the_run_in_time() -> None:
    with serving(Cloud([CREATED])) as cloud:
        url = cloud.url
    with pytest.raises(Unreachable, match="took nothing for"):
        send(Cloud([], url=url), 1, give_up_s=0.2)


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://", "http://host:99999"])
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(InputFault):
        HttpSender(HttpOptions(url=url))


def test_a_whole_address_is_taken_as_it_is_and_old_readings_do_not_wait_for_a_full_array() -> None:
    with (
        serving(Cloud([CREATED])) as cloud,
        closing(HttpSender(HttpOptions(url=f"{cloud.url}/readings", batch_age_s=0.05))) as sender,
    ):
        sender.send(Reading(device="a", time=START, level_m=1.0))
        sender.wait(0.2)
        assert sender.ledger.stored == 1
    assert cloud.heard[0][:2] == ("/readings", None)
