"""How fast pages, charts and exports are on a database of years: a real gunicorn, a real Chromium, requests one after the other.

Server times are those of the log's lines (``duration_ms``); what a client sees stands beside them. What is cold comes first: the
first request of each kind is in ``detail``; the ten stations of ten years are each asked for once before one is asked for again.
"""

import io
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet  # type: ignore[import-untyped]
import requests
from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmarks.big_database import READINGS, big_system
from tests.benchmarks.processes import cpu_by_part, spent_s
from tests.benchmarks.report import Result, describe_machine, say
from tests.support.system import System

QUICK_READINGS = 200_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OVERVIEW_MS, STATION_MS, DRAWN_MS, CSV_RATE, FIRST_LOAD_BYTES = 150.0, 250.0, 1_000.0, 100_000.0, 200_000
DRAWN_MARK = "streamgauge:drawn"
LONG_STATION = "station-0001"
TIMEOUT_S = 120.0
CHUNK_BYTES = 2**20
DRAWN_TIMEOUT_S = 30.0
PHONE, DESK = 390, 1_440
"""Widths of screens. The map stands beside the overview's list on the wider one, and behind a tab on a phone."""
AS_BROWSERS_ASK = {"Accept-Encoding": "gzip, deflate, br, zstd"}


@dataclass(slots=True)
class Visit:
    """A signed-in user of a running system, and the server's log.

    Attributes:
        system: whose web server runs.
        session: with the cookie.
        token: for the API.
        rounds: how often each address is asked for.
    """

    system: System
    session: requests.Session
    token: str
    rounds: int
    stations: Sequence[str] = field(default_factory=tuple)

    def get(self, path: str) -> tuple[float, float]:
        """Ask for a page; milliseconds that the server took, and that it took until all of it was here.

        Raises:
            RuntimeError: the answer is not 200.
        """
        started_s = time.perf_counter()
        answer = self.session.get(self.system.http_url + path, timeout=TIMEOUT_S, allow_redirects=False)
        took_ms = (time.perf_counter() - started_s) * 1_000
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code}")
        return self.server_ms(answer.headers["X-Request-ID"]), took_ms

    def get_each(self, paths: Sequence[str], requests: int) -> tuple[list[tuple[float, float]], dict[str, float]]:
        """Ask for these again and again; the times of each, and per request the CPU milliseconds of web and Postgres.

        What the CPU spends does not depend on how busy the machine is otherwise.
        """
        parts = {"web": self.system.web.pid, "postgres": self.system.stack.postgres.pid}
        before = cpu_by_part(parts)
        times = [self.get(paths[number % len(paths)]) for number in range(requests)]
        after = cpu_by_part(parts)
        cpu = {f"{part}_cpu_ms": round(1_000 * (after[part] - before[part]) / requests, 1) for part in parts}
        return times, cpu | {"load_1m": round(os.getloadavg()[0], 1)}

    def server_ms(self, request_id: str) -> float:
        """What the log's line of a request says."""
        deadline_s = time.monotonic() + 5
        while time.monotonic() < deadline_s:
            for line in reversed(self.system.web.log.read_bytes()[-200_000:].splitlines()):
                if request_id.encode() in line and b"duration_ms" in line:
                    return float(orjson.loads(line)["duration_ms"])
            time.sleep(0.01)
        raise RuntimeError(f"no line of the request {request_id} in the server's log")


def overview(visit: Visit) -> Result:
    """The overview of 1,000 stations, and what people narrow it down with."""
    paths = ("/", "/?state=stage", "/?q=H%E1%BB%93ng", "/?sort=name&page=3", "/?view=list")
    cold = visit.get("/")
    times, cpu = visit.get_each(paths, visit.rounds * 20)
    return _times("overview_1000", times, OVERVIEW_MS, {"cold_ms": _round(cold), "stations": 1_000} | cpu)


def station(visit: Visit) -> Result:
    """The page of a station with its chart of ten years."""
    paths = [f"/stations/{name}?range=10y" for name in visit.stations]
    cold = [visit.get(path) for path in paths]
    times, cpu = visit.get_each(paths, visit.rounds * 10)
    year = [visit.get(path.replace("10y", "1y")) for path in paths]
    day = [visit.get(path.replace("10y", "24h")) for path in paths]
    detail = {
        "cold_ms": [_round(one)[0] for one in cold],
        "one_year_median_ms": round(statistics.median(server for server, _ in year), 1),
        "one_day_median_ms": round(statistics.median(server for server, _ in day), 1),
    }
    return _times("station_10y", times, STATION_MS, detail | cpu)


