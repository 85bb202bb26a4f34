"""The pages in a real browser: they go on by themselves, and come back by themselves."""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from tests.e2e.conftest import OpenPage
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
DEVICES = (f"plumtree-{number:02}" for number in range(1, 100))
POINTS = "() => window.streamgauge.chart.content.level[1].filter((level) => level !== null).length"


@pytest.fixture(scope="module")
def token(web: System) -> str:
    return str(json.loads(web.run("-m", "app", "create-token", "--name", "e2e").stdout)["token"])


@pytest.fixture(autouse=True)
def _empty(web: System) -> None:
    with web.engine.begin() as connection:
        connection.execute(text("TRUNCATE readings, dead_letters, devices CASCADE"))


def send(
    web: System, token: str, levels: list[float], *, device: str, end: datetime | None = None, apart_s: float = 60.0
) -> None:
    """Readings a minute apart, the last one now, by HTTP; returns when they are committed."""
    last = end or datetime.now(UTC)
    times = [last - timedelta(seconds=apart_s * (len(levels) - 1 - place)) for place in range(len(levels))]
    body: list[dict[str, Any]] = [
        {"device": device, "time": time.isoformat(), "level_m": level}
        for time, level in zip(times, levels, strict=True)
    ]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(web.http_url + "/api/v1/readings", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 201
    except urllib.error.HTTPError as refusal:
        raise AssertionError(refusal.read().decode()) from refusal


@pytest.fixture
def device() -> str:
    """A name that no worker remembers: rows of devices are deleted between tests, which happens nowhere else."""
    return next(DEVICES)


def until(page: Page, expression: str, wanted: object = True) -> None:
    """Wait until the page's scripts say so (the page's policy forbids Playwright's own way, which needs eval)."""
    wait_until(lambda: bool(page.evaluate(expression) == wanted), f"not {wanted}: {expression}")


def stays(page: Page) -> None:
    """Mark the document, so that a reload would be noticed."""
    page.evaluate("window.isStillHere = true")


def test_the_first_reading_makes_the_first_card_without_reload(
    web: System, token: str, device: str, open_page: OpenPage
) -> None:
    page = open_page("/")
    expect(page.locator("pre").first).to_have_text("streamgauge/v1/devices/plumtree-01/readings")
    stays(page)
    send(web, token, [1.20, 1.21, 1.22], device=device)
    card = page.locator(f"#card-{device}")
    expect(card.locator(".level")).to_have_text("1.22")
    send(web, token, [1.35], device=device)
    expect(card.locator(".level")).to_have_text("1.35")
    assert page.evaluate("window.isStillHere")


def test_a_station_that_starts_to_rise_comes_first(web: System, token: str, device: str, open_page: OpenPage) -> None:
    ago = datetime.now(UTC) - timedelta(minutes=2)
    for device in ("alpha", "beta"):
        send(web, token, [1.0] * 5, device=device, end=ago)
    page = open_page("/")
    expect(page.locator(".card").first).to_have_id("card-alpha")
    send(web, token, [1.05, 1.12], device="beta")
    expect(page.locator(".card").first).to_have_id("card-beta")
    expect(page.locator("h1")).to_have_text("1 rising fast")
    page.locator(".total", has_text="Rising fast").click()
    page.wait_for_url("**/?state=rising")
    expect(page.locator(".card")).to_have_count(1)


def test_the_chart_goes_on_without_reload(web: System, token: str, device: str, open_page: OpenPage) -> None:
    send(
        web,
        token,
        [1.0 + step / 100 for step in range(30)],
        device=device,
        end=datetime.now(UTC) - timedelta(minutes=3),
    )
    page = open_page(f"/stations/{device}")
    stays(page)
    before = page.evaluate(POINTS)
    assert before == 30
    send(web, token, [1.31, 1.32], device=device)
    until(page, POINTS, before + 2)
    page.wait_for_timeout(1_500)  # until the head was asked for, which must leave the chart alone
    assert page.evaluate(POINTS) == before + 2
    expect(page.locator("#head .level")).to_have_text("1.32")
    expect(page.locator("#readings tbody tr").first.locator("td.value").first).to_have_text("1.320")
    assert page.evaluate("window.isStillHere")


def test_a_change_of_pace_leaves_the_history_drawn(web: System, token: str, device: str, open_page: OpenPage) -> None:
    """Twelve hours at five minutes, then more readings than those at two seconds, before and while one looks."""
    now = datetime.now(UTC).replace(microsecond=0)
    live = now - timedelta(minutes=8)
    send(web, token, [1.0] * 144, device=device, end=live, apart_s=300)
    send(web, token, [1.0] * 200, device=device, end=live + timedelta(seconds=401), apart_s=2)
    page = open_page(f"/stations/{device}")
    until(page, POINTS, 344)
    breaks = "() => window.streamgauge.chart.content.level[1].filter((level) => level === null).length"
    assert page.evaluate(breaks) == 0
    send(web, token, [1.0] * 20, device=device, end=live + timedelta(seconds=441), apart_s=2)
    until(page, POINTS, 364)
    assert page.evaluate(breaks) == 0
    # A real gap is one, until what was missing comes.
    send(web, token, [1.0] * 5, device=device, end=now, apart_s=2)
    until(page, POINTS, 369)
    assert page.evaluate(breaks) == 1
    send(web, token, [1.0] * 15, device=device, end=now - timedelta(seconds=10), apart_s=2)
    until(page, POINTS, 384)
    assert page.evaluate(breaks) == 0


def test_a_fault_is_said_with_the_sensor_that_is_off(web: System, token: str, device: str, open_page: OpenPage) -> None:
    send(web, token, [1.0] * 5, device=device)
    page = open_page(f"/stations/{device}")
    because = "(reason) => window.streamgauge.chart.because(reason)"
    found = {"why": "sensors_disagree", "channel": "pressure_kpa"}
    assert page.evaluate(because, found) == "the sensors of the device disagree: Pressure"
    assert page.evaluate(because, found | {"channel": "motor_rpm"}) == "the sensors of the device disagree: motor rpm"
    assert page.evaluate(because, {"why": "spike"}) == "it stands out from both neighbours"
    assert page.evaluate(because, {"why": "of a later program"}) == ""


def test_ranges_zoom_and_keys_are_addresses(web: System, token: str, device: str, open_page: OpenPage) -> None:
    send(web, token, [1.0 + step / 100 for step in range(60)], device=device)
    page = open_page(f"/stations/{device}")
    stays(page)
    page.get_by_role("link", name="1 h", exact=True).click()
    page.wait_for_url("**?range=1h")
    box = page.locator("#chart .u-over").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 100, steps=5)
    page.mouse.up()
    page.wait_for_url("**?from=*&to=*")
    expect(page.locator("#zoom-back")).to_be_visible()
    zoomed = page.url
    page.locator("#chart").press("ArrowLeft")
    page.wait_for_url(lambda url: "from=" in url and url != zoomed)
    start = "new URLSearchParams(location.search).get('from')"
    until(page, f"window.streamgauge.chart.content.start * 1000 === Date.parse({start})")
    page.locator("#chart .u-over").first.dblclick()
    page.wait_for_url("**?range=1h")
    assert page.evaluate("window.isStillHere")
    page.goto(zoomed)
    expect(page.locator("#chart canvas").first).to_be_visible()


