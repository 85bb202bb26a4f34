"""The OpenAPI document: every route is in it, and what the API really answers is what it says."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.api.declare import declared_views
from app.api.openapi import document
from streamgauge.settings import WebSettings
from tests.support.alert_rows import add_alert
from tests.support.ingest import ingest, series, services
from tests.support.pages import program

ROOT = "/api/v1"
NO_CALLS = {"api.show_docs"}
"""Views below the API's root that are pages."""


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = create_app(WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40), "api")
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask, engine: Engine) -> FlaskClient:
    return program(app, engine, "read", "write")


@pytest.fixture
def described(client: FlaskClient) -> dict[str, Any]:
    answer = client.get(f"{ROOT}/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json or {})


def check(described: dict[str, Any], path: str, method: str, answer: Any) -> None:
    """Holds an answer to what the document says of its call, status and media type."""
    said = described["paths"][path][method]["responses"]
    assert str(answer.status_code) in said, f"{method} {path}: {answer.status_code} is not described"
    content = said[str(answer.status_code)].get("content")
    if content is None:
        assert not answer.data
        return
    assert answer.mimetype in content
    schema = content[answer.mimetype].get("schema")
    if schema is not None and "json" in answer.mimetype:
        whole = {**schema, "components": described["components"]}
        Draft202012Validator(whole).validate(json.loads(answer.data))


def test_every_route_below_the_root_is_described_with_the_scope_that_it_needs(app: Flask) -> None:
    with app.test_request_context():
        described, declared = document(), declared_views()
    found = 0
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(f"{ROOT}/") or rule.endpoint in NO_CALLS:
            continue
        assert rule.endpoint in declared, f"{rule} is not declared"
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(ROOT))
        scope = declared[rule.endpoint].scope
        marked = getattr(app.view_functions[rule.endpoint], "streamgauge_needs", None)
        assert marked == (f"scope:{scope}" if scope else "public")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            operation = described["paths"][path][method.lower()]
            assert bool(operation["security"]) == (scope is not None)
            assert operation["summary"]
            found += 1
    assert found == sum(len(operations) for operations in described["paths"].values())


def test_the_document_is_sound(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    numbers = [
        operation["operationId"] for operations in described["paths"].values() for operation in operations.values()
    ]
    assert len(set(numbers)) == len(numbers)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert references <= set(described["components"]["schemas"])
    assert "Problem" in references


def test_anybody_may_read_it_and_reads_it_once(app: Flask) -> None:
    stranger = app.test_client()
    first = stranger.get(f"{ROOT}/openapi.json")
    again = stranger.get(f"{ROOT}/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_for_people_loads_nothing_from_elsewhere(app: Flask) -> None:
    stranger = app.test_client()
    page = stranger.get(f"{ROOT}/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/static/")
        assert stranger.get(address).status_code == 200
    assert "unsafe" not in page.headers["Content-Security-Policy"]


def test_what_is_read_is_as_described(
    client: FlaskClient, described: dict[str, Any], engine: Engine, redis: Redis
) -> None:
    start = datetime.now(UTC) - timedelta(hours=30)
    ingest(services(engine, redis), series([1.0 + step / 100 for step in range(40)], device="mill", start=start))
    with engine.begin() as connection:
        stages = '[{"name": "BĐ I", "level_m": 1.1, "severity": 1}]'
        connection.execute(
            text("UPDATE devices SET stages = cast(:s as jsonb), latitude = 21, longitude = 105.8"), {"s": stages}
        )
        number = add_alert(connection, "mill")
        add_alert(connection, None, state="resolved", cause={"kind": "gateway"})
    calls = {
        "/devices": ["/devices", "/devices?limit=0", "/devices?bbox=105,20,106,22&q=mill"],
        "/devices/{device}": ["/devices/mill", "/devices/none"],
        "/devices/{device}/forecast": ["/devices/mill/forecast", "/devices/none/forecast"],
        "/devices/{device}/readings": [
            f"/devices/mill/readings{query}"
            for query in ("", "?resolution=3600", "?format=csv", "?format=parquet", "?from=x", "?limit=1")
        ],
        "/alerts": ["/alerts", "/alerts?state=gone", "/alerts?device=none", "/alerts?device=mill&limit=1"],
        "/alerts/{alert_id}": [f"/alerts/{number}", "/alerts/999"],
        "/rescore-runs": ["/rescore-runs"],
        "/rescore-runs/{run_id}": ["/rescore-runs/999"],
        "/openapi.json": ["/openapi.json"],
    }
    assert set(calls) == {path for path, operations in described["paths"].items() if "get" in operations}
    for path, addresses in calls.items():
        for address in addresses:
            check(described, path, "get", client.get(ROOT + address))


def test_what_is_changed_is_as_described(
    client: FlaskClient, described: dict[str, Any], engine: Engine, redis: Redis
) -> None:
    ingest(services(engine, redis), series([1.0], device="mill"))
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    for action in ("acknowledge", "comment", "resolve"):
        path = f"/alerts/{{alert_id}}/{action}"
        bodies: tuple[Any, ...] = ({"comment": "seen"}, {"comment": 5}, {"said": "?"}, [], {"comment": "x" * 3_000})
        for body in bodies:
            check(described, path, "post", client.post(f"{ROOT}/alerts/{number}/{action}", json=body))
        check(
            described, path, "post", client.post(f"{ROOT}/alerts/{number}/{action}", data="", content_type="text/html")
        )
    check(described, "/alerts/{alert_id}/acknowledge", "post", client.post(f"{ROOT}/alerts/{number}/acknowledge"))
    run = {"from": "2026-11-01T00:00:00Z"}
    for answer in (client.post(f"{ROOT}/rescore-runs", json=run), client.post(f"{ROOT}/rescore-runs", json=run)):
        check(described, "/rescore-runs", "post", answer)
    check(described, "/rescore-runs", "post", client.post(f"{ROOT}/rescore-runs", json={}))
    check(described, "/rescore-runs/{run_id}", "get", client.get(f"{ROOT}/rescore-runs/1"))
    check(described, "/rescore-runs", "get", client.get(f"{ROOT}/rescore-runs"))
    check(described, "/rescore-runs/{run_id}/cancel", "post", client.post(f"{ROOT}/rescore-runs/1/cancel"))
