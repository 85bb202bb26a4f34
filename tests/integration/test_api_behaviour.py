"""What the API does beyond its readings: searches, alerts, tags of content, kinds of content, a queue that is full."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from streamgauge.queue import READINGS
from streamgauge.settings import WebSettings
from tests.support.alert_rows import add_alert, add_rule
from tests.support.ingest import count, ingest, series, services
from tests.support.pages import program

ROOT = "/api/v1"


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    settings = WebSettings(
        database_url=database_url, redis_url=redis_url, secret_key="k" * 40, queue_pause_length=3, commit_timeout_s=0.3
    )
    app = create_app(settings, "api")
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask, engine: Engine) -> FlaskClient:
    return program(app, engine, "read", "write", name="pager")


@pytest.fixture
def stations(engine: Engine) -> None:
    rows = [
        ("mill", "Cối xay", "Sông Hồng", 21.0, 105.8, None),
        ("weir", "100%_weir", None, -17.8, 179.5, None),
        ("well", None, None, None, None, "now()"),
    ]
    with engine.begin() as connection:
        for name, display, river, latitude, longitude, gone in rows:
            connection.execute(
                text(
                    "INSERT INTO devices (name, display_name, river, latitude, longitude, decommissioned_at) "
                    f"VALUES (:name, :display, :river, :latitude, :longitude, {gone or 'NULL'})"
                ),
                {"name": name, "display": display, "river": river, "latitude": latitude, "longitude": longitude},
            )


def names(client: FlaskClient, query: str) -> list[str]:
    answer = client.get(f"{ROOT}/devices?{query}")
    assert answer.status_code == 200, answer.text
    return [device["device"] for device in (answer.json or {})["devices"]]


@pytest.mark.usefixtures("stations")
def test_devices_are_found_by_words_place_and_state(client: FlaskClient) -> None:
    assert names(client, "q=hồng cối") == ["mill"]
    assert names(client, "q=%25_") == ["weir"]
    assert names(client, "q=%25%25") == []
    assert names(client, "bbox=105,20,106,22") == ["mill"]
    assert names(client, "bbox=170,-20,-170,-10") == ["weir"]
    assert names(client, "decommissioned=true") == ["well"]
    assert names(client, "state=silent") == ["mill", "weir"]
    assert names(client, "state=stage&state=rising") == []
    assert names(client, "q=") == ["mill", "weir", "well"]


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3",
        "bbox=a,b,c,d",
        "bbox=nan,0,1,1",
        "bbox=0,5,1,4",
        "bbox=-181,0,1,1",
        "state=wet",
        "decommissioned=perhaps",
        "q=%00",
        f"q={'x' * 300}",
        "cursor=%00",
        f"cursor={'A' * 5000}",
        "limit=10001",
        "limit=-1",
        "limit=1' OR '1'='1",
    ],
)
def test_what_is_wrong_is_named(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{ROOT}/devices?{query}")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert query.partition("=")[0] in (answer.json or {})["detail"]


def test_one_device_with_its_stages_and_what_is_known_now(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    start = datetime.now(UTC) - timedelta(minutes=20)
    ingest(services(engine, redis), series([1.0, 1.01, 1.02], device="mill", start=start))
    with engine.begin() as connection:
        stages = '[{"name": "BĐ I", "level_m": 1.015, "severity": 1}]'
        connection.execute(text("UPDATE devices SET stages = cast(:stages as jsonb)"), {"stages": stages})
    found = client.get(f"{ROOT}/devices/mill").json or {}
    assert found["device"]["stages"] == [{"name": "BĐ I", "level_m": 1.015, "severity": 1}]
    assert (found["now"]["state"], found["now"]["level_m"], found["now"]["stage"]) == ("stage", 1.02, "BĐ I")
    assert "id" not in found["device"]


def test_an_alert_is_taken_once_and_what_is_over_cannot_be(app: Flask, client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, None)
    url = f"{ROOT}/alerts/{number}"
    assert program(app, engine, "read", name="pager").post(f"{url}/acknowledge").status_code == 403
    assert app.test_client().post(f"{url}/acknowledge").status_code == 401
    for body in ({"comment": "on my way"}, {}, None):
        answer = client.post(f"{url}/acknowledge", json=body) if body is not None else client.post(f"{url}/acknowledge")
        alert = (answer.json or {})["alert"]
        assert answer.status_code == 200
        assert (alert["state"], alert["acknowledged_by"]) == ("acknowledged", "API token pager")
        assert alert["comment"] == "on my way"
    assert client.post(f"{url}/resolve").status_code == 200
    assert client.post(f"{url}/resolve").status_code == 200
    late = client.post(f"{url}/acknowledge")
    assert (late.status_code, late.content_type) == (409, "application/problem+json")
    with engine.connect() as connection:
        actions = connection.execute(text("SELECT action FROM audit_log ORDER BY id")).scalars().all()
    assert [action for action in actions if action.startswith("alert.")] == ["alert.acknowledge", "alert.resolve"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("999/acknowledge", {}, 404),
        (f"{2**80}/acknowledge", {}, 404),
        ("1/acknowledge", {"comment": "x" * 5_000}, 400),
        ("1/acknowledge", {"comment": "\x00"}, 400),
        ("1/acknowledge", {"comment": ["a"]}, 400),
        ("1/acknowledge", {"by": "somebody else"}, 400),
        ("1/comment", {}, 400),
        ("1/comment", {"comment": "   "}, 400),
    ],
)
def test_nothing_is_changed_by_what_is_wrong(
    client: FlaskClient, engine: Engine, path: str, body: Any, status: int
) -> None:
    with engine.begin() as connection:
        add_alert(connection, None)
    answer = client.post(f"{ROOT}/alerts/{path}", json=body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT state, comment FROM alerts")).one() == ("open", None)


def test_alerts_are_paged_newest_first_by_state_and_device(client: FlaskClient, engine: Engine, stations: None) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        rule = add_rule(connection)
        made = [
            add_alert(
                connection,
                "mill" if step % 2 else "weir",
                state="resolved" if step % 3 else "open",
                opened_at=now - timedelta(minutes=step // 4),
                rule_id=rule,
            )
            for step in range(30)
        ]

    def walk(query: str) -> list[dict[str, Any]]:
        found, cursor = list[dict[str, Any]](), ""
        while True:
            page = client.get(f"{ROOT}/alerts?limit=7&{query}{cursor}").json or {}
            found += page["alerts"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    everything = walk("")
    assert sorted(alert["id"] for alert in everything) == made
    assert [alert["opened_at"] for alert in everything] == sorted(
        (alert["opened_at"] for alert in everything), reverse=True
    )
    assert {alert["state"] for alert in walk("state=open&state=acknowledged")} == {"open"}
    assert {alert["device"] for alert in walk("device=mill")} == {"mill"}


def test_what_has_not_changed_is_not_sent_again(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), series([1.0, 1.1], device="mill"))
    for path in ("/devices", "/devices/mill/forecast", "/devices/mill/readings?to=2026-11-02T00:00:00Z", "/alerts"):
        first = client.get(ROOT + path)
        tag = first.headers["ETag"]
        assert client.get(ROOT + path, headers={"If-None-Match": tag}).status_code == 304
        assert client.get(ROOT + path, headers={"If-None-Match": '"other"'}).status_code == 200
    tag = client.get(f"{ROOT}/devices/mill/readings").headers["ETag"]
    ingest(services(engine, redis), series([1.2], device="mill", start=datetime.now(UTC)))
    assert client.get(f"{ROOT}/devices/mill/readings", headers={"If-None-Match": tag}).status_code == 200


def test_kinds_of_content(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), series([1.0], device="mill"))
    readings = f"{ROOT}/devices/mill/readings"
    assert client.get(readings, headers={"Accept": "text/csv"}).mimetype == "text/csv"
    assert client.get(readings, headers={"Accept": "application/vnd.apache.parquet"}).data[:4] == b"PAR1"
    browser = "text/html,application/xhtml+xml,*/*;q=0.8"
    assert client.get(readings, headers={"Accept": browser}).mimetype == "application/json"
    refused = client.get(readings, headers={"Accept": "image/png"})
    assert (refused.status_code, refused.content_type) == (406, "application/problem+json")
    for kind in ("text/html", "multipart/form-data", "application/xml", "image/png"):
        answer = client.post(f"{ROOT}/readings", data=b"{}", content_type=kind)
        assert (answer.status_code, answer.content_type) == (415, "application/problem+json")
    packed = client.post(f"{ROOT}/readings", data=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 415
    assert count(engine, "dead_letters") == 0


def test_every_error_below_the_root_is_a_problem(client: FlaskClient) -> None:
    for method, path, status in (
        ("get", "/nothing", 404),
        ("get", "/devices/a/b/c", 404),
        ("get", "/alerts/one", 404),
        ("delete", "/devices", 405),
        ("put", "/readings", 405),
        ("get", "/readings", 405),
    ):
        answer = client.open(ROOT + path, method=method.upper())
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), path
        body = answer.json or {}
        assert body["status"] == status
        assert {"type", "title", "detail", "request_id"} <= set(body)
        if status == 405:
            assert "Allow" in answer.headers


def test_a_full_queue_takes_nothing_and_says_when_to_come_again(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    redis.rpush(READINGS, b"a", b"b", b"c")
    sent = {"device": "a", "time": datetime.now(UTC).isoformat(), "level_m": 1.0}
    for path, body in (("/readings", sent), ("/readings", "rubbish")):
        answer = client.post(ROOT + path, json=body)
        assert (answer.status_code, (answer.json or {})["title"]) == (503, "Queue full")
        assert int(answer.headers["Retry-After"]) > 0
    assert redis.llen(READINGS) == 3
    redis.rpop(READINGS)
    assert (client.post(f"{ROOT}/readings", json=sent).json or {})["title"] == "Not committed in time"
    assert count(engine, "dead_letters") == 0
