"""Forecasts through real Celery workers that are killed again and again: each instant once, and the record goes on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from streamgauge.live import stream
from streamgauge.queue import ALERTS, FORECAST_TASK, make_producer
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.track import Track
from tests.support.ingest import recorded
from tests.support.system import System, running_system, wait_until

FIRST, HISTORY, STEPS = 2_000, 400, 6
NEWEST = "SELECT max(issued_at) FROM forecasts"


@pytest.mark.slow
def test_workers_that_are_killed_change_nothing_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with running_system(tmp_path, STREAMGAUGE_FORECAST_EVERY_S="60") as system:
        system.worker.start()
        system.subscriber.start()
        producer = make_producer(system.stack.addresses.redis_url)
        send(system, FIRST, HISTORY)
        for number in range(STEPS):
            producer.send_task(FORECAST_TASK, queue=ALERTS)
            if number % 2:
                # Wherever it is: before, within or after its transaction.
                system.worker.kill()
                system.worker.start()
                producer.send_task(FORECAST_TASK, queue=ALERTS)
            newest = recorded()[FIRST + HISTORY - 1 + number][0]
            wait_until(lambda newest=newest: system.scalar(NEWEST) == newest, "no forecast", 60, system.worker.tail)
            send(system, FIRST + HISTORY + number, 1)
        rows = system.rows(
            "SELECT issued_at, count(*) AS horizons FROM forecasts GROUP BY issued_at ORDER BY issued_at"
        )
        expected = [recorded()[FIRST + HISTORY - 1 + number][0] for number in range(STEPS)]
        assert [row.issued_at for row in rows] == expected
        assert {row.horizons for row in rows} == {len(HORIZONS_S)}
        (track,) = system.rows("SELECT through, state, record FROM forecast_tracks")
        assert track.through == expected[-1]
        assert Track.from_bytes(bytes(track.state)).record() == track.record
        told = [
            forecast["issued_at"]
            for event in stream.read_after(
                Redis.from_url(system.stack.addresses.redis_url), stream.START_ID, count=10_000
            )
            for forecast in event.forecasts
        ]
        # A hint: who is killed between commit and publishing has not told; nobody tells twice.
        assert len(told) == len(set(told)) >= STEPS - STEPS // 2


def send(system: System, first: int, count: int) -> None:
    """Readings of the record through the whole path; returns when they are stored."""
    path = system.directory / "part.csv"
    rows = recorded()[first : first + count]
    path.write_text("time,level_m\n" + "".join(f"{moment.isoformat()},{level}\n" for moment, level in rows))
    system.run("-m", "simulator", "replay", str(path), "--device", "creek", "--rate", "max")
    until = rows[-1][0]
    assert until < datetime.now(UTC) - timedelta(days=1)
    wait_until(lambda: system.scalar("SELECT max(time) FROM readings") == until, "not stored")
