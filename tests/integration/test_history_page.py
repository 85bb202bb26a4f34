"""The history page on a real database: what it finds, page by page, and what it says of an address that is wrong."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.storage.history import Selection, read_history
from streamgauge.storage.read_readings import find_device
from tests.support.history_rows import BEGIN, add_device, add_readings
from tests.support.pages import make_app, sign_in

ROWS = 500


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def mill(engine: Engine) -> int:
    made = add_device(engine, "mill", display_name="Mill <b>bridge</b>", time_zone="Asia/Ho_Chi_Minh", datum="MSL")
    add_readings(engine, made, ROWS)
    return made


@pytest.fixture
def client(app: Flask, mill: int) -> FlaskClient:
    return sign_in(app, "guest")


def times(page: str) -> list[str]:
    return re.findall(r'<time datetime="([^"]+)">', page)


def test_without_a_station_the_page_says_what_to_do(client: FlaskClient) -> None:
    page = client.get("/history")
    assert page.status_code == 200
    assert "Choose a station" in page.text
    client.set_cookie("streamgauge_language", "vi")
    assert "Hãy chọn một trạm" in client.get("/history").text


def test_who_is_not_signed_in_sees_nothing(app: Flask, mill: int) -> None:
    for path in (
        "/history",
        "/history/stations?device=m",
        "/history/export?device=mill",
        "/history/exports?export=" + "x" * 16,
    ):
        assert app.test_client().get(path).status_code == 302


def test_all_pages_together_are_the_whole_record_newest_first(client: FlaskClient) -> None:
    path, seen = "/history?device=mill&range=all", []
    while path:
        page = client.get(path).text
        seen += times(page)
        following = re.search(r'name="before" value="([^"]+)"', page)
        path = f"/history?device=mill&range=all&before={following[1]}" if following else ""
    assert len(seen) == len(set(seen)) == ROWS
    assert seen == sorted(seen, reverse=True)


def test_several_stations_share_one_list_without_loss(client: FlaskClient, engine: Engine) -> None:
    other = add_device(engine, "weir")
    add_readings(engine, other, 120)
    page = client.get("/history?device=mill&device=weir&range=between&from=2026-09-29T00:00&to=2026-09-29T06:00").text
    # 24 quarters of an hour in six hours, at two stations of different zones: told in UTC.
    assert len(times(page)) == 48
    assert "UTC" in page
    with engine.connect() as connection:
        devices = tuple(found for name in ("mill", "weir") if (found := find_device(connection, name)))
        selection = Selection(devices=devices, start=BEGIN, end=BEGIN.replace(month=12))
        place, rows = None, []
        while True:
            found = read_history(connection, selection, place, 37)
            rows += [(row["time"], row["device_id"]) for row in found.rows]
            place = found.following
            if place is None:
                break
    assert len(rows) == len(set(rows)) == ROWS + 120
    assert rows == sorted(rows, key=lambda row: (-row[0].timestamp(), row[1]))


def test_marks_choose_readings(client: FlaskClient, engine: Engine) -> None:
    wanted = {"": 500, "suspect": 50, "failed": 50, "good": 400, "surprising": 10, "corrected": 0}
    with engine.connect() as connection:
        device = find_device(connection, "mill")
        assert device
        for mark, count in wanted.items():
            selection = Selection(
                devices=(device,), start=BEGIN, end=BEGIN.replace(month=12), quantities=("level_m",), mark=mark
            )
            assert len(read_history(connection, selection, None, 1000).rows) == count, mark
            assert client.get(f"/history?device=mill&range=all&mark={mark}").status_code == 200


def test_reasons_are_said_in_words_and_names_cannot_break_the_page(client: FlaskClient) -> None:
    page = client.get("/history?device=mill&range=all&mark=suspect").text
    assert "Suspect: jumped 0.50 m" in page
    assert "Mill &lt;b&gt;bridge&lt;/b&gt;" in page
    assert "<b>bridge" not in page


def test_a_corrected_value_stands_beside_the_raw_one(client: FlaskClient, engine: Engine, mill: int) -> None:
    correct(engine, mill, shift=0.5)
    page = client.get("/history?device=mill&range=all&mark=corrected").text
    assert '<s class="text-muted">1.000</s>' in page
    assert ">1.500</span>" in page


def correct(engine: Engine, device_id: int, **change: float) -> None:
    column = next(iter(change))
    with engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO corrections (device_id, quantity, first, last, {column}, note, made_by) "
                "VALUES (:id, 'level_m', :at, :at, :value, 'levelled', 'duty')"
            ),
            {"id": device_id, "at": BEGIN, "value": change[column]},
        )


WRONG = (
    ("device=nowhere", "There is no station"),
    ("device=mill&device=%27%3B+DROP+TABLE+readings", "There is no station"),
    ("device=%00", "There is no station"),
    ("device=mill&range=between&from=2026-09-30T00:00&to=2026-09-29T00:00", "must be after"),
    ("device=mill&range=between&from=0001-01-01T00:00&to=2999-01-01T00:00", "too far back or too far ahead"),
    ("device=mill&range=between&from=soon&to=", "A day and a time are needed"),
    ("device=mill&range=fortnight", "no such range"),
    ("device=mill&quantity=joy", "no such quantity"),
    ("device=mill&mark=x", "cannot be chosen"),
    ("device=" + "a" * 5_000, "There is no station"),
)


def test_a_wrong_address_is_answered_in_words(client: FlaskClient) -> None:
    for query, said in WRONG:
        answer = client.get(f"/history?{query}")
        assert answer.status_code == 422, query
        assert said in answer.text, query
        assert 'id="fault-' in answer.text, query
        assert client.get(f"/history?{query}", headers={"HX-Request": "true"}).status_code == 200
        assert client.get(f"/history/export?{query}").status_code == 422


def field(page: str, name: str) -> tuple[str, str]:
    """The type and the value of an input."""
    found = re.search(rf'<input class="field" id="{name}" name="{name}" type="([^"]+)" value="([^"]*)"', page)
    assert found is not None
    return found[1], unescape(found[2])


def test_the_form_shows_a_time_as_the_station_s_clocks_do_and_reads_it_as_the_same(
    client: FlaskClient, engine: Engine
) -> None:
    asked = {"device": "mill", "range": "between", "from": "2026-09-29T00:00:00Z", "to": "2026-09-29T06:00:00+00:00"}
    page = client.get("/history", query_string=asked).text
    assert field(page, "from") == ("datetime-local", "2026-09-29T07:00")
    assert field(page, "to") == ("datetime-local", "2026-09-29T13:00")
    shown = times(page)
    again = {**asked, "from": "2026-09-29T07:00", "to": "2026-09-29T13:00"}
    assert times(client.get("/history", query_string=again).text) == shown
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET time_zone = 'Europe/Berlin'"))
    asked |= {"from": "2026-10-25T02:15", "to": "2026-10-25T02:15"}
    page = client.get("/history", query_string=asked).text
    # The whole of what the clocks show as 02:15, from the earlier to the later; and the page says so.
    assert field(page, "from") == ("text", "2026-10-25T02:15+02:00")
    assert field(page, "to") == ("text", "2026-10-25T02:15+01:00")
    again = {**asked, "from": "2026-10-25T02:15+02:00", "to": "2026-10-25T02:15+01:00"}
    page = client.get("/history", query_string=again).text
    assert field(page, "from") == ("text", "2026-10-25T02:15+02:00")
    skipped = client.get("/history", query_string={**asked, "from": "2026-03-29T02:30"})
    assert skipped.status_code == 422
    assert "The clocks here never show this time" in skipped.text


def test_a_place_that_is_none_begins_at_the_newest(client: FlaskClient) -> None:
    for place in ("x", "1.", "99999999999999999.1", "-99999999999999999.9999999999999999999", "1.99999999999999999999"):
        assert client.get(f"/history?device=mill&before={place}").status_code == 200


def test_stations_are_suggested_as_one_types(client: FlaskClient, engine: Engine) -> None:
    add_device(engine, "weir-1", decommissioned_at="2026-01-01")
    assert 'value="mill"' in client.get("/history/stations?device=bridge").text
    assert 'value="weir-1"' in client.get("/history/stations?device=EIR").text
    assert client.get("/history/stations?device=%25").text.strip() == ""
    assert client.get("/history/stations?device=%00").status_code == 200
