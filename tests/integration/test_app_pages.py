"""The pages on a real database: signing in, the overview, a station."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app.session.passwords import hash_password
from streamgauge.reading import SIMULATED, Reading
from streamgauge.storage.rollup import advance
from tests.support.ingest import ingest, recorded, series, services
from tests.support.pages import PASSWORD, csrf_token, make_app, send_login, sign_in

NOW = datetime.now(UTC)


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url, commit_timeout_s=0.3)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "guest")


def chart_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="chart-data">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def recent(levels: list[float | None], device: str = "a", step_s: float = 300.0) -> list[Reading]:
    return series(levels, device=device, start=NOW - timedelta(seconds=(len(levels) - 1) * step_s), step_s=step_s)


def test_the_right_password_leads_to_where_one_was_going(app: Flask) -> None:
    client = app.test_client()
    answer = send_login(client, "guest", PASSWORD, "/stations/a?range=7d")
    assert (answer.status_code, answer.location) == (303, "/stations/a?range=7d")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert client.get("/").status_code == 200


def test_a_wrong_password_and_an_unknown_user_sound_the_same(app: Flask) -> None:
    client = app.test_client()
    wrong, unknown = send_login(client, "guest", "wrong"), send_login(client, "nobody", "wrong")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert "do not match" in wrong.text
    assert "do not match" in unknown.text
    assert client.get("/").status_code == 302


def test_odd_text_is_refused_not_broken(app: Flask, client: FlaskClient) -> None:
    assert send_login(app.test_client(), "guest\0", "a\0b").status_code == 401
    assert send_login(app.test_client(), "x" * 5_000, "x" * 5_000).status_code == 401
    for path in ("/stations/%00", "/stations/%F0%9F%92%A7/now", "/stations/a%2Fb", "/stations/" + "x" * 900):
        assert client.get(path).status_code == 404
    for path in ("/?state=%00", "/overview/cards?device=%00&device=" + "x" * 900):
        assert client.get(path).status_code == 200


def test_guessing_is_slowed_even_for_the_right_password(app: Flask) -> None:
    client = app.test_client()
    statuses = [send_login(client, "guest", "wrong").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert send_login(client, "guest").status_code == 429


def test_a_session_ends_with_its_user_or_password(app: Flask, client: FlaskClient, engine: Engine) -> None:
    assert client.get("/").status_code == 200
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET password_hash = :hash"), {"hash": hash_password("another")})
    assert client.get("/").status_code == 302
    assert send_login(client, "guest", "another").status_code == 303
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET disabled_at = now()"))
    assert client.get("/").status_code == 302


def test_the_empty_overview_teaches(client: FlaskClient) -> None:
    page = client.get("/").text
    assert "streamgauge/v1/devices/plumtree-01/readings" in page
    assert "&#34;level_m&#34;: 1.234" in page or '"level_m": 1.234' in page


def test_states_come_first_and_filter(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    using = services(engine, redis)
    ingest(using, recent([1.0] * 3, device="calm", step_s=60))
    ingest(using, recent([1.0 + 0.05 * step for step in range(8)], device="flood"))
    ingest(using, series([1.0, 1.01, 1.02], device="gone", start=NOW - timedelta(days=3)))
    page = client.get("/").text
    order = re.findall(r'id="card-(\w+)".*?data-state="(\w+)"', page)
    assert order == [("flood", "rising"), ("gone", "silent"), ("calm", "ordinary")]
    assert "1 rising fast, 1 silent" in page
    assert "+60 cm/h" in page
    silent = client.get("/?state=silent", headers={"HX-Request": "true"}).text
    assert re.findall(r'id="card-(\w+)"', silent) == ["gone"]
    assert "<html" not in silent


def test_a_fragment_writes_cards_as_the_page_does(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), recent([1.0] * 4, device="calm"))
    fragment = client.get("/overview/cards?device=calm&device=unknown").text
    assert len(re.findall(r'hx-swap-oob="outerHTML:', fragment)) == 1
    assert 'id="totals" hx-swap-oob="true"' in fragment
    card = re.search(r'<a class="card".*?</a>', client.get("/").text, re.DOTALL)
    changed = re.search(r'<a class="card".*?</a>', fragment, re.DOTALL)
    assert card
    assert changed
    assert card[0] == re.sub(r' hx-swap-oob="[^"]*"', "", changed[0])


def test_the_overview_probes_keys_and_scans_no_partition(engine: Engine, redis: Redis) -> None:
    from streamgauge.storage import read_overview

    using = services(engine, redis)
    for month in range(1, 7):
        ingest(using, series([1.0] * 50, start=datetime(2026, month, 3, tzinfo=UTC)))
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(
            text(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {read_overview._NOW}"),
            {"dense_h": 0.5, "sparse_s": 10_800, "window_s": 86_400, "since": "-infinity", "before": "-infinity"},
        )
        lines = [row[0] for row in plan]
    # Of every partition but the newest nothing was read to find the newest reading.
    newest = [
        line
        for line in lines
        if "Scan" in line and "readings_2026_0" in line.replace("p", "_") and "never executed" not in line
    ]
    assert not [line for line in lines if re.search(r"Seq Scan on readings", line)]
    assert len(newest) <= 4, "\n".join(lines)


def test_a_record_of_2018_is_there_to_be_seen(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    using = services(engine, redis)
    record = [Reading(device="dead-run", time=time, level_m=level) for time, level in recorded()]
    for first in range(0, len(record), 2_000):
        ingest(using, record[first : first + 2_000])
    page = client.get("/stations/dead-run").text
    assert "This station is silent. The chart ends at its newest reading, 2018-07-" in page
    assert chart_of(page)["end"] == record[-1].time.timestamp()
    whole = chart_of(client.get("/stations/dead-run?range=all", headers={"HX-Request": "true"}).text)
    levels = [level for level in whole["level"][1] if level is not None]
    assert len(whole["level"][0]) <= 2_000
    assert max(levels) == pytest.approx(max(level for _, level in recorded()), abs=1e-3)
    assert min(levels) == pytest.approx(min(level for _, level in recorded()), abs=1e-3)
    part = chart_of(client.get("/stations/dead-run?from=2018-06-03T00:00:00Z&to=2018-06-04T00:00:00Z").text)
    assert (part["start"], part["end"]) == (1527984000.0, 1528070400.0)
    assert whole["span"][0] < min(levels) < max(levels) < whole["span"][1]


def test_gaps_stay_gaps_and_failed_points_leave_the_line(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    readings = recent([1.0] * 20 + [999.0] + [1.0] * 20)
    ingest(services(engine, redis), readings[:10] + readings[18:])
    chart = chart_of(client.get("/stations/a").text)
    assert None in chart["level"][1]
    assert 999.0 not in chart["level"][1]
    failed = [mark for mark in chart["marks"] if mark["flag"] == "fail"]
    assert [mark["level"] for mark in failed] == [999.0]
    assert failed[0]["text"].startswith("Failed: 999.00 m is outside")
    assert chart["span"][1] < 10


def test_other_quantities_have_their_own_chart(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    times = [NOW - timedelta(minutes=minutes) for minutes in (15, 10, 5)]
    ingest(services(engine, redis), [Reading(device="a", time=time, level_m=1.0, temperature_c=8.5) for time in times])
    page = client.get("/stations/a").text
    assert [other["name"] for other in chart_of(page)["others"]] == ["temperature_c"]
    assert "Temperature" in page


def test_live_head_and_table_are_fragments(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), recent([1.0, 1.1, 1.2]))
    fragment = client.get("/stations/a/now?range=1h").text
    assert 'id="head"' in fragment
    swapped = re.findall(r'id="([\w-]+)"[^>]*hx-swap-oob', fragment)
    assert swapped == ["head", "alerts-now", "forecast", "readings", "signal"]
    assert "1.20" in fragment


def test_a_simulated_reading_says_so_in_both_languages(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    [real, made] = recent([1.0, 1.01])
    using = services(engine, redis)
    ingest(using, [real])
    assert 'href="#icon-simulated"' not in client.get("/").text
    ingest(using, [replace(made, extra={SIMULATED: 1.0})])
    for word in ("Simulated", "Mô phỏng"):
        for path in ("/", "/overview/cards?device=a", "/stations/a", "/stations/a/now"):
            page = client.get(path).text
            assert 'href="#icon-simulated"' in page
            assert word in page
        # In the table it stands beside the one reading that was made by hand.
        assert client.get("/stations/a/now").text.count('href="#icon-simulated"') == 2
        client.post("/preferences", data={"csrf_token": csrf_token(client.get("/").text), "language": "vi"})


def test_a_user_of_feet_and_utc_reads_them_everywhere(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), recent([1.0, 1.1, 1.524]))
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET time_zone = 'Asia/Ho_Chi_Minh'"))
    page = client.get("/stations/a").text
    chart = chart_of(page)
    assert (chart["units"], chart["factor"], chart["zone"]) == ("metric", 1.0, "Asia/Ho_Chi_Minh")
    assert "1.524" in page
    assert "UTC+07:00" in page
    token = csrf_token(client.get("/").text)
    client.post("/preferences", data={"csrf_token": token, "units": "feet", "times": "utc"})
    page = client.get("/stations/a").text
    chart = chart_of(page)
    assert (chart["units"], chart["factor"], chart["zone"]) == ("feet", 1 / 0.3048, "UTC")
    assert chart["level"][1][-1] == 1.524
    assert "UTC+07:00" not in page
    for shown in (client.get("/").text, page, client.get("/stations/a/now").text):
        assert re.search(r'<span class="level">5.00</span> <span class="[^"]*">ft</span>', shown)
        assert "1.52" not in shown.split('id="chart-data"')[0]


def test_an_unknown_station_says_what_to_do(client: FlaskClient) -> None:
    answer = client.get("/stations/nowhere")
    assert answer.status_code == 404
    assert "the overview lists every station" in answer.text


def test_text_from_outside_is_never_markup(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), recent([1.0] * 3))
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET display_name = '<script>x</script>', datum = '</script><b>'"))
    for page in (client.get("/").text, client.get("/stations/a").text):
        assert "<script>x" not in page
        assert "</script><b>" not in page


def test_preferences_are_kept(client: FlaskClient) -> None:
    token = csrf_token(client.get("/").text)
    answer = client.post("/preferences", data={"csrf_token": token, "language": "vi", "next": "/?state=silent"})
    assert (answer.status_code, answer.location) == (303, "/?state=silent")
    client.post("/preferences", data={"csrf_token": token, "theme": "dark"})
    page = client.get("/").text
    assert '<html lang="vi" data-theme="dark">' in page
    assert "Đăng xuất" in page


def test_metrics_know_how_far_behind_the_roll_up_is(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        while advance(connection, 744) is not None:
            pass
    lag = re.search(r"\nstreamgauge_rollup_lag_seconds ([\d.]+)", app.test_client().get("/metrics").text)
    assert lag
    assert 7_200 <= float(lag[1]) < 10_860


def test_metrics_know_ages_and_queues(app: Flask, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), recent([1.0] * 3, device="calm"))
    lines = app.test_client().get("/metrics").text
    age = re.search(r'streamgauge_newest_reading_age_seconds\{device="calm"\} ([\d.]+)', lines)
    assert age
    assert 0 <= float(age[1]) < 600
    assert 'streamgauge_queue_messages{queue="readings"} 0.0' in lines
    assert "\nstreamgauge_rollup_lag_seconds " not in lines, "nothing is rolled up yet"
    assert app.test_client().get("/health/db").json == {"status": "ok", "database": "ok", "redis": "ok"}