def history(visit: Visit) -> Result:
    """A query of the history: a station, a month, suspect readings."""
    end = datetime.now(UTC)
    until, since = f"{end:%Y-%m-%dT%H:%M}", f"{end - timedelta(days=30):%Y-%m-%dT%H:%M}"
    paths = [
        f"/history?device={name}&from={since}&to={until}{further}"
        for name in visit.stations
        for further in ("", "&mark=suspect")
    ]
    times, cpu = visit.get_each(paths, visit.rounds * 10)
    return _times("history_query", times, None, cpu)


def export_csv(visit: Visit) -> Result:
    """Ten years of a station as CSV."""
    return _export(visit, "csv", lambda content: content.count(b"\n") - 1, CSV_RATE)


def export_parquet(visit: Visit) -> Result:
    """The same as Parquet."""
    return _export(visit, "parquet", lambda content: pyarrow.parquet.read_metadata(io.BytesIO(content)).num_rows, None)


def first_load(visit: Visit) -> Result:
    """Everything that a browser loads for the overview with an empty cache, as it comes over the wire; there are no tiles.

    With the map; without it, as a phone loads it, in ``detail``. A browser takes gzip from an address without TLS, and less
    with it, where it takes Brotli.
    """
    loads = {width: _load(visit, width) for width in (DESK, PHONE)}
    total = sum(loads[DESK].values())
    return Result(
        bench="first_load",
        value=total,
        unit="bytes",
        target=f"under {FIRST_LOAD_BYTES:,}",
        met=total < FIRST_LOAD_BYTES,
        detail={
            "requests": len(loads[DESK]),
            "without_map": sum(loads[PHONE].values()),
            "largest": dict(sorted(loads[DESK].items(), key=lambda item: -item[1])[:12]),
        },
    )


def _load(visit: Visit, width: int) -> dict[str, int]:
    """The bytes of each path that a browser with an empty cache loads for the overview."""
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    with _browser() as browser:
        page = _page(browser, visit, width)
        protocol = page.context.new_cdp_session(page)
        protocol.send("Network.enable")
        protocol.on("Network.responseReceived", lambda said: names.update({said["requestId"]: said["response"]["url"]}))
        protocol.on(
            "Network.loadingFinished", lambda said: sizes.update({said["requestId"]: int(said["encodedDataLength"])})
        )
        page.goto(visit.system.http_url + "/", wait_until="load")
        page.wait_for_timeout(1_500)
        page.context.close()
    return {names.get(number, number).partition(visit.system.http_url)[2]: size for number, size in sizes.items()}


def drawn(visit: Visit) -> Result:
    """From the start of the navigation to the chart of ten years, drawn, with a warm cache of scripts."""
    times, drawings = [], []
    with _browser() as browser:
        page = _page(browser, visit, DESK)
        page.goto(visit.system.http_url + f"/stations/{visit.stations[-1]}?range=24h")
        for number in range(visit.rounds * 2):
            name = visit.stations[number % len(visit.stations)]
            page.goto(visit.system.http_url + f"/stations/{name}?range=10y", wait_until="commit")
            _wait_until_drawn(page)
            found = page.evaluate(
                f"[performance.getEntriesByName('{DRAWN_MARK}')[0].startTime,"
                " performance.getEntriesByType('navigation')[0].responseStart]"
            )
            times.append(round(found[0], 1))
            drawings.append(round(found[0] - found[1], 1))
        page.context.close()
    value = round(statistics.median(times), 1)
    return Result(
        bench="station_10y_drawn",
        value=value,
        unit="ms",
        rounds=times,
        target=f"under {DRAWN_MS:,.0f}",
        met=max(times) < DRAWN_MS,
        detail={"max_ms": max(times), "after_first_byte_ms": statistics.median(drawings)},
    )


BENCHES: dict[str, Callable[[Visit], Result]] = {
    "overview_1000": overview,
    "station_10y": station,
    "station_10y_drawn": drawn,
    "history_query": history,
    "export_csv": export_csv,
    "export_parquet": export_parquet,
    "first_load": first_load,
}


def run(
    directory: Path, names: Sequence[str], *, quick: bool, readings: int | None = None, folder: Path | None = None
) -> Iterator[tuple[Result, dict[str, Any]]]:
    """Make the database, or take the one in ``folder``, and measure; each result with what it ran on.

    Args:
        directory: for logs.
        names: of ``BENCHES``.
        quick: small numbers: whether it works, not how fast it is.
        readings: how many there are; by default 20 million, or 200,000 when it is to be quick.
        folder: where the database stays for the next time.
    """
    count = readings or (QUICK_READINGS if quick else READINGS)
    with big_system(directory, count, folder) as system:
        machine = describe_machine(system.stack) | {"readings": count}
        system.web.start()
        visit = visit_of(system, rounds=2 if quick else 10)
        for name, measure in BENCHES.items():
            if name in names:
                result = measure(visit)
                say(f"{name}: {result.value:,.1f} {result.unit}")
                yield result, machine


