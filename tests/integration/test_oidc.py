"""Signing in by OpenID with a provider that is a real HTTP server: code flow, PKCE, roles, refusals, the provider away."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from oidc_provider_mock import User, run_server_in_thread  # type: ignore[import-untyped]
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.session.oidc import role_of
from streamgauge.settings import WebSettings
from tests.support.pages import PASSWORD, add_bearer, add_people, send_login, sign_in

PEOPLE = [
    User(sub="1", claims={"preferred_username": "an", "email": "an@example.org", "groups": ["streamgauge-admin"]}),
    User(sub="2", claims={"preferred_username": "duty", "groups": ["x", "streamgauge-operator"]}),
    User(sub="3", claims={"email": "stranger@example.org"}),
    User(sub="4", claims={"preferred_username": "a\0b\nc" + "x" * 200, "groups": "staff"}),
]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with run_server_in_thread(user_claims=PEOPLE) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def settings(engine: Engine, redis: Redis, database_url: str, redis_url: str, provider: str) -> WebSettings:
    return WebSettings(
        database_url=database_url,
        redis_url=redis_url,
        secret_key="k" * 40,
        cookie_secure=False,
        oidc_issuer=provider,
        oidc_client_secret="only the server knows",
        oidc_name="Water Office",
    )


@pytest.fixture
def app(settings: WebSettings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    app.extensions["streamgauge_connections"].close()


def begin(client: FlaskClient, target: str = "/alerts") -> str:
    answer = client.get(f"/login/oidc?next={target}")
    assert answer.status_code == 302, answer.text
    return str(answer.location)


def agree(address: str, subject: str) -> str:
    """What a person does at the provider: say who one is. Returns where the provider sends the browser."""
    answer = requests.post(address, data={"sub": subject}, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    where = urlsplit(answer.headers["Location"])
    return f"{where.path}?{where.query}"


def come(app: Flask, subject: str) -> tuple[FlaskClient, Any]:
    client = app.test_client()
    return client, client.get(agree(begin(client), subject))


def users(engine: Engine) -> list[Any]:
    query = "SELECT name, role, password_hash, oidc_subject FROM users ORDER BY id"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def said(page: str) -> str:
    found = re.search(r'id="problem".*?<span>(.*?)</span>', page, re.DOTALL)
    assert found
    return found[1]


def test_the_flow_carries_state_nonce_and_a_challenge(app: Flask) -> None:
    asked = parse_qs(urlsplit(begin(app.test_client())).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid profile email"]
    assert asked["redirect_uri"] == ["http://localhost/login/oidc/callback"]
    assert all(len(asked[name][0]) >= 20 for name in ("state", "nonce", "code_challenge"))


def test_a_person_gets_a_row_and_the_role_of_the_claim(app: Flask, engine: Engine) -> None:
    client, answer = come(app, "1")
    assert (answer.status_code, answer.location) == (303, "/alerts")
    assert client.get("/admin").status_code == 200
    assert "with Water Office" in client.get("/account").text
    assert users(engine) == [("an", "admin", "!", "1")]
    come(app, "1")
    assert len(users(engine)) == 1
    with engine.connect() as connection:
        log = connection.execute(text("SELECT actor, action, subject FROM audit_log")).one()
        assert tuple(log) == ("OpenID", "user.create", "user an")
        assert connection.execute(text("SELECT DISTINCT provider FROM sessions")).scalar_one() == "oidc"


def test_no_password_opens_the_account_of_who_comes_by_openid(app: Flask, engine: Engine) -> None:
    come(app, "1")
    for password in ("", "!", "an"):
        assert send_login(app.test_client(), "an", password).status_code == 401


def test_the_same_name_is_another_user(app: Flask, engine: Engine) -> None:
    add_people(engine, ("duty", "admin"))
    client, _ = come(app, "2")
    assert [row[:2] for row in users(engine)] == [("duty", "admin"), ("duty-2", "operator")]
    assert client.get("/admin").status_code == 403
    assert sign_in(app, "duty").get("/admin").status_code == 200


def test_a_name_that_is_none_is_made_one(app: Flask, engine: Engine) -> None:
    come(app, "4")
    name = users(engine)[0][0]
    assert name.startswith("a b c")
    assert len(name) <= 64


def test_a_changed_claim_changes_the_role_at_the_next_sign_in(app: Flask, engine: Engine, provider: str) -> None:
    first, _ = come(app, "2")
    claims = {"preferred_username": "duty", "groups": []}
    requests.put(f"{provider}/users/2", json=claims, timeout=10).raise_for_status()
    try:
        come(app, "2")
        assert users(engine)[0][1] == "viewer"
        # The session from before is the same person's, who may less now.
        assert first.get("/account").status_code == 200
        assert "streamgauge" not in first.get("/account").headers.get("Location", "")
        with engine.connect() as connection:
            changes = connection.execute(text("SELECT before, after FROM audit_log WHERE action = 'user.role'")).one()
        assert tuple(changes) == ({"role": "operator"}, {"role": "viewer"})
    finally:
        requests.put(f"{provider}/users/2", json=PEOPLE[1].claims, timeout=10).raise_for_status()


@contextmanager
def claiming(provider: str, subject: str, claims: dict[str, Any]) -> Iterator[None]:
    """Meanwhile the provider says this of a person."""
    requests.put(f"{provider}/users/{subject}", json=claims, timeout=10).raise_for_status()
    try:
        yield
    finally:
        usual = next(person.claims for person in PEOPLE if person.sub == subject)
        requests.put(f"{provider}/users/{subject}", json=usual, timeout=10).raise_for_status()


def logged(engine: Engine, action: str) -> list[Any]:
    query = text("SELECT subject, before, after FROM audit_log WHERE action = :action ORDER BY id")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"action": action})]


def test_whom_the_provider_lets_in_no_more_loses_sessions_tokens_and_role(
    settings: WebSettings, engine: Engine, provider: str
) -> None:
    app = create_app(replace(settings, oidc_viewer_value="streamgauge-viewer"))
    first, _ = come(app, "2")
    with engine.connect() as connection:
        duty = connection.execute(text("SELECT id FROM users")).scalar_one()
    bearer, others = add_bearer(engine, "read", "write", user_id=duty), add_bearer(engine, "read")
    api = app.test_client()
    assert api.get("/api/v1/devices", headers=bearer).status_code == 200
    with claiming(provider, "2", {"preferred_username": "duty", "groups": ["elsewhere"]}):
        assert [come(app, "2")[1].status_code for _ in range(2)] == [403, 403]
    assert api.get("/api/v1/devices", headers=bearer).status_code == 401
    assert api.get("/api/v1/devices", headers=others).status_code == 200
    assert first.get("/account").status_code == 302
    after = {"role": "viewer", "sessions": 1, "tokens_revoked": [1]}
    assert logged(engine, "user.no_access") == [("user duty", {"role": "operator"}, after)]
    # The next role opens the door again, and no token comes back with it.
    assert come(app, "2")[1].status_code == 303
    assert users(engine)[0][1] == "operator"
    assert api.get("/api/v1/devices", headers=bearer).status_code == 401
    app.extensions["streamgauge_connections"].close()


def test_the_last_administrator_is_not_demoted_by_a_claim(app: Flask, engine: Engine, provider: str) -> None:
    come(app, "1")
    with claiming(provider, "1", {"preferred_username": "an", "groups": ["streamgauge-operator"]}):
        client, answer = come(app, "1")
        assert answer.status_code == 303
        assert client.get("/admin").status_code == 200
        assert users(engine)[0][1] == "admin"
        assert logged(engine, "user.role_kept") == [
            ("user an", {"role": "admin"}, {"role": "admin", "claimed": "operator"})
        ]
        add_people(engine, ("chief", "admin"))
        come(app, "1")
        assert users(engine)[0][1] == "operator"
        assert client.get("/admin").status_code == 403


def test_the_last_administrator_without_a_role_is_out_all_the_same(
    settings: WebSettings, engine: Engine, provider: str
) -> None:
    app = create_app(replace(settings, oidc_viewer_value="streamgauge-viewer"))
    client, _ = come(app, "1")
    with claiming(provider, "1", {"preferred_username": "an"}):
        assert come(app, "1")[1].status_code == 403
        assert client.get("/account").status_code == 302
        assert users(engine)[0][1] == "admin"
    app.extensions["streamgauge_connections"].close()


def test_without_the_wanted_group_nobody_comes_in(settings: WebSettings, engine: Engine) -> None:
    app = create_app(replace(settings, oidc_viewer_value="streamgauge-viewer"))
    client, answer = come(app, "3")
    assert answer.status_code == 403
    assert "gives you no access here" in said(answer.text)
    assert client.get("/account").status_code == 302
    assert users(engine) == []
    app.extensions["streamgauge_connections"].close()


def test_a_disabled_user_stays_out(app: Flask, engine: Engine) -> None:
    come(app, "1")
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET disabled_at = now()"))
    client, answer = come(app, "1")
    assert answer.status_code == 403
    assert "disabled your account" in said(answer.text)
    assert client.get("/account").status_code == 302


def test_an_answer_for_another_browser_signs_nobody_in(app: Flask, engine: Engine) -> None:
    victim = app.test_client()
    callback = agree(begin(app.test_client()), "1")
    answer = victim.get(callback)
    assert answer.status_code == 401
    assert "has not confirmed who you are" in said(answer.text)
    assert victim.get("/account").status_code == 302
    assert users(engine) == []


def test_a_code_opens_the_door_once(app: Flask) -> None:
    client = app.test_client()
    callback = agree(begin(client), "1")
    assert client.get(callback).status_code == 303
    assert client.get(callback).status_code == 401


@pytest.mark.parametrize(
    "query",
    ["", "?code=x", "?state=x&code=y", "?error=access_denied&error_description=<b>no</b>", "?state=%00&code=%00"],
)
def test_odd_answers_are_refused_not_broken(app: Flask, query: str) -> None:
    answer = app.test_client().get(f"/login/oidc/callback{query}")
    assert answer.status_code == 401
    assert "<b>no</b>" not in answer.text


def test_a_page_of_another_site_is_no_place_to_go_to(app: Flask) -> None:
    client = app.test_client()
    answer = client.get(agree(begin(client, "https://evil.example/"), "1"))
    assert (answer.status_code, answer.location) == (303, "/")


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:1", "http://127.0.0.1:1/realms/water"])
def test_with_the_provider_away_passwords_go_on_working(settings: WebSettings, engine: Engine, issuer: str) -> None:
    app = create_app(replace(settings, oidc_issuer=issuer))
    add_people(engine, ("duty", "viewer"))
    answer = app.test_client().get("/login/oidc")
    assert answer.status_code == 503
    assert "Water Office does not answer" in said(answer.text)
    assert send_login(app.test_client(), "duty", PASSWORD).status_code == 303
    app.extensions["streamgauge_connections"].close()


def test_a_provider_of_another_name_is_not_believed(settings: WebSettings, provider: str) -> None:
    app = create_app(replace(settings, oidc_issuer=provider.replace("localhost", "127.0.0.1") + "/."))
    assert app.test_client().get("/login/oidc").status_code == 503
    app.extensions["streamgauge_connections"].close()


def test_the_callback_is_at_the_public_address(settings: WebSettings) -> None:
    app = create_app(replace(settings, public_url="https://water.example/"))
    asked = parse_qs(urlsplit(begin(app.test_client())).query)
    assert asked["redirect_uri"] == ["https://water.example/login/oidc/callback"]
    app.extensions["streamgauge_connections"].close()


def test_without_a_provider_there_is_no_button(settings: WebSettings) -> None:
    app = create_app(replace(settings, oidc_issuer=None))
    assert "/login/oidc" not in app.test_client().get("/login").text
    assert app.test_client().get("/login/oidc").status_code == 404
    app.extensions["streamgauge_connections"].close()


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("groups", {"groups": ["streamgauge-operator", "streamgauge-admin"]}, "admin"),
        ("groups", {"groups": "streamgauge-operator"}, "operator"),
        ("groups", {"groups": {"streamgauge-admin": True}}, "viewer"),
        ("groups", {}, "viewer"),
        ("realm_access.roles", {"realm_access": {"roles": ["streamgauge-admin"]}}, "admin"),
        ("realm_access.roles", {"realm_access.roles": ["streamgauge-operator"]}, "operator"),
        ("realm_access.roles", {"realm_access": "streamgauge-admin"}, "viewer"),
    ],
)
def test_roles_come_from_claims_of_many_shapes(
    settings: WebSettings, claim: str, claims: dict[str, Any], role: str
) -> None:
    assert role_of(claims, replace(settings, oidc_role_claim=claim)) == role
