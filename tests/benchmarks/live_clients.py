"""Many browsers on one web process: how long an event takes from Redis to each of them, what an idle one costs, and whether
one that has stopped reading costs the others anything.

The browsers are sockets of this process, three quarters of them looking at everything, a quarter at one station each.
"""

import resource
import selectors
import socket
import statistics
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from streamgauge.live.stream import append
from tests.benchmarks.bench import Bench, BenchFailed
from tests.benchmarks.delay import percentiles, sign_in
from tests.benchmarks.processes import cpu_s, memory_by_process, tree
from tests.benchmarks.report import Result, say
from tests.benchmarks.water import device_names
from tests.support.system import System

TARGET_P99_MS = 500.0
TARGET_IDLE_KB = 150.0
READINGS_PER_S = 50
STATION_SHARE = 4
"""Every so many-th browser looks at one station."""
AT_ONCE = 50
SETTLE_S = 2.0
WAIT_S = 60.0
SPARE_FILES = 500
SMALL_BUFFER = 4_096
STALLED_PADDING = 300_000
"""Of one event before all others, which fills the buffers of the browser that does not read."""


@dataclass(slots=True)
class Browser:
    """One socket, what came of it so far, and the frames it got: when, and which."""

    sock: socket.socket
    device: str
    data: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)


