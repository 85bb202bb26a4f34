"""The WebSocket on a real server: what a browser hears, and what it is told when something is missing."""

import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from typing import Any

import pytest
from redis import Redis
from simple_websocket import Client, ConnectionClosed
from simple_websocket import ConnectionError as HandshakeError

from streamgauge.live.stream import LIVE_KEY, append
from tests.support.system import System, wait_until


@pytest.fixture(scope="module")
def web(system: System) -> Iterator[System]:
    system.web.start()
    yield system
    system.web.stop()


@pytest.fixture(scope="module")
def cookie(web: System) -> str:
    """A session's cookie, got as a browser gets it, for an admin made as an operator makes one."""
    login = json.loads(web.run("-m", "app", "create-admin", "--user", "live").stdout)
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(web.http_url + "/login").read().decode()
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    form = {"csrf_token": token[1], "name": login["user"], "password": login["password"], "next": "/health"}
    assert opener.open(web.http_url + "/login", urllib.parse.urlencode(form).encode()).status == 200
    return "; ".join(f"{item.name}={item.value}" for item in jar)


@pytest.fixture
def redis(web: System) -> Iterator["Redis"]:
    client = Redis.from_url(web.stack.addresses.redis_url)
    yield client
    client.close()


class PromptClient(Client):  # type: ignore[misc]
    """simple-websocket's client leaves a frame that came with the handshake's answer until the next one comes."""

    def handshake(self) -> None:
        super().handshake()
        self._handle_events()


