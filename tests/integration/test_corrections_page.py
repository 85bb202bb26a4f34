"""Correcting readings on a real database: seen first, made, read back everywhere, undone; raw values stay."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.storage.corrections import corrected_flag_sql, corrected_sql
from tests.support.ingest import START, ingest, series, services
from tests.support.pages import make_app, send, sign_in

PAGE = "/stations/weir/corrections"


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    ingest(services(engine, redis), series([1.0, 1.1, 9.9, 1.2], device="weir"))
    yield app
    app.extensions["streamgauge_connections"].close()


def form(**changed: str) -> dict[str, str]:
    at = (START + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M")
    asked = {
        "quantity": "level_m",
        "first": at,
        "last": at,
        "flag": "",
        "how": "value",
        "amount": "1,15",
        "note": "Ice",
    }
    return asked | changed


def effective(engine: Engine) -> list[tuple[float, int]]:
    query = f"""
    SELECT {corrected_sql("level_m")}, {corrected_flag_sql("level_m")} FROM readings JOIN devices d ON d.id = device_id
    WHERE d.name = 'weir' ORDER BY time
    """
    with engine.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(text(query))]


def raw(engine: Engine) -> list[float]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT level_m FROM readings ORDER BY time")).scalars())


def audited(engine: Engine) -> list[Any]:
    query = "SELECT actor, action, before, after FROM audit_log WHERE action LIKE 'correction.%' ORDER BY id"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_correction_is_seen_before_it_counts(app: Flask, engine: Engine) -> None:
    shown = send(sign_in(app, "duty"), PAGE, **form())
    assert shown.status_code == 200
    assert "1 reading is covered" in shown.text
    assert "9.900 m" in shown.text
    assert "1.150 m" in shown.text
    assert audited(engine) == []
    assert effective(engine)[2][0] == 9.9


def test_what_is_made_counts_and_what_the_sensor_sent_stays(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    assert send(client, PAGE, apply="1", **form(flag="1")).status_code == 303
    assert effective(engine)[2] == (1.15, 1)
    assert raw(engine) == [1.0, 1.1, 9.9, 1.2]
    [(actor, action, before, after)] = audited(engine)
    assert (actor, action, before) == ("duty", "correction.make", None)
    assert (after["value"], after["flag"], after["note"]) == (1.15, 1, "Ice")
    page = client.get(PAGE).text
    assert "Ice" in page
    assert "replaced by 1.150 m" in page
    # The chart of the station draws what counts.
    assert (
        "1.15"
        in client.get(f"/stations/weir?from={START.isoformat()}&to={(START + timedelta(hours=1)).isoformat()}").text
    )


def test_a_form_that_is_sent_twice_makes_one_correction(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    for _ in range(2):
        assert send(client, PAGE, apply="1", **form()).status_code == 303
    assert len(audited(engine)) == 1
    send(client, PAGE, apply="1", **form(amount="1,16"))
    assert len(audited(engine)) == 2


def test_undoing_brings_back_what_counted_before(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    found = effective(engine)
    send(client, PAGE, apply="1", **form(how="shift", amount="-0.5", flag="4"))
    level_m, flag = effective(engine)[2]
    assert (level_m, flag) == (9.9 - 0.5, 4)
    with engine.connect() as connection:
        number = connection.execute(text("SELECT id FROM corrections")).scalar_one()
    assert send(client, f"{PAGE}/{number}/undo").status_code == 303
    assert effective(engine) == found
    send(client, f"{PAGE}/{number}/undo")
    assert [action for _, action, _, _ in audited(engine)] == ["correction.make", "correction.undo"]


def test_a_correction_in_feet_is_stored_in_metres(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "duty")
    client.set_cookie("streamgauge_units", "feet")
    send(client, PAGE, apply="1", **form(amount="10"))
    assert effective(engine)[2][0] == pytest.approx(3.048)


def test_times_are_the_stations_and_a_minute_is_a_whole_minute(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET time_zone = 'Asia/Ho_Chi_Minh' WHERE name = 'weir'"))
    local = (START + timedelta(minutes=10, hours=7)).strftime("%Y-%m-%dT%H:%M")
    send(sign_in(app, "duty"), PAGE, apply="1", **form(first=local, last=local))
    with engine.connect() as connection:
        first, last = connection.execute(text("SELECT first, last FROM corrections")).one()
    assert first == START + timedelta(minutes=10)
    assert last - first == timedelta(minutes=1) - timedelta(microseconds=1)


BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""Berlin's clocks go from 03:00 to 02:00."""


def named(engine: Engine) -> tuple[datetime, datetime]:
    with engine.connect() as connection:
        first, last = connection.execute(text("SELECT first, last FROM corrections")).one()
    return first, last


