"""Forecasts issued at a station's own pace from a real Postgres, published to a real Redis."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from streamgauge import metrics
from streamgauge.live import stream
from streamgauge.quality.check import check_levels
from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.scoring.forecast.horizons import HORIZONS_S
from streamgauge.scoring.forecast.issue import replay
from streamgauge.storage.devices import register_devices
from streamgauge.storage.forecasts import forecast_record, lock_forecasts, newest_forecast
from streamgauge.storage.partitions import make_partitions, month_of
from tasks.forecast import main, tick
from tasks.pipeline import Services
from tests.support.ingest import recorded, services

EVERY = timedelta(seconds=60)
STEP = timedelta(minutes=5)
TIMES, LEVELS = (np.array(column) for column in zip(*recorded(), strict=True))
FIRST = 2_000
"""The row of the record at which the tests' water begins; a flood follows."""
_INSERT = text("""
INSERT INTO readings (device_id, time, level_m, rainfall_mm, flags, reasons, extra, received_at)
VALUES (:device_id, :time, :level_m, :rainfall_mm, CAST(:flags AS jsonb), CAST(:reasons AS jsonb), CAST(:extra AS jsonb), :time)
""")


@pytest.fixture
def using(engine: Engine, redis: Redis) -> Services:
    with engine.begin() as connection:
        register_devices(connection, ["creek", "mast"])
        make_partitions(connection, {month_of(moment) for moment in TIMES[::1_000]})
    return services(engine, redis)


def insert(using: Services, rows: Sequence[tuple[datetime, float | None]], device_id: int = 1, **others: Any) -> None:
    values = {"flags": '{"level_m": 1}', "reasons": None, "extra": None, "rainfall_mm": None} | others
    with using.engine.begin() as connection:
        connection.execute(
            _INSERT, [{"device_id": device_id, "time": moment, "level_m": level, **values} for moment, level in rows]
        )


def water(first: int, count: int) -> list[tuple[datetime, float]]:
    return list(zip(TIMES[first : first + count].tolist(), LEVELS[first : first + count].tolist(), strict=True))


def rows(using: Services, query: str) -> list[Any]:
    with using.engine.connect() as connection:
        return list(connection.execute(text(query)).all())


def issued(using: Services) -> list[datetime]:
    return [row.issued_at for row in rows(using, "SELECT DISTINCT issued_at FROM forecasts ORDER BY issued_at")]


def resolved(using: Services, horizon: int = 0) -> float:
    """How many outcomes the record of the station rests on."""
    with using.engine.connect() as connection:
        record = forecast_record(connection, 1)
    assert record is not None
    return float(record.record["horizons"][horizon]["overall"]["rows"])


def test_a_station_begins_with_its_history_and_goes_on_at_its_pace(using: Services) -> None:
    insert(using, water(FIRST, 600))
    assert tick(using, EVERY) == 1
    assert tick(using, EVERY) == 0
    newest = TIMES[FIRST + 599]
    with using.engine.connect() as connection:
        issue = newest_forecast(connection, 1)
    assert issue is not None
    assert (issue.issued_at, issue.baseline_m) == (newest, LEVELS[FIRST + 599])
    assert tuple(horizon.horizon_s for horizon in issue.horizons) == HORIZONS_S
    assert all(horizon.low_m <= horizon.expected_m <= horizon.high_m for horizon in issue.horizons)
    assert resolved(using) > 500, "the record of the stored history is there at once"

    before = resolved(using)
    insert(using, water(FIRST + 600, 2))
    assert tick(using, EVERY) == 1, "one forecast for all that came"
    assert issued(using) == [newest, TIMES[FIRST + 601]]
    assert before < resolved(using) <= before + 2

    events = stream.read_after(using.redis, stream.START_ID)
    assert [len(event.forecasts) for event in events] == [1, 1]
    told = events[-1].forecasts[0]
    assert told["device"] == "creek"
    assert datetime.fromisoformat(told["issued_at"]) == TIMES[FIRST + 601]
    assert [horizon["horizon_s"] for horizon in told["horizons"]] == list(HORIZONS_S)


def test_what_is_issued_live_equals_what_replay_says(using: Services) -> None:
    rows_before, live = 200, 12
    insert(using, water(FIRST, rows_before))
    tick(using, EVERY)
    for number in range(live):
        insert(using, water(FIRST + rows_before + number, 1))
        assert tick(using, EVERY) == 1
    part = slice(FIRST, FIRST + rows_before + live)
    time_us = np.array([to_microseconds(moment) for moment in TIMES[part]])
    checked = check_levels(np.zeros(len(time_us), dtype=np.int64), time_us, LEVELS[part])
    whole = replay(using.model.forecast, time_us, LEVELS[part], checked)
    stored = rows(using, "SELECT * FROM forecasts ORDER BY issued_at, horizon_s")
    chosen = whole.rows[-live - 1 :]
    assert [row.issued_at for row in stored[:: len(HORIZONS_S)]] == [
        from_microseconds(moment) for moment in time_us[chosen].tolist()
    ]
    for name in ("expected_m", "low_m", "high_m"):
        live_values = np.array([getattr(row, name) for row in stored]).reshape(-1, len(HORIZONS_S))
        np.testing.assert_array_equal(live_values, getattr(whole, name)[-live - 1 :])


