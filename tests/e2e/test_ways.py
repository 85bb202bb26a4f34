"""The ways that people go, on a running system, in a real browser: from the sign-in to what they came for."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Login, OpenPage
from tests.support.alert_rows import add_alert
from tests.support.every_page import SIZES
from tests.support.scene import FLOODED, fill
from tests.support.system import System, running_system, wait_until

pytestmark = pytest.mark.browser
STRANGER = "mill-race"
TABLE = "name;display_name;river\nkim-1;Kim Sơn 1;Sông Đáy\nkim-2;Kim Sơn 2;Sông Đáy\nkim-2;twice;\n"
TABS = 60


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All parts; a device that nobody has registered is refused, as where somebody has decided so."""
    with running_system(tmp_path_factory.mktemp("ways"), STREAMGAUGE_AUTO_REGISTER="0") as running:
        for part in (running.worker, running.batch_worker, running.subscriber):
            part.start()
        yield running


@pytest.fixture(scope="module")
def flood(web: System, login: Login) -> System:
    fill(web)
    return web


def test_from_the_sign_in_to_the_flood_its_alert_and_its_readings(
    flood: System, chromium: Browser, login: Login
) -> None:
    page = chromium.new_context(base_url=flood.http_url, locale="en-GB", viewport=SIZES["phone"]).new_page()
    page.goto("/")
    page.fill("#name", login.user)
    page.fill("#password", login.password)
    page.get_by_role("button", name="Sign in").click()
    # What is over its stage comes first, and says so.
    first = page.locator(".card").first
    expect(first).to_have_id(f"card-{FLOODED}")
    expect(first.locator(".chip")).to_contain_text("Over BĐ II")
    first.click()
    page.wait_for_url(f"**/stations/{FLOODED}")
    # The time to the next stage with its chance, and the forecast.
    expect(page.locator("#next-stage dt")).to_contain_text("To BĐ III")
    expect(page.locator("#next-stage dd")).to_contain_text("%")
    expect(page.locator("#in-an-hour")).to_be_visible()
    expect(page.locator("#forecast")).to_contain_text("Expected")
    alert = page.locator("#alerts-now .alert-card").first
    expect(alert).to_contain_text("BĐ II")
    button = alert.get_by_role("button", name="Acknowledge")
    box = button.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 2 * SIZES["phone"]["height"], "far down"
    alert.get_by_role("textbox").fill("Calling the fire brigade")
    button.click()
    expect(alert).to_contain_text("officer")
    expect(alert).to_contain_text("Calling the fire brigade")
    expect(alert.get_by_role("button", name="Acknowledge")).to_have_count(0)
    assert flood.scalar("SELECT acknowledged_by FROM alerts WHERE state = 'acknowledged' AND severity = 2") == "officer"
    export(flood, page)
    page.context.close()


def export(flood: System, page: Page) -> None:
    """From the station's page to a file with what is stored."""
    page.get_by_role("link", name="All readings and export").click()
    page.wait_for_url("**/history?**")
    expect(page.locator(".station-chip")).to_contain_text("Dead Run at Franklintown")
    with page.expect_download() as downloading:
        page.locator("#export-form button").click()
    lines = downloading.value.path().read_text(encoding="utf-8").splitlines()
    assert any("UTC" in line for line in lines if line.startswith("#"))
    found = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    query = (
        "SELECT time, level_m FROM readings JOIN devices ON id = device_id "
        "WHERE name = :name AND time > now() - interval '23 hours' ORDER BY time"
    )
    stored = {row.time: row.level_m for row in flood.rows(query, name=FLOODED)}
    exported = {datetime.fromisoformat(row["time"]).astimezone(UTC): float(row["level_m"]) for row in found}
    assert len(stored) > 200
    assert stored.items() <= exported.items()


