"""Which stations are due for a forecast, and what is read of them, on a real Postgres."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from streamgauge.reading import to_microseconds
from streamgauge.storage.devices import register_devices
from streamgauge.storage.forecast_windows import due_stations, find_ids, read_rows
from streamgauge.storage.forecasts import StoredTrack, forecast_record, lock_forecasts, mark_seen, write_tracks
from streamgauge.storage.partitions import make_partitions

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

_FILL = text("""
INSERT INTO readings (device_id, time, level_m, rainfall_mm, flags, extra, received_at)
SELECT :device_id, moment, CASE WHEN :quantity = 'level_m' THEN 1 + 0.001 * n END,
       CASE WHEN :quantity = 'rainfall_mm' THEN 0.2 END, jsonb_build_object(CAST(:quantity AS text), CAST(:flag AS integer)),
       CAST(:extra AS jsonb), moment
FROM generate_series(CAST(:first AS timestamptz), CAST(:last AS timestamptz), :step) WITH ORDINALITY AS series(moment, n)
""")


@pytest.fixture
def connection(engine: Engine):
    with engine.begin() as connection:
        register_devices(connection, ["creek", "mast", "silent"])
        make_partitions(connection, {datetime(2026, month, 1, tzinfo=UTC) for month in (9, 10, 11)})
    with engine.connect() as connection, connection.begin():
        yield connection


def fill(
    connection: Connection, device_id: int, first: datetime, last: datetime, step: timedelta, **others: object
) -> None:
    values = {"quantity": "level_m", "flag": 1, "extra": None} | others
    connection.execute(_FILL, {"device_id": device_id, "first": first, "last": last, "step": step, **values})


def due(connection: Connection, every: timedelta = MINUTE) -> list[tuple[str, datetime]]:
    return [(station.device.name, station.newest) for station in due_stations(connection, every, 10)]


def test_a_station_is_due_when_its_newest_reading_is_so_much_newer(connection: Connection) -> None:
    fill(connection, 1, NOW - 60 * MINUTE, NOW, 5 * MINUTE)
    assert due(connection) == [("creek", NOW)]
    track = StoredTrack(device_id=1, model_id=1, through=NOW, state=b"state")
    write_tracks(connection, [(track, {"horizons": []})])
    assert due(connection) == []
    fill(connection, 1, NOW + 2 * MINUTE, NOW + 2 * MINUTE, MINUTE)
    assert due(connection, 3 * MINUTE) == []
    assert due(connection, 2 * MINUTE) == [("creek", NOW + 2 * MINUTE)]
    connection.execute(text("UPDATE devices SET decommissioned_at = now()"))
    assert due(connection) == []


def test_a_station_whose_readings_tell_nothing_of_the_level_is_asked_once_per_reading(connection: Connection) -> None:
    fill(connection, 2, NOW - 60 * MINUTE, NOW, 5 * MINUTE, quantity="rainfall_mm")
    assert due(connection) == [("mast", NOW)]
    mark_seen(connection, {2: NOW})
    mark_seen(connection, {2: NOW - MINUTE})
    assert due(connection) == []
    assert forecast_record(connection, 2) is None, "what has been seen is no record of forecasts"


def test_rows_are_the_newest_sound_or_not_without_simulated_ones(connection: Connection) -> None:
    fill(connection, 1, NOW - 60 * MINUTE, NOW - 5 * MINUTE, 5 * MINUTE)
    fill(connection, 1, NOW, NOW, MINUTE, flag=4)
    fill(connection, 1, NOW - 2 * MINUTE, NOW - 2 * MINUTE, MINUTE, extra='{"simulated": 1}')
    fill(connection, 2, NOW - 60 * MINUTE, NOW, 5 * MINUTE, quantity="rainfall_mm", flag=4)
    found = read_rows(connection, {1: NOW, 2: NOW, 3: NOW}, reach=timedelta(minutes=30), most=1_000)
    creek, mast, silent = (found[number] for number in (1, 2, 3))
    assert creek.time_us.tolist() == [to_microseconds(NOW - place * 5 * MINUTE) for place in range(6, -1, -1)]
    assert creek.flag.tolist() == [1] * 6 + [4]
    assert np.isnan(creek.others["rainfall_mm"]).all()
    assert np.isnan(mast.others["rainfall_mm"]).all(), "what failed its check is no rain"
    assert np.isnan(mast.level_m).all()
    assert set(mast.flag.tolist()) == {9}
    assert len(silent.time_us) == 0
    assert len(creek.until(3).time_us) == 3


def test_of_a_sensor_that_reports_very_often_the_past_is_told_by_five_minutes(connection: Connection) -> None:
    step = timedelta(seconds=10)
    fill(connection, 1, NOW - timedelta(hours=3), NOW, step)
    fill(connection, 2, NOW - timedelta(hours=3), NOW, 5 * MINUTE)
    found = read_rows(connection, {1: NOW, 2: NOW}, reach=timedelta(hours=2), most=100)
    times = found[1].time_us
    assert (np.diff(times) > 0).all()
    assert times[-100:].tolist() == [to_microseconds(NOW - place * step) for place in range(99, -1, -1)]
    # 100 rows reach back 990 s: before them, the last reading of each five minutes of the clock.
    assert times[0] == to_microseconds(NOW - timedelta(hours=2) + 5 * MINUTE - step)
    assert len(times) == 100 + 21
    assert (times[:20] // 1_000_000 % 300 == 290).all()
    assert len(found[2].time_us) == 25


def test_names_of_companions_are_found_and_unknown_ones_left_out(connection: Connection) -> None:
    assert find_ids(connection, ["mast", "nobody"]) == {"mast": 2}
    assert find_ids(connection, []) == {}


def test_only_one_worker_issues_at_a_time(engine: Engine) -> None:
    with engine.begin() as first, engine.begin() as second:
        assert lock_forecasts(first)
        assert not lock_forecasts(second)
    with engine.begin() as second:
        assert lock_forecasts(second)
