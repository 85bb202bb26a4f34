"""Models and forecasts in a real browser: a run from the form to its report, a model put into use and rolled back; a forecast
that moves with what comes, fades when nothing comes, and says how good it has been.

One module, as each has a running system of its own, and that takes longer than its tests.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from redis import Redis
from sqlalchemy import text

from streamgauge.queue import ALERTS, FORECAST_TASK, make_producer
from streamgauge.reading import Reading
from streamgauge.scoring.shipped import shipped_card
from streamgauge.storage.retrainings import write_retraining
from tests.e2e.conftest import OpenPage
from tests.support import model_pages as rows
from tests.support.ingest import ingest, recorded, services
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
SHIPPED = str(shipped_card()["sha256"])[:8]
DEVICE = "dead-run"
CONTENT = "window.streamgauge.chart.content"
WATCH = """() => {
  window.isStillHere = true;
  window.seen = [];
  const look = () => {
    const run = document.getElementById("run");
    const bar = run?.querySelector("progress");
    window.seen.push([run?.dataset.state, bar ? bar.value / bar.max : 0, document.getElementById("run-told").textContent]);
  };
  look();
  new MutationObserver(look).observe(document.getElementById("main"), { childList: true, subtree: true });
}"""


@pytest.fixture(scope="module")
def water(web: System) -> Iterator[System]:
    """Two stations with some days of a real stream, and two readings each that no stream has."""
    redis = Redis.from_url(web.stack.addresses.redis_url)
    using = services(web.engine, redis)
    now = datetime.now(UTC).replace(microsecond=0)
    shift = now - timedelta(minutes=5) - recorded()[-1][0]
    for device, newest in ((DEVICE, 2_000), ("mill", 1_000)):
        readings = [
            Reading(device=device, time=moment + shift, level_m=level) for moment, level in recorded()[-newest:]
        ]
        for place in (400, 900):
            readings[place] = Reading(device=device, time=readings[place].time, level_m=2.5)
        for first in range(0, len(readings), 512):
            ingest(using, readings[first : first + 512])
    redis.close()
    yield web
    web.batch_worker.stop()


def start_run(page: Page, station: str, span: str) -> None:
    page.goto("/models")
    page.get_by_label("Stations", exact=True).select_option(station)
    page.get_by_label("Which time").select_option(span)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/models/runs/*")


def test_a_run_is_started_from_the_page_followed_and_told_of_and_another_cancelled(
    water: System, open_page: OpenPage
) -> None:
    page = open_page("/models")
    expect(page.get_by_label("From", exact=True)).to_be_hidden()
    start_run(page, "mill", "all")
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_role("status").first).to_contain_text("being cancelled")
    cancelled = page.url
    start_run(page, "", "30d")
    expect(page.locator("#run")).to_have_attribute("data-state", "waiting")
    expect(page.get_by_role("button", name="Cancel this run")).to_be_visible()
    page.evaluate(WATCH)
    water.batch_worker.start()
    expect(page.locator("#run")).to_have_attribute("data-state", "done", timeout=60_000)
    # All of it without a reload; the screen reader was told of it; nothing can be cancelled any more.
    assert page.evaluate("window.isStillHere")
    seen = page.evaluate("window.seen")
    shares = [share for _, share, _ in seen]
    assert shares == sorted(shares)
    assert (seen[0][0], seen[-1][0], shares[-1]) == ("waiting", "done", 1)
    expect(page.locator("#run-told")).to_contain_text("Done. ")
    expect(page.get_by_role("button", name="Cancel this run")).to_have_count(0)
    expect(page.locator("#report")).to_contain_text("Alarms that there would have been")
    alarm = page.locator("#report tbody a").first
    address = str(alarm.get_attribute("href"))
    assert address.startswith("/stations/")
    alarm.click()
    expect(page.locator("#chart canvas").first).to_be_visible()
    page.goto("/models")
    expect(page.locator("#runs tbody tr").first).to_contain_text("Done")
    page.goto(cancelled)
    expect(page.locator("#run")).to_have_attribute("data-state", "cancelled")
    expect(page.locator("#run")).to_contain_text("What was judged until then is kept")


def test_times_of_ones_own_appear_when_asked_for_and_stay_when_wrong(water: System, open_page: OpenPage) -> None:
    page = open_page("/models", is_expected="422")
    page.get_by_label("Which time").select_option("between")
    page.get_by_label("From", exact=True).fill("2026-11-02T10:00")
    page.get_by_label("Until", exact=True).fill("2026-11-01T10:00")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("What you entered is still here")
    expect(page.get_by_label("Until", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Until", exact=True)).to_have_value("2026-11-01T10:00")


def test_a_model_is_put_into_use_and_rolled_back_by_key(water: System, open_page: OpenPage) -> None:
    with water.engine.begin() as connection:
        shipped = rows.add_shipped(connection)
        rows.add_challenger(connection, shipped, "november")
    new = rows.sha256_of("november")[:8]
    page = open_page("/models")
    expect(page.locator("#stations-0")).to_contain_text("The gate lets it pass")
    page.get_by_text(f"Put {new} into use…").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".action:visible")).to_contain_text("From the next reading on, 2 stations are judged")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text(f"{new} is in use now")
    expect(page.locator("#moves tbody tr").first).to_contain_text("officer")
    page.get_by_text(f"Roll back to {SHIPPED}…").click()
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text(f"Rolled back: {SHIPPED} is in use again")
    expect(page.locator("#moves tbody tr").first).to_contain_text("Rolled back")
    with water.engine.connect() as connection:
        audited = connection.execute(text("SELECT actor, action FROM audit_log ORDER BY id DESC LIMIT 2")).all()
    assert [tuple(row) for row in audited] == [("officer", "models.roll_back"), ("officer", "models.promote")]


def test_every_control_has_a_name_and_can_be_reached(water: System, open_page: OpenPage) -> None:
    page = open_page("/models")
    nameless = page.evaluate(
        "[...document.querySelectorAll('main input:not([type=hidden]), main select, main textarea')]"
        ".filter((field) => !field.labels.length).map((field) => field.name)"
    )
    assert nameless == []
    unreachable = page.evaluate(
        "[...document.querySelectorAll('main .overflow-x-auto, main .overflow-auto')]"
        ".filter((box) => box.scrollWidth > box.clientWidth && box.tabIndex < 0).length"
    )
    assert unreachable == 0


def measure(web: System, level_m: float) -> None:
    """A reading now; then the worker issues what is due, as beat asks of it every few seconds."""
    redis = Redis.from_url(web.stack.addresses.redis_url)
    ingest(services(web.engine, redis), [Reading(device=DEVICE, time=datetime.now(UTC), level_m=level_m)])
    redis.close()
    issue(web)


def issue(web: System) -> None:
    """Ask the worker again and again, as beat does, until the station's forecast rests on its newest reading."""
    producer = make_producer(web.stack.addresses.redis_url)
    query = (
        "SELECT (SELECT max(issued_at) FROM forecasts WHERE device_id = devices.id)"
        " = (SELECT max(time) FROM readings WHERE device_id = devices.id) FROM devices WHERE name = :name"
    )

    def is_issued() -> bool:
        producer.send_task(FORECAST_TASK, queue=ALERTS, expires=2.0)
        time.sleep(0.5)
        return bool(web.scalar(query, name=DEVICE))

    wait_until(is_issued, "no forecast was issued", 60.0, web.worker.tail)


