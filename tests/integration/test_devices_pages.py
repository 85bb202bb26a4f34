"""The devices pages on a real database: registering, changing, taking out of service; labels; payloads; wrong input."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.errors import DeadReason
from streamgauge.storage.dead_letters import DeadLetter, write_dead_letters
from streamgauge.storage.device_rows import DeviceRow, read_device_row, write_device
from tests.support.ingest import ingest, series, services
from tests.support.pages import csrf_token, make_app, send, sign_in

EUI = "24E124713B101234"
TYPED = {
    "name": "weir-1",
    "display_name": "Đập Cối Xay",
    "river": "Sông Hồng",
    "latitude": "21,0285",
    "longitude": "105.8542",
    "time_zone": "Asia/Ho_Chi_Minh",
    "silence_limit_minutes": "30",
    "gross_min_m": "-1",
    "gross_max_m": "15",
    "dev_eui": "24-e1-24-71-3b-10-12-34",
    "model": "milesight_em500_udl",
    "parameter-blind_zone_m": "0.25",
    "sensor_height_m": "14.2",
    "quality": '{"rate_suspect_m_per_h": 2}',
    "stage_name": ["BĐ II", "BĐ I", ""],
    "stage_level_m": ["10.5", "9,5", ""],
    "stage_severity": ["2", "1", "1"],
}
NASTY = (
    "\0",
    "'; DROP TABLE devices; --",
    "<script>alert(1)</script>",
    "9" * 5_000,
    "{{7*7}}",
    "\ud800",
    "１２",
    "NaN",
    "1e999",
)


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    made = make_app(engine, database_url, redis_url)
    yield made
    made.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "duty")


def stored(engine: Engine, name: str = "weir-1") -> DeviceRow:
    with engine.connect() as connection:
        row = read_device_row(connection, name)
    assert row is not None
    return row


def count_rows(engine: Engine) -> tuple[int, ...]:
    with engine.connect() as connection:
        return tuple(
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in ("devices", "audit_log")
        )


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return found[1]


def test_a_fresh_install_teaches(client: FlaskClient) -> None:
    assert "There are four ways to begin" in client.get("/devices").text
    client.set_cookie("streamgauge_language", "vi")
    assert "Có bốn cách bắt đầu" in client.get("/devices").text


def test_a_device_is_registered_shown_and_changed(client: FlaskClient, engine: Engine) -> None:
    answer = send(client, "/devices/register/new", **TYPED)
    assert (answer.status_code, answer.location) == (303, "/devices/weir-1")
    row = stored(engine)
    assert (row.latitude, row.silence_limit_s, row.dev_eui) == (21.0285, 1_800, EUI)
    assert [stage["name"] for stage in row.stages] == ["BĐ I", "BĐ II"]
    assert row.installation == {"sensor_height_m": 14.2}
    assert row.codec_parameters == {"blind_zone_m": 0.25}
    page = client.get("/devices/weir-1").text
    for words in ("Đập Cối Xay", "Sông Hồng", "21.02850, 105.85420", "BĐ I", "30 min", "the level is 11.700 m", EUI):
        assert words in page
    form = client.get("/devices/weir-1/edit").text
    assert 'value="9.5"' in form
    answer = send(
        client, "/devices/weir-1/edit", **{**TYPED, "seen": hidden(form, "seen"), "silence_limit_minutes": "1.5"}
    )
    assert answer.status_code == 303
    assert stored(engine).silence_limit_s == 90
    with engine.connect() as connection:
        last = connection.execute(text("SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")).one()
    assert (last.actor, last.action, last.before, last.after) == (
        "duty",
        "device.update",
        {"silence_limit_s": 1800},
        {"silence_limit_s": 90},
    )


def test_a_form_that_is_saved_as_it_was_changes_nothing(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        odd = DeviceRow(name="odd", latitude=-12.3456789, longitude=1e-7, silence_limit_s=5, quality={"gap_s": 7200.5})
        write_device(connection, odd, actor="test")
    page = client.get("/devices/odd/edit").text
    fields = dict(re.findall(r'<input [^>]*name="([^"]+)"[^>]* value="([^"]*)"', page))
    assert (
        send(
            client, "/devices/odd/edit", **{**fields, "quality": '{"gap_s":7200.5}', "model": "", "do": "save"}
        ).status_code
        == 303
    )
    assert stored(engine, "odd").said == odd.said
    assert "Nothing was changed" in client.get("/devices/odd").text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "two words"}, "1 to 64 of"),
    ({"name": ""}, "1 to 64 of"),
    ({"latitude": "91"}, "between \N{MINUS SIGN}90 and 90"),
    ({"latitude": ""}, "give both or neither"),
    ({"latitude": "1.000,5"}, "must be a number"),
    ({"time_zone": "Mars/Olympus"}, "no such time zone"),
    ({"silence_limit_minutes": "-5"}, "must lie between"),
    ({"gross_min_m": "20"}, "must be above the lower one"),
    ({"dev_eui": "123"}, "16 hexadecimal digits"),
    ({"model": ""}, "needs a model"),
    ({"model": "nothing_at_all"}, "no such model"),
    ({"model": "decentlab_dl_pr26"}, "cannot be read without it"),
    ({"parameter-blind_zone_m": "7"}, "between 0.03 and 1"),
    ({"sensor_height_m": "1e9"}, "must lie between"),
    ({"stage_level_m": ["x", "1", ""]}, "Stage 1: its level"),
    ({"stage_level_m": ["9.5", "9.5", ""]}, "same name or the same level"),
    ({"stage_severity": ["7", "1", "1"]}, "Stage 1: its severity"),
    ({"stage_severity": []}, "Stage 1: its severity"),
    ({"stage_severity": ["1", "2", "1"]}, "milder than a lower one"),
    ({"stage_name": ["", "a", "b" * 50], "stage_level_m": ["1", "2", "3"]}, "Stage 1: give it a name"),
    ({"quality": "{"}, "not JSON"),
    ({"quality": "[1]"}, "JSON object"),
    ({"quality": '{"no_such_limit": 1}'}, "cannot be used"),
    ({"quality": '{"neighbours": ["\\u0000"]}'}, "cannot be used"),
    ({"quality": '{"gap_s": 1e400}'}, "not JSON"),
    ({"quality": "[" * 9_000}, "not JSON"),
    ({"description": "x" * 2_001}, "At most 2"),
    ({"river": "a\0b"}, "cannot be shown"),
]


def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(client: FlaskClient, engine: Engine) -> None:
    before = count_rows(engine)
    for change, complaint in WRONG:
        answer = send(client, "/devices/register/new", **{**TYPED, **change})
        assert answer.status_code == 422, change
        assert complaint in answer.text, change
        assert "Nothing was saved" in answer.text
        if "stage_name" not in change:
            assert 'value="BĐ II"' in answer.text
        assert 'value="Đập Cối Xay"' in answer.text
    assert count_rows(engine) == before
    client.set_cookie("streamgauge_language", "vi")
    assert "Chưa lưu gì" in send(client, "/devices/register/new", **{**TYPED, "name": ""}).text


def test_nothing_that_is_typed_makes_an_error_of_ours(client: FlaskClient, engine: Engine) -> None:
    token = csrf_token(client.get("/devices").text)
    for place, (field, nasty) in enumerate((field, nasty) for field in TYPED for nasty in NASTY):
        typed = {
            **TYPED,
            "name": f"d{place}",
            "dev_eui": f"{place:016x}",
            field: nasty.encode("utf-8", "surrogatepass"),
        }
        answer = client.post("/devices/register/new", data={"csrf_token": token, **typed})
        assert answer.status_code in {303, 409, 422}
        assert "<script>alert" not in answer.text
    for name in [row.name for row in _rows(engine)]:
        assert "<script>alert" not in client.get(f"/devices/{name}").text
        assert client.get(f"/devices/{name}/edit").status_code == 200


def _rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT name FROM devices")))


def test_names_and_dev_euis_that_are_taken_and_changes_of_others_are_refused(
    client: FlaskClient, engine: Engine
) -> None:
    assert send(client, "/devices/register/new", **TYPED).status_code == 303
    answer = send(client, "/devices/register/new", **TYPED)
    assert answer.status_code == 409
    assert "registered already" in answer.text
    answer = send(client, "/devices/register/new", **{**TYPED, "name": "other"})
    assert answer.status_code == 422
    assert "registered already, as weir-1" in answer.text
    seen = hidden(client.get("/devices/weir-1/edit").text, "seen")
    assert send(client, "/devices/weir-1/edit", **{**TYPED, "seen": seen, "river": "A"}).status_code == 303
    answer = send(client, "/devices/weir-1/edit", **{**TYPED, "seen": seen, "river": "B"})
    assert answer.status_code == 409
    assert "Somebody else has changed" in answer.text
    assert stored(engine).river == "A"


def test_the_form_helps_without_saving(client: FlaskClient, engine: Engine) -> None:
    page = send(client, "/devices/register/new", **{**TYPED, "do": "preset-us"}).text
    for name in ("Action", "Minor", "Moderate", "Major"):
        assert f'value="{name}"' in page
    assert 'value="10.5"' in page
    page = send(client, "/devices/register/new", **{**TYPED, "do": "look", "sample": "4.2"}).text
    assert "14.200 − 4.200 m" in page
    assert "the level is 10.000 m" in page
    page = send(client, "/devices/register/new", **{**TYPED, "do": "look", "sample": "x"}).text
    assert "That is no number" in page
    page = send(client, "/devices/register/new", model="decentlab_dl_pr26", do="look", sensor_height_m="0").text
    assert "parameter-Pmin" in page
    assert "of water" in page
    assert count_rows(engine)[0] == 0


def test_out_of_service_and_back(client: FlaskClient, engine: Engine) -> None:
    send(client, "/devices/register/new", **TYPED)
    assert "can be taken into service again at any time" in client.get("/devices/weir-1").text
    assert send(client, "/devices/weir-1/decommission").status_code == 303
    page = client.get("/devices/weir-1").text
    assert "Out of service since" in page
    assert stored(engine).decommissioned_at is not None
    assert send(client, "/devices/weir-1/recommission").status_code == 303
    assert stored(engine).decommissioned_at is None
    assert send(client, "/devices/nobody/decommission").status_code == 404


def test_the_list_is_searched_filtered_and_paged(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    with engine.begin() as connection:
        for number in range(60):
            write_device(
                connection, DeviceRow(name=f"d{number:02}", river="Elbe" if number % 2 else None), actor="test"
            )
    ingest(services(engine, redis), series([1.0], device="mill", start=datetime.now(UTC)))
    page = client.get("/devices").text
    assert "/devices/d49" in page
    assert "/devices/d50" not in page
    assert "after=d49" in page
    page = client.get("/devices?after=d49").text
    assert "/devices/mill" in page
    assert "Registered itself" in page
    assert client.get("/devices?q=elb").text.count('scope="row"') == 30
    assert client.get("/devices?state=auto").text.count('scope="row"') == 1
    assert "No device matches" in client.get("/devices?q=%25").text
    for query in ("q=" + "x" * 5_000, "state=nonsense", "after=%00", "q=%00%ff"):
        assert client.get(f"/devices?{query}").status_code == 200
    assert client.get("/devices/nobody").status_code == 404
    assert client.get("/devices/%00").status_code == 404


def test_dead_letters_of_a_device_are_counted_where_they_are_read_in_again(client: FlaskClient, engine: Engine) -> None:
    send(client, "/devices/register/new", **TYPED)
    heard = datetime(2026, 11, 1, tzinfo=UTC)
    detail = f"no device is registered with the DevEUI {EUI}. Register it with: …"
    letters = [
        DeadLetter(
            topic="t",
            source="gateway",
            reason=DeadReason.UNKNOWN_DEVICE,
            detail="no",
            payload=b"a",
            readings=1,
            received_at=heard,
            device="weir-1",
        ),
        DeadLetter(
            topic="t",
            source="uplink",
            reason=DeadReason.UNKNOWN_DEVICE,
            detail=detail,
            payload=b"b",
            readings=1,
            received_at=heard,
        ),
        DeadLetter(
            topic="t",
            source="gateway",
            reason=DeadReason.UNKNOWN_DEVICE,
            detail="no",
            payload=b"c",
            readings=1,
            received_at=heard,
            device="other",
        ),
    ]
    with engine.begin() as connection:
        write_dead_letters(connection, letters)
    page = client.get("/devices/weir-1").text
    assert "2 messages of this device were not read in" in page
    assert 'action="/operations/dead-letters/replay"' in page
    assert 'name="next" value="/devices/weir-1"' in page


def test_a_viewer_sees_and_changes_nothing(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        write_device(connection, DeviceRow(name="weir-1"), actor="test")
    guest = sign_in(app, "guest")
    assert guest.get("/devices").status_code == 200
    page = guest.get("/devices/weir-1").text
    assert "/edit" not in page
    assert "/decommission" not in page
    for path in ("register/new", "register/csv", "register/qr", "register/devices.csv", "weir-1/edit"):
        assert guest.get(f"/devices/{path}").status_code == 403
    for path in (
        "register/new",
        "register/csv",
        "register/csv/apply",
        "register/qr",
        "weir-1/edit",
        "weir-1/decommission",
    ):
        assert send(guest, f"/devices/{path}", **TYPED).status_code == 403
    assert app.test_client().get("/devices").status_code == 302


LABEL = f"LW:D0:1122334455667788:{EUI}:AABB1122:O9F00:SYYWW42"


def test_a_label_fills_the_form(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        like = DeviceRow(name="like", dev_eui=EUI[:-1] + "0", model="milesight_em500_udl")
        write_device(connection, like, actor="test")
    answer = send(client, "/devices/register/qr", text=LABEL)
    assert answer.status_code == 200
    for words in (
        f'value="{EUI}"',
        "Serial number YYWW42",
        "AABB",
        "1 device with a like DevEUI",
        'value="milesight_em500_udl" selected',
    ):
        assert words in answer.text
    assert "9F00" not in answer.text
    answer = send(client, "/devices/register/qr", text=like.dev_eui or "")
    assert answer.status_code == 409
    assert 'href="/devices/like"' in answer.text


@pytest.mark.parametrize(
    "text_", ["", "\0", "hello", "<script>alert(1)</script>", "LW:D0:1:2:3", LABEL + ":C0000", "9" * 5_000]
)
def test_what_is_no_label_is_refused_in_words(client: FlaskClient, text_: str) -> None:
    answer = send(client, "/devices/register/qr", text=text_)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "<script>alert" not in answer.text


def test_the_camera_is_allowed_on_the_page_of_labels_alone(client: FlaskClient) -> None:
    assert "camera=(self)" in client.get("/devices/register/qr").headers["Permissions-Policy"]
    for path in ("/devices", "/devices/register/new", "/devices/register/csv"):
        assert "camera=()" in client.get(path).headers["Permissions-Policy"]
    assert "geolocation=(self)" in client.get("/devices/register/new").headers["Permissions-Policy"]


SAMPLE = "01755C0382F009"
"""Milesight EM500-UDL: battery 92 %, 2544 mm."""


def test_a_pasted_payload_says_what_it_holds(client: FlaskClient, engine: Engine) -> None:
    page = client.get("/devices/register/decode").text
    assert "What the payload says is shown here" in page
    for payload in (SAMPLE, "01 75 5c 03:82:f0-09", "0x01 0x75 0x5C 0x03 0x82 0xF0 0x09", "AXVcA4LwCQ=="):
        answer = client.get(
            "/devices/register/decode", query_string={"model": "milesight_em500_udl", "payload": payload}
        )
        assert answer.status_code == 200
        assert "2.544" in answer.text
        assert "No level" in answer.text
    send(client, "/devices/register/new", **TYPED)
    answer = client.get("/devices/register/decode", query_string={"device": "weir-1", "payload": SAMPLE})
    assert "Level 11.66" in answer.text
    typed = {
        "model": "decentlab_dl_pr26",
        "payload": "02016700034e8060170c7f",
        "parameter-Pmin": "0",
        "parameter-Pmax": "1",
    }
    assert "pressure_kpa" in client.get("/devices/register/decode", query_string=typed).text


NO_PAYLOADS: list[tuple[dict[str, str], str]] = [
    ({"payload": SAMPLE}, "Choose a model"),
    ({"model": "milesight_em500_udl", "payload": "", "f_port": ""}, "neither hexadecimal nor base64"),
    ({"model": "milesight_em500_udl", "payload": "xyz!"}, "neither hexadecimal nor base64"),
    ({"model": "milesight_em500_udl", "payload": "00" * 900}, "neither hexadecimal nor base64"),
    ({"model": "milesight_em500_udl", "payload": SAMPLE, "f_port": "900"}, "1 to 223"),
    ({"model": "milesight_em500_udl", "payload": SAMPLE, "f_port": "²"}, "1 to 223"),
    ({"model": "decentlab_dl_mbx", "payload": "ffff"}, "cannot be a payload of this model"),
    ({"model": "decentlab_dl_pr26", "payload": "0201670003"}, "cannot be a payload of this model"),
    ({"model": "<script>alert(1)</script>", "payload": "\0"}, "Choose a model"),
]


def test_what_is_no_payload_is_refused_in_words(client: FlaskClient) -> None:
    for query, complaint in NO_PAYLOADS:
        answer = client.get("/devices/register/decode", query_string=query)
        assert answer.status_code == 422, query
        assert complaint in answer.text, query
        assert "<script>alert" not in answer.text