def test_a_reading_of_the_hour_that_is_shown_twice_is_corrected_and_no_other(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET time_zone = 'Europe/Berlin' WHERE name = 'weir'"))
    client = sign_in(app, "duty")
    for time in (BACK - timedelta(minutes=30), BACK + timedelta(minutes=30)):
        page = client.get(PAGE, query_string={"first": time.isoformat(), "last": time.isoformat()}).text
        first, last = (re.search(rf'name="{name}" value="([^"]+)"', page) for name in ("first", "last"))
        assert first is not None
        assert last is not None
        send(client, PAGE, apply="1", **form(first=unescape(first[1]), last=unescape(last[1])))
        assert named(engine) == (time, time + timedelta(seconds=1) - timedelta(microseconds=1))
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM corrections"))
    send(client, PAGE, apply="1", **form(first="2026-10-25T02:00", last="2026-10-25T02:59"))
    assert named(engine) == (BACK - timedelta(hours=1), BACK + timedelta(hours=1) - timedelta(microseconds=1))


def test_a_time_that_the_clocks_skip_is_refused(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET time_zone = 'Europe/Berlin' WHERE name = 'weir'"))
    answer = send(sign_in(app, "duty"), PAGE, apply="1", **form(last="2026-03-29T02:30"))
    assert answer.status_code == 422
    assert "The clocks here never show this time" in answer.text
    assert 'value="2026-03-29T02:30"' in answer.text
    assert audited(engine) == []


def test_changed_hours_are_rolled_up_again(app: Flask, engine: Engine) -> None:
    send(sign_in(app, "duty"), PAGE, apply="1", **form())
    with engine.connect() as connection:
        assert START in connection.execute(text("SELECT hour FROM rollup_pending")).scalars().all()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"quantity": "seq"}, "Choose one of the quantities"),
        ({"quantity": "level_m; DROP TABLE readings"}, "Choose one of the quantities"),
        ({"first": "yesterday"}, "A day and a time are needed"),
        ({"first": "2026-11-21T14:05\0"}, "A day and a time are needed"),
        ({"last": "2026-11-21"}, "A day and a time are needed"),
        ({"first": "0001-01-01T00:00+14:00"}, "too far back"),
        ({"last": "9999-12-31T23:59:59-14:00"}, "too far ahead"),
        ({"first": "2030-01-01T00:00"}, "The end lies before the beginning"),
        ({"flag": "9"}, "Choose one of the qualities"),
        ({"how": "double"}, "Choose what happens"),
        ({"amount": "nan"}, "must be a number"),
        ({"amount": "1e300"}, "must be a number"),
        ({"amount": "<b>1</b>"}, "must be a number"),
        ({"how": "leave"}, "nothing would change"),
        ({"note": ""}, "Say why"),
        ({"note": "x" * 1_001}, "Say why"),
        ({"note": "a\0b"}, "Say why"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_changes(
    app: Flask, engine: Engine, changed: dict[str, str], told: str
) -> None:
    answer = send(sign_in(app, "duty"), PAGE, apply="1", **form(**changed))
    assert answer.status_code == 422
    assert told in answer.text
    assert audited(engine) == []
    if "note" not in changed:
        assert ">Ice</textarea>" in answer.text


def test_words_of_people_are_shown_as_words(app: Flask) -> None:
    client = sign_in(app, "duty")
    send(client, PAGE, apply="1", **form(note="<script>alert(1)</script>"))
    page = client.get(PAGE).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_viewers_look_and_change_nothing(app: Flask, engine: Engine) -> None:
    client = sign_in(app, "guest")
    assert '<form method="post" action="/stations/weir/corrections"' not in client.get(PAGE).text
    assert send(client, PAGE, apply="1", **form()).status_code == 403
    assert audited(engine) == []


def test_another_stations_correction_is_not_undone(app: Flask, engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), series([1.0], device="mill"))
    client = sign_in(app, "duty")
    send(client, PAGE, apply="1", **form())
    with engine.connect() as connection:
        number = connection.execute(text("SELECT id FROM corrections")).scalar_one()
    for path in (f"/stations/mill/corrections/{number}/undo", f"{PAGE}/{2**70}/undo"):
        assert send(client, path).status_code == 303
    assert effective(engine)[2][0] == 1.15
    assert client.get("/stations/nowhere/corrections").status_code == 404


def test_links_fill_the_form(app: Flask) -> None:
    client = sign_in(app, "duty")
    page = client.get(f"{PAGE}?quantity=temperature_c&first={datetime(2026, 11, 1, 0, 5, tzinfo=UTC).isoformat()}").text
    assert 'value="temperature_c" selected' in page
    assert page.count('value="2026-11-01T00:05:00"') == 2
    assert client.get(f"{PAGE}?quantity=x&first=%00&last=%3Cb%3E&before=-1").status_code == 200