def visit_of(system: System, rounds: int) -> Visit:
    """Sign in to a system whose web server runs."""
    made = system.run("-m", "app", "create-admin", "--user", f"bench-{time.time_ns()}")
    login = json.loads(made.stdout)
    token = json.loads(system.run("-m", "app", "create-token", "--name", "bench").stdout)["token"]
    session = requests.Session()
    session.headers.update(AS_BROWSERS_ASK)
    address = system.http_url + "/login"
    page = session.get(address, timeout=TIMEOUT_S).text
    csrf = page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    form = {"name": login["user"], "password": login["password"], "csrf_token": csrf}
    answer = session.post(address, data=form, timeout=TIMEOUT_S, allow_redirects=False)
    if answer.status_code not in {302, 303}:
        raise RuntimeError(f"signing in: {answer.status_code}")
    names = system.rows("SELECT name FROM devices JOIN bench_stations ON device_id = id WHERE is_long ORDER BY name")
    return Visit(system, session, token, rounds, [row.name for row in names])


def _wait_until_drawn(page: Page) -> None:
    # Not wait_for_function: it evaluates in the page, which the page's policy forbids.
    deadline_s = time.monotonic() + DRAWN_TIMEOUT_S
    while not page.evaluate(f"performance.getEntriesByName('{DRAWN_MARK}').length"):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"no chart was drawn within {DRAWN_TIMEOUT_S:g} s")
        time.sleep(0.05)


def _export(visit: Visit, kind: str, count: Callable[[bytes], int], least: float | None) -> Result:
    end = datetime.now(UTC)
    since = end - timedelta(days=3_660)
    address = f"{visit.system.http_url}/api/v1/devices/{LONG_STATION}/readings"
    given = {"format": kind, "from": since.isoformat(), "to": end.isoformat()}
    rates, rows, first_ms, content = [], 0, [], b""
    parts = {"web": visit.system.web.pid, "postgres": visit.system.stack.postgres.pid}
    before = cpu_by_part(parts)
    for _ in range(3):
        started_s = time.perf_counter()
        headers = {"Authorization": f"Bearer {visit.token}"}
        with requests.get(address, params=given, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            chunks = list[bytes]()
            for chunk in answer.iter_content(CHUNK_BYTES):
                if not chunks:
                    first_ms.append(round((time.perf_counter() - started_s) * 1_000, 1))
                chunks.append(chunk)
        took_s = time.perf_counter() - started_s
        content = b"".join(chunks)
        rows = count(content)
        rates.append(round(rows / took_s))
    value = statistics.median(rates)
    cpu = spent_s(before, cpu_by_part(parts))
    return Result(
        bench=f"export_{kind}",
        value=value,
        unit="rows/s",
        rounds=rates,
        target=f"at least {least:,.0f}" if least else None,
        met=value >= least if least else None,
        detail={"rows": rows, "bytes": len(content), "first_chunk_ms": first_ms, "cpu_s_of_all": cpu},
    )


def _times(name: str, times: Sequence[tuple[float, float]], most_ms: float | None, detail: dict[str, Any]) -> Result:
    server, client = [ours for ours, _ in times], [theirs for _, theirs in times]
    value = _p95(server)
    further = {
        "median_ms": round(statistics.median(server), 1),
        "max_ms": round(max(server), 1),
        "client_p95_ms": _p95(client),
        "requests": len(times),
    }
    return Result(
        bench=name,
        value=value,
        unit="ms (p95, server)",
        target=f"under {most_ms:.0f}" if most_ms else None,
        met=value < most_ms if most_ms else None,
        detail=further | detail,
    )


def _p95(values: Sequence[float]) -> float:
    return round(statistics.quantiles(values, n=20, method="inclusive")[-1], 1)


def _round(times: tuple[float, float]) -> tuple[float, float]:
    return round(times[0], 1), round(times[1], 1)


class _browser:  # noqa: N801 -- used as a context manager only
    """The machine's Chromium."""

    def __enter__(self) -> Browser:
        found = os.environ.get("STREAMGAUGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            raise RuntimeError("needs Chromium (apt-get install chromium), or its path in STREAMGAUGE_TEST_CHROMIUM")
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        return self._browser

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()


def _page(browser: Browser, visit: Visit, width: int) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 844 if width < 500 else 900}, locale="en-GB")
    cookies = [
        {"name": cookie.name, "value": cookie.value or "", "url": visit.system.http_url}
        for cookie in visit.session.cookies
    ]
    context.add_cookies(cookies)  # type: ignore[arg-type]
    return context.new_page()
