"""Every page as people see it: nothing is wider than the screen. ``make screenshots`` keeps the pictures in docs/screenshots."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from tests.e2e.conftest import COLOURS, KEPT_IN, Login, shot, sign_in
from tests.support import many_stations
from tests.support.every_page import FURTHER, SIZES, every_path, settle
from tests.support.scene import FLOODED, fill
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
THEMES = ("light", "dark")
LOCALES = {"en": "en-GB", "vi": "vi-VN"}
MANY = 1_000
WHOLE = {("light", "en"), ("dark", "vi")}
"""Themes and languages in which long pages are pictured as a whole."""
LONG = {"station", "models", "model", "run", "device-new", "history", "operations", "account", "compare"}
LEFT_OUT = {"history-wrong", "missing", "overview-wall"}
"""States that are checked, and pictured once only."""
MOST_BYTES = 8_000_000


def is_kept() -> bool:
    """Whether the pictures are wanted: without that they are not made, and each page is opened in one language a size."""
    return bool(os.environ.get(KEPT_IN))


@pytest.fixture(scope="module")
def flood(web: System, login: object) -> System:
    fill(web)
    return web


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, web: System, login: Login) -> Any:
    """Cookies of a session."""
    context = chromium.new_context(base_url=web.http_url)
    sign_in(context.new_page(), login)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(chromium: Browser, web: System, signed_in: Any) -> Iterator[Any]:
    """Makes a signed-in page of a size and a language."""
    contexts = []

    def make(size: str, language: str, **options: Any) -> Page:
        context = chromium.new_context(
            base_url=web.http_url, storage_state=signed_in, locale=LOCALES[language], viewport=SIZES[size], **options
        )
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


def picture(page: Page, folder: Path, name: str, *, whole: bool = False) -> None:
    """Keep what is seen, in few colours: these are lines, words and plain fields."""
    if not is_kept():
        return
    seen = Image.open(BytesIO(shot(page, whole=whole))).convert("RGB")
    few = seen.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.convert("RGB").save(folder / f"{name}.webp", lossless=True, method=4)


def fits(page: Page, name: str) -> None:
    """Nothing may be wider than the screen, or one would have to push the page about."""
    assert page.viewport_size
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"], f"{name} is {width} wide"


@pytest.mark.parametrize(("size", "language"), [("phone", "vi"), ("desktop", "en"), ("phone", "en"), ("desktop", "vi")])
def test_every_page_fits(flood: System, page: Any, screenshots: Path, size: str, language: str) -> None:
    tab = page(size, language)
    for name, path in every_path().items():
        if name == "login":
            continue
        tab.emulate_media(color_scheme="light")
        tab.goto(path)
        settle(tab, name)
        fits(tab, f"{name} in {language}")
        for theme in THEMES if is_kept() else ():
            if name in LEFT_OUT and (theme, language) != ("light", "en"):
                continue
            tab.emulate_media(color_scheme=theme)
            tab.wait_for_timeout(150)
            whole = name in LONG and (theme, language) in WHOLE and (size == "phone" or name not in FURTHER)
            picture(tab, screenshots, f"{name}-{size}-{theme}-{language}", whole=whole)
    tab.context.clear_cookies()
    tab.goto("/login")
    fits(tab, "login")
    for theme in THEMES if is_kept() else ():
        tab.emulate_media(color_scheme=theme)
        picture(tab, screenshots, f"login-{size}-{theme}-{language}")


def test_a_printed_station(flood: System, page: Any, screenshots: Path) -> None:
    tab = page("desktop", "en")
    tab.goto(f"/stations/{FLOODED}")
    settle(tab, "station")
    tab.locator("#records img").first.scroll_into_view_if_needed()
    tab.set_viewport_size({"width": 794, "height": 1123})
    tab.emulate_media(media="print", color_scheme="dark")
    tab.wait_for_timeout(500)
    expect(tab.locator("header")).to_be_hidden()
    # Paper is light, whatever the screen was.
    assert tab.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(20, 25, 27)"
    fits(tab, "on paper")
    picture(tab, screenshots, "printed-station", whole=True)


def shows(tab: Page, selector: str, words: str) -> None:
    """Ask for the overview until it says so: nobody told the server that rows were written beside it."""

    def asked() -> bool:
        tab.goto("/")
        found = tab.locator(selector)
        return found.count() > 0 and found.first.inner_text() == words

    wait_until(asked, f"{selector} is not {words}", 90)


@pytest.mark.parametrize("size", list(SIZES))
def test_everything_is_silent(flood: System, page: Any, screenshots: Path, size: str) -> None:
    with flood.engine.begin() as connection:
        connection.execute(text("TRUNCATE readings, dead_letters, devices RESTART IDENTITY CASCADE"))
        many_stations.fill(connection, 24, hours=3, now=datetime.now(UTC) - timedelta(hours=9))
    tab = page(size, "en")
    shows(tab, "#total-silent b", "24")
    settle(tab, "overview")
    fits(tab, "silent")
    picture(tab, screenshots, f"silent-{size}-light-en")


@pytest.mark.parametrize("size", list(SIZES))
def test_a_thousand_stations(flood: System, page: Any, screenshots: Path, size: str) -> None:
    with flood.engine.begin() as connection:
        connection.execute(text("TRUNCATE readings, dead_letters, devices RESTART IDENTITY CASCADE"))
        many_stations.fill(connection, MANY, hours=6, now=datetime.now(UTC) - timedelta(minutes=2))
    tab = page(size, "vi", color_scheme="dark")
    shows(tab, "#totals b", "1.000")
    settle(tab, "overview")
    if size == "desktop":
        expect(tab.locator("#map .pin").first).to_be_visible()
    fits(tab, "a thousand")
    picture(tab, screenshots, f"thousand-{size}-dark-vi")


def test_the_pictures_are_light(screenshots: Path) -> None:
    assert sum(file.stat().st_size for file in screenshots.iterdir()) < MOST_BYTES
