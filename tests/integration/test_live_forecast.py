"""Forecasts in the running system: stored, published, served."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.live.events import encode, frame_json
from streamgauge.live import stream
from streamgauge.settings import WebSettings
from streamgauge.storage.devices import register_devices
from streamgauge.storage.forecasts import (
    HorizonForecast,
    IssuedForecast,
    StoredTrack,
    delete_old_forecasts,
    newest_forecast,
    write_forecasts,
    write_tracks,
)
from streamgauge.storage.models import ensure_model
from tasks.maintenance import delete_forecasts
from tests.support.pages import program

NOW = datetime.now(UTC).replace(microsecond=0)
HORIZONS = tuple(
    HorizonForecast(horizon_s=horizon_s, expected_m=1.0, low_m=0.9, high_m=1.2, method=method)
    for horizon_s, method in ((300, "model"), (3_600, "persistence"))
)


@pytest.fixture
def client(engine: Engine, database_url: str, redis_url: str) -> Iterator[FlaskClient]:
    app: Flask = create_app(WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40), "api")
    with engine.begin() as connection:
        register_devices(connection, ["creek"])
    client = program(app, engine, "read")
    yield client
    app.extensions["streamgauge_connections"].close()


def write(engine: Engine, issued_at: datetime, horizons: tuple[HorizonForecast, ...] = HORIZONS) -> None:
    with engine.begin() as connection:
        model_id = ensure_model(connection, "ab" * 32, {})
        issue = IssuedForecast(issued_at=issued_at, baseline_m=1.05, model_id=model_id, horizons=horizons)
        write_forecasts(connection, {1: issue})
        track = StoredTrack(device_id=1, model_id=model_id, through=issued_at, state=b"x")
        write_tracks(connection, [(track, {"horizons": {"300": {"skill": 0.3}}})])


def test_the_newest_forecast_is_served_with_its_age_and_its_record(engine: Engine, client: FlaskClient) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    write(engine, now - timedelta(minutes=20))
    write(engine, now - timedelta(minutes=10))
    answer = client.get("/api/v1/devices/creek/forecast")
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["device"] == "creek"
    assert datetime.fromisoformat(body["issued_at"]) == now - timedelta(minutes=10)
    assert 600 <= body["age_s"] < 700
    assert body["expired"] is False
    assert (body["model"], body["persistence_m"]) == ("ab" * 32, 1.05)
    assert [horizon["method"] for horizon in body["horizons"]] == ["model", "persistence"]
    assert datetime.fromisoformat(body["horizons"][1]["time"]) == now + timedelta(minutes=50)
    assert body["record"] == {"horizons": {"300": {"skill": 0.3}}}


def test_a_silent_station_s_forecast_is_out_of_date(engine: Engine, client: FlaskClient) -> None:
    write(engine, NOW - timedelta(hours=3))
    assert client.get("/api/v1/devices/creek/forecast").get_json()["expired"] is True


def test_a_station_without_a_forecast_has_an_empty_one_and_an_unknown_one_has_none(client: FlaskClient) -> None:
    body = client.get("/api/v1/devices/creek/forecast").get_json()
    assert body["horizons"] == []
    assert body["issued_at"] is body["record"] is body["model"] is None
    assert client.get("/api/v1/devices/brook/forecast").status_code == 404
    assert client.get("/api/v1/devices/cr%20eek/forecast").status_code == 404
    del client.environ_base["HTTP_AUTHORIZATION"]
    assert client.get("/api/v1/devices/creek/forecast").status_code == 401


def test_a_forecast_that_is_written_twice_changes_nothing(engine: Engine, client: FlaskClient) -> None:
    write(engine, NOW)
    other = HorizonForecast(horizon_s=300, expected_m=9.0, low_m=8.0, high_m=10.0, method="model")
    write(engine, NOW, (other,))
    with engine.connect() as connection:
        issue = newest_forecast(connection, 1)
    assert issue is not None
    assert issue.horizons == HORIZONS


def test_old_forecasts_leave_in_bounded_steps_and_those_of_replayed_records_stay(
    engine: Engine, client: FlaskClient
) -> None:
    write(engine, NOW - timedelta(days=3_000))
    write(engine, NOW - timedelta(days=100))
    write(engine, NOW)
    with engine.begin() as connection:
        assert delete_old_forecasts(connection, NOW, timedelta(days=90)) == 0
        connection.execute(text("UPDATE forecasts SET made_at = issued_at"))
        assert delete_old_forecasts(connection, NOW, timedelta(days=90), most=3) == 3
        assert delete_old_forecasts(connection, NOW, timedelta(days=90)) == 1
        assert newest_forecast(connection, 1) is not None
    assert delete_forecasts(engine, timedelta(days=90)) == 0
    assert delete_forecasts(engine, timedelta(seconds=0), NOW + timedelta(hours=1)) == 2


def test_forecasts_travel_in_the_live_stream_beside_readings(redis: Redis) -> None:
    forecasts = [{"device": name, "issued_at": "2026-11-21T02:30:00.000Z", "horizons": []} for name in ("a", "b")]
    stream.append(redis, [], forecasts=forecasts)
    stream.append(redis, [{"device": "a", "level_m": 1.0}])
    redis.xadd(stream.LIVE_KEY, {"readings": b"[]", "forecasts": b"{"})
    first, second, damaged = stream.read_after(redis, stream.START_ID)
    assert (first.readings, first.forecasts) == ([], forecasts)
    assert (len(second.readings), second.forecasts) == (1, [])
    assert damaged.forecasts == []
    assert orjson.loads(frame_json([encode(first)], {"b"}) or "")["forecasts"] == forecasts[1:]
    assert frame_json([encode(first)], {"c"}) is None
    assert "forecasts" not in orjson.loads(frame_json([encode(second)], ()) or "")
