"""A reading that comes into a corrected stretch while somebody looks is drawn as it counts."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from streamgauge.storage.correcting import Change, make_correction
from tests.e2e.conftest import OpenPage
from tests.e2e.test_pages_live import POINTS, send, token, until
from tests.support.system import System

__all__ = ["token"]

pytestmark = pytest.mark.browser
NEWEST = "() => window.streamgauge.chart.content.level[1].filter((level) => level !== null).at(-1)"
RAW = "() => window.streamgauge.chart.content.raw.map(([time, level]) => level)"
MARKS = "() => window.streamgauge.chart.content.marks.map((mark) => mark.flag)"


def test_a_live_reading_in_a_corrected_stretch(web: System, token: str, open_page: OpenPage) -> None:
    now = datetime.now(UTC)
    send(web, token, [1.0] * 10, device="held-01", end=now - timedelta(minutes=3))
    with web.engine.begin() as connection:
        device_id = connection.execute(text("SELECT id FROM devices WHERE name = 'held-01'")).scalar_one()
        change = Change(
            quantity="level_m",
            first=now - timedelta(minutes=2),
            last=now + timedelta(hours=1),
            flag=3,
            value=None,
            shift=-8.0,
            note="Ice",
        )
        make_correction(connection, device_id=device_id, device="held-01", change=change, actor="duty")
    page = open_page("/stations/held-01")
    assert page.evaluate(POINTS) == 10
    assert page.evaluate(RAW) == []
    send(web, token, [9.25], device="held-01")
    until(page, POINTS, 11)
    assert page.evaluate(NEWEST) == 1.25
    assert page.evaluate(RAW) == [9.25]
    assert page.evaluate(MARKS) == ["suspect"]
    expect(page.locator("#head .level")).to_have_text("1.25")
    expect(page.locator("#readings tbody tr").first.locator("td.value").first).to_have_text("9.250 1.250")
    page.reload()
    assert page.evaluate(NEWEST) == 1.25
    assert page.evaluate(RAW) == [9.25]
