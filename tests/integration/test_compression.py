"""Pages and scripts travel compressed, exports and tagged answers of the API as they are."""

import time
from collections.abc import Iterator

import brotli  # type: ignore[import-untyped]
import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine

from tests.support.ingest import ingest, series, services
from tests.support.pages import csrf_token, make_app, sign_in

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


@pytest.mark.parametrize(
    ("site", "base", "is_compressed"),
    [
        ("same-origin", "https://localhost", True),
        ("none", "https://localhost", True),
        ("cross-site", "https://localhost", False),
        ("same-site", "https://localhost", False),
        ("cross-site", "http://localhost", False),
        ("nonsense", "http://localhost", False),
        (None, "https://localhost", False),
        (None, "http://localhost", True),
    ],
)
def test_what_another_site_makes_the_browser_ask_for_tells_nothing_by_its_length(
    app: Flask, site: str | None, base: str, is_compressed: bool
) -> None:
    client = sign_in(app, "guest")
    headers = BROWSER if site is None else BROWSER | {"Sec-Fetch-Site": site}
    for path in ("/?q=guess", "/account"):
        answer = client.get(path, headers=headers, base_url=base)
        assert ("Content-Encoding" in answer.headers) == is_compressed, path
    # What is the same for everybody is compressed for everybody.
    for asks, path in ((client, "/static/app.css"), (app.test_client(), "/login")):
        assert "Content-Encoding" in asks.get(path, headers=headers, base_url=base).headers


def test_a_form_s_token_is_worth_nothing_without_what_changes_every_second(app: Flask) -> None:
    client = sign_in(app, "duty")
    first = csrf_token(client.get("/account").text)
    time.sleep(1.1)
    second = csrf_token(client.get("/account").text)
    (lasting, stamp, signature), (still, later, other) = first.split("."), second.split(".")
    assert lasting == still
    assert (stamp, signature) != (later, other)
    assert signature[:8] != other[:8]
    for guess in (lasting, f"{lasting}.{stamp}", f"{lasting}.{stamp}.{other}", f"{lasting}.{later}.{signature}"):
        assert client.post("/account/sessions/end-others", data={"csrf_token": guess}).status_code == 400
    assert client.post("/account/sessions/end-others", data={"csrf_token": first}).status_code == 303


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
