"""The alerts page on a real database: what stands first, who takes what, what is refused, what stays written."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.storage.alerts import AlertResolved, Position, acknowledge_alert, get_alert, list_alerts
from streamgauge.storage.devices import register_devices
from tests.support.alert_rows import add_alert, add_rule
from tests.support.pages import make_app, send, sign_in


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    with engine.begin() as connection:
        register_devices(connection, ["mill", "weir"])
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "duty")


def audited(engine: Engine) -> list[Any]:
    query = text("SELECT actor, action, subject, before, after FROM audit_log WHERE subject LIKE 'alert %' ORDER BY id")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_without_alerts_the_page_says_what_will_stand_here(client: FlaskClient) -> None:
    page = client.get("/alerts")
    assert page.status_code == 200
    assert "No alert here now" in page.text
    client.set_cookie("streamgauge_language", "vi")
    assert "Hiện không có cảnh báo nào" in client.get("/alerts").text


def test_open_ones_stand_first_and_of_these_the_most_severe(client: FlaskClient, engine: Engine) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        rule = add_rule(connection)
        taken = add_alert(connection, "mill", severity=4, state="acknowledged", rule_id=rule)
        minor = add_alert(connection, "mill", severity=1, rule_id=rule)
        major = add_alert(connection, "weir", severity=3, opened_at=now - timedelta(hours=2), rule_id=rule)
        over = add_alert(connection, "weir", severity=4, state="resolved", rule_id=rule)
    page = client.get("/alerts").text
    assert [int(found) for found in re.findall(r'id="alert-(\d+)"', page)] == [major, minor, taken]
    assert "Above BĐ II" in page
    assert "1.92 m" in page
    assert [int(found) for found in re.findall(r'id="alert-(\d+)"', client.get("/alerts?state=resolved").text)] == [
        over
    ]


def test_an_operator_takes_an_alert_and_the_page_goes_where_one_was(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    answer = send(client, f"/alerts/{number}/acknowledge", comment="On <b>my</b> way\r\n", next="/stations/mill")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/stations/mill")
    with engine.connect() as connection:
        alert = get_alert(connection, number)
    assert alert is not None
    assert (alert.state, alert.acknowledged_by, alert.comment) == ("acknowledged", "duty", "On <b>my</b> way")
    expected = ("duty", "alert.acknowledge", f"alert {number}")
    before, after = {"state": "open", "comment": None}, {"state": "acknowledged", "comment": "On <b>my</b> way"}
    assert audited(engine) == [(*expected, before, after)]
    page = client.get(f"/alerts/{number}").text
    assert "On &lt;b&gt;my&lt;/b&gt; way" in page
    assert "duty acknowledged it" in page


def test_again_changes_nothing_and_no_other_site_is_gone_to(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    for _ in range(2):
        answer = send(client, f"/alerts/{number}/acknowledge", comment="mine", next="//elsewhere.example")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert len(audited(engine)) == 1


def test_what_is_over_cannot_be_taken_and_nothing_typed_is_lost(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill", state="resolved")
    answer = send(client, f"/alerts/{number}/acknowledge", comment="too late?")
    assert answer.status_code == 409
    assert "is over already" in answer.text
    assert "too late?" in answer.text
    assert audited(engine) == []
    assert send(client, f"/alerts/{number}/comment", comment="The gate had jammed").status_code == 303
    assert [row[1] for row in audited(engine)] == ["alert.comment"]


@pytest.mark.parametrize("comment", ["x" * 2_001, "nul \x00 inside", "\x1b[31mred"])
def test_a_comment_that_cannot_be_kept_is_told_beside_its_field(
    client: FlaskClient, engine: Engine, comment: str
) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    for action in ("acknowledge", "comment", "resolve"):
        answer = send(client, f"/alerts/{number}/{action}", comment=comment)
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
    assert send(client, f"/alerts/{number}/comment", comment=" \n ").status_code == 422
    assert audited(engine) == []


def test_who_may_not_and_what_is_not_there(app: Flask, client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    guest = sign_in(app, "guest")
    assert "Acknowledge</button>" not in guest.get("/alerts").text
    assert send(guest, f"/alerts/{number}/acknowledge").status_code == 403
    assert client.post(f"/alerts/{number}/acknowledge").status_code == 400
    assert app.test_client().get("/alerts").status_code == 302
    for path in ("/alerts/99999999", f"/alerts/{2**70}", "/alerts/-1", "/alerts/one"):
        assert client.get(path).status_code == 404
    assert send(client, f"/alerts/{2**70}/acknowledge").status_code == 404
    assert client.get("/alerts?state=all&cursor=%00").status_code == 400
    assert client.get("/alerts?state=' OR 1=1").status_code == 200
    assert audited(engine) == []


@pytest.mark.parametrize(
    "cause",
    [
        {},
        {"kind": "volcano", "level_m": "high", "time": "yesterday"},
        {"kind": "stage", "stage": 7, "level_m": None},
        {"kind": ["rate"], "rate_m_per_h": 0.42, "threshold_m_per_h": 1e300},
        {"kind": "gateway", "gateway": "<script>alert(1)</script>"},
        {"kind": "silent", "silent_s": 7200, "limit_s": 3600, "time": "2026-11-21T02:30:00"},
        {"kind": "forecast", "stage": "BĐ III", "after_s": 5400, "chance": 0.8},
    ],
)
def test_any_cause_is_shown_calmly(client: FlaskClient, engine: Engine, cause: dict[str, Any]) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, None, cause=cause)
    for language in ("en", "vi"):
        client.set_cookie("streamgauge_language", language)
        for path in ("/alerts", f"/alerts/{number}"):
            page = client.get(path)
            assert page.status_code == 200
            assert "<script>alert" not in page.text


def test_the_list_is_sent_again_only_when_something_changed(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    found = re.search(r'hx-get="([^"]+)"', client.get("/alerts").text)
    assert found
    path = found[1].replace("&amp;", "&")
    assert client.get(path).status_code == 204
    send(client, f"/alerts/{number}/acknowledge")
    again = client.get(path)
    assert again.status_code == 200
    assert "<html" not in again.text
    assert "Acknowledged by duty" in again.text


def test_history_is_paged_and_holds_each_alert_once(client: FlaskClient, engine: Engine) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        rule = add_rule(connection)
        # Several of the same instant: the number decides.
        made = [
            add_alert(connection, "mill", state="resolved", rule_id=rule, opened_at=now - timedelta(hours=step // 3))
            for step in range(120)
        ]
    path, seen = "/alerts?state=resolved", list[int]()
    while path:
        page = client.get(path).text
        seen += [int(found) for found in re.findall(r'id="alert-(\d+)"', page)]
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert sorted(seen) == made
    with engine.connect() as connection:
        first = list_alerts(connection, limit=1)[0]
        rest = list_alerts(connection, after=Position(first.opened_at, first.id), limit=500)
        assert len(list_alerts(connection, device_id=-1, limit=10)) == 0
    assert len(rest) == 119


def test_whoever_comes_second_does_not_take_it_away(engine: Engine, app: Flask) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, "mill")
    with engine.begin() as connection:
        assert acknowledge_alert(connection, number, by="first").changed
        second = acknowledge_alert(connection, number, by="second", comment="I look too")
    assert (second.changed, second.alert.acknowledged_by, second.alert.comment) == (True, "first", "I look too")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alerts SET state = 'resolved'"))
    with pytest.raises(AlertResolved), engine.begin() as connection:
        acknowledge_alert(connection, number, by="third")