def test_the_same_by_keys_alone(flood: System, chromium: Browser, login: Login) -> None:
    with flood.engine.begin() as connection:
        number = add_alert(connection, FLOODED, severity=3)
    page = chromium.new_context(base_url=flood.http_url, locale="en-GB", viewport=SIZES["desktop"]).new_page()
    page.goto("/login")
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type(login.user)
    page.keyboard.press("Tab")
    page.keyboard.type(login.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    tab_to(page, f"#card-{FLOODED}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/stations/{FLOODED}")
    tab_to(page, f"#comment-acknowledge-{number}")
    page.keyboard.type("Seen")
    page.keyboard.press("Tab")
    assert (
        page.evaluate("document.activeElement.matches(':focus-visible') && document.activeElement.tagName") == "BUTTON"
    )
    page.keyboard.press("Enter")
    expect(page.locator("#alerts-now")).to_contain_text("Seen")
    assert flood.scalar("SELECT comment FROM alerts WHERE id = :id", id=number) == "Seen"
    page.context.close()


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(TABS):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({json.dumps(selector)})"):
            return
    raise AssertionError(f"{selector} is not reached by {TABS} tabs")


def test_many_devices_by_a_table_are_seen_first_and_found_then(
    flood: System, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page("/devices", viewport=SIZES["phone"])
    page.get_by_role("link", name="Many at once").click()
    file = tmp_path / "devices.csv"
    file.write_text(TABLE, encoding="utf-8")
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator("table[data-outcome=new] tbody tr")).to_have_count(2)
    expect(page.locator("table[data-outcome=wrong] tbody tr")).to_have_count(1)
    assert flood.scalar("SELECT count(*) FROM devices WHERE name LIKE 'kim-%'") == 0
    page.get_by_role("button", name="Do it: 2 devices").click()
    expect(page.get_by_role("status").filter(has_text="2 registered")).to_be_visible()
    page.fill("#q", "sông đáy")
    expect(page.locator("#devices tbody tr")).to_have_count(2)
    # The stations know them too, though they have said nothing yet.
    page.goto("/?q=kim")
    expect(page.locator(".card")).to_have_count(2)


@pytest.mark.parametrize("size", list(SIZES))
def test_ones_own_choices_are_two_taps_away(flood: System, open_page: OpenPage, size: str) -> None:
    page = open_page(f"/stations/{FLOODED}", language="vi-VN", viewport=SIZES[size])
    menu = page.locator(("nav.tabs " if size == "phone" else "header ") + "details.menu")

    def choose(name: str) -> None:
        menu.locator("summary").click()
        menu.get_by_role("button", name=name).click()
        page.wait_for_load_state()

    expect(page.locator("html")).to_have_attribute("lang", "vi")
    choose("English")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#head")).to_contain_text("Level")
    choose("Theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 22)"
    metres = float(page.locator("#head .level").inner_text())
    choose("Units")
    expect(page.locator("#head .level + span")).to_have_text("ft")
    assert float(page.locator("#head .level").inner_text()) == pytest.approx(metres / 0.3048, abs=0.02)
    page.goto("/stations/long-bien")
    expect(page.locator("figcaption").first).to_contain_text("Asia/Ho_Chi_Minh")
    choose("Times")
    expect(page.locator("figcaption").first).to_contain_text("UTC")
    # They stay where they were made: the address is the same, and so is the next page.
    assert page.url.endswith("/stations/long-bien")
    page.goto("/")
    expect(page.locator(".card").first).to_contain_text("ft")


def test_what_an_unknown_device_sent_is_on_its_page_after_it_was_registered(flood: System, open_page: OpenPage) -> None:
    moment = datetime.now(UTC).replace(microsecond=0)
    publish(flood, STRANGER, {"time": moment.isoformat(), "level_m": 2.348})
    refused = "SELECT count(*) FROM dead_letters WHERE device = :name AND convert_from(payload, 'UTF8') LIKE '%2.348%'"
    wait_until(lambda: flood.scalar(refused, name=STRANGER) == 1, "no dead letter")
    page = open_page("/operations/dead-letters")
    assert STRANGER in page.locator("main").inner_text(), flood.web.tail(5)
    page.goto("/devices/register/new")
    page.fill("#name", STRANGER)
    page.get_by_role("button", name="Register").last.click()
    page.wait_for_url(f"**/devices/{STRANGER}")
    page.locator("#letters").get_by_role("button").click()
    query = "SELECT count(*) FROM readings JOIN devices ON id = device_id WHERE name = :name AND level_m = 2.348"
    wait_until(lambda: flood.scalar(query, name=STRANGER) == 1, "not replayed", 60, lambda: told(flood))
    page.goto(f"/stations/{STRANGER}")
    expect(page.locator("#head .level")).to_have_text("2.35")
    expect(page.locator("#readings tbody tr").first).to_contain_text("2.348")
    page.goto("/operations/dead-letters?state=replayed")
    expect(page.locator("main")).to_contain_text(STRANGER)


def told(system: System) -> str:
    """What became of the dead letters, and what the worker said."""
    letters = system.rows("SELECT reason, detail, device, replay_state, replay_detail FROM dead_letters")
    return f"{letters}\n{system.batch_worker.tail()}"


def publish(system: System, device: str, reading: dict[str, object]) -> None:
    """One message, as a device sends it."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    account, _, where = system.stack.addresses.mqtt_url.removeprefix("mqtt://").rpartition("@")
    if account:
        client.username_pw_set(*account.split(":", 1))
    host, _, port = where.partition(":")
    client.connect(host, int(port.partition("/")[0]))
    client.loop_start()
    payload = json.dumps(reading)
    client.publish(f"streamgauge/v1/devices/{device}/readings", payload, qos=1).wait_for_publish(10)
    client.loop_stop()
