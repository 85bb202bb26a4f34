"""People at the pages, and programs with tokens: the application with one user of each role, signing in, sending forms."""

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from app import create_app
from app.api.access import make_token, token_sha256
from app.session.passwords import hash_password
from streamgauge.settings import WebSettings
from streamgauge.storage.api_tokens import add_token
from streamgauge.storage.users import add_user

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)
PEOPLE = {"guest": "viewer", "duty": "operator", "chief": "admin"}


def make_app(engine: Engine, database_url: str, redis_url: str, **settings: Any) -> Flask:
    """The application, with one person of each role (``PEOPLE``)."""
    made = create_app(
        WebSettings(
            database_url=database_url, redis_url=redis_url, secret_key="k" * 40, cookie_secure=False, **settings
        )
    )
    add_people(engine, *PEOPLE.items())
    return made


def add_people(engine: Engine, *names_and_roles: tuple[str, str]) -> None:
    """Users, all with the same password."""
    with engine.begin() as connection:
        for name, role in names_and_roles:
            assert add_user(connection, name, HASH, role)


def csrf_token(page: str) -> str:
    """The token of a page's forms."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found, page[:500]
    return found[1]


def sign_in(app: Flask, user: str, password: str = PASSWORD) -> FlaskClient:
    """A browser in which this user has signed in."""
    client = app.test_client()
    assert send_login(client, user, password).status_code == 303
    return client


def send_login(client: FlaskClient, user: str, password: str = PASSWORD, target: str = "/", **further: Any) -> Any:
    """The answer to the sign-in form; ``further`` is the request's."""
    form = {"csrf_token": csrf_token(client.get("/login").text), "name": user, "password": password, "next": target}
    return client.post("/login", data=form, **further)


def send(client: FlaskClient, path: str, /, **form: Any) -> Any:
    """The answer to a form, sent with the token of this browser's session."""
    return client.post(path, data={"csrf_token": csrf_token(client.get("/account").text), **form})


def add_bearer(engine: Engine, *scopes: str, name: str = "", **further: Any) -> dict[str, str]:
    """A new token's header; without a name it has that of its scopes."""
    token = make_token()
    with engine.begin() as connection:
        add_token(connection, name or "-".join(scopes), token_sha256(token), scopes, **further)
    return {"Authorization": f"Bearer {token}"}


def program(app: Flask, engine: Engine, *scopes: str, name: str = "test") -> FlaskClient:
    """A program that shows its token with every request."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = add_bearer(engine, *scopes, name=name)["Authorization"]
    return client
