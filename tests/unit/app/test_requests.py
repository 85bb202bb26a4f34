"""Every request leaves one line, carries its id and the headers; nothing needs a database to say no."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app.preferences import safe_next
from streamgauge.logs import JsonFormatter
from tests.support.web import unconnected_app


@pytest.fixture
def lines() -> Iterator[Any]:
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(JsonFormatter("web"))
    logger = logging.getLogger()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in sink.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def app() -> Flask:
    app = unconnected_app()

    @app.get("/breaks/<thing>")
    def breaks(thing: str) -> str:
        raise RuntimeError(f"no {thing}")

    return app


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health?token=secret", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/health", 405),
        ("GET", "/breaks/water", 500),
        ("GET", "/api/v1/devices", 401),
        ("POST", "/login", 400),
    ],
)
def test_one_line_per_request(app: Flask, lines: Any, method: str, path: str, status: int) -> None:
    answer = app.test_client().open(path, method=method, headers={"X-Request-ID": "abcdef-123"})
    assert answer.status_code == status
    assert answer.headers["X-Request-ID"] == "abcdef-123"
    # That Redis is away is told by a line of its own, once.
    written = [line for line in lines() if line["logger"] == "app.request"]
    assert len(written) == 1, written
    line = written[0]
    assert (line["message"], line["path"], line["method"], line["status"]) == (
        "request",
        path.partition("?")[0],
        method,
        status,
    )
    assert line["request_id"] == "abcdef-123"
    assert line["duration_ms"] >= 0
    assert "secret" not in json.dumps(line)
    assert ("RuntimeError: no water" in json.dumps(line)) == (status == 500)


@pytest.mark.parametrize("stated", ["", "short", "x" * 200, "a b c d e f g h", "<script>alert</script>"])
def test_an_odd_request_id_is_replaced(app: Flask, stated: str) -> None:
    answer = app.test_client().get("/health", headers={"X-Request-ID": stated})
    assert answer.headers["X-Request-ID"] != stated
    assert len(answer.headers["X-Request-ID"]) == 32


def test_pages_allow_no_inline_script_and_no_other_site(app: Flask) -> None:
    answer = app.test_client().get("/login")
    policy = answer.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


def test_problems_of_the_api_are_problem_details(app: Flask) -> None:
    answer = app.test_client().get("/api/v1/nothing")
    assert answer.content_type == "application/problem+json"
    assert (answer.json or {})["status"] == 404


def test_pages_send_strangers_to_sign_in_and_back(app: Flask) -> None:
    answer = app.test_client().get("/stations/a?range=7d")
    assert answer.status_code == 302
    assert answer.location == "/login?next=/stations/a?range%3D7d"
    fragment = app.test_client().get("/", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (401, "/login?next=/")


def test_forms_without_csrf_token_are_refused(app: Flask) -> None:
    for path in ("/login", "/logout", "/preferences"):
        assert app.test_client().post(path, data={"name": "a"}).status_code == 400


def test_the_api_surface_has_no_pages() -> None:
    client = unconnected_app("api").test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/login").status_code == 404
    assert client.get("/").status_code == 404
    assert client.get("/api/v1/devices").status_code == 401


def test_health_names_what_does_not_answer(app: Flask) -> None:
    answer = app.test_client().get("/health/db")
    assert answer.status_code == 503
    assert answer.json == {"status": "unavailable", "database": "no answer", "redis": "no answer"}


def test_metrics_are_grouped_by_rule_and_come_without_database(app: Flask) -> None:
    client = app.test_client()
    client.get("/health")
    client.get("/nowhere/really")
    text = client.get("/metrics").text
    assert 'flask_http_request_total{method="GET",status="200",url_rule="/health"} 1.0' in text
    assert 'url_rule="unmatched"' in text
    assert "really" not in text
    assert "flask_http_request_duration_seconds_bucket" in text
    assert "streamgauge_live_clients" in text


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/stations/a?range=7d", "/stations/a?range=7d"),
        (None, "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/a\nSet-Cookie: x", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_one_is_never_sent_to_another_site(target: str | None, path: str) -> None:
    assert safe_next(target) == path


@pytest.mark.parametrize(("header", "language"), [("vi-VN,vi;q=0.9", "vi"), ("de", "en"), ("en-US", "en")])
def test_language_follows_the_browser(app: Flask, header: str, language: str) -> None:
    assert f'<html lang="{language}"' in app.test_client().get("/login", headers={"Accept-Language": header}).text
