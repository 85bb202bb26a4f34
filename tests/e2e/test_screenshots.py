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
from tests.support.ingest import ingest, recorded, services
from tests.support.system import System

pytestmark = pytest.mark.browser
SIZES = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
DAYS = 3


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
    yield web
    redis.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize(("name", "path"), [("overview", "/"), ("station", "/stations/dead-run"), ("login", "/login")])
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
    if name == "station":
        expect(page.locator("#chart canvas").first).to_be_visible()
    # Nothing may be wider than the screen, or one would have to push the page about.
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    page.screenshot(path=screenshots / f"{name}-{size}-{theme}-{language}.png")
