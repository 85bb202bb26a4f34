"""Pages and scripts travel compressed, exports and tagged answers of the API as they are."""

from collections.abc import Iterator

import brotli  # type: ignore[import-untyped]
import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine

from tests.support.ingest import ingest, series, services
from tests.support.pages import make_app, sign_in

BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd"}


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    ingest(services(engine, redis), series([1.0 + step / 100 for step in range(60)], device="weir"))
    yield app
    app.extensions["streamgauge_connections"].close()


def test_pages_and_static_files_are_compressed(app: Flask) -> None:
    client = sign_in(app, "guest")
    for path in ("/", "/stations/weir", "/static/app.css", "/static/vendor/htmx/htmx.min.js"):
        plain, packed = client.get(path), client.get(path, headers=BROWSER)
        assert packed.headers["Content-Encoding"] == "br", path
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert len(packed.data) < len(plain.data) / 2
        assert len(brotli.decompress(packed.data)) > len(plain.data) * 0.8
    assert client.get("/", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"] == "gzip"
    assert client.get("/static/app.css", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in client.get("/", headers={"Accept-Encoding": "identity"}).headers


def test_a_static_file_that_is_known_is_not_sent_again(app: Flask) -> None:
    client = app.test_client()
    first = client.get("/static/app.css", headers=BROWSER)
    again = client.get("/static/app.css", headers=BROWSER | {"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


def test_tags_of_the_api_and_exports_stay_as_they_are(app: Flask) -> None:
    client = sign_in(app, "guest")
    plain, packed = (client.get("/api/v1/openapi.json", headers=headers) for headers in ({}, BROWSER))
    assert packed.headers["ETag"] == plain.headers["ETag"]
    exported = client.get("/api/v1/devices/weir/readings?format=csv", headers=BROWSER)
    assert "Content-Encoding" not in exported.headers
    assert len(exported.data.splitlines()) == 61
