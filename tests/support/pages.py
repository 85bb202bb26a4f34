"""A person at the pages: signs in by the form, and sends forms with the token that the page gave."""

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from app import create_app
from app.session.passwords import hash_password
from streamgauge.settings import WebSettings
from streamgauge.storage.users import add_user

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD)
PEOPLE = {"guest": "viewer", "duty": "operator", "chief": "admin"}


def make_app(engine: Engine, database_url: str, redis_url: str) -> Flask:
    """The application, with one person of each role (``PEOPLE``)."""
    app = create_app(
        WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40, cookie_secure=False)
    )
    with engine.begin() as connection:
        for name, role in PEOPLE.items():
            add_user(connection, name, HASH, role)
    return app


def csrf_token(page: str) -> str:
    """The token of a page's first form."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found, page
    return found[1]


def sign_in(app: Flask, user: str) -> FlaskClient:
    """A browser that is signed in."""
    client = app.test_client()
    form = {"csrf_token": csrf_token(client.get("/login").text), "name": user, "password": PASSWORD}
    assert client.post("/login", data=form).status_code == 303
    return client


def send(client: FlaskClient, path: str, /, **form: Any) -> Any:
    """Send a form, with the token of this browser's session."""
    return client.post(path, data={"csrf_token": csrf_token(client.get("/alerts").text), **form})
