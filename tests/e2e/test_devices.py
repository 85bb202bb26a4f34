"""Devices in a real browser: many by a table, one by its label (photo and camera), the form that helps, a pasted payload."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import segno
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import BROWSERS, Login, OpenPage
from tests.support.system import System

pytestmark = pytest.mark.browser
EUI = "24E124713B101234"
SEEN_EUI = "24E124713B105678"
LABEL = f"LW:D0:1122334455667788:{EUI}:AABB1122:O9F00:SYYWW42"
TABLE = """name;display_name;river;latitude;longitude;time_zone;stages
weir-a;Đập A;Sông Hồng;21,03;105,85;Asia/Ho_Chi_Minh;"BĐ I=9,5@1; BĐ II=10,5@2"
weir-b;Đập B;;;;;
weir-b;twice;;;;;
"""


def test_many_devices_by_a_table(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("/devices")
    page.get_by_role("link", name="Many at once").click()
    file = tmp_path / "devices.csv"
    file.write_text("\ufeff" + TABLE, encoding="utf-8", newline="\r\n")
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="What this table will do")).to_be_visible()
    expect(page.locator("table[data-outcome=new] tbody tr")).to_have_count(2)
    expect(page.locator("table[data-outcome=wrong]")).to_contain_text("stands in line 3 already")
    page.get_by_role("button", name="Do it: 2 devices").click()
    expect(page.get_by_role("status").filter(has_text="2 registered, 0 changed, 1 left out")).to_be_visible()
    page.fill("#q", "sông hồng")
    expect(page.locator("#devices tbody tr")).to_have_count(1)
    assert "q=" in page.url
    page.get_by_role("link", name="Đập A").click()
    expect(page.locator("#stages li").first).to_contain_text("BĐ II")
    page.get_by_role("link", name="Change", exact=True).click()
    page.fill("#river", "Sông Đà")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()


def fill_from_label(page: Page, name: str) -> None:
    """What the form shows after a label was read, until the device is registered."""
    expect(page.locator("#label")).to_contain_text("The label was read")
    expect(page.locator("#dev_eui")).to_have_value(EUI)
    expect(page.locator("#description")).to_have_value("Serial number YYWW42")
    page.fill("#name", name)
    page.select_option("#model", "milesight_em500_udl")
    expect(page.locator("#parameter-blind_zone_m")).to_be_visible()
    page.fill("#sensor_height_m", "14.2")
    expect(page.locator("#arithmetic")).to_contain_text("the level is 11.700 m")
    page.fill("#sample", "4")
    expect(page.locator("#arithmetic")).to_contain_text("the level is 10.200 m")


def test_one_device_by_a_photo_of_its_label(open_page: OpenPage, tmp_path: Path) -> None:
    segno.make(LABEL, error="m").save(str(tmp_path / "label.png"), scale=6, border=4)
    Image.new("RGB", (300, 300), "white").save(tmp_path / "blank.jpg")
    (tmp_path / "no.png").write_bytes(b"no picture")
    page = open_page("/devices/register/qr", is_expected="the server responded with a status of 422")
    page.set_input_files("#photo", tmp_path / "no.png")
    expect(page.locator("#told")).to_contain_text("no picture")
    page.set_input_files("#photo", tmp_path / "blank.jpg")
    expect(page.locator("#told")).to_contain_text("No code was found")
    page.fill("#text", "hello")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#fault-text")).to_contain_text("no device's label")
    page.set_input_files("#photo", tmp_path / "label.png")
    fill_from_label(page, "by-photo")
    page.get_by_role("button", name="Names: BĐ I to III").click()
    expect(page.locator("[name=stage_name]").nth(2)).to_have_value("BĐ III")
    for place, level_m in enumerate(("9,5", "10,5", "11,5")):
        page.locator("[name=stage_level_m]").nth(place).fill(level_m)
    page.get_by_role("button", name="Register a device").last.click()
    page.wait_for_url("**/devices/by-photo")
    expect(page.locator("#stages li")).to_have_count(3)
    page.goto("/devices/register/decode?device=by-photo")
    page.fill("#payload", "01 75 5C 03 82 F0 09")
    page.get_by_role("button", name="Decode").click()
    expect(page.locator("#decoded")).to_contain_text("Level 11.66 m")
    page.goto("/devices/by-photo")
    page.get_by_text("Take out of service", exact=True).click()
    page.get_by_role("button", name="Take out of service now").click()
    expect(page.get_by_text("Out of service since")).to_be_visible()


@pytest.fixture
def camera(chromium: Browser, tmp_path: Path) -> Iterator[Browser]:
    """A browser whose camera sees a label."""
    code = Image.open(_png(tmp_path)).convert("RGB")
    scene = Image.new("RGB", (640, 480), "white")
    scene.paste(code, ((640 - code.width) // 2, (480 - code.height) // 2))
    scene.save(tmp_path / "scene.mjpeg", format="JPEG", quality=95)
    flags = (
        "no-sandbox",
        "use-fake-device-for-media-stream",
        "use-fake-ui-for-media-stream",
        f"use-file-for-fake-video-capture={tmp_path / 'scene.mjpeg'}",
    )
    found = os.environ.get("STREAMGAUGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)))
    browser = chromium.browser_type.launch(executable_path=found, args=[f"--{flag}" for flag in flags])
    yield browser
    browser.close()


def _png(folder: Path) -> Path:
    path = folder / "label.png"
    segno.make(LABEL.replace(EUI, SEEN_EUI), error="m").save(str(path), scale=8, border=4)
    return path


def test_one_device_by_the_camera(camera: Browser, web: System, login: Login) -> None:
    page = camera.new_context(base_url=web.http_url, locale="en-GB").new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/login?next=/devices/register/qr")
    page.fill("#name", login.user)
    page.fill("#password", login.password)
    page.click("main form button")
    page.wait_for_url("**/devices/register/qr")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#label")).to_contain_text("The label was read", timeout=20_000)
    expect(page.locator("#dev_eui")).to_have_value(SEEN_EUI)
    assert complaints == []


def test_a_body_of_two_hundred_megabytes_is_refused_early(web: System) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(3_200):
            sent += 65_536
            yield b"x" * 65_536

    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(200 * 2**20)}
    try:
        answer = httpx.post(f"{web.http_url}/devices/register/csv", content=body(), headers=headers, timeout=20)
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # the server has said no and hung up while we were still sending
    assert sent < 100 * 2**20
    assert httpx.get(f"{web.http_url}/health").status_code == 200