class Browser:
    """One WebSocket."""

    def __init__(self, web: System, cookie: str, query: str = "", origin: str | None = None) -> None:
        # This client leaves the port out of its Host header, so a page of this site has an origin without one.
        headers = {"Cookie": cookie, "Origin": origin or "http://127.0.0.1"}
        self.socket = PromptClient(f"ws://127.0.0.1:{web.http_port}/live?{query}", headers=headers)

    def next(self, kind: str, timeout_s: float = 15.0) -> dict[str, Any]:
        """The next frame of a kind."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            text = self.socket.receive(timeout=0.2)
            if text is not None and json.loads(text)["type"] == kind:
                frame: dict[str, Any] = json.loads(text)
                return frame
        raise TimeoutError(f"no {kind} frame")

    def levels(self, count: int) -> list[float]:
        """The levels of the next frames, until there are so many; how they are put into frames is a matter of pace."""
        found: list[float] = []
        while len(found) < count:
            found += levels(self.next("readings"))
        return found

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ConnectionClosed):
            self.socket.close()


def send(redis: "Redis", level_m: float, device: str = "a") -> str:
    return append(redis, [{"device": device, "time": "2026-11-21T02:30:00.000Z", "level_m": level_m}])


def levels(frame: dict[str, Any]) -> list[float]:
    return [reading["level_m"] for reading in frame["readings"]]


def test_what_is_stored_arrives(web: System, cookie: str, redis: "Redis") -> None:
    with Browser(web, cookie) as browser, Browser(web, cookie, "device=b") as other:
        browser.next("hello")
        other.next("hello")
        send(redis, 1.0)
        event_id = send(redis, 2.0, "b")
        assert browser.levels(2) == [1.0, 2.0]
        frame = other.next("readings")
        assert (levels(frame), frame["id"]) == ([2.0], event_id)


def test_a_browser_resumes_after_its_last_id(web: System, cookie: str, redis: "Redis") -> None:
    known = send(redis, 1.0)
    send(redis, 2.0)
    send(redis, 3.0)
    with Browser(web, cookie, f"after={known}") as browser:
        assert browser.levels(2) == [2.0, 3.0]
        send(redis, 4.0)
        assert levels(browser.next("readings")) == [4.0]


@pytest.mark.parametrize("after", ["1-0", "nonsense", "99999999999999-0"])
def test_an_id_that_is_not_in_the_stream_is_a_gap(web: System, cookie: str, redis: "Redis", after: str) -> None:
    known = send(redis, 1.0)
    with Browser(web, cookie, f"after={after}") as browser:
        told = browser.next("gap")["id"]
        send(redis, 2.0)
        # What came after the event that the gap names is sent, and nothing else.
        wanted = [2.0] if told == known else [1.0, 2.0]
        assert browser.levels(len(wanted)) == wanted


def test_an_emptied_stream_is_a_gap(web: System, cookie: str, redis: "Redis") -> None:
    known = send(redis, 1.0)
    redis.delete(LIVE_KEY)
    with Browser(web, cookie, f"after={known}") as browser:
        browser.next("gap")
        send(redis, 2.0)
        assert levels(browser.next("readings")) == [2.0]


def test_too_much_to_catch_up_is_a_gap(web: System, cookie: str, redis: "Redis") -> None:
    known = send(redis, 0.0)
    for number in range(300):
        send(redis, float(number))
    with Browser(web, cookie, f"after={known}") as browser:
        browser.next("gap")


def test_the_reader_outlives_redis_killed_and_emptied(web: System, cookie: str, redis: "Redis") -> None:
    with Browser(web, cookie) as browser:
        browser.next("hello")
        web.stack.redis.kill()
        assert browser.next("heartbeat")["fed"] is False
        web.stack.redis.wipe()
        web.stack.redis.start()
        browser.next("gap")
        send(redis, 5.0)
        assert levels(browser.next("readings")) == [5.0]


def test_strangers_and_other_sites_are_refused(web: System, cookie: str) -> None:
    for wrong in ({"cookie": ""}, {"cookie": cookie, "origin": "http://evil.example"}):
        with pytest.raises((HandshakeError, ConnectionClosed)):
            Browser(web, **wrong)


def talk(browser: Browser) -> None:
    for _ in range(400):
        browser.socket.send("x" * 100)
        time.sleep(0.01)


def test_a_browser_that_talks_is_let_go(web: System, cookie: str) -> None:
    with Browser(web, cookie) as browser:
        browser.next("hello")
        with pytest.raises(ConnectionClosed) as closed:
            talk(browser)
        assert closed.value.reason == 1008
    wait_until(lambda: metric(web, 'streamgauge_live_left_total{why="talked"') >= 1, "it was not counted")


@pytest.mark.parametrize(
    "wrong",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": ""},
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
    ],
)
def test_a_handshake_that_is_none_is_the_callers_fault(web: System, cookie: str, wrong: dict[str, str]) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    connection = HTTPConnection("127.0.0.1", web.http_port, timeout=10)
    connection.request("GET", "/live", headers={**headers, "Cookie": cookie, **wrong})
    answer = connection.getresponse()
    assert answer.status == 400, answer.read()
    connection.close()


def test_browsers_hold_neither_threads_nor_connections_of_the_server(web: System, cookie: str) -> None:
    """More browsers than there are threads; requests are answered as before."""
    with ExitStack() as browsers:
        several = [browsers.enter_context(Browser(web, cookie)) for _ in range(150)]
        for browser in several:
            browser.next("hello")
        with urllib.request.urlopen(web.http_url + "/health", timeout=5) as answer:
            assert answer.status == 200
        assert int(metric(web, "streamgauge_live_clients")) >= 150


def metric(web: System, name: str) -> float:
    with urllib.request.urlopen(web.http_url + "/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_each_websocket_says_when_it_begins_and_why_it_ends(web: System, cookie: str) -> None:
    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in web.web.log.read_text().splitlines() if line.startswith("{")]

    with Browser(web, cookie, "device=told-apart") as browser:
        browser.next("hello")
        begin = [line for line in lines() if line.get("path") == "/live"][-1]
    assert (begin["status"], begin["method"], begin["service"]) == (101, "GET", "web")

    def ends() -> list[dict[str, Any]]:
        return [
            line
            for line in lines()
            if line["message"] == "browser left /live" and line["request_id"] == begin["request_id"]
        ]

    wait_until(lambda: len(ends()) == 1, "no line for the end")
    assert (ends()[0]["why"], ends()[0]["frames"] >= 1) == ("left", True)


def test_a_stop_is_quick_and_browsers_hear_why(web: System, cookie: str, redis: "Redis") -> None:
    """And after the next start, whoever comes back with what it knows misses nothing."""
    with Browser(web, cookie) as browser:
        browser.next("hello")
        known = send(redis, 1.0)
        assert browser.levels(1) == [1.0]
        began_s = time.monotonic()
        assert web.web.stop() == 0
        assert time.monotonic() - began_s < 4
        with pytest.raises(ConnectionClosed) as closed:
            browser.next("nothing")
        assert closed.value.reason == 1001
    send(redis, 2.0)
    send(redis, 3.0)
    web.web.start()
    with Browser(web, cookie, f"after={known}") as browser:
        assert browser.levels(2) == [2.0, 3.0]
