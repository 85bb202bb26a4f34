"""Pictures of every page as people see them; ``make screenshots`` keeps them in docs/screenshots."""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect
from redis import Redis
from sqlalchemy import text

from streamgauge.reading import Reading
from tests.e2e.conftest import OpenPage
from tests.support import model_pages as rows
from tests.support.ingest import ingest, recorded, services
from tests.support.system import System

pytestmark = pytest.mark.browser
SIZES = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
DAYS = 3
WHOLE = {("light", "en"), ("dark", "vi")}
"""Themes and languages in which long pages are pictured as a whole."""


def find_flood_end() -> float:
    """Day of the record's steepest hour, a little into it: where a station rises fast."""
    first = recorded()[0][0]
    levels = recorded()
    best = max(range(12, len(levels)), key=lambda place: levels[place][1] - levels[place - 6][1])
    return (levels[best][0] - first).total_seconds() / 86_400


STATIONS: dict[str, tuple[str, float | None]] = {
    "dead-run": ("Dead Run at Franklintown", find_flood_end()),
    "dead-run-upper": ("Dead Run, upper gauge", 12.0),
    "gwynns-falls": ("Gwynns Falls", 20.6),
    "mill-brook": ("Mill Brook weir", 26.2),
    "long-bien": ("Cầu Long Biên", None),
    "harbour": ("Harbour tide gauge", None),
}


def shifted(device: str, end_day: float, now: datetime) -> list[Reading]:
    """Some days of the Dead Run record, the last reading now; ``end_day`` counts from the record's begin."""
    first = recorded()[0][0]
    end = first + timedelta(days=end_day)
    return [
        Reading(device=device, time=time + (now - end), level_m=level)
        for time, level in recorded()
        if end - timedelta(days=DAYS) <= time <= end
    ]


def tide(device: str, base_m: float, now: datetime) -> list[Reading]:
    """A tide with a little noise."""
    chance = random.Random(device)
    times = [now - timedelta(minutes=5 * step) for step in range(DAYS * 288)]
    return [
        Reading(
            device=device,
            time=time,
            level_m=round(
                base_m + 0.25 * math.sin(time.timestamp() / 44_700 * 2 * math.pi) + chance.gauss(0, 0.004), 3
            ),
            temperature_c=round(18 + 2 * math.sin(time.timestamp() / 86_400 * 2 * math.pi) + chance.gauss(0, 0.05), 2),
        )
        for time in reversed(times)
    ]


@pytest.fixture(scope="module")
def water(web: System) -> Iterator[System]:
    """Stations in every state: a flood that rises, one that has fallen silent, one with a spike, tides."""
    web.empty()
    redis = Redis.from_url(web.stack.addresses.redis_url)
    using, now = services(web.engine, redis), datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=40)
    for device, (_, end_day) in STATIONS.items():
        end = now - timedelta(hours=5) if device == "mill-brook" else now
        readings = (
            tide(device, 4.2 if device == "long-bien" else 1.9, end)
            if end_day is None
            else shifted(device, end_day, end)
        )
        if device == "harbour":
            broken = readings[-1]
            readings[-1] = Reading(
                device=device, time=broken.time, level_m=(broken.level_m or 0) + 0.9, temperature_c=18.4
            )
        for first in range(0, len(readings), 500):
            ingest(using, readings[first : first + 500])
    with web.engine.begin() as connection:
        for device, (title, _) in STATIONS.items():
            connection.execute(
                text("UPDATE devices SET display_name = :title WHERE name = :device"),
                {"title": title, "device": device},
            )
        connection.execute(
            text("UPDATE devices SET time_zone = 'Asia/Ho_Chi_Minh', datum = 'VN-2000' WHERE name = 'long-bien'")
        )
    tell_of_models(web, now)
    yield web
    redis.close()


def tell_of_models(web: System, now: datetime) -> None:
    """Forecasts with their record, a challenger that passed, runs, drift."""
    with web.engine.begin() as connection:
        connection.execute(text("TRUNCATE forecasts, forecast_tracks, drift_reports, rescore_runs, rescore_chunks"))
        shipped = rows.add_shipped(connection)
        rows.add_challenger(connection, shipped, "november")
        newest = text(
            "SELECT time, level_m FROM readings JOIN devices ON devices.id = device_id WHERE name = :name "
            "ORDER BY time DESC LIMIT 1"
        )
        for device, slope in (("dead-run", 0.55), ("gwynns-falls", 0.02), ("mill-brook", 0.1), ("long-bien", -0.2)):
            time, level_m = connection.execute(newest, {"name": device}).one()
            rows.add_forecast(connection, device, time, level_m, slope_m_per_h=slope, staying=(300, 900))
            rows.add_record(connection, device, rows.record(), shipped)
            rows.add_drift(connection, device, "steady")
        rows.add_drift(connection, "harbour", "changed", ["spread", "flagged_share"])
        rows.add_drift(connection, "dead-run-upper", "unknown", ["short_history"])
        rows.add_run(connection, "done", done=4, report=rows.report("dead-run"))
        rows.add_run(connection, "running", done=2, chunks=5)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("overview", "/"),
        ("station", "/stations/dead-run"),
        ("station-fault", "/stations/harbour"),
        ("login", "/login"),
        ("models", "/models"),
        ("model", "/models/1"),
        ("run", "/models/runs/1"),
    ],
)
def test_page(
    water: System, open_page: OpenPage, screenshots: Path, name: str, path: str, size: str, theme: str, language: str
) -> None:
    locale = {"en": "en-GB", "vi": "vi-VN"}[language]
    page = open_page("/", language=locale, viewport=SIZES[size], color_scheme=theme)
    if name == "login":
        page.context.clear_cookies()
    page.goto(path)
    if name == "overview":
        expect(page.locator(".card")).to_have_count(len(STATIONS))
    if name.startswith("station"):
        expect(page.locator("#chart canvas").first).to_be_visible()
    # Nothing may be wider than the screen, or one would have to push the page about.
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    # These pages are read from top to bottom; the others are looked at.
    is_long = name in {"models", "model", "run", "station"} and (theme, language) in WHOLE
    page.screenshot(path=screenshots / f"{name}-{size}-{theme}-{language}.png", full_page=is_long)
