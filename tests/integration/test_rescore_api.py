"""``/api/v1/rescore-runs`` on a real database and queue."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine

from app import create_app
from streamgauge.queue import BATCH, TEND_RUNS_TASK
from streamgauge.settings import WebSettings
from tests.support.ingest import START, count, ingest, series, services
from tests.support.pages import program

RANGE = {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T07:00:00+07:00"}
URL = "/api/v1/rescore-runs"


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    made = create_app(WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40), "api")
    yield made
    made.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask, engine: Engine, redis: Redis) -> FlaskClient:
    ingest(services(engine, redis), series([1.0] * 5, device="mill"))
    return program(app, engine, "read", "write", name="nightly")


def fields(answer: Any) -> dict[str, str]:
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    return {error["field"]: error["detail"] for error in answer.json["errors"]}


def actions(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        query = "SELECT actor, action, subject FROM audit_log WHERE actor LIKE 'API%%' ORDER BY id"
        found = connection.exec_driver_sql(query).all()
    return [(row.actor, row.action, row.subject) for row in found]


def test_a_run_is_made_followed_listed_and_cancelled(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    answer = client.post(URL, json={**RANGE, "devices": ["mill"]})
    assert (answer.status_code, answer.headers["Location"]) == (202, f"{URL}/1")
    task = orjson.loads(redis.lindex(BATCH, 0))  # type: ignore[arg-type]
    assert task["headers"]["task"] == TEND_RUNS_TASK
    run = answer.json["run"]
    assert (run["id"], run["state"], run["kind"], run["created_by"]) == (1, "waiting", "on_demand", "API token nightly")
    assert (run["devices"], run["model"], run["until"]) == (["mill"], "champion", "2026-11-02T00:00:00.000Z")
    assert run["report"] is None
    again = client.post(URL, json={**RANGE, "devices": ["mill"]})
    assert (again.status_code, again.json["run"]["id"]) == (200, 1)
    assert client.get(f"{URL}/1").json["run"] == run
    assert client.post(URL, json={"from": RANGE["from"]}).status_code == 202
    page = client.get(f"{URL}?limit=1").json
    assert [item["id"] for item in page["runs"]] == [2]
    following = client.get(f"{URL}?limit=1&cursor={page['next']}").json
    assert ([item["id"] for item in following["runs"]], following["next"]) == ([1], None)
    cancelled = client.post(f"{URL}/1/cancel")
    assert (cancelled.status_code, cancelled.json["run"]["cancel_requested_at"] is None) == (202, False)
    audited = [("API token nightly", "rescore.start", "run 1"), ("API token nightly", "rescore.start", "run 2")]
    assert actions(engine) == [*audited, ("API token nightly", "rescore.cancel", "run 1")]


def test_a_run_that_has_ended_cannot_be_cancelled(client: FlaskClient, engine: Engine) -> None:
    client.post(URL, json=RANGE)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rescore_runs SET state = 'done'")
    answer = client.post(f"{URL}/1/cancel")
    assert answer.status_code == 409
    assert "it is done" in answer.json["detail"]
    for unknown in ("7", str(10**30)):
        assert client.get(f"{URL}/{unknown}").status_code == 404
        assert client.post(f"{URL}/{unknown}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"from"}),
        ({"from": None}, {"from"}),
        ({"from": 7, "until": "soon", "devices": "mill", "model": 1, "chunk": 5}, {"from", "until", "devices", "model", "chunk"}),
        ({**RANGE, "from": "2026-11-01T00:00:00"}, {"from"}),
        ({**RANGE, "devices": [1]}, {"devices"}),
        ({**RANGE, "devices": []}, {"devices"}),
        ({**RANGE, "devices": ["mill", "gone"], "model": "challenger"}, {"devices", "model"}),
        ({**RANGE, "model": "0" * 64}, {"model"}),
        ({**RANGE, "model": "\x00"}, {"model"}),
        ({"from": RANGE["until"], "until": RANGE["from"]}, {"until"}),
        ({"from": "1970-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"}, {"from"}),
        ({"from": "9999-12-31T23:59:59-23:00"}, {"from"}),
        ({"from": "2199-01-01T00:00:00Z"}, {"from"}),
        (
            {"from": "2199-01-01T00:00:00Z", "chunk": 5, "devices": ["gone"], "model": "0" * 64},
            {"from", "chunk", "devices", "model"},
        ),
        ({"from": RANGE["until"], "until": RANGE["from"], "chunk": 5}, {"until", "chunk"}),
    ],
)  # fmt: skip
def test_every_field_that_is_wrong_is_named(client: FlaskClient, engine: Engine, body: Any, wrong: set[str]) -> None:
    assert set(fields(client.post(URL, json=body))) == wrong
    assert count(engine, "rescore_runs") == 0


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b" " * 2**21])
def test_what_is_no_object_is_refused(client: FlaskClient, payload: bytes) -> None:
    answer = client.post(URL, data=payload)
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")


def test_fifty_years_are_no_reason_to_refuse(client: FlaskClient) -> None:
    assert client.post(URL, json={"from": "1976-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}).status_code == 202


def test_who_may_only_read_makes_and_cancels_nothing(client: FlaskClient, app: Flask, engine: Engine) -> None:
    client.post(URL, json=RANGE)
    reader = program(app, engine, "read", name="nightly")
    assert reader.get(URL).status_code == 200
    assert [reader.post(URL, json=RANGE).status_code, reader.post(f"{URL}/1/cancel").status_code] == [403, 403]
    assert app.test_client().post(URL, json=RANGE).status_code == 401


def test_a_run_is_made_though_the_queue_is_away(engine: Engine, client: FlaskClient, database_url: str) -> None:
    settings = WebSettings(database_url=database_url, redis_url="redis://127.0.0.1:1/0", secret_key="k" * 40)
    lonely = create_app(settings, "api")
    answer = program(lonely, engine, "write", name="nightly").post(URL, json=RANGE)
    lonely.extensions["streamgauge_connections"].close()
    assert (answer.status_code, count(engine, "rescore_runs")) == (202, 1)


def test_the_range_is_that_of_the_readings_times(client: FlaskClient) -> None:
    since = START + timedelta(minutes=20, microseconds=1)
    assert set(fields(client.post(URL, json={"from": since.isoformat()}))) == {"from"}
    assert client.post(URL, json={"from": (since - timedelta(seconds=1)).isoformat()}).status_code == 202
    assert datetime.now(UTC) > since
