"""Who may call what: every route of the application, by every kind of caller, held against what its view declares.

A view that declares nothing fails. Whoever may not call it is refused before the view runs; whoever may gets past the door.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.declared import NEEDS
from streamgauge.settings import WebSettings
from streamgauge.storage.api_tokens import IMPLIED
from streamgauge.storage.users import ROLES
from tests.support import model_pages
from tests.support.ingest import ingest, series, services
from tests.support.pages import add_bearer, add_people, csrf_token, sign_in

SCOPES = ("read", "ingest", "write")
SAFE = frozenset({"GET"})
PASSWORD_CHECKS = frozenset({"session.submit_login", "session.end_oidc"})
"""Public views that answer 401 by themselves: what was given proves nobody."""
ENDS_THE_SESSION = frozenset({"session.logout"})
LIVE = "/live"
"""Its door is that of a page, its answers are those of a program; past the door it needs a real socket (test_app_live)."""
API = ("/api/", "/sensorthings/")
TABLES = (
    "users", "api_tokens", "audit_log", "devices", "alerts", "alert_rules", "corrections", "station_notes", "station_photos",
    "rescore_runs", "model_aliases", "dead_letters", "readings", "notification_channels",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One route by one method."""

    endpoint: str
    method: str
    needed: str
    rule: str
    absent: str
    present: str

    @property
    def is_api(self) -> bool:
        return self.rule.startswith(API)

    @property
    def role(self) -> str | None:
        """The role that a page needs; None for what needs no role."""
        return self.needed if self.needed in ROLES else None

    def __str__(self) -> str:
        return f"{self.method} {self.rule} ({self.needed})"


@pytest.fixture(scope="module")
def app(shared_engine: Engine, database_url: str, redis_url: str) -> Iterator[Flask]:
    settings = WebSettings(
        database_url=database_url,
        redis_url=redis_url,
        secret_key="k" * 40,
        cookie_secure=False,
        rate_limit="",
        commit_timeout_s=0.2,
    )
    app = create_app(settings)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def calls(app: Flask) -> list[Call]:
    """Every route by every method, with an address where nothing is and one where something is."""
    found = []
    for rule in app.url_map.iter_rules():
        needed = getattr(app.view_functions[rule.endpoint], NEEDS, "nothing")
        absent: dict[str, Any] = {}
        present: dict[str, Any] = {}
        for name in rule.arguments:
            is_number = "Integer" in type(rule._converters[name]).__name__
            absent[name], present[name] = (999_999, 1) if is_number else ("nowhere", "mill")
        adapter = app.url_map.bind("localhost")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            addresses = (adapter.build(rule.endpoint, values, method=method) for values in (absent, present))
            found.append(Call(rule.endpoint, method, needed, str(rule), *addresses))
    assert len(found) > 40
    return found


@pytest.fixture
def people(app: Flask, engine: Engine, redis: Redis) -> dict[str, FlaskClient]:
    """A browser per role. Each role has a user of its own."""
    add_people(engine, *((f"a {role}", role) for role in ROLES))
    return {role: sign_in(app, f"a {role}") for role in ROLES}


@pytest.fixture
def rows(engine: Engine, redis: Redis, people: dict[str, FlaskClient]) -> None:
    """Something of everything that a call could change, under the address that ``Call.present`` has."""
    ingest(services(engine, redis), series([1.0, 1.1], device="mill", start=datetime.now(UTC) - timedelta(hours=1)))
    with engine.begin() as connection:
        champion = model_pages.add_shipped(connection)
        model_pages.add_challenger(connection, champion)
        model_pages.add_run(connection, "running")
        connection.execute(text("INSERT INTO alert_rules (name, rule) VALUES ('high', '{}')"))
        connection.execute(
            text("INSERT INTO alerts (rule_id, device_id, state, cause) SELECT 1, id, 'open', '{}' FROM devices")
        )
    add_bearer(engine, "read")


