"""The overview in a real browser with many stations: pages, search, the map, live changes, without leaving the page."""

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect
from redis import Redis
from sqlalchemy import text

from tests.e2e.conftest import OpenPage
from tests.support.ingest import ingest, series, services
from tests.support.many_stations import fill
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
STATIONS = 400
CARDS = "() => document.querySelectorAll('.card').length"
FIRST_LOAD_BYTES = 200_000


@pytest.fixture(scope="module")
def many(web: System) -> System:
    with web.engine.begin() as connection:
        connection.execute(text("TRUNCATE readings, dead_letters, devices CASCADE"))
        fill(connection, STATIONS, hours=3, now=datetime.now(UTC) - timedelta(minutes=2))
    return web


def send(web: System, device: str, levels: list[float]) -> None:
    redis = Redis.from_url(web.stack.addresses.redis_url)
    start = datetime.now(UTC) - timedelta(seconds=10 * (len(levels) - 1))
    ingest(services(web.engine, redis), series(levels, device=device, start=start, step_s=10))
    redis.close()


def until(page: Page, expression: str, wanted: object = True) -> None:
    wait_until(lambda: bool(page.evaluate(expression) == wanted), f"not {wanted}: {expression}")


def stays(page: Page) -> None:
    page.evaluate("window.isStillHere = true")


def test_pages_come_as_one_goes_down_and_are_put_aside_behind(many: System, open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 390, "height": 844})
    assert page.evaluate(CARDS) in {60, 120}
    last = STATIONS // 60 + 1
    for _ in range(3 * last):
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(150)
        if page.evaluate("document.querySelectorAll('.page').length") == last and not page.locator("#more").count():
            break
    assert page.evaluate("document.querySelectorAll('.page').length") == last
    # What is far off keeps its place and weighs nothing.
    until(page, "document.querySelector('.page').classList.contains('is-aside')")
    assert page.evaluate(CARDS) < STATIONS / 2
    height = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate("window.scrollTo(0, 0)")
    until(page, "document.querySelectorAll('.page')[0].querySelectorAll('.card').length", 60)
    assert abs(page.evaluate("document.documentElement.scrollHeight") - height) < 900
    names = page.evaluate("[...document.querySelectorAll('.card')].map((card) => card.id)")
    assert len(names) == len(set(names))


def test_search_and_filters_are_the_address(many: System, open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 1440, "height": 900})
    stays(page)
    page.keyboard.press("/")
    page.keyboard.type("song hong")
    page.wait_for_url("**/?q=song*hong*")
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#totals")).to_contain_text(f"of {STATIONS} stations")
    assert page.locator(".card h2").first.inner_text().startswith("Sông Hồng")
    page.select_option("#sort", "name")
    page.wait_for_url("**sort=name*")
    page.click("#total-silent")
    page.wait_for_url("**state=silent*")
    assert "q=song" in page.url
    assert "sort=name" in page.url
    until(page, "[...document.querySelectorAll('.card')].every((card) => card.dataset.state === 'silent')")
    assert page.evaluate("window.isStillHere")
    page.reload()
    expect(page.locator("#search")).to_have_value("song hong")
    expect(page.locator("#total-silent")).to_have_attribute("aria-current", "true")
    page.click("#widen")
    page.wait_for_url(lambda url: "q=" not in url)
    expect(page.locator("#search")).to_have_value("")


def test_a_station_that_goes_over_a_stage_comes_to_the_top_by_itself(many: System, open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 1440, "height": 900})
    stays(page)
    before = int(page.locator("#total-stage b").inner_text())
    assert not page.locator("#card-station-00399").count()
    send(many, "station-00399", [3.4, 3.42, 3.43, 3.44])
    expect(page.locator("#total-stage b")).to_have_text(str(before + 1), timeout=20_000)
    card = page.locator("#card-station-00399")
    expect(card.locator(".chip")).to_contain_text("Over BĐ III")
    expect(card.locator(".level")).to_have_text("3.44")
    send(many, "station-00399", [3.51])
    expect(card.locator(".level")).to_have_text("3.51", timeout=20_000)
    assert page.evaluate(CARDS) in {60, 120}
    assert page.evaluate("window.isStillHere")


def test_the_map_stands_beside_and_follows(many: System, open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 1440, "height": 900})
    expect(page.locator("#map .pin").first).to_be_visible()
    until(page, "document.querySelectorAll('#map path.land').length", 1)
    expect(page.locator("#map-unplaced summary")).to_contain_text("8 without a position")
    page.fill("#search", "station-00002")
    expect(page.locator("#map .pin")).to_have_count(1)
    pin = page.locator("#map .pin").first
    pin.click()
    expect(page.locator(".map-card")).to_have_attribute("href", "/stations/station-00002")
    state = pin.get_attribute("class") or ""
    send(many, "station-00002", [1.0, 1.0, 1.0, 1.0])
    wait_until(lambda: (page.locator("#map .pin").first.get_attribute("class") or "") != state, "the marker stays", 30)


def test_a_phone_has_the_map_behind_a_tab(many: System, open_page: OpenPage) -> None:
    page = open_page("/", viewport={"width": 390, "height": 844})
    page.wait_for_timeout(500)
    assert not page.evaluate("performance.getEntriesByType('resource').some(({ name }) => name.includes('leaflet'))")
    page.click("#view-map")
    page.wait_for_url("**view=map*")
    expect(page.locator("#map .pin").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_first_load_is_small(many: System, open_page: OpenPage) -> None:
    """Everything that a wide first page loads, as a compressing proxy would send it."""
    bodies: dict[str, bytes] = {}
    page = open_page("/", viewport={"width": 1440, "height": 900})
    page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.on("response", lambda answer: bodies.update({answer.url: answer.body()}) if answer.status == 200 else None)
    page.goto("/")
    expect(page.locator("#map .pin").first).to_be_visible()
    until(page, "document.querySelectorAll('#map path.land').length", 1)
    sizes = {url.split("?")[0]: len(gzip.compress(body, 6)) for url, body in bodies.items()}
    print(sum(sizes.values()), sizes)
    assert sum(sizes.values()) < FIRST_LOAD_BYTES, sizes
    assert any(url.endswith("leaflet.js") for url in sizes)


def test_without_scripts_every_station_can_be_reached(many: System, open_page: OpenPage) -> None:
    page = open_page("/", java_script_enabled=False)
    expect(page.locator(".card")).to_have_count(60)
    page.click("#more a")
    page.wait_for_url("**/?page=2")
    expect(page.locator(".card")).to_have_count(60)
    page.goto("/?q=station-00123")
    expect(page.locator(".card")).to_have_count(1)
