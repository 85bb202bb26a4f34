"""Ten years of a station that are rolled up, through the page: every peak at its exact time, and what changes afterwards."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.reading import Reading
from streamgauge.storage.partitions import make_partitions, month_of
from streamgauge.storage.rollup import Step, advance, count_pending, roll_up_marked
from tests.support.ingest import ingest, services
from tests.support.pages import make_app, send, sign_in

NOW = datetime.now(UTC)
STEP = timedelta(hours=6)
READINGS = 10 * 1_461
SPACING = timedelta(days=8)
"""Longer than a bin of ten years (five days): two peaks never share one."""

_FILL = text("""
INSERT INTO readings (device_id, time, level_m, temperature_c, rainfall_mm, flags, received_at)
SELECT :id, time, 2.0 + 0.1 * sin(extract(epoch FROM time) / 40000), 8.0, 0, '{"level_m": 1}', time
FROM unnest(CAST(:times AS timestamptz[])) AS made(time)
""")
_PEAKS = text("""
INSERT INTO readings (device_id, time, level_m, flags, received_at)
SELECT :id, time, level, '{"level_m": 1}', time
FROM unnest(CAST(:times AS timestamptz[]), CAST(:levels AS float8[])) AS made(time, level)
""")


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def peaks(app: Flask, engine: Engine, redis: Redis) -> dict[float, float]:
    """Highs and lows of ten years of the station ``weir``, level by time in seconds; all else is calm, and rolled up."""
    ingest(services(engine, redis), [Reading(device="weir", time=NOW, level_m=2.0)])
    random = np.random.default_rng(5)
    times = [NOW - number * STEP for number in range(1, READINGS)]
    count = int((times[0] - times[-1]) / SPACING) - 1
    at = [
        times[-1] + number * SPACING + timedelta(milliseconds=int(random.integers(1, 2 * 86_400_000)))
        for number in range(1, count)
    ]
    levels = [
        round(2.0 + (3.0 if number % 2 else -1.5) * float(random.uniform(0.5, 1)), 3) for number in range(len(at))
    ]
    with engine.begin() as connection:
        make_partitions(connection, {month_of(time) for time in times})
        values = {"id": connection.execute(text("SELECT id FROM devices")).scalar_one()}
        connection.execute(_FILL, values | {"times": times})
        connection.execute(_PEAKS, values | {"times": at, "levels": levels})
    roll_all(engine)
    return {time.timestamp(): level for time, level in zip(at, levels, strict=True)}


def roll_all(engine: Engine) -> None:
    for step, most in ((advance, 744), (roll_up_marked, 5_000)):
        made: Step | None = Step(readings=0, hours=0, through=None, fits=0)
        while made is not None:
            with engine.begin() as connection:
                made = step(connection, most)


def drawn(app: Flask) -> dict[float, float]:
    """The level's points on the station's chart of ten years, by time."""
    page = sign_in(app, "guest").get("/stations/weir?range=10y").text
    found = re.search(r'id="chart-data">(.*?)</script>', page, re.DOTALL)
    assert found
    times, levels = json.loads(found[1])["level"][:2]
    assert len(times) <= 1_800
    return dict(zip(times, levels, strict=True))


def missing(wanted: dict[float, float], line: dict[float, float]) -> list[tuple[float, float]]:
    return [(time, level) for time, level in wanted.items() if line.get(round(time, 3)) != level]


def test_ten_years_that_are_rolled_up_keep_every_peak_at_its_time(
    app: Flask, engine: Engine, redis: Redis, peaks: dict[float, float]
) -> None:
    assert len(peaks) > 440
    with engine.begin() as connection:
        # Nothing but the roll-up knows of these: what the chart shows of them does not come from the readings.
        hidden = {"first": NOW - timedelta(days=2_000), "last": NOW - timedelta(days=1_600)}
        connection.execute(text("DELETE FROM readings WHERE time BETWEEN :first AND :last"), hidden)
    assert missing(peaks, drawn(app)) == []


def test_what_changes_shows_before_it_is_rolled_up_and_afterwards(
    app: Flask, engine: Engine, redis: Redis, peaks: dict[float, float]
) -> None:
    late = (NOW - timedelta(days=2_345)).replace(hour=13, minute=7, second=11, microsecond=0)
    corrected, highest = max(peaks.items(), key=lambda item: item[1])
    minute = datetime.fromtimestamp(corrected, UTC).strftime("%Y-%m-%dT%H:%M")
    ingest(services(engine, redis), [Reading(device="weir", time=late, level_m=8.765)])
    form = {
        "quantity": "level_m",
        "first": minute,
        "last": minute,
        "flag": "",
        "how": "shift",
        "amount": "4",
        "note": "?",
    }
    assert send(sign_in(app, "duty"), "/stations/weir/corrections", apply="1", **form).status_code == 303
    wanted = peaks | {late.timestamp(): 8.765, corrected: round(highest + 4, 4)}
    near = [time for time in wanted if 0 < abs(time - late.timestamp()) < SPACING.total_seconds()]
    for time in near:
        # The highest of a bin hides a lower high beside it.
        del wanted[time]
    for is_rolled_up in (False, True):
        with engine.connect() as connection:
            assert (count_pending(connection, 1) == 0) is is_rolled_up
        assert missing(wanted, drawn(app)) == []
        roll_all(engine)