def snapshot(engine: Engine) -> dict[str, str]:
    """What is in the tables, as one hash each."""
    with engine.connect() as connection:
        return {
            table: str(connection.execute(text(f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t")).scalar_one())  # noqa: E501
            for table in TABLES
        }  # fmt: skip


def status_of(client: FlaskClient, call: Call, path: str, **further: Any) -> tuple[int, str]:
    with client.open(path, method=call.method, **further) as answer:
        return answer.status_code, answer.headers.get("Location", "")


def is_let_in(status: int, location: str) -> bool:
    """Past the door, and nothing broke behind it; 503 is an answer where no worker runs."""
    at_the_door = status in {401, 403} or (status == 302 and location.startswith("/login"))
    return not at_the_door and (status < 500 or status == 503)


def wrong(calls: list[Call], judge: Callable[[Call], object]) -> dict[str, object]:
    """The calls of which the judge has something to say."""
    return {str(call): said for call in calls if (said := judge(call))}


def test_every_view_declares_what_it_needs(calls: list[Call]) -> None:
    known = {"public", *ROLES, *(f"scope:{scope}" for scope in SCOPES)}
    assert [str(call) for call in calls if call.needed not in known] == []
    # The API asks for scopes, pages ask for roles; what changes something is never public but for signing in and one's choices.
    assert [str(call) for call in calls if call.is_api and call.needed in ROLES] == []
    assert [str(call) for call in calls if not call.is_api and call.needed.startswith("scope:")] == []
    changing = {call.endpoint for call in calls if call.method not in SAFE and call.needed == "public"}
    assert changing == {"preferences.set_preferences", "session.submit_login", "session.logout"}
    assert [str(call) for call in calls if call.method not in SAFE and call.needed == "scope:read"] == []


def test_strangers_see_what_is_public_and_nothing_else(app: Flask, calls: list[Call], engine: Engine) -> None:
    client = app.test_client()
    token = csrf_token(client.get("/login").text)

    def judge(call: Call) -> object:
        if call.endpoint in ENDS_THE_SESSION:
            return None
        data = None if call.method in SAFE or call.is_api else {"csrf_token": token}
        status, location = status_of(client, call, call.absent, data=data)
        if call.needed == "public":
            fine = is_let_in(status, location) or call.endpoint in PASSWORD_CHECKS
        elif call.role and call.rule != LIVE:
            fine = status == 302 and location.startswith("/login")
        else:
            fine = status == 401
        return None if fine else (status, location)

    assert wrong(calls, judge) == {}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_its_own_pages_and_those_below(
    calls: list[Call], people: dict[str, FlaskClient], role: str
) -> None:
    client = people[role]
    form = {"csrf_token": csrf_token(client.get("/account").text)}

    def judge(call: Call) -> object:
        if call.endpoint in ENDS_THE_SESSION | PASSWORD_CHECKS or call.rule == LIVE:
            return None
        data = None if call.method in SAFE or call.is_api else form
        status, location = status_of(client, call, call.absent, data=data)
        if call.role:
            may = ROLES.index(role) >= ROLES.index(call.role)
            fine = is_let_in(status, location) if may else status == 403
        elif call.needed.startswith("scope:"):
            # A session reads; to change something by the API takes a token.
            fine = is_let_in(status, location) if call.needed == "scope:read" else status == 401
        else:
            fine = is_let_in(status, location)
        return None if fine else (status, location)

    assert wrong(calls, judge) == {}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_opens_its_own_calls_and_what_it_implies(
    app: Flask, calls: list[Call], engine: Engine, scope: str
) -> None:
    client, bearer = app.test_client(), add_bearer(engine, scope)

    def judge(call: Call) -> object:
        if not call.needed.startswith("scope:"):
            return None
        wanted = call.needed.removeprefix("scope:")
        status, location = status_of(client, call, call.absent, headers=bearer)
        may = scope in IMPLIED.get(wanted, (wanted,))
        fine = is_let_in(status, location) if may else status == 403
        return None if fine else status

    assert wrong(calls, judge) == {}


@pytest.mark.parametrize(
    "state", ["revoked_at = now()", "expires_at = now() - interval '1 s'", "token_sha256 = '\\x00'"]
)
def test_a_token_that_is_not_good_any_more_opens_nothing(
    app: Flask, calls: list[Call], engine: Engine, state: str
) -> None:
    client, bearer = app.test_client(), add_bearer(engine, *SCOPES)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE api_tokens SET {state}"))

    def judge(call: Call) -> object:
        status, _ = (
            status_of(client, call, call.absent, headers=bearer) if call.needed.startswith("scope:") else (401, "")
        )
        return None if status == 401 else status

    assert wrong(calls, judge) == {}


def test_a_token_opens_no_page(app: Flask, calls: list[Call], engine: Engine) -> None:
    client, bearer = app.test_client(), add_bearer(engine, *SCOPES)

    def judge(call: Call) -> object:
        if not call.role or call.method not in SAFE:
            return None
        status, location = status_of(client, call, call.absent, headers=bearer)
        return None if status == 401 or location.startswith("/login") else (status, location)

    assert wrong(calls, judge) == {}


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("kind", ["without a token", "with a made-up token", "with the token of another session"])
def test_no_form_is_taken_without_its_csrf_token(
    app: Flask, calls: list[Call], engine: Engine, people: dict[str, FlaskClient], kind: str
) -> None:
    tokens: Mapping[str, dict[str, str]] = {
        "without a token": {},
        "with a made-up token": {"csrf_token": "ImFiYyI.forged"},
        "with the token of another session": {"csrf_token": csrf_token(people["viewer"].get("/account").text)},
    }
    before = snapshot(engine)

    def judge(call: Call) -> object:
        if call.method in SAFE or call.is_api:
            return None
        status, _ = status_of(people["admin"], call, call.present, data=tokens[kind])
        return None if status == 400 else status

    assert wrong(calls, judge) == {}
    assert snapshot(engine) == before
    assert people["admin"].get("/account").status_code == 200


@pytest.mark.usefixtures("rows")
def test_nothing_is_changed_by_who_may_not(
    app: Flask, calls: list[Call], engine: Engine, people: dict[str, FlaskClient]
) -> None:
    read = add_bearer(engine, "read")
    app.test_client().get("/api/v1/devices", headers=read)
    viewer_token = csrf_token(people["viewer"].get("/account").text)
    before = snapshot(engine)

    def judge(call: Call) -> object:
        if call.method in SAFE or call.needed in {"public", "viewer"}:
            return None
        if call.is_api:
            answers = {
                status_of(app.test_client(), call, call.present)[0],
                status_of(people["admin"], call, call.present, json={})[0],
                status_of(app.test_client(), call, call.present, headers=read, json={})[0],
            }
            return None if answers == {401, 403} else answers
        status, _ = status_of(people["viewer"], call, call.present, data={"csrf_token": viewer_token})
        return None if status == 403 else status

    assert wrong(calls, judge) == {}
    assert snapshot(engine) == before
