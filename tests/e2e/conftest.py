"""A real browser, on a real running system."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.system import System

COLOURS = 160
MOST_HIGH = 6_000
KEPT_IN = "STREAMGAUGE_TEST_SCREENSHOTS"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Login:
    """Somebody who may sign in."""

    user: str
    password: str


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium."""
    found = os.environ.get("STREAMGAUGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("needs Chromium (apt-get install chromium), or its path in STREAMGAUGE_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def web(system: System) -> Iterator[System]:
    """The running system with its web server."""
    system.web.start()
    yield system
    system.web.stop()


@pytest.fixture(scope="module")
def login(web: System) -> Login:
    """An admin, made as an operator makes one."""
    return Login(**json.loads(web.run("-m", "app", "create-admin", "--user", "officer").stdout))


def sign_in(page: Page, login: Login, path: str = "/") -> None:
    """Sign in by the form, and go on to this page."""
    page.goto(f"/login?next={path}")
    page.fill("#name", login.user)
    page.fill("#password", login.password)
    page.click("main form button")
    page.wait_for_url(f"**{path}")


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, web: System, login: Login) -> Iterator[OpenPage]:
    """Makes signed-in pages; at the end, none of them may have complained (scripts, policy, missing files)."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_signed_in(path: str = "/", *, language: str = "en-GB", is_expected: str = "(?!)", **options: Any) -> Page:
        context = chromium.new_context(base_url=web.http_url, locale=language, **options)
        contexts.append(context)
        page = context.new_page()

        def complain(text: str) -> None:
            if not re.search(is_expected, text):
                complaints.append(text)

        page.on("console", lambda message: complain(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complain(str(error)))
        sign_in(page, login, path)
        return page

    yield open_signed_in
    for context in contexts:
        context.close()
    assert complaints == []


def shot(page: Page, *, whole: bool = False) -> bytes:
    """What is seen; or the whole page, on a screen as high as it: what is fixed to the screen's foot stands at the page's."""
    size = page.viewport_size
    assert size
    if whole:
        height = min(page.evaluate("document.documentElement.scrollHeight"), MOST_HIGH)
        page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(250)
    seen = page.screenshot()
    page.set_viewport_size(size)
    return seen


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where screenshots go: ``STREAMGAUGE_TEST_SCREENSHOTS`` (``make screenshots``), else away with the test's files."""
    chosen = os.environ.get(KEPT_IN)
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    # Lines, words and plain fields need few colours, and a third of the bytes.
    for file in folder.glob("*.png"):
        seen = Image.open(file)
        if seen.mode != "P":
            seen.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