def test_band_and_numbers_move_with_live_data(water: System, open_page: OpenPage) -> None:
    issue(water)
    page = open_page(f"/stations/{DEVICE}")
    page.evaluate("window.isStillHere = true")
    expect(page.locator("#in-an-hour")).to_contain_text("90 %")
    expect(page.locator("#forecast tr[data-horizon]")).to_have_count(7)
    before = page.evaluate(CONTENT)
    # "Now" stands in the chart, with six hours of forecast beyond it.
    assert before["ahead"] == 21_600
    assert abs(before["end"] - before["ahead"] - before["forecast"]["issued"]) < 900
    numbers = page.locator("#in-an-hour").inner_text()
    level_m = round(before["forecast"]["points"][0][1] + 0.12, 3)
    measure(water, level_m)
    wait_until(
        lambda: bool(page.evaluate(f"{CONTENT}.forecast.issued > {before['forecast']['issued']}")),
        "the chart has no new forecast",
    )
    expect(page.locator("#in-an-hour")).not_to_have_text(numbers)
    after = page.evaluate(CONTENT)
    assert after["forecast"]["points"][0][1] == level_m
    # What the page says is what is stored; where staying as it is was better, it says so.
    shown = water.rows(
        "SELECT horizon_s, method, expected_m FROM forecasts JOIN devices ON id = device_id WHERE name = :name"
        " AND issued_at = (SELECT max(issued_at) FROM forecasts) ORDER BY horizon_s",
        name=DEVICE,
    )
    assert [round(point[1], 4) for point in after["forecast"]["points"][1:]] == [round(row[2], 4) for row in shown]
    staying = [row for row in shown if row[1] == "persistence"]
    expect(page.locator("#forecast tr[data-method=persistence]")).to_have_count(len(staying))
    expect(page.locator("#staying")).to_have_count(1 if staying else 0)
    # The axis grows where the band leaves it, and never shrinks while one looks.
    assert after["span"][0] <= before["span"][0]
    assert after["span"][1] >= before["span"][1]
    assert page.evaluate("window.isStillHere")
    box = page.locator("#chart .u-over").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + 100)
    expect(page.locator("#readout")).to_contain_text("forecast")
    expect(page.locator("#readout")).to_contain_text("90 %:")