def test_the_crosshair_says_value_flag_and_reason(web: System, token: str, device: str, open_page: OpenPage) -> None:
    send(web, token, [1.0] * 10 + [500.0] + [1.0] * 10, device=device)
    page = open_page(f"/stations/{device}?range=1h")
    at = page.evaluate(
        "() => { const c = window.streamgauge.chart; const m = c.content.marks.find((m) => m.flag === 'fail');"
        " return c.plots[0].valToPos(m.time, 'x'); }"
    )
    page.locator("#chart .u-over").first.hover(position={"x": at, "y": 100})
    expect(page.locator("#readout")).to_contain_text("500.000 m")
    expect(page.locator("#readout")).to_contain_text("Failed: 500.00 m is outside what the sensor can measure")


def test_after_a_restart_of_the_server_nothing_is_missing(
    web: System, token: str, device: str, open_page: OpenPage
) -> None:
    send(web, token, [1.0] * 5, device=device, end=datetime.now(UTC) - timedelta(minutes=10))
    page = open_page(f"/stations/{device}", is_expected="ERR_|htmx:|handshake response")
    until(page, "window.streamgauge.live.socket.readyState === WebSocket.OPEN")
    stays(page)
    before = page.evaluate(POINTS)
    web.web.kill()
    expect(page.locator("#connection")).to_contain_text("Connection lost since")
    web.web.start()
    send(web, token, [1.1, 1.2, 1.3], device=device)
    expect(page.locator("#connection")).to_contain_text("Was away from", timeout=40_000)
    until(page, POINTS, before + 3)
    assert page.evaluate("window.isStillHere")


def test_language_and_theme_are_two_taps_away(open_page: OpenPage) -> None:
    page = open_page("/", language="vi-VN")
    expect(page.locator("h1")).to_have_text("Chưa có trạm nào")
    menu = page.locator("header details.menu")
    menu.locator("summary").click()
    menu.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("No station yet")
    menu.locator("summary").click()
    menu.get_by_role("button", name="Theme").click()
    page.wait_for_load_state()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 22)"