class Crowd:
    """All browsers, read by one thread. Equal frames are kept once."""

    def __init__(self, system: System, cookie: str) -> None:
        self._system, self._cookie = system, cookie
        self._selector = selectors.DefaultSelector()
        self.browsers: list[Browser] = []
        self.frames: dict[bytes, int] = {}
        self.is_over = False

    def open(self, count: int, stations: list[str]) -> None:
        """Open so many sockets, a few at a time."""
        while len(self.browsers) < count:
            devices = []
            for number in range(len(self.browsers), min(count, len(self.browsers) + AT_ONCE)):
                devices.append(stations[number // STATION_SHARE % len(stations)] if number % STATION_SHARE == 0 else "")
            opened = [(device, self.request(device)) for device in devices]
            for device, sock in opened:
                browser = Browser(sock, device, shake_hands(sock))
                sock.setblocking(False)
                self.browsers.append(browser)
                self._selector.register(sock, selectors.EVENT_READ, browser)

    def request(self, device: str, receive_bytes: int | None = None) -> socket.socket:
        """Ask for one WebSocket."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(WAIT_S)
        sock.connect(("127.0.0.1", self._system.http_port))
        lines = (
            f"GET /live{'?device=' + device if device else ''} HTTP/1.1",
            f"Host: 127.0.0.1:{self._system.http_port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
            # As browsers do; it must not be taken up.
            "Sec-WebSocket-Extensions: permessage-deflate",
            f"Cookie: {self._cookie}",
        )
        sock.sendall("\r\n".join((*lines, "", "")).encode())
        return sock

    def read(self) -> None:
        """Until it is over: take whatever comes."""
        while not self.is_over:
            for key, _ in self._selector.select(0.1):
                browser = key.data
                data = browser.sock.recv(262_144)
                if not data:
                    self._selector.unregister(browser.sock)
                    continue
                browser.data += data
                self._take(browser, time.time())

    def _take(self, browser: Browser, now: float) -> None:
        data = browser.data
        while len(data) >= 2:
            length, begin = data[1], 2
            if length == 126:
                length, begin = int.from_bytes(data[2:4]), 4
            elif length == 127:
                length, begin = int.from_bytes(data[2:10]), 10
            if len(data) < begin + length or (length >= 126 and len(data) < begin):
                return
            if data[0] == 0x81:
                frame = bytes(data[begin : begin + length])
                browser.arrivals.append((now, self.frames.setdefault(frame, len(self.frames))))
            elif data[0] == 0x89:
                browser.sock.send(b"\x8a\x80mask")
            del data[: begin + length]

    def close(self) -> None:
        """Leave."""
        for browser in self.browsers:
            browser.sock.close()
        self._selector.close()


def shake_hands(sock: socket.socket) -> bytearray:
    """Read the answer; returns what came behind it."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        if not more:
            break
        data += more
    head, _, rest = bytes(data).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise BenchFailed(f"no WebSocket: {head[:200].decode(errors='replace')}")
    return bytearray(rest)


def run(bench: Bench) -> Result:
    """Open the browsers, weigh them, send readings for a while, and see when each of them came to whom."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    web = bench.system.web
    if web.alive:
        web.stop()
    web.environ = {**web.environ, "STREAMGAUGE_RATE_LIMIT": "off"}
    web.start()
    crowd = Crowd(bench.system, sign_in(bench.system, "bench-live"))
    stations = device_names(bench.sizes.devices)
    reader = threading.Thread(target=crowd.read, daemon=True)
    try:
        crowd.open(AT_ONCE, stations)
        time.sleep(SETTLE_S)
        before_kb = weight_kb(bench)
        began_s = time.monotonic()
        crowd.open(AT_ONCE + bench.sizes.live_clients, stations)
        opening_s = time.monotonic() - began_s
        time.sleep(SETTLE_S)
        idle_kb = (weight_kb(bench) - before_kb) / bench.sizes.live_clients
        say(f"live_clients: {len(crowd.browsers)} open after {opening_s:.1f} s, {idle_kb:.1f} KB each")
        reader.start()
        stalled = crowd.request("", SMALL_BUFFER)
        time.sleep(SETTLE_S)
        append(bench.redis, [{"device": "-", "time": "-", "padding": "x" * STALLED_PADDING}])
        time.sleep(SETTLE_S)
        cpu_before, began_s = cpu_s(tree(web.pid)), time.monotonic()
        sent = send(bench, stations, bench.sizes.live_s)
        time.sleep(SETTLE_S)
        crowd.is_over = True
        reader.join(WAIT_S)
        detail = {
            "clients": len(crowd.browsers),
            "readings_per_s": READINGS_PER_S,
            "stalled": 1,
            "idle_client_kb": round(idle_kb, 1),
            "opening_s": round(opening_s, 1),
            "web_cpu_share": round((cpu_s(tree(web.pid)) - cpu_before) / (time.monotonic() - began_s), 2),
        }
        detail["stalled_let_go"] = let_go(bench.system)
        stalled.close()
        return judge(crowd, sent, detail)
    finally:
        crowd.is_over = True
        crowd.close()
        web.stop()


def let_go(system: System) -> int:
    """How many browsers were let go because they took nothing any more."""
    with urllib.request.urlopen(system.http_url + "/metrics", timeout=WAIT_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        int(float(line.split()[-1])) for line in lines if line.startswith('streamgauge_live_left_total{why="stalled"')
    )


def weight_kb(bench: Bench) -> float:
    """The web process's memory, shared pages shared out."""
    every = memory_by_process({"web": bench.system.web.pid})
    return sum(one.rss_mib if one.pss_mib is None else one.pss_mib for one in every) * 1024


def send(bench: Bench, stations: list[str], seconds: float) -> dict[str, tuple[str, float]]:
    """Put readings on the stream, one an event, at the rate; returns of which station each was, and when, by its time."""
    sent: dict[str, tuple[str, float]] = {}
    began = time.time()
    for number in range(int(seconds * READINGS_PER_S)):
        time.sleep(max(0.0, began + number / READINGS_PER_S - time.time()))
        # The shape and length of a true one.
        reading = {
            "device": stations[number % len(stations)],
            "time": f"2026-11-21T02:30:00.{number:06}Z",
            "level_m": 1.234,
            "flags": {"level_m": 1, "battery_v": 1},
            "expected_m": 1.231234,
            "low_m": 1.2012,
            "high_m": 1.2634,
            "score": 0.1234,
            "battery_v": 3.61,
        }
        sent[str(reading["time"])] = (str(reading["device"]), time.time())
        append(bench.redis, [reading])
    return sent


def judge(crowd: Crowd, sent: dict[str, tuple[str, float]], detail: dict[str, Any]) -> Result:
    """Who got what, how late; a browser that did not get everything once and in order fails the benchmark."""
    readings: dict[int, list[tuple[str, str]]] = {}
    for raw, number in crowd.frames.items():
        frame = orjson.loads(raw)
        if frame["type"] == "gap":
            raise BenchFailed("a browser was told of a gap")
        readings[number] = [(one["device"], one["time"]) for one in frame.get("readings", ()) if one["time"] != "-"]
    moments = {number: np.array([sent[at][1] for _, at in ones]) for number, ones in readings.items()}
    wanted: dict[str, list[str]] = {"": list(sent)}
    for at, (device, _) in sent.items():
        wanted.setdefault(device, []).append(at)
    delays, rates = [], []
    for browser in crowd.browsers:
        got = [at for _, number in browser.arrivals for _, at in readings[number]]
        if got != wanted.get(browser.device, []):
            raise BenchFailed(f"a browser got {len(got)} readings, or in another order than they were sent")
        times = [now for now, number in browser.arrivals if readings[number]]
        delays += [now - moments[number] for now, number in browser.arrivals if len(moments[number])]
        rates.append(len(times) / max(1.0, times[-1] - times[0]) if times else 0.0)
    found = percentiles(np.concatenate(delays) * 1000.0)
    met = found["p99"] < TARGET_P99_MS and detail["idle_client_kb"] < TARGET_IDLE_KB
    say(f"live_clients: p50 {found['p50']} ms, p99 {found['p99']} ms from Redis to the browser")
    detail |= {"redis_to_client_ms": found, "frames_a_second": round(statistics.fmean(rates), 2)}
    detail |= {"most_frames_a_second": round(max(rates), 2)}
    target = f"p99 under {TARGET_P99_MS:.0f} ms; idle client under {TARGET_IDLE_KB:.0f} KB"
    return Result(
        bench="live_clients",
        value=found["p99"],
        unit="ms",
        rounds=[found["p99"]],
        target=target,
        met=met,
        detail=detail,
    )
