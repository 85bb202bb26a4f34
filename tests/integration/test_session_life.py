"""Sessions on a real database: rotating tokens, every end, fixation, CSRF of another, guessing, rate limits, other origins."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, flash
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app import create_app
from app.session.backoff import FREE_FAILURES, FREE_FAILURES_OF_USER, Guesser, note_failure, wait_left_s
from app.session.identity import sessions_alive, signed_in_user
from app.session.roles import public
from streamgauge.settings import WebSettings
from tests.support.pages import PASSWORD, add_bearer, add_people, csrf_token, send, send_login, sign_in

COOKIE = "streamgauge_session"


@pytest.fixture
def settings(database_url: str, redis_url: str) -> WebSettings:
    return WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40, cookie_secure=False)


@pytest.fixture
def app(engine: Engine, redis: Redis, settings: WebSettings) -> Iterator[Flask]:
    app = create_app(settings)
    add_people(engine, ("duty", "operator"), ("guest", "viewer"))
    yield app
    app.extensions["streamgauge_connections"].close()


def change(engine: Engine, query: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(query))


def cookie(client: FlaskClient) -> str:
    found = client.get_cookie(COOKIE)
    assert found
    return found.value


def is_in(client: FlaskClient) -> bool:
    return client.get("/account").status_code == 200


def with_cookie(app: Flask, value: str) -> FlaskClient:
    client = app.test_client()
    client.set_cookie(COOKIE, value)
    return client


def test_only_the_hash_of_the_token_is_stored(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    with client.session_transaction() as session:
        token = session["token"]
    with engine.connect() as connection:
        stored = str(connection.execute(text("SELECT sessions.*, encode(token_sha256, 'escape') FROM sessions")).one())
    assert token not in stored
    assert len(token) >= 43


def test_a_session_from_before_the_sign_in_is_worth_nothing(app: Flask) -> None:
    victim = app.test_client()
    planted_csrf = csrf_token(victim.get("/login").text)
    planted = cookie(victim)
    assert send_login(victim, "duty", PASSWORD).status_code == 303
    assert cookie(victim) != planted
    assert not is_in(with_cookie(app, planted))
    # Neither does what the attacker knew of the session before open a form of the session after.
    assert victim.post("/account/sessions/end-others", data={"csrf_token": planted_csrf}).status_code == 400


def test_the_csrf_token_of_one_session_is_refused_in_another(app: Flask) -> None:
    mine, theirs = sign_in(app, "duty"), sign_in(app, "guest")
    token = csrf_token(theirs.get("/account").text)
    answer = mine.post("/account/sessions/end-others", data={"csrf_token": token})
    assert answer.status_code == 400
    assert theirs.post("/account/sessions/end-others", data={"csrf_token": token}).status_code == 303


def test_a_forged_cookie_is_nobody(app: Flask) -> None:
    client = sign_in(app, "duty")
    body, _, signature = cookie(client).rpartition(".")
    assert not is_in(with_cookie(app, f"{body}.{signature[::-1]}"))
    assert not is_in(with_cookie(app, "x" * 3_000))


def test_a_token_rotates_and_the_one_before_is_honoured_for_a_moment(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    assert is_in(client)
    before = cookie(client)
    assert is_in(client)
    assert cookie(client) == before
    change(engine, "UPDATE sessions SET rotated_at = now() - interval '16 min'")
    assert is_in(client)
    after = cookie(client)
    assert after != before
    late = with_cookie(app, before)
    assert is_in(late)
    assert cookie(late) == before
    assert is_in(client)
    change(engine, "UPDATE sessions SET rotated_at = now() - interval '61 s', last_seen_at = now()")
    assert not is_in(with_cookie(app, before))
    assert is_in(client)


def test_an_answer_that_was_lost_on_its_way_signs_nobody_out(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    before = cookie(client)
    change(engine, "UPDATE sessions SET rotated_at = now() - interval '16 min'")
    assert is_in(client)
    # The new token never arrived. Ten minutes later the browser comes with the one that it has.
    change(
        engine, "UPDATE sessions SET rotated_at = now() - interval '10 min', last_seen_at = now() - interval '10 min'"
    )
    again = with_cookie(app, before)
    assert is_in(again)
    assert cookie(again) not in {before, cookie(client)}
    assert not is_in(client)
    assert is_in(again)


def test_a_form_that_is_sent_does_not_rotate(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    token = csrf_token(client.get("/account").text)
    change(engine, "UPDATE sessions SET rotated_at = now() - interval '16 min'")
    before = cookie(client)
    client.post("/preferences", data={"csrf_token": token, "theme": "dark"})
    assert cookie(client) == before


@pytest.mark.parametrize("rotations", [1, 2])
def test_an_answer_that_took_longer_than_a_rotation_signs_nobody_out(
    app: Flask, engine: Engine, rotations: int
) -> None:
    meanwhile = app.test_client()

    def slow() -> str:
        assert signed_in_user() is not None
        for _ in range(rotations):
            change(engine, "UPDATE sessions SET rotated_at = now() - interval '16 min'")
            with ThreadPoolExecutor() as other:
                assert other.submit(is_in, meanwhile).result()
        flash("It is kept.")
        return "done"

    app.add_url_rule("/slow", view_func=public(slow))
    browser = sign_in(app, "duty")
    assert is_in(browser)
    meanwhile.set_cookie(COOKIE, cookie(browser))
    before = cookie(browser)
    assert browser.get("/slow").text == "done"
    assert cookie(meanwhile) != before
    if rotations == 1:
        assert cookie(browser) != before
    else:
        # The browser would have the cookie of the other answer; this one did not put its own in the place of it.
        assert cookie(browser) == before
        browser.set_cookie(COOKIE, cookie(meanwhile))
    assert is_in(meanwhile)
    change(engine, "UPDATE sessions SET rotated_at = now() - interval '61 s', last_seen_at = now()")
    page = browser.get("/account")
    assert page.status_code == 200
    assert ("It is kept." in page.text) == (rotations == 1)


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE sessions SET expires_at = now()",
        "UPDATE sessions SET ended_at = now()",
        "UPDATE users SET disabled_at = now()",
        "UPDATE users SET password_hash = '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aaaaaaaaaaaaaaaaaaaaaa'",
        "DELETE FROM sessions",
    ],
)
def test_a_session_ends_in_every_way_that_it_can(app: Flask, engine: Engine, query: str) -> None:
    client = sign_in(app, "duty")
    assert is_in(client)
    change(engine, query)
    assert not is_in(client)
    fragment = client.get("/overview/cards", headers={"HX-Request": "true"})
    assert fragment.status_code == 401
    assert fragment.headers["HX-Redirect"].startswith("/login")


def test_signing_out_ends_the_session_everywhere_it_was_copied_to(app: Flask) -> None:
    client = sign_in(app, "duty")
    copied = cookie(client)
    assert send(client, "/logout").location == "/login"
    assert not is_in(client)
    assert not is_in(with_cookie(app, copied))


def test_idleness_and_age_have_their_limits(engine: Engine, redis: Redis, settings: WebSettings) -> None:
    app = create_app(replace(settings, session_idle_s=600, session_lifetime_s=3_600))
    add_people(engine, ("duty", "operator"))
    client = sign_in(app, "duty")
    left = "SELECT round(extract(epoch FROM expires_at - now())) FROM sessions"
    with engine.connect() as connection:
        assert 595 <= connection.execute(text(left)).scalar_one() <= 600
    change(engine, "UPDATE sessions SET last_seen_at = now() - interval '9 min', expires_at = now() + interval '1 min'")
    assert is_in(client)
    with engine.connect() as connection:
        assert 595 <= connection.execute(text(left)).scalar_one() <= 600
    change(
        engine, "UPDATE sessions SET created_at = now() - interval '59 min', last_seen_at = now() - interval '2 min'"
    )
    assert is_in(client)
    with engine.connect() as connection:
        assert 55 <= connection.execute(text(left)).scalar_one() <= 60
    app.extensions["streamgauge_connections"].close()


def test_one_query_tells_which_sessions_hold(app: Flask, engine: Engine) -> None:
    for user in ("duty", "duty", "guest", "guest"):
        sign_in(app, user)
    change(engine, "UPDATE sessions SET ended_at = now() WHERE id = 1")
    change(engine, "UPDATE sessions SET expires_at = now() WHERE id = 3")
    with engine.connect() as connection:
        assert sessions_alive(connection, [1, 2, 3, 4, 99]) == {2, 4}
        assert sessions_alive(connection, []) == set()
        connection.execute(text("UPDATE users SET disabled_at = now() WHERE name = 'guest'"))
        assert sessions_alive(connection, [1, 2, 3, 4]) == {2}


def test_a_guessed_account_is_slow_for_strangers_but_never_for_its_own_browser(app: Flask, redis: Redis) -> None:
    own = sign_in(app, "duty")
    for number in range(FREE_FAILURES_OF_USER + 12):
        note_failure(redis, Guesser("duty", f"192.0.2.{number}"))
    assert 0 < wait_left_s(redis, Guesser("duty", "198.51.100.7")) <= 60
    assert send_login(app.test_client(), "duty", PASSWORD).status_code == 429
    assert send_login(app.test_client(), "guest", PASSWORD).status_code == 303
    assert send(own, "/logout").status_code == 303
    assert send_login(own, "duty", PASSWORD).status_code == 303
    stolen = app.test_client()
    stolen.set_cookie("streamgauge_known", "ImR1dHki.forged", path="/login")
    assert send_login(stolen, "duty", PASSWORD).status_code == 429


def test_nobody_at_the_same_address_can_keep_a_known_browser_out(app: Flask, redis: Redis) -> None:
    own, office = sign_in(app, "duty"), "127.0.0.1"
    assert send(own, "/logout").status_code == 303
    for number in range(30):
        note_failure(redis, Guesser(f"nobody-{number}", office))
        note_failure(redis, Guesser("duty", office))
    assert send_login(app.test_client(), "guest", PASSWORD).status_code == 429
    assert send_login(app.test_client(), "duty", PASSWORD).status_code == 429
    assert send_login(own, "duty", PASSWORD).status_code == 303
    # What it guesses wrongly itself costs it time, and a cookie that was stolen opens no way to guess from many addresses.
    for _ in range(FREE_FAILURES + 1):
        note_failure(redis, Guesser("duty", office, is_known=True))
    assert send(own, "/logout").status_code == 303
    assert send_login(own, "duty", PASSWORD).status_code == 429
    for number in range(FREE_FAILURES_OF_USER + 1):
        note_failure(redis, Guesser("duty", f"192.0.2.{number}", is_known=True))
    assert 0 < wait_left_s(redis, Guesser("duty", "198.51.100.7", is_known=True)) <= 60


def test_the_limits_of_an_address_are_not_those_of_its_known_browsers(
    engine: Engine, redis: Redis, settings: WebSettings
) -> None:
    app = create_app(replace(settings, rate_limit="50/minute"))
    add_people(engine, ("duty", "operator"))
    own, stranger = sign_in(app, "duty"), app.test_client()
    assert send(own, "/logout").status_code == 303
    form = {"csrf_token": csrf_token(stranger.get("/login").text), "password": "x"}
    failed = [stranger.post("/login", data={**form, "name": f"user-{number}"}).status_code for number in range(60)]
    assert failed[-1] == 429
    assert stranger.get("/login").status_code == 429
    for key in redis.keys("streamgauge:login:*"):
        redis.delete(key)
    assert send_login(own, "duty", PASSWORD).status_code == 303
    too_large = {
        "data": b"name=" + b"x" * (3 * settings.max_message_bytes),
        "content_type": "application/x-www-form-urlencoded",
    }
    assert own.post("/login", **too_large).status_code == 413
    app.extensions["streamgauge_connections"].close()


def test_requests_are_counted_per_token_session_and_address(
    engine: Engine, redis: Redis, settings: WebSettings
) -> None:
    app = create_app(replace(settings, rate_limit="8/hour", commit_timeout_s=0.05))
    add_people(engine, ("duty", "operator"), ("guest", "viewer"))
    duty, guest = sign_in(app, "duty"), sign_in(app, "guest")
    for _ in range(8):
        assert duty.get("/account").status_code == 200
    refused = duty.get("/account")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 3_601
    assert "request_id" in refused.text or "request" in refused.text
    assert guest.get("/account").status_code == 200
    reads, sends = add_bearer(engine, "read"), add_bearer(engine, "ingest")
    client = app.test_client()
    statuses = [client.get("/api/v1/devices", headers=reads).status_code for _ in range(10)]
    # The first call of a token counts for its address: until it is known to be good it may be anybody's.
    assert statuses == [200] * 9 + [429]
    problem = client.get("/api/v1/devices", headers=reads)
    assert problem.content_type == "application/problem+json"
    assert "Try again in" in problem.text
    body: Any = {"device": "a", "time": "yesterday"}
    statuses = [client.post("/api/v1/readings", json=body, headers=sends).status_code for _ in range(40)]
    assert 429 not in statuses
    for path in ("/health", "/metrics", "/static/icon.svg"):
        assert {client.get(path).status_code for _ in range(12)} == {200}
    app.extensions["streamgauge_connections"].close()


def test_unknown_tokens_share_the_count_of_their_address(engine: Engine, redis: Redis, settings: WebSettings) -> None:
    app = create_app(replace(settings, rate_limit="5/hour"))
    client = app.test_client()
    statuses = [
        client.get("/api/v1/devices", headers={"Authorization": f"Bearer sg_{number}"}).status_code
        for number in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2
    app.extensions["streamgauge_connections"].close()


def test_without_redis_pages_work_and_each_process_counts_for_itself(engine: Engine, settings: WebSettings) -> None:
    app = create_app(replace(settings, redis_url="redis://127.0.0.1:1/0", rate_limit="6/hour"))
    add_people(engine, ("duty", "operator"))
    duty = sign_in(app, "duty")
    began = time.monotonic()
    statuses = [duty.get("/account").status_code for _ in range(8)]
    assert statuses[:5] == [200] * 5
    assert statuses[-1] == 429
    assert time.monotonic() - began < 10
    app.extensions["streamgauge_connections"].close()


def test_failed_sign_ins_of_an_address_have_a_limit_of_their_own(app: Flask, redis: Redis) -> None:
    client = app.test_client()
    statuses = set()
    for number in range(40):
        for key in redis.keys("streamgauge:login:*"):
            redis.delete(key)
        statuses.add(send_login(client, f"user-{number}", "x").status_code)
    assert statuses == {401, 429}


def test_other_origins_may_call_the_api_only_by_setting(engine: Engine, redis: Redis, settings: WebSettings) -> None:
    app = create_app(replace(settings, cors_origins=("https://portal.example",)))
    client, bearer = app.test_client(), add_bearer(engine, "read")
    asked = {"Origin": "https://portal.example", "Access-Control-Request-Method": "GET"}
    preflight = client.options("/api/v1/devices", headers=asked | {"Access-Control-Request-Headers": "authorization"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://portal.example"
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    answer = client.get("/api/v1/devices", headers=bearer | {"Origin": "https://portal.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://portal.example"
    for path, origin in (("/api/v1/devices", "https://evil.example"), ("/login", "https://portal.example")):
        refused = client.get(path, headers=bearer | {"Origin": origin})
        assert "Access-Control-Allow-Origin" not in refused.headers
    plain = create_app(settings).test_client().get("/api/v1/devices", headers=bearer | {"Origin": "https://x.example"})
    assert "Access-Control-Allow-Origin" not in plain.headers
    app.extensions["streamgauge_connections"].close()
