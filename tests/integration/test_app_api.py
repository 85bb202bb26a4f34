"""The JSON API on a real database and Redis; a thread stands in for the worker and carries out real tasks."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from streamgauge.queue import READINGS, Notice, announce_stored
from streamgauge.settings import WebSettings
from tasks.pipeline import ingest_each
from tasks.work import Work
from tests.support.ingest import count, dead, ingest, series, services
from tests.support.pages import program

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    settings = WebSettings(
        database_url=database_url,
        redis_url=redis_url,
        secret_key="k" * 40,
        commit_timeout_s=5.0,
        task_max_readings=3,
        max_message_bytes=100_000,
    )
    app = create_app(settings, "api")
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask, engine: Engine) -> FlaskClient:
    return program(app, engine, "read", "write")


@contextmanager
def worker(engine: Engine, redis: Redis, *, auto_register: bool = True) -> Iterator[None]:
    """Takes tasks off the queue and carries them out as a worker does, until the block ends."""
    using, is_wanted = services(engine, redis, auto_register=auto_register), threading.Event()

    def work() -> None:
        while not is_wanted.is_set():
            popped: Any = redis.brpop([READINGS], timeout=0.1)
            if popped is None:
                continue
            envelope = json.loads(popped[1])
            (recipient, body), _, _ = json.loads(base64.b64decode(envelope["body"]))
            outcome = ingest_each(Work.from_body(json.loads(body)), using)
            announce_stored(redis, Notice(envelope["headers"]["id"], recipient, outcome.dead_by_message()))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    is_wanted.set()
    thread.join()


def reading(minutes: int = 0, **fields: Any) -> dict[str, Any]:
    time = (NOW - timedelta(minutes=minutes)).isoformat()
    return {"device": "a", "time": time, "level_m": 1.0, **fields}


def test_post_answers_after_the_commit(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    with worker(engine, redis):
        one = client.post("/api/v1/readings", json=reading())
        many = client.post("/api/v1/readings", json=[reading(minutes) for minutes in range(1, 9)])
    assert (one.status_code, one.json) == (201, {"stored": 1, "dead": 0})
    assert (many.status_code, many.json) == (201, {"stored": 8, "dead": 0})
    assert count(engine, "readings") == 9


def test_each_refused_reading_is_named_and_kept(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    sent = [reading(), reading(1, level_m="high"), reading(2), {"device": "a"}, reading(3, time="1970-01-01T00:00:00Z")]
    with worker(engine, redis):
        answer = client.post("/api/v1/readings", json=sent)
    problem = answer.json or {}
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert (problem["stored"], problem["dead"]) == (2, 3)
    assert [(item["index"], item["reason"]) for item in problem["errors"]] == [
        (1, "bad_number"),
        (3, "bad_time"),
        (4, "time_out_of_range"),
    ]
    assert count(engine, "readings") == 2
    assert sum(dead(engine).values()) == 3


def test_an_item_that_is_nested_too_deep_is_named_and_its_neighbours_are_stored(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    sound = json.dumps(reading()).encode()
    payload = b"[" + sound + b',{"device":' + b"[" * 500 + b"]" * 500 + b"}]"
    with worker(engine, redis):
        answer = client.post("/api/v1/readings", data=payload)
    problem = answer.json or {}
    assert answer.status_code == 422
    assert [item["index"] for item in problem["errors"]] == [1]
    assert (count(engine, "readings"), sum(dead(engine).values())) == (1, 1)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"\xff\xfe", "not_json"), (b"[" * 50_000, "not_json"), (b"7", "not_a_reading"), (b"[]", "empty_batch")],
)
def test_what_is_no_reading_at_all_is_kept_too(
    client: FlaskClient, engine: Engine, redis: Redis, payload: bytes, reason: str
) -> None:
    with worker(engine, redis):
        answer = client.post("/api/v1/readings", data=payload)
    assert answer.status_code == 422
    assert dead(engine) == {reason: 1}


def test_an_unknown_device_is_refused_where_devices_are_not_registered(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    with worker(engine, redis, auto_register=False):
        answer = client.post("/api/v1/readings", json=reading())
    assert answer.status_code == 422
    assert ((answer.json or {})["stored"], (answer.json or {})["dead"]) == (0, 1)
    assert dead(engine) == {"unknown_device": 1}


def test_no_commit_in_time_is_503_and_repeating_is_harmless(
    client: FlaskClient, app: Flask, engine: Engine, redis: Redis
) -> None:
    linked = app.extensions["streamgauge_connections"]
    linked.settings = WebSettings(**{**vars_of(linked.settings), "commit_timeout_s": 0.2})
    answer = client.post("/api/v1/readings", json=reading())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    linked.settings = WebSettings(**{**vars_of(linked.settings), "commit_timeout_s": 5.0})
    with worker(engine, redis):
        again = client.post("/api/v1/readings", json=reading())
    assert again.status_code == 201
    assert count(engine, "readings") == 1


def vars_of(settings: WebSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


def test_too_much_is_refused_before_it_is_read(client: FlaskClient) -> None:
    answer = client.post("/api/v1/readings", data=b"[" + b" " * 200_000 + b"]")
    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


def test_tokens_and_scopes(app: Flask, engine: Engine) -> None:
    stranger, reader = app.test_client(), program(app, engine, "read")
    assert stranger.get("/api/v1/devices").status_code == 401
    assert stranger.get("/api/v1/devices", headers={"Authorization": "Bearer sg_wrong"}).status_code == 401
    assert reader.get("/api/v1/devices").status_code == 200
    assert reader.post("/api/v1/readings", json=reading()).status_code == 403
    for change in ("expires_at = now() - interval '1 s'", "expires_at = NULL, revoked_at = now()"):
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE api_tokens SET {change}"))
        assert reader.get("/api/v1/devices").status_code == 401
    with engine.connect() as connection:
        assert connection.execute(text("SELECT last_used_at FROM api_tokens")).scalar_one() is not None


def test_devices_are_paged(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    using = services(engine, redis)
    for name in ("a", "b", "c"):
        ingest(using, series([1.0], device=name))
    first = client.get("/api/v1/devices?limit=2").json or {}
    assert [device["device"] for device in first["devices"]] == ["a", "b"]
    assert "id" not in first["devices"][0]
    second = client.get(f"/api/v1/devices?limit=2&cursor={first['next']}").json or {}
    assert ([device["device"] for device in second["devices"]], second["next"]) == (["c"], None)


def pages(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        body = client.get(f"/api/v1/devices/a/readings?{query}{cursor}").json or {}
        rows += body["readings"]
        if body["next"] is None:
            return rows
        cursor = f"&cursor={body['next']}"


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_hold_every_reading_once(client: FlaskClient, engine: Engine, redis: Redis, limit: int) -> None:
    ingest(services(engine, redis), series([float(level) / 10 for level in range(20)]))
    rows = pages(client, f"limit={limit}")
    assert [row["level_m"] for row in rows] == [level / 10 for level in range(20)]
    assert rows[0]["time"] == "2026-11-01T00:00:00.000Z"
    assert "level_m" in rows[0]["flags"]
    between = pages(client, "from=2026-11-01T00:05:00Z&to=2026-11-01T00:15:00Z")
    assert [row["time"][11:16] for row in between] == ["00:05", "00:10"]


def test_numbers_that_are_longer_than_64_bits_are_given_back_as_they_came(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    with worker(engine, redis):
        assert client.post("/api/v1/readings", json=reading(odd=1e30, odder=-1.7e308, plain=2)).status_code == 201
    extra = (client.get("/api/v1/devices/a/readings").json or {})["readings"][0]["extra"]
    assert extra == {"odd": 1e30, "odder": -1.7e308, "plain": 2}


@pytest.mark.parametrize("limit", [1, 100])
def test_bins_hold_lowest_mean_and_highest(client: FlaskClient, engine: Engine, redis: Redis, limit: int) -> None:
    ingest(services(engine, redis), series([1.0, 1.1, 1.2, 1.3, 1.2, 1.1], step_s=600))
    rows = pages(client, f"resolution=1800&limit={limit}")
    assert [(row["readings"], row["level_m_min"], row["level_m_max"]) for row in rows] == [(3, 1.0, 1.2), (3, 1.1, 1.3)]
    assert rows[0]["level_m_mean"] == pytest.approx(1.1)
    auto = client.get("/api/v1/devices/a/readings?resolution=auto").json or {}
    assert (auto["resolution_s"], len(auto["readings"])) == (None, 6)


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_bins_on_either_side_of_years_without_readings_are_found(
    client: FlaskClient, engine: Engine, redis: Redis, limit: int
) -> None:
    using = services(engine, redis)
    for year in (2001, 2013, 2026):
        ingest(using, series([1.0, 1.1, 1.2], start=datetime(year, 3, 1, tzinfo=UTC), step_s=60))
    rows = pages(client, f"resolution=60&limit={limit}")
    assert [row["time"][:16] for row in rows] == [
        f"{year}-03-01T00:0{minute}" for year in (2001, 2013, 2026) for minute in range(3)
    ]
    assert [
        row["time"][:4] for row in pages(client, "resolution=60&from=2010-01-01T00:00:00Z&to=2020-01-01T00:00:00Z")
    ] == 3 * ["2013"]


def test_auto_gives_bins_for_a_long_record(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), series([1.0 + (step % 50) / 100 for step in range(2_500)]))
    auto = client.get("/api/v1/devices/a/readings?resolution=auto").json or {}
    assert auto["resolution_s"] == 900
    assert sum(row["readings"] for row in pages(client, "resolution=auto")) == 2_500


def test_csv_is_one_stream_of_everything(
    client: FlaskClient, engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgauge.storage.export.CHUNK_ROWS", 7)
    ingest(services(engine, redis), series([1.0 + level / 100 for level in range(30)]))
    answer = client.get("/api/v1/devices/a/readings?format=csv")
    lines = answer.text.split()
    assert answer.content_type.startswith("text/csv")
    assert lines[0].startswith("time,level_m,pressure_kpa")
    assert lines[1].startswith("2026-11-01T00:00:00.000000Z,1,")
    assert [float(line.split(",")[1]) for line in lines[1:]] == [1.0 + level / 100 for level in range(30)]


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("from=yesterday", 400, "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "before"),
        ("limit=0", 400, "limit"),
        ("limit=1e9", 400, "limit"),
        ("resolution=-5", 400, "resolution"),
        ("resolution=9999999999999", 400, "resolution"),
        ("format=xml", 400, "format"),
        ("format=parquet&resolution=60", 400, "parquet"),
        ("cursor=%00", 400, "cursor"),
        ("format=csv&resolution=60", 400, "csv"),
    ],
)
def test_bad_parameters_are_named(
    client: FlaskClient, engine: Engine, redis: Redis, query: str, status: int, word: str
) -> None:
    ingest(services(engine, redis), series([1.0]))
    answer = client.get(f"/api/v1/devices/a/readings?{query}")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert word in (answer.json or {})["detail"]


def test_other_devices_and_odd_names_are_not_found(client: FlaskClient) -> None:
    for name in ("nowhere", "%00", "a'%20OR%201=1", "x" * 500):
        assert client.get(f"/api/v1/devices/{name}/readings").status_code == 404
    assert client.get("/api/v1/devices/a/readings?from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z").status_code == 404