def test_after_a_backlog_there_is_one_forecast_and_the_outcomes_between_are_known(using: Services) -> None:
    insert(using, water(FIRST, 300))
    tick(using, EVERY)
    before = [resolved(using, place) for place in range(len(HORIZONS_S))]
    insert(using, water(FIRST + 300, 900))
    assert tick(using, EVERY) == 1, "three days later"
    after = [resolved(using, place) for place in range(len(HORIZONS_S))]
    # What waited for its outcome: the forecasts of the last five minutes … six hours.
    gained = [late - early for early, late in zip(before, after, strict=True)]
    assert gained[0] >= 0.9
    assert gained[-1] > 60
    assert len(issued(using)) == 2


def test_a_sensor_that_reports_each_minute_gets_fresh_forecasts_that_replace_each_other(using: Services) -> None:
    insert(using, water(FIRST, 100))
    tick(using, EVERY)
    start, level = water(FIRST + 99, 1)[0]
    for minute in range(1, 12):
        insert(using, [(start + timedelta(minutes=minute), level + 0.01 * minute)])
        assert tick(using, EVERY) == 1
    minutes = [(moment - start).total_seconds() / 60 for moment in issued(using)]
    assert minutes == [0, 5, 10, 11]
    assert len(stream.read_after(using.redis, stream.START_ID)) == 12, "the page saw all of them"


def test_issuing_again_changes_nothing(using: Services) -> None:
    insert(using, water(FIRST, 300))
    tick(using, EVERY)
    before = rows(using, "SELECT * FROM forecasts ORDER BY horizon_s")
    with using.engine.begin() as connection:
        connection.execute(text("DELETE FROM forecast_tracks"))
    tick(using, EVERY)
    assert rows(using, "SELECT * FROM forecasts ORDER BY horizon_s") == before


def test_a_batch_that_cannot_be_written_changes_nothing_and_is_done_later(using: Services) -> None:
    insert(using, water(FIRST, 300))
    tick(using, EVERY)
    insert(using, water(FIRST + 300, 1))
    before = rows(using, "SELECT device_id, through, state FROM forecast_tracks")
    with using.engine.begin() as connection:
        connection.execute(
            text("ALTER TABLE forecasts ADD CONSTRAINT refuse CHECK (issued_at < '2000-01-01') NOT VALID")
        )
    try:
        with pytest.raises(DBAPIError):
            tick(using, EVERY)
    finally:
        with using.engine.begin() as connection:
            connection.execute(text("ALTER TABLE forecasts DROP CONSTRAINT refuse"))
    assert rows(using, "SELECT device_id, through, state FROM forecast_tracks") == before
    assert len(issued(using)) == 1
    assert tick(using, EVERY) == 1


def test_two_workers_never_issue_the_same(using: Services) -> None:
    insert(using, water(FIRST, 300))
    with using.engine.begin() as other:
        assert lock_forecasts(other)
        assert tick(using, EVERY) == 0
    assert tick(using, EVERY) == 1


def test_a_damaged_track_begins_anew_is_counted_and_told(using: Services, caplog: pytest.LogCaptureFixture) -> None:
    insert(using, water(FIRST, 300))
    tick(using, EVERY)
    with using.engine.begin() as connection:
        connection.execute(text("UPDATE forecast_tracks SET state = substring(state for 1000)"))
    insert(using, water(FIRST + 300, 1))
    counter = metrics.FORECAST_PROBLEMS.labels(problem="track_damaged")
    before = counter._value.get()
    with caplog.at_level(logging.ERROR):
        assert tick(using, EVERY) == 1
    assert counter._value.get() == before + 1
    assert "track begun anew" in caplog.text
    assert resolved(using) == 0
    insert(using, water(FIRST + 301, 1))
    assert tick(using, EVERY) == 1
    assert resolved(using) > 200, "when there is time, from the stored history"
    assert counter._value.get() == before + 1


