"""How long a reading takes from publish to commit, and to a browser's WebSocket, at a moderate rate."""

import http.cookiejar
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from simple_websocket import Client, ConnectionClosed

from streamgauge.live.stream import newest_id, read_after
from tests.benchmarks.bench import Bench, BenchFailed
from tests.benchmarks.processes import cpu_by_part, spent_s
from tests.benchmarks.report import Result, say
from tests.benchmarks.throughput import fill
from tests.benchmarks.water import STEPS_PER_BATCH, Load, device_names, paced_messages
from tests.support.system import System

TARGET_MS = 250.0
HISTORY_STEPS = 8 * STEPS_PER_BATCH
WAIT_S = 10.0
STATION_PAGES = 10
"""Who looks at all stations gets four frames a second at most, and so waits for an eighth of a second on average."""
_CSRF = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class Browser:
    """A signed-in client of ``/live`` that notes when each reading comes; the first time counts.

    Attributes:
        framed_at: per (device, time) when its frame was received, seconds since 1970.
    """

    def __init__(self, http_url: str, cookie: str, device: str | None = None) -> None:
        self.framed_at: dict[tuple[str, str], float] = {}
        query = f"?device={device}" if device else ""
        self._socket = Client(f"{http_url.replace('http', 'ws', 1)}/live{query}", headers={"Cookie": cookie})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave."""
        self._socket.close()
        self._thread.join(WAIT_S)

    def _listen(self) -> None:
        while True:
            try:
                text = self._socket.receive()
            except ConnectionClosed:
                return
            now, frame = time.time(), orjson.loads(text)
            if frame["type"] == "gap":
                raise BenchFailed("the WebSocket client was told of a gap")
            for reading in frame.get("readings", ()):
                self.framed_at.setdefault((reading["device"], reading["time"]), now)


def run(bench: Bench) -> Result:
    """Send at the rate, with history in the database, one browser looking at all stations and some at one station each."""
    fill(bench, HISTORY_STEPS)
    if not bench.system.web.alive:
        bench.system.web.start()
    cookie, devices = sign_in(bench.system), device_names(bench.sizes.devices)
    overview = Browser(bench.system.http_url, cookie)
    stations = {name: Browser(bench.system.http_url, cookie, name) for name in devices[:STATION_PAGES]}
    before, since = cpu_by_part(bench.parts()), newest_id(bench.redis)
    try:
        load = paced_messages(devices, bench.sizes.delay_s, bench.sizes.delay_rate)
        stored_before = bench.count_readings()
        publishing = bench.send(load, rate=bench.sizes.delay_rate)
        _wait_for_frames(overview, load)
    finally:
        for browser in (overview, *stations.values()):
            browser.close()
    cpu_s = spent_s(before, cpu_by_part(bench.parts()))
    if bench.count_readings() - stored_before != load.readings:
        raise BenchFailed(f"{load.readings} readings were sent and {bench.count_readings() - stored_before} are stored")
    return _result(bench, load, publishing.sent_at, overview, stations, _events_at(bench, since), cpu_s)


def _events_at(bench: Bench, since: str) -> dict[tuple[str, str], float]:
    """Per (device, time) when the worker, having committed, put it on the live stream, seconds since 1970.

    The event's id holds Redis's clock in milliseconds, which on one machine is ours. Frames say the id of their last event only.
    """
    found: dict[tuple[str, str], float] = {}
    while events := read_after(bench.redis, since):
        since = events[-1].id
        for event in events:
            for reading in event.readings:
                found.setdefault((reading["device"], reading["time"]), int(event.id.partition("-")[0]) / 1000.0)
    return found


def sign_in(system: System, user: str = "bench") -> str:
    """Make an admin and sign in through the form, as a browser does; returns the cookie."""
    made = system.run("-m", "app", "create-admin", "--user", user).stdout
    login = next(orjson.loads(line) for line in made.splitlines() if line.startswith('{"user"'))
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(system.http_url + "/login", timeout=WAIT_S) as page:
        token = _CSRF.search(page.read().decode())
    if token is None:
        raise BenchFailed("the sign-in page has no CSRF token")
    form = {"name": login["user"], "password": login["password"], "csrf_token": token.group(1)}
    with opener.open(system.http_url + "/login", urllib.parse.urlencode(form).encode(), timeout=WAIT_S):
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def _wait_for_frames(browser: Browser, load: Load) -> None:
    deadline_s = time.monotonic() + WAIT_S
    # What is in a frame for all has been in the stations' frames before: they wait for nothing.
    while len(browser.framed_at) < load.readings:
        if time.monotonic() > deadline_s:
            raise BenchFailed(f"{load.readings} readings were sent and {len(browser.framed_at)} came by WebSocket")
        time.sleep(0.1)


def _result(
    bench: Bench,
    load: Load,
    sent_at: Sequence[float],
    overview: Browser,
    stations: Mapping[str, Browser],
    event_at: dict[tuple[str, str], float],
    cpu_s: dict[str, float],
) -> Result:
    keys = [
        (reading["device"], reading["time"]) for reading in (orjson.loads(message.payload) for message in load.messages)
    ]
    began_at = _transactions_began_at(bench, keys)
    sent = np.array(sent_at)
    overview_ms = percentiles((np.array([overview.framed_at[key] for key in keys]) - sent) * 1000.0)
    seen = [row for row, (device, _) in enumerate(keys) if device in stations]
    framed = np.array([stations[keys[row][0]].framed_at[keys[row]] for row in seen])
    frame_ms = percentiles((framed - sent[seen]) * 1000.0)
    detail: dict[str, Any] = {
        "readings": load.readings,
        "readings_per_s": bench.sizes.delay_rate,
        "station_pages": len(stations),
        "publish_to_station_frame_ms": frame_ms,
        "publish_to_overview_frame_ms": overview_ms,
        "publish_to_commit_ms": percentiles((np.array([event_at[key] for key in keys]) - sent) * 1000.0),
        "publish_to_begin_of_transaction_ms": percentiles((np.array([began_at[key] for key in keys]) - sent) * 1000.0),
        "cpu_s": cpu_s,
    }
    say(
        f"delay: p50 {frame_ms['p50']} ms, p95 {frame_ms['p95']} ms, p99 {frame_ms['p99']} ms to a station page's frame"
    )
    say(
        f"       p50 {overview_ms['p50']} ms, p95 {overview_ms['p95']} ms to the frame of who looks at all, 4 a second at most"
    )
    met = frame_ms["p95"] < TARGET_MS
    target = f"p95 to a station page's frame under {TARGET_MS:.0f} ms"
    return Result(
        bench="delay", value=frame_ms["p95"], unit="ms", rounds=[frame_ms["p95"]], target=target, met=met, detail=detail
    )


def _transactions_began_at(bench: Bench, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """``stored_at`` of these readings: the database's clock when their transaction began."""
    query = """
    SELECT name, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), extract(epoch FROM stored_at)::float8
    FROM readings JOIN devices ON devices.id = device_id
    """
    found = {(name, moment): stored_at for name, moment, stored_at in bench.system.rows(query)}
    return {key: found[key] for key in keys}


def percentiles(values_ms: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float]:
    """p50, p95, p99 and the greatest, in the values' unit."""
    p50, p95, p99 = np.percentile(values_ms, [50, 95, 99]).round(1).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(float(values_ms.max()), 1)}
