"""axe-core on every page, in both themes, on a phone and on a wide screen, with content: no violation."""

import json
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.support.every_page import NO_PAGES, PAGES, SIZES, every_path, settle
from tests.support.scene import fill
from tests.support.system import System
from tests.support.web import unconnected_app

pytestmark = pytest.mark.browser
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that another theme can break; the others ask for what is the same in both."""
FOREIGN = {"api-docs": [[".swagger-ui"]]}
"""By page what others have made, which is vendored as it is."""
MENU = {"phone": "nav.tabs details.menu summary", "desktop": "header details.menu summary"}


@pytest.fixture(scope="module")
def flood(web: System, login: object) -> System:
    fill(web)
    return web


def test_every_page_is_in_the_list() -> None:
    """A page that is new must be looked at too; what is no page says so."""
    found = {rule.endpoint for rule in unconnected_app().url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert found == set(PAGES) | NO_PAGES


def violations(page: Page, name: str, rules: list[str] | None = None) -> list[str]:
    """What axe finds, a line for each element; of an open menu the menu alone, as it covers what is below."""
    wanted: dict[str, Any] = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    context = {"include": [[".menu[open]"]]} if name == "menu" else {"exclude": FOREIGN.get(name, [])}
    options = {"runOnly": wanted, "resultTypes": ["violations"], "elementRef": False}
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(f"axe.run({json.dumps(context)}, {json.dumps(options)}).then((found) => found.violations)")
    return [
        f"{name}: {one['id']}: {' '.join(node['target'])}: {node['failureSummary'].splitlines()[1].strip()}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("size", list(SIZES))
def test_no_page_keeps_anybody_out(flood: System, open_page: OpenPage, size: str) -> None:
    page = open_page("/", viewport=SIZES[size], color_scheme="light", is_expected="status of (404|422)")
    found: list[str] = []

    def look(name: str) -> None:
        page.emulate_media(color_scheme="light")
        found.extend(violations(page, name))
        page.emulate_media(color_scheme="dark")
        found.extend(f"dark {line}" for line in violations(page, name, COLOURS))

    for name, path in every_path().items():
        if name == "login":
            continue
        page.goto(path)
        settle(page, name)
        look(name)
    page.goto("/")
    page.click(MENU[size])
    expect(page.locator("details.menu[open] .menu-box")).to_be_visible()
    look("menu")
    page.context.clear_cookies()
    page.goto("/login")
    look("login")
    assert found == [], "\n".join(found)
