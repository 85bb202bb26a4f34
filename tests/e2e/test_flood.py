"""A recorded flood travels from MQTT to the browser: every row, every value, and the floods on the screen."""

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenPage, shot
from tests.support.system import PROJECT, System, running_system, wait_until

pytestmark = pytest.mark.browser

RECORD = PROJECT / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system into which the Dead Run record has been replayed through the whole path."""
    with running_system(tmp_path_factory.mktemp("flood")) as system:
        system.worker.start()
        system.subscriber.start()
        done = system.run("-m", "simulator", "replay", str(RECORD), "--device", "dead-run", "--rate", "max")
        assert json.loads(done.stdout)["stored"] == 8928
        yield system


def test_exactly_the_recorded_rows_with_the_recorded_values_are_stored(system: System) -> None:
    with gzip.open(RECORD, "rt", newline="") as source:
        recorded = {
            datetime.fromisoformat(row["time"]): (float(row["level_m"]), float(row["flow_m3_s"]))
            for row in csv.DictReader(source)
        }
    query = "SELECT time, level_m, flow_m3_s FROM readings JOIN devices ON id = device_id WHERE name = 'dead-run'"
    rows = system.rows(query)
    assert len(rows) == len(recorded) == 8928
    assert {row.time: (row.level_m, row.flow_m3_s) for row in rows} == recorded
    assert not system.rows("SELECT * FROM dead_letters")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_floods_are_on_the_station_page(
    open_page: OpenPage, screenshots: Path, width: str, viewport: dict[str, int], theme: str
) -> None:
    page = open_page("/stations/dead-run", viewport=viewport, color_scheme=theme)
    page.goto("/stations/dead-run?from=2018-06-01T04:00:00Z&to=2018-07-02T04:00:00Z")
    expect(page.locator("#history canvas").first).to_be_visible()
    page.wait_for_timeout(500)
    (screenshots / f"flood-{width}-{theme}.png").write_bytes(shot(page, whole=True))
    assert highest_drawn_level(page) == pytest.approx(1.8806, abs=1e-9), "the flood's peak is not on the chart"


def highest_drawn_level(page: Page) -> float:
    """The highest level among the points that the chart was given: downsampling keeps every peak."""
    return float(
        page.evaluate(
            """() => {
                const [, levels] = JSON.parse(document.getElementById("chart-data").textContent).level;
                return Math.max(...levels.filter((level) => level !== null));
            }"""
        )
    )


def test_a_new_reading_appears_without_a_reload_and_nothing_is_missed_while_the_server_is_away(
    system: System, open_page: OpenPage
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    send(system, now - timedelta(minutes=10), 1.111)
    page = open_page("/stations/live-creek", viewport=DESKTOP, is_expected="WebSocket|ERR_CONNECTION_REFUSED")
    level = page.locator("#head .level")
    expect(level).to_have_text("1.11", timeout=10_000)
    send(system, now - timedelta(minutes=5), 1.234)
    expect(level).to_have_text("1.23", timeout=10_000)

    system.web.kill()
    send(system, now, 1.357)
    system.web.start()
    expect(level).to_have_text("1.36", timeout=30_000)
    page.reload()
    expect(level).to_have_text("1.36")


def send(system: System, moment: datetime, level_m: float) -> None:
    """One reading through the whole path; returns when it is stored."""
    path = system.directory / "one.csv"
    path.write_text(f"time,level_m\n{moment.isoformat()},{level_m}\n")
    system.run("-m", "simulator", "replay", str(path), "--device", "live-creek", "--rate", "max")
    query = "SELECT count(*) FROM readings WHERE level_m = :level"
    wait_until(lambda: system.scalar(query, level=level_m) == 1, "not stored")
