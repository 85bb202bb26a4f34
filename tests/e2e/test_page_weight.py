"""What a first visit costs: all bytes that come, compressed as the server sends them, without map tiles."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage
from tests.support.every_page import SIZES
from tests.support.scene import FLOODED, fill
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
FIRST_LOAD_BYTES = 200_000
OVERVIEW, STATION = "/", f"/stations/{FLOODED}"


@pytest.fixture(scope="module")
def flood(web: System, login: object) -> System:
    fill(web)
    return web


def weigh(page: Page, path: str) -> dict[str, int]:
    """Bytes over the wire by address, heads included, nothing from the cache."""
    devtools = page.context.new_cdp_session(page)
    addresses: dict[str, str] = {}
    sizes: dict[str, int] = {}

    def note(event: dict[str, object]) -> None:
        address = addresses.get(str(event["requestId"]), "")
        sizes[address] = sizes.get(address, 0) + int(str(event["encodedDataLength"]).partition(".")[0])

    devtools.on(
        "Network.responseReceived",
        lambda event: addresses.update({event["requestId"]: event["response"]["url"].split("?")[0]}),
    )
    devtools.on("Network.loadingFinished", note)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.goto(path)
    if path == OVERVIEW:
        if page.viewport_size == SIZES["desktop"]:
            wait_until(lambda: page.locator("#map path.land").count() > 0, "no map")
        expect(page.locator(".card").first).to_be_visible()
    else:
        expect(page.locator("#chart canvas").first).to_be_visible()
        expect(page.locator("#records")).to_be_attached()
    page.wait_for_load_state("load")
    devtools.detach()
    return sizes


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("path", [OVERVIEW, STATION])
def test_the_first_load_is_small(flood: System, open_page: OpenPage, path: str, size: str) -> None:
    page = open_page("/account", viewport=SIZES[size])
    sizes = weigh(page, path)
    print(path, size, sum(sizes.values()), sizes)
    assert sum(sizes.values()) < FIRST_LOAD_BYTES, sizes
    assert any(address.endswith("htmx.min.js") for address in sizes), "not everything was weighed"