def test_where_there_is_no_time_to_begin_there_is_a_forecast_all_the_same(
    using: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(using, water(FIRST, 300))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.forecast.START_BUDGET_S", -1.0)
        assert tick(using, EVERY) == 1
        insert(using, water(FIRST + 300, 2))
        assert tick(using, EVERY) == 1
        assert resolved(using) == 1
    insert(using, water(FIRST + 302, 1))
    assert tick(using, EVERY) == 1
    assert resolved(using) > 200


def test_another_model_begins_anew_on_the_stored_history(using: Services) -> None:
    insert(using, water(FIRST, 300))
    tick(using, EVERY)
    with using.engine.begin() as connection:
        connection.execute(text("UPDATE forecast_tracks SET model_id = 999"))
    insert(using, water(FIRST + 300, 1))
    assert tick(using, EVERY) == 1
    own = rows(using, "SELECT model_id FROM forecast_tracks")
    assert own == rows(using, "SELECT id FROM models") == [(1,)]
    assert resolved(using) > 200


@pytest.mark.parametrize(
    "others",
    [
        {"flags": '{"level_m": 4}'},
        {"flags": '{"level_m": 3}', "reasons": '{"level_m": {"check": "rate_of_change"}}'},
        {"flags": '{"level_m": 3}', "reasons": '{"level_m": {"check": "flat_line"}}'},
        {"extra": '{"simulated": 1}'},
    ],
)
def test_no_forecast_rests_on_a_reading_that_is_not_to_be_trusted(using: Services, others: dict[str, Any]) -> None:
    insert(using, water(FIRST, 100))
    tick(using, EVERY)
    insert(using, [(TIMES[FIRST + 100], 9.0)], **others)
    assert tick(using, EVERY) == 0
    assert tick(using, EVERY) == 0
    insert(using, water(FIRST + 101, 1))
    assert tick(using, EVERY) == 1
    assert issued(using) == [TIMES[FIRST + 99], TIMES[FIRST + 101]]


def test_a_flood_beyond_what_the_site_ever_had_is_still_forecast(using: Services) -> None:
    insert(using, water(FIRST, 100))
    tick(using, EVERY)
    reasons = '{"level_m": {"check": "site_range"}}'
    insert(using, water(FIRST + 100, 1), flags='{"level_m": 3}', reasons=reasons)
    assert tick(using, EVERY) == 1


def test_stations_without_levels_with_one_or_with_equal_ones_stop_nobody(using: Services) -> None:
    insert(using, [(TIMES[FIRST], None)], device_id=2, rainfall_mm=0.2, flags='{"rainfall_mm": 1}')
    insert(using, water(FIRST, 1))
    assert tick(using, EVERY) == 0
    insert(using, [(moment, 1.0) for moment, _ in water(FIRST + 1, 100)])
    insert(using, [(TIMES[FIRST + 1], None)], device_id=2, rainfall_mm=0.2, flags='{"rainfall_mm": 1}')
    assert tick(using, EVERY) == 1
    with using.engine.connect() as connection:
        issue = newest_forecast(connection, 1)
    assert issue is not None
    assert all(horizon.low_m <= 1.0 <= horizon.high_m for horizon in issue.horizons)


@pytest.mark.parametrize(
    "settings",
    [
        '{"rainfall": "mast", "upstream": ["creek", "nobody"]}',
        '{"rainfall": ["mast"], "upstream": 3, "spike_m": 1}',
        '["mast"]',
    ],
    ids=["named", "malformed", "no object"],
)
def test_rain_and_stations_beside_it_are_read_where_they_are_named(using: Services, settings: str) -> None:
    with using.engine.begin() as connection:
        connection.execute(
            text("UPDATE devices SET quality = CAST(:settings AS jsonb) WHERE id = 1"), {"settings": settings}
        )
    insert(using, [(moment, None) for moment, _ in water(FIRST, 100)], 2, rainfall_mm=0.2, flags='{"rainfall_mm": 1}')
    insert(using, water(FIRST, 100))
    assert tick(using, EVERY) == 1


def test_a_record_of_years_ago_gets_forecasts_and_a_silent_station_gets_no_new_one(using: Services) -> None:
    insert(using, water(FIRST, 100))
    assert tick(using, EVERY) == 1
    with using.engine.connect() as connection:
        issue = newest_forecast(connection, 1)
    assert issue is not None
    assert issue.is_expired(datetime.now(UTC))
    assert tick(using, EVERY) == 0


def test_imported_history_counts_when_a_station_is_begun_anew(
    using: Services,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    insert(using, water(FIRST + 300, 30))
    tick(using, EVERY)
    insert(using, water(FIRST, 300))
    assert tick(using, EVERY) == 0
    assert resolved(using) < 30
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", database_url)
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", redis_url)
    main(["--device", "creek"])
    assert '"stations":1' in capsys.readouterr().out
    assert resolved(using) > 200
    with pytest.raises(SystemExit, match="mast"):
        main(["--device", "creek", "--device", "mast"])
