"""The station page and the comparison in a real browser: stages, keys, fingers, feet, paper, ten years."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect
from redis import Redis
from sqlalchemy import text

from streamgauge.storage.partitions import make_partitions, month_of
from tests.e2e.conftest import OpenPage
from tests.support import model_pages as rows
from tests.support.ingest import ingest, series, services
from tests.support.system import System, wait_until

pytestmark = pytest.mark.browser
STAGES = [
    {"name": "BĐ I", "level_m": 1.5, "severity": 1},
    {"name": "BĐ II", "level_m": 2.0, "severity": 2},
    {"name": "BĐ III", "level_m": 9.0, "severity": 3},
]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
YEARS_HOURS = 24 * 365 * 3
DRAWN_WITHIN_MS = 8_000
"""From the click to the drawn chart, on a machine that runs other tests too; ``make bench`` measures it by itself."""


@pytest.fixture(scope="module")
def flood(web: System) -> str:
    """A station that rises over its first stage, with forecasts that came true, a correction, and another station."""
    web.empty()
    redis = Redis.from_url(web.stack.addresses.redis_url)
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=30)
    for device, rise in (("elm-1", 0.01), ("elm-2", 0.001)):
        levels = [round(1.0 + rise * step, 3) for step in range(60)]
        ingest(
            services(web.engine, redis),
            series(levels, device=device, start=now - timedelta(minutes=5 * 59), step_s=300),
        )
    # Dense for two days, then silent until just now.
    steps = [1.0 + 0.0001 * (step % 7) for step in range(1_200)]
    ingest(services(web.engine, redis), series(steps, device="elm-3", start=now - timedelta(days=3), step_s=120))
    ingest(services(web.engine, redis), series([1.2], device="elm-3", start=now, step_s=120))
    redis.close()
    with web.engine.begin() as connection:
        connection.execute(
            text("UPDATE readings SET temperature_c = 21.5 FROM devices WHERE device_id = id AND name = 'elm-1'")
        )
        connection.execute(
            text(
                "UPDATE devices SET stages = CAST(:stages AS jsonb), time_zone = 'Asia/Ho_Chi_Minh' WHERE name = 'elm-1'"
            ),
            {"stages": json.dumps(STAGES)},
        )
        for step in range(10, 60):
            at = now - timedelta(minutes=5 * (59 - step))
            rows.add_forecast(connection, "elm-1", at, round(1.0 + 0.01 * step, 3), slope_m_per_h=0.15)
        connection.execute(
            text(
                "INSERT INTO corrections (device_id, quantity, first, last, shift, note, made_by) "
                "SELECT id, 'level_m', CAST(:at AS timestamptz), :at, 0.02, 'a boat', 'duty' FROM devices WHERE name = 'elm-1'"
            ),
            {"at": now - timedelta(minutes=100)},
        )
    return "elm-1"


def until(page: Page, expression: str, wanted: object = True) -> None:
    wait_until(lambda: bool(page.evaluate(expression) == wanted), f"not {wanted}: {expression}")


def drawn(page: Page) -> None:
    until(page, "Boolean(window.streamgauge?.chart)")


def test_the_head_says_how_far_the_next_stage_is(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}", **PHONE)
    drawn(page)
    expect(page.locator("#head .chip-stage-1")).to_have_text("BĐ I")
    expect(page.locator("#next-stage dt")).to_have_text("To BĐ II, 2.00 m")
    assert page.evaluate("window.streamgauge.chart.content.stages.map((stage) => stage.name)") == [
        "BĐ I",
        "BĐ II",
        "BĐ III",
    ]
    expect(page.locator("[data-key=raw]")).to_be_visible()
    expect(page.locator("[data-key=failed]")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_finger_moves_the_crosshair(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}", **PHONE)
    drawn(page)
    over = page.locator("#chart .u-over").first
    over.scroll_into_view_if_needed()
    before = page.locator("#readout").text_content()
    box = over.bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    until(page, f"document.getElementById('readout').textContent !== {json.dumps(before)}")


def test_keys_zoom_move_and_read(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}?range=24h")
    drawn(page)
    page.evaluate("window.isStillHere = true")
    length = "window.streamgauge.chart.content.end - window.streamgauge.chart.content.start"
    chart = page.locator("#chart")
    chart.press("+")
    until(page, length, 12 * 3_600)
    chart.press("-")
    until(page, length, 24 * 3_600)
    start = "Math.floor(window.streamgauge.chart.content.start)"
    before = page.evaluate(start)
    chart.press("ArrowLeft")
    until(page, start, before - 6 * 3_600)
    # Back is out of the last zoom: what was shown before it.
    chart.press("Escape")
    until(page, length, 12 * 3_600)
    chart.press("Shift+ArrowLeft")
    until(page, "document.getElementById('readout').textContent.includes('1.590 m')")
    assert page.evaluate("document.getElementById('readout').ariaLive") == "polite"
    assert page.evaluate("window.isStillHere")


def drag(page: Page, first: float, last: float) -> None:
    """Draw over a part of the chart, given in shares of its width."""
    box = page.locator("#chart .u-over").first.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * first, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * last, y, steps=5)
    page.mouse.up()


@pytest.mark.parametrize("path", ["/stations/elm-1?range=24h", "/compare?device=elm-1&device=elm-2&range=24h"])
def test_one_zoom_is_one_step_of_back(flood: str, open_page: OpenPage, path: str) -> None:
    """Charts that stand below each other follow one selection."""
    page = open_page(f"/stations/{flood}")
    page.goto(path)
    part = "chart" if "stations" in path else "compared?.()"
    both = f"() => window.streamgauge?.{part}?.plots.length > 1"
    page.wait_for_function(both)
    page.locator("#chart").scroll_into_view_if_needed()
    entries = page.evaluate("history.length")
    addresses = [page.url]
    for share in (0.2, 0.3):
        drag(page, share, 0.8)
        page.wait_for_function("before => location.href !== before", arg=addresses[-1])
        page.wait_for_load_state("networkidle")
        addresses.append(page.url)
    assert page.evaluate("history.length") == entries + 2
    for address in reversed(addresses[:-1]):
        page.go_back()
        page.wait_for_url(address)
        page.wait_for_function(both)


def test_a_lone_newest_reading_is_a_dot_at_every_range(flood: str, open_page: OpenPage) -> None:
    page = open_page("/stations/elm-3?range=24h")
    shown = """(() => {
      const [plot] = window.streamgauge.chart.plots;
      const [{ points }, last] = [plot.series[4], plot.data[0].length - 1];
      return points.show(plot, 4, 0, last) || points.filter(plot, 4, false).includes(last);
    })()"""
    for name in ("24 h", "7 d", "30 d", "1 y", "10 y", "All"):
        page.get_by_role("link", name=name, exact=True).click()
        page.wait_for_load_state("networkidle")
        drawn(page)
        assert page.evaluate(shown) is True, name


def test_the_axis_stays_with_the_water_while_one_looks(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}?range=24h")
    drawn(page)
    live = {"time": datetime.now(UTC).isoformat(), "level_m": 3.6, "expected_m": 3.0, "low_m": -20.0, "high_m": 40.0}
    page.evaluate(
        "(reading) => { const c = window.streamgauge.chart; c.add(reading); c.update(); }",
        {**live, "flags": {"level_m": 1}},
    )
    low, high = page.evaluate("window.streamgauge.chart.content.span")
    assert 3.6 < high < 7.0
    assert -2.0 < low < 1.0


def test_a_lost_connection_tells_whose_time_it_is(flood: str, open_page: OpenPage) -> None:
    lose = "(() => { const { live } = window.streamgauge; live.back = () => {}; live.lost(); })()"
    page = open_page(f"/stations/{flood}", timezone_id="America/New_York")
    until(page, "Boolean(window.streamgauge?.live)")
    at = datetime.now(UTC) + timedelta(hours=7)
    page.evaluate(lose)
    expect(page.locator("#connection")).to_contain_text("(Asia/Ho_Chi_Minh)")
    expect(page.locator("#connection")).to_contain_text(re.compile(f"{at:%H:%M}|{at + timedelta(minutes=1):%H:%M}"))
    page.context.add_cookies([{"name": "streamgauge_times", "value": "utc", "url": page.url}])
    page.reload()
    until(page, "Boolean(window.streamgauge?.live)")
    page.evaluate(lose)
    expect(page.locator("#connection")).to_contain_text("(UTC)")


def test_a_free_range_has_an_address_that_everybody_reads_alike(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}")
    page.get_by_text("From … to …").click()
    page.fill("#free-from", "2026-11-20T07:00")
    page.fill("#free-to", "2026-11-20T09:00")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**?from=2026-11-20T00%3A00%3A00.000Z&to=2026-11-20T02%3A00%3A00.000Z")
    page.goto(f"/stations/{flood}?from=2026-11-21T00:00:00Z&to=<b>")
    expect(page.locator("#ignored")).to_contain_text("cannot be read")
    drawn(page)


def test_what_forecasts_were_worth_comes_when_one_looks(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}")
    page.locator("#worth").scroll_into_view_if_needed()
    expect(page.locator("#worth-chart canvas")).to_be_visible()
    page.locator("#worth-panel").get_by_role("link", name="30 min").click()
    expect(page.locator("#worth-said")).to_contain_text("30 min ahead")
    expect(page.locator("#worth-chart canvas")).to_be_visible()
    assert page.url.endswith(f"/stations/{flood}")


def test_a_user_of_feet_sees_feet_on_the_axis(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}")
    page.context.add_cookies([{"name": "streamgauge_units", "value": "feet", "url": page.url}])
    page.reload()
    drawn(page)
    assert page.evaluate("window.streamgauge.chart.content.stages[1].level") == pytest.approx(2.0 / 0.3048)
    expect(page.locator("#readout")).to_contain_text("5.22 ft")
    live = {"time": datetime.now(UTC).isoformat(), "level_m": 1.6, "flags": {"level_m": 1}}
    page.evaluate("(reading) => { const c = window.streamgauge.chart; c.add(reading); c.update(); }", live)
    assert page.evaluate("window.streamgauge.chart.content.level[1].at(-1)") == pytest.approx(1.6 / 0.3048)


def test_paper_is_light_and_everything_fits(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}", color_scheme="dark", viewport={"width": 718, "height": 1_015})
    drawn(page)
    page.emulate_media(media="print", color_scheme="dark")
    until(page, "document.documentElement.dataset.theme", "light")
    expect(page.locator(".ranges")).to_be_hidden()
    expect(page.locator(".print-only")).to_contain_text("printed")
    assert page.locator("#chart").bounding_box()["width"] <= 718  # type: ignore[index]
    page.emulate_media(media="screen", color_scheme="dark")
    until(page, "document.documentElement.dataset.theme ?? ''", "")


def test_stations_are_compared_by_lines_that_need_no_colour(flood: str, open_page: OpenPage) -> None:
    page = open_page(f"/stations/{flood}")
    page.get_by_role("link", name="Compare with others").click()
    page.locator("#find").press_sequentially("elm")
    page.get_by_role("link", name="elm-2").click()
    expect(page.locator("#compare tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Difference from each one's mean").click()
    page.wait_for_url("**as=mean**")
    until(page, "window.streamgauge.compared().plots.length", 1)
    dashes = page.evaluate(
        "window.streamgauge.compared().plots[0].series.slice(1).map((one) => [one.dash.length, one.width].join())"
    )
    assert len(set(dashes)) == 2
    page.get_by_role("link", name="Each on its own axis").click()
    until(page, "window.streamgauge.compared().plots.length", 2)


def test_years_are_drawn_with_their_peak(web: System, flood: str, open_page: OpenPage) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=YEARS_HOURS)
    with web.engine.begin() as connection:
        make_partitions(
            connection, {month_of(start + timedelta(days=day)) for day in range(0, YEARS_HOURS // 24 + 1, 10)}
        )
        connection.execute(
            text(
                "INSERT INTO readings (device_id, time, level_m, flags, received_at) "
                "SELECT devices.id, time, CASE WHEN time = :peak THEN 7.5 ELSE 1.0 END, '{}', time FROM devices, "
                "generate_series(CAST(:start AS timestamptz), :start + make_interval(hours => :hours), '1 hour') AS made(time) "
                "WHERE name = 'elm-2' ON CONFLICT DO NOTHING"
            ),
            {"start": start, "peak": start + timedelta(hours=12_345), "hours": YEARS_HOURS - 10},
        )
    page = open_page("/stations/elm-2")
    drawn(page)
    page.evaluate("performance.clearMarks(); window.clickedAt = performance.now()")
    page.get_by_role("link", name="10 y", exact=True).click()
    until(page, "performance.getEntriesByName('streamgauge:drawn').length > 0")
    assert (
        page.evaluate("performance.getEntriesByName('streamgauge:drawn')[0].startTime - window.clickedAt")
        < DRAWN_WITHIN_MS
    )
    peak = "(() => { const [t, l] = window.streamgauge.chart.content.level; return t[l.indexOf(7.5)]; })()"
    assert page.evaluate(peak) == (start + timedelta(hours=12_345)).timestamp()
