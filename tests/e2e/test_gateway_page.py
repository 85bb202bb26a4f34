"""The installer's page in a real browser: pictures of it, and that it refreshes itself within its own content policy."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from gateway.journal import Heard, Journal, Outcome
from gateway.page.application import page_application
from gateway.page.state import GatewayState, LinkState
from gateway.receive_http import HttpServer
from tests.support.gateway_scene import NOW, ago, calm_state, fill, note_alarm, troubled_state, uplink, verdict_of

pytestmark = pytest.mark.browser
SIZES = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}


class Gateway:
    """The page as waitress serves it, of a state that a test may change."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.state: GatewayState = calm_state()
        self.server = HttpServer(
            page_application(self.journal, lambda: self.state, verdict_of, now=lambda: NOW), "127.0.0.1", 0, 1_000
        )
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.port}"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    running = Gateway()
    yield running
    running.server.stop()


OpenPage = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, gateway: Gateway) -> Iterator[OpenPage]:
    """Opens the page; at the end nothing may have been complained of (scripts, policy, missing files)."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = chromium.new_context(base_url=gateway.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("language", ["en", "vi"])
def test_pictures_of_a_gateway_in_a_flood_without_its_link(
    gateway: Gateway, visit: OpenPage, screenshots: Path, size: str, theme: str, language: str
) -> None:
    fill(gateway.journal)
    note_alarm(gateway.journal)
    gateway.state = troubled_state()
    page = visit("/", locale={"en": "en-GB", "vi": "vi-VN"}[language], viewport=SIZES[size], color_scheme=theme)
    expect(page.locator(".device")).to_have_count(len(gateway.state.devices))
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    assert page.locator("html").get_attribute("lang") == language
    page.screenshot(path=screenshots / f"gateway-{size}-{theme}-{language}.png")
    page.locator(".frames").evaluate("each => each.scrollIntoView()")
    page.screenshot(path=screenshots / f"gateway-frames-{size}-{theme}-{language}.png")


@pytest.mark.parametrize("size", list(SIZES))
def test_pictures_of_a_calm_gateway_and_of_a_new_one(
    gateway: Gateway, visit: OpenPage, screenshots: Path, size: str
) -> None:
    gateway.state = replace(
        calm_state(()),
        forwarders=(),
        buffered=0,
        buffer_bytes=45_000,
        started_at=ago(minutes=2),
        link=LinkState(connected=False),
    )
    page = visit("/", locale="en-GB", viewport=SIZES[size])
    page.screenshot(path=screenshots / f"gateway-new-{size}.png")
    fill(gateway.journal)
    gateway.state = calm_state(("culvert-north", "weir"))
    page.reload()
    expect(page.locator(".verdict")).to_have_attribute("data-verdict", "well")
    page.screenshot(path=screenshots / f"gateway-calm-{size}.png")


def test_a_frame_appears_by_itself_and_what_is_unfolded_stays_so(gateway: Gateway, visit: OpenPage) -> None:
    note_alarm(gateway.journal)
    page = visit("/", locale="en-GB", viewport=SIZES["phone"])
    expect(page.locator(".frame")).to_have_count(0)
    page.locator("#alarm-log summary").click()
    gateway.journal.record(uplink("weir", NOW, 7, level_m=0.338))
    expect(page.locator(".frame")).to_have_count(1, timeout=15_000)
    expect(page.locator("#alarm-log li").first).to_be_visible()


def test_a_gateway_that_stops_answering_is_told_of(gateway: Gateway, chromium: Browser) -> None:
    context = chromium.new_context(base_url=gateway.url, locale="vi-VN", viewport=SIZES["phone"])
    page = context.new_page()
    page.goto("/")
    expect(page.locator("#lost")).to_be_hidden()
    context.set_offline(True)
    expect(page.locator("#lost")).to_contain_text("không trả lời", timeout=30_000)
    context.set_offline(False)
    expect(page.locator("#lost")).to_be_hidden(timeout=30_000)
    context.close()


def test_what_comes_from_the_air_cannot_become_markup(gateway: Gateway, visit: OpenPage) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'{{7*7}}"
    gateway.journal.record(
        Heard(
            time=NOW,
            way="mqtt",
            outcome=Outcome.OTHER,
            device=evil,
            sender=evil,
            forwarder=evil,
            detail=evil,
            values={evil: 1.0},
        )
    )
    gateway.state = replace(gateway.state, devices=(evil,), name=evil)
    page = visit("/")
    assert page.locator("main img, main script").count() == 0
    expect(page.locator(".frame-head b")).to_have_text(evil)
