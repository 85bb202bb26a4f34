"""Chromium for the end-to-end tests: found on this machine, signed in, and without network beyond the test's own server."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.system import System

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def chromium_path() -> str | None:
    """Where this machine has Chromium, if it has one."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


needs_chromium = pytest.mark.skipif(chromium_path() is None, reason="needs Chromium (apt-get install chromium)")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


def create_login(system: System) -> tuple[str, str]:
    """A new administrator's name and password."""
    made = json.loads(system.run("-m", "app", "create-admin").stdout)
    return made["user"], made["password"]


def sign_in(context: BrowserContext, system: System, login: tuple[str, str]) -> Page:
    """A page behind the sign-in; any error that a script of it raises fails the test."""
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.goto(f"{system.http_url}/login")
    page.fill("#name", login[0])
    page.fill("#password", login[1])
    page.click("form[action='/login'] button")
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def save(page: Page, path: Path) -> None:
    """A screenshot of the whole page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=True)