def test_where_staying_as_it_is_was_better_the_page_says_so(water: System, open_page: OpenPage) -> None:
    with water.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE forecasts SET method = CASE WHEN horizon_s <= 900 THEN 'persistence' ELSE 'model' END,"
                " expected_m = CASE WHEN horizon_s <= 900 THEN baseline_m ELSE expected_m END"
            )
        )
        rows.add_record(connection, DEVICE, rows.record())
    page = open_page(f"/stations/{DEVICE}")
    expect(page.locator("#staying")).to_contain_text("5 min, 15 min ahead, the model is not better than")
    hour = page.locator("#record tbody tr").nth(3)
    expect(hour).to_contain_text("1 h")
    expect(hour).to_contain_text("+24 %")
    expect(hour).to_contain_text("1\N{NARROW NO-BREAK SPACE}720")


def test_a_record_fits_its_place_and_a_young_one_says_that_it_is_young(
    water: System, open_page: OpenPage, screenshots: Path
) -> None:
    young = rows.record()
    for row in young["horizons"]:
        row["overall"]["rows"], row["moving"]["rows"] = 81.6, 30.0
    with water.engine.begin() as connection:
        rows.add_record(connection, DEVICE, young)
    page = open_page(f"/stations/{DEVICE}", viewport={"width": 1280, "height": 900})
    lines = page.locator("#record tbody tr")
    expect(lines.nth(1)).not_to_contain_text("too few to judge")
    expect(lines.nth(2)).to_contain_text("too few to judge (82)")
    expect(lines.nth(2)).not_to_contain_text("%")
    assert page.evaluate(
        "(() => { const b = document.querySelector('#record [role=group]'); return b.scrollWidth <= b.clientWidth; })()"
    )
    page.locator("#record").screenshot(path=screenshots / "record-young-1280-en.png")
    with water.engine.begin() as connection:
        rows.add_record(connection, DEVICE, rows.record())
    for language in ("en-GB", "vi-VN"):
        page = open_page(f"/stations/{DEVICE}", language=language, viewport={"width": 390, "height": 844})
        # What matters is seen before anything is pushed aside.
        right = page.evaluate("document.querySelector('#record tbody td:nth-child(4)').getBoundingClientRect().right")
        assert right <= 390
        page.locator("#record").screenshot(path=screenshots / f"record-phone-{language[:2]}.png")


def test_what_came_of_a_training_is_told(water: System, open_page: OpenPage, screenshots: Path) -> None:
    came_to = {"outcome": "too_little", "model_id": None, "detail": "no station has 14 days", "took_s": 0.0}
    with water.engine.begin() as connection:
        write_retraining(connection, by="officer", scope="all stations", came_to=came_to)
    page = open_page("/models", language="vi-VN")
    expect(page.locator("[data-outcome=too_little]")).to_contain_text("chưa đủ số liệu")
    page.locator("#trainings").scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "trainings-vi.png")


def test_a_forecast_of_a_silent_station_fades_and_says_so(water: System, open_page: OpenPage) -> None:
    with water.engine.begin() as connection:
        connection.execute(text("UPDATE forecasts SET issued_at = issued_at - interval '3 hours'"))
        connection.execute(text("DELETE FROM readings WHERE time > now() - interval '3 hours'"))
    page = open_page(f"/stations/{DEVICE}")
    expect(page.locator("#forecast")).to_have_attribute("data-freshness", "old")
    expect(page.locator("#forecast .when-old")).to_contain_text("Out of date: it rests on the reading of")
    expect(page.locator("#in-an-hour")).to_have_count(0)
    # It is told in muted words that can still be read in the sun.
    expect(page.locator("#forecast .ahead-value td").last).to_have_css("color", "rgb(91, 102, 107)")
