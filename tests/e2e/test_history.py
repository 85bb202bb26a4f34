"""The history page in a real browser: find a station by typing, choose, and take the record away as a file."""

import csv
import re

import pytest

from tests.e2e.conftest import OpenPage
from tests.support.history_rows import add_device, add_readings
from tests.support.system import System

ROWS = 25_000

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def station(web: System) -> str:
    made = add_device(web.engine, "mill", display_name="Mill bridge", time_zone="Asia/Ho_Chi_Minh", datum="MSL")
    add_readings(web.engine, made, ROWS, step_s=60)
    return "mill"


def test_a_record_is_found_narrowed_and_downloaded(open_page: OpenPage, station: str) -> None:
    page = open_page("/history")
    page.fill("#device", "bridge")
    page.wait_for_selector("#stations option[value='mill']", state="attached")
    page.fill("#device", station)
    page.press("#device", "Enter")
    page.wait_for_selector(".station-chip")
    page.wait_for_load_state("networkidle")
    page.select_option("#range", "all")
    page.wait_for_url(re.compile("range=all"))
    page.get_by_text("more than 10").wait_for()
    with page.expect_download() as downloading:
        page.click("#export-form button")
    page.get_by_text("Done: 25").wait_for()
    download = downloading.value
    assert download.suggested_filename.startswith("streamgauge_mill_2026-09-29_")
    lines = [line for line in download.path().read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    assert len(rows) == ROWS
    assert rows[0]["time"] == "2026-09-29T07:00:00+07:00"
    page.select_option("#mark", "suspect")
    page.wait_for_url(re.compile("mark=suspect"))
    page.get_by_text("Suspect: jumped").first.wait_for()
    page.go_back()
    page.wait_for_url(re.compile("range=all"))
