"""The account and admin pages on a real database: passwords, sessions, tokens, users, who changed what."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.__main__ import main
from streamgauge.settings import WebSettings
from streamgauge.storage.audit import write_audit
from tests.support.pages import PASSWORD, add_bearer, add_people, csrf_token, send, send_login, sign_in

NEW = "a quite different sentence"


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    settings = WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40, cookie_secure=False)
    app = create_app(settings)
    add_people(engine, ("chief", "admin"), ("duty", "operator"), ("guest", "viewer"))
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def chief(app: Flask) -> FlaskClient:
    return sign_in(app, "chief")


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def audited(engine: Engine) -> list[tuple[str, str, str]]:
    return rows(engine, "SELECT actor, action, subject FROM audit_log ORDER BY id")


def secret_of(page: str) -> str:
    found = re.search(r'id="secret"><code>([^<]+)</code>', page)
    assert found
    return found[1]


def id_of(engine: Engine, name: str) -> int:
    return int(rows(engine, f"SELECT id FROM users WHERE name = '{name}'")[0][0])


def test_the_pages_show_in_both_languages(app: Flask, chief: FlaskClient, engine: Engine) -> None:
    for path in ("/account", "/admin", f"/admin/users/{id_of(engine, 'duty')}", "/admin/tokens", "/admin/audit"):
        for language in ("en", "vi"):
            chief.set_cookie("streamgauge_language", language)
            answer = chief.get(path)
            assert answer.status_code == 200, path
            assert f'<html lang="{language}"' in answer.text


def test_a_new_password_ends_every_other_session(app: Flask, engine: Engine) -> None:
    here, there = sign_in(app, "duty"), sign_in(app, "duty")
    assert send(here, "/account/password", current=PASSWORD, new=NEW, again=NEW).status_code == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 302
    assert send_login(app.test_client(), "duty", PASSWORD).status_code == 401
    assert sign_in(app, "duty", NEW).get("/account").status_code == 200
    assert audited(engine) == [("duty", "user.password", "user duty")]
    assert rows(engine, "SELECT after FROM audit_log") == [({"sessions_ended": 1},)]


@pytest.mark.parametrize(
    ("current", "new", "again", "said"),
    [
        ("wrong", NEW, NEW, "not your current password"),
        (PASSWORD, "short", "short", "At least 10 characters"),
        (PASSWORD, "x" * 300, "x" * 300, "Too long"),
        (PASSWORD, "duty" * 3, "duty" * 3, "Your name alone"),
        (PASSWORD, "aaaaaaaaaaaa", "aaaaaaaaaaaa", "Too easy to guess"),
        (PASSWORD, NEW, NEW + "x", "differ"),
    ],
)
def test_a_refused_password_says_why_and_changes_nothing(
    app: Flask, engine: Engine, current: str, new: str, again: str, said: str
) -> None:
    client = sign_in(app, "duty")
    answer = send(client, "/account/password", current=current, new=new, again=again)
    assert answer.status_code == 422
    assert said in answer.text
    assert "Nothing was changed" in answer.text
    assert audited(engine) == []
    assert sign_in(app, "duty").get("/account").status_code == 200


def test_sessions_are_listed_and_ended_one_by_one_and_all_others_at_once(app: Flask, engine: Engine) -> None:
    here = sign_in(app, "duty")
    for _ in range(2):
        sign_in(app, "duty")
    phone = app.test_client()
    agent = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36"
    assert send_login(phone, "duty", PASSWORD, headers={"User-Agent": agent}).status_code == 303
    page = here.get("/account").text
    assert page.count("/account/sessions/") == 4 + 1
    assert "Chrome, Android" in page
    assert page.count("chip-passed") == 1
    newest = rows(engine, "SELECT max(id) FROM sessions")[0][0]
    assert send(here, f"/account/sessions/{newest}/end").status_code == 303
    assert phone.get("/account").status_code == 302
    assert send(here, f"/account/sessions/{newest}/end").status_code == 404
    assert send(here, "/account/sessions/end-others").status_code == 303
    assert here.get("/account").text.count("/account/sessions/") == 1
    mine = rows(engine, "SELECT id FROM sessions WHERE ended_at IS NULL")[0][0]
    assert send(here, f"/account/sessions/{mine}/end").location == "/login"
    assert here.get("/account").status_code == 302


def test_nobody_ends_the_session_or_revokes_the_token_of_another(app: Flask, engine: Engine) -> None:
    victim, guest = sign_in(app, "duty"), sign_in(app, "guest")
    made = send(victim, "/account/tokens", name="mine", scope="read", days="7")
    session_id = rows(engine, "SELECT id FROM sessions ORDER BY id LIMIT 1")[0][0]
    for path in (f"/account/sessions/{session_id}/end", "/account/tokens/1/revoke", f"/account/tokens/{10**30}/revoke"):
        assert send(guest, path).status_code == 404
    assert victim.get("/account").status_code == 200
    bearer = {"Authorization": f"Bearer {secret_of(made.text)}"}
    assert app.test_client().get("/api/v1/devices", headers=bearer).status_code == 200


def test_a_token_is_shown_once_works_and_can_be_revoked(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    made = send(client, "/account/tokens", name="gauge reader", scope=["read", "ingest"], days="30")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    token = secret_of(made.text)
    assert token not in client.get("/account").text
    assert rows(engine, "SELECT scopes, created_by, expires_at > now() + interval '29 days' FROM api_tokens") == [
        (["read", "ingest"], "duty", True)
    ]
    stranger, bearer = app.test_client(), {"Authorization": f"Bearer {token}"}
    assert stranger.get("/api/v1/devices", headers=bearer).status_code == 200
    refused = stranger.post("/api/v1/rescore-runs", json={}, headers=bearer)
    assert refused.status_code == 403
    assert "Scope missing" in refused.text
    assert 'scope="write"' in refused.headers["WWW-Authenticate"]
    assert send(client, "/account/tokens/1/revoke").status_code == 303
    assert stranger.get("/api/v1/devices", headers=bearer).status_code == 401
    assert send(client, "/account/tokens/1/revoke").status_code == 404
    assert audited(engine) == [("duty", "token.create", "token 1"), ("duty", "token.revoke", "token 1")]
    assert token not in str(rows(engine, "SELECT * FROM audit_log"))


@pytest.mark.parametrize(
    ("user", "form", "said"),
    [
        ("guest", {"name": "x", "scope": "write", "days": "7"}, "does not allow this scope"),
        ("duty", {"name": "x", "scope": "read", "days": "never"}, "one of the offered times"),
        ("duty", {"name": "x", "scope": "read", "days": "99999999999"}, "one of the offered times"),
        ("duty", {"name": "x", "days": "7"}, "at least one scope"),
        ("duty", {"name": "x", "scope": "everything", "days": "7"}, "does not allow this scope"),
        ("duty", {"name": "a\0b", "scope": "read", "days": "7"}, "A name of 1 to 80 characters"),
        ("duty", {"name": "<script>alert(1)</script>" * 9, "scope": "read", "days": "7"}, "A name of 1 to 80"),
        ("duty", {}, "A name of 1 to 80 characters"),
    ],
)
def test_a_refused_token_says_why_and_nothing_is_made(
    app: Flask, engine: Engine, user: str, form: dict[str, str], said: str
) -> None:
    answer = send(sign_in(app, user), "/account/tokens", **form)
    assert answer.status_code == 422
    assert said in answer.text
    assert "<script>alert" not in answer.text
    assert rows(engine, "SELECT count(*) FROM api_tokens") == [(0,)]


def test_an_admin_may_make_a_token_without_end(chief: FlaskClient) -> None:
    assert send(chief, "/account/tokens", name="x", scope="write", days="never").status_code == 201


def test_a_token_never_does_more_than_its_user_may_now(app: Flask, engine: Engine, chief: FlaskClient) -> None:
    duty = id_of(engine, "duty")
    bearer = add_bearer(engine, "read", "write", user_id=duty)
    client = app.test_client()
    asked = "/api/v1/rescore-runs/999/cancel"
    assert client.post(asked, headers=bearer).status_code == 404
    assert send(chief, f"/admin/users/{duty}/role", role="viewer").status_code == 303
    assert client.post(asked, headers=bearer).status_code == 403
    assert client.get("/api/v1/devices", headers=bearer).status_code == 200
    assert send(chief, f"/admin/users/{duty}/disable").status_code == 303
    assert client.get("/api/v1/devices", headers=bearer).status_code == 401
    assert send(chief, f"/admin/users/{duty}/enable").status_code == 303
    assert client.get("/api/v1/devices", headers=bearer).status_code == 200


def test_a_user_is_added_with_a_password_that_is_shown_once(app: Flask, chief: FlaskClient, engine: Engine) -> None:
    made = send(chief, "/admin/users", name="Nguyễn Văn An", role="operator", email="an@example.org")
    assert made.status_code == 201
    password = secret_of(made.text)
    assert password not in chief.get(f"/admin/users/{id_of(engine, 'Nguyễn Văn An')}").text
    assert sign_in(app, "Nguyễn Văn An", password).get("/account").status_code == 200
    assert audited(engine) == [("chief", "user.create", "user Nguyễn Văn An")]
    assert password not in str(rows(engine, "SELECT * FROM audit_log"))
    page = chief.get("/admin/audit").text
    assert "user.create" in page
    assert "an@example.org" in page


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "duty", "role": "viewer"}, "This name is taken"),
        ({"name": "", "role": "viewer"}, "A name of 1 to 64 characters"),
        ({"name": "a\0b", "role": "viewer"}, "A name of 1 to 64 characters"),
        ({"name": "x" * 65, "role": "viewer"}, "A name of 1 to 64 characters"),
        ({"name": "new", "role": "root"}, "Choose one of the roles"),
        ({"name": "new", "role": "viewer", "email": "nobody"}, "no e-mail address"),
    ],
)
def test_a_refused_user_says_why_and_what_was_typed_stays(
    chief: FlaskClient, engine: Engine, form: dict[str, str], said: str
) -> None:
    answer = send(chief, "/admin/users", **form)
    assert answer.status_code == 422
    assert said in answer.text
    assert "Nobody was added" in answer.text
    if form["name"] == "new":
        assert 'value="new"' in answer.text
    assert rows(engine, "SELECT count(*) FROM users") == [(3,)]
    assert audited(engine) == []


def test_the_last_admin_stays_one(app: Flask, chief: FlaskClient, engine: Engine) -> None:
    me = id_of(engine, "chief")
    for path, form in ((f"/admin/users/{me}/role", {"role": "viewer"}), (f"/admin/users/{me}/disable", {})):
        answer = send(chief, path, **form)
        assert answer.status_code == 409
        assert "last administrator" in answer.text
    assert rows(engine, f"SELECT role, disabled_at FROM users WHERE id = {me}") == [("admin", None)]
    assert send(chief, f"/admin/users/{id_of(engine, 'duty')}/role", role="admin").status_code == 303
    assert send(chief, f"/admin/users/{me}/role", role="viewer").status_code == 303
    assert chief.get("/admin").status_code == 403
    assert sign_in(app, "duty").get("/admin").status_code == 200


def test_a_new_role_comes_with_a_new_token(app: Flask, chief: FlaskClient, engine: Engine) -> None:
    client = sign_in(app, "guest")
    assert client.get("/account").status_code == 200
    before = client.get_cookie("streamgauge_session")
    assert before
    assert send(chief, f"/admin/users/{id_of(engine, 'guest')}/role", role="operator").status_code == 303
    assert client.get("/account").status_code == 200
    after = client.get_cookie("streamgauge_session")
    assert after
    assert after.value != before.value
    client.get("/account")
    late = app.test_client()
    late.set_cookie("streamgauge_session", before.value)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sessions SET rotated_at = rotated_at - interval '61 s'"))
    assert late.get("/account").status_code == 302
    assert [action for _, action, _ in audited(engine)] == ["user.role"]


def test_the_command_line_makes_admins_and_tokens_and_says_so_in_the_log(
    app: Flask, engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", database_url)
    assert main(["create-admin", "--user", "root"]) == 0
    admin = json.loads(capsys.readouterr().out)
    assert sign_in(app, admin["user"], admin["password"]).get("/admin").status_code == 200
    assert main(["create-admin", "--user", "root"]) == 1
    assert main(["create-admin", "--if-none"]) == 0
    capsys.readouterr()
    assert main(["create-token", "--name", "gateway", "--scope", "ingest", "--days", "30"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == ["ingest"]
    assert datetime.fromisoformat(made["expires_at"]) > datetime.now(UTC) + timedelta(days=29)
    assert main(["create-token", "--name", "all"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["scopes"], made["expires_at"]) == (["read", "ingest", "write"], None)
    for days in ("0", "-1", "x", "99999"):
        with pytest.raises(SystemExit):
            main(["create-token", "--name", "x", "--days", days])
    assert audited(engine) == [
        ("command line", "user.create", "user root"),
        ("command line", "token.create", "token 1"),
        ("command line", "token.create", "token 2"),
    ]


def test_a_disabled_user_is_out_at_once_and_comes_back(app: Flask, chief: FlaskClient, engine: Engine) -> None:
    client, duty = sign_in(app, "duty"), id_of(engine, "duty")
    assert send(chief, f"/admin/users/{duty}/disable").status_code == 303
    assert client.get("/account").status_code == 302
    assert send_login(app.test_client(), "duty", PASSWORD).status_code == 401
    assert send(chief, f"/admin/users/{duty}/enable").status_code == 303
    assert client.get("/account").status_code == 302
    assert sign_in(app, "duty").get("/account").status_code == 200
    assert [action for _, action, _ in audited(engine)] == ["user.disable", "user.enable"]


def test_a_reset_password_replaces_the_old_one(app: Flask, chief: FlaskClient, engine: Engine) -> None:
    client, duty = sign_in(app, "duty"), id_of(engine, "duty")
    password = secret_of(send(chief, f"/admin/users/{duty}/reset-password").text)
    assert client.get("/account").status_code == 302
    assert send_login(app.test_client(), "duty", PASSWORD).status_code == 401
    again = sign_in(app, "duty", password)
    assert send(chief, f"/admin/users/{duty}/end-sessions").status_code == 303
    assert again.get("/account").status_code == 302


def test_users_that_are_not_there_are_not_found(chief: FlaskClient) -> None:
    for path in ("role", "disable", "enable", "reset-password", "end-sessions"):
        for number in (999, 10**25):
            assert send(chief, f"/admin/users/{number}/{path}", role="viewer").status_code == 404
    assert chief.get(f"/admin/users/{10**25}").status_code == 404


def test_the_log_is_filtered_and_paged_and_shows_what_changed(chief: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(120):
            before, after = {"stages": [1.0], "zone": "UTC"}, {"stages": [1.0, number], "zone": "UTC", "new": None}
            who = "duty" if number % 2 else "<b>guest</b>"
            subject = f"device d-{number}"
            write_audit(connection, actor=who, action="device.update", subject=subject, before=before, after=after)
    page = chief.get("/admin/audit").text
    assert page.count("device d-") == 50
    assert "&lt;b&gt;guest" in page
    assert "<b>guest" not in page
    assert "[1.0, 119]" in page
    assert ">zone<" not in page
    seen, path = 50, "/admin/audit"
    while found := re.search(r'href="(/admin/audit\?before=[^"]+)"', page):
        path = found[1].replace("&amp;", "&")
        page = chief.get(path).text
        seen += page.count("device d-")
    assert seen == 120
    assert chief.get("/admin/audit?actor=duty").text.count('<td class="words !whitespace-normal">device d-') == 50
    assert "d-77" in chief.get("/admin/audit?subject=D-77").text
    assert "Nothing fits" in chief.get("/admin/audit?action=user").text
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert "Nothing fits" in chief.get(f"/admin/audit?from={tomorrow}").text
    assert "device d-" in chief.get(f"/admin/audit?until={tomorrow}").text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=yesterday", 422),
        ("from=2026-11-21&until=2026-11-20", 422),
        ("from=0001-01-01", 422),
        ("until=9999-12-31", 422),
        ("before=x", 400),
        ("before=99999999999999999-1", 200),
        ("before=" + "9" * 40 + "-1", 400),
        ("actor=%00", 200),
        ("subject='; DROP TABLE users; --", 200),
        ("subject=" + "x" * 5_000, 200),
    ],
)
def test_odd_filters_are_refused_not_broken(chief: FlaskClient, query: str, status: int) -> None:
    assert chief.get(f"/admin/audit?{query}").status_code == status


def test_what_cannot_be_stored_as_it_is_does_not_stop_the_log(engine: Engine) -> None:
    with engine.begin() as connection:
        after = {"text": "a\0b", "at": datetime(2026, 11, 21, tzinfo=UTC)}
        write_audit(connection, actor="x", action="x", subject="x", before=None, after=after)
    assert json.loads(json.dumps(rows(engine, "SELECT before, after FROM audit_log")[0])) == [
        None,
        {"text": "a\ufffdb", "at": "2026-11-21 00:00:00+00:00"},
    ]


def test_a_csrf_token_is_wanted_on_every_form(chief: FlaskClient) -> None:
    assert chief.post("/admin/users", data={"name": "x", "role": "admin"}).status_code == 400
    assert csrf_token(chief.get("/admin").text)
