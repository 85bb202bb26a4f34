"""Many devices by a table: looked at first, then done exactly so; what is wrong, too long or outdated changes nothing."""

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app.devices.table import MAX_BYTES
from streamgauge.storage.device_rows import DeviceRow, read_device_rows, write_device
from tests.support.pages import make_app, sign_in

TABLE = """name;display_name;river;latitude;longitude;silence_limit_minutes;stages;dev_eui;model;sensor_height_m;provnce
weir;Đập;Sông Hồng;21,03;105,85;30;BĐ I=9,5@1; ;24E124713B101234;milesight_em500_udl;14,2;x
mill;Mill;;;;;;;;;
bad name;x;;;;;;;;;
twin;;;95;;;nonsense;24E1;nothing;;
mill;again;;;;;;;;;
"""
FILE = TABLE.replace("BĐ I=9,5@1; ;", '"BĐ I=9,5@1; BĐ II=10,5@2";')


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    made = make_app(engine, database_url, redis_url)
    yield made
    made.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "duty")


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def give(client: FlaskClient, content: str | bytes) -> Any:
    content = content if isinstance(content, bytes) else content.encode()
    token = hidden(client.get("/devices").text, "csrf_token")
    return client.post("/devices/register/csv", data={"csrf_token": token, "file": (io.BytesIO(content), "d.csv")})


def do(client: FlaskClient, page: str) -> Any:
    form = {name: hidden(page, name) for name in ("csrf_token", "digest")}
    return client.post("/devices/register/csv/apply", data=form)


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT name FROM devices ORDER BY name")).scalars())


def audited(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT action FROM audit_log ORDER BY id")).scalars())


def test_a_table_is_looked_at_and_then_done(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        write_device(connection, DeviceRow(name="mill", river="Elbe"), actor="test")
    answer = give(client, FILE)
    assert answer.status_code == 200
    page = answer.text
    assert names(engine) == ["mill"]
    for words in (
        "Nothing has been changed yet",
        "Do it: 2 devices",
        "3 wrong lines are left out",
        "The column provnce is not known",
        "Đập",
        "BĐ I 9.5 m; BĐ II 10.5 m",
        "1 to 64 of",
        "between \N{MINUS SIGN}90 and 90",
        "“nonsense” is no stage",
        "16 hexadecimal digits",
        "no such model",
        "stands in line 3 already",
    ):
        assert words in page, words
    answer = do(client, page)
    assert (answer.status_code, answer.location) == (303, "/devices")
    assert "1 registered, 1 changed, 3 left out" in client.get("/devices").text
    with engine.connect() as connection:
        rows = read_device_rows(connection, ["weir", "mill"])
    assert rows["weir"].stages[1] == {"name": "BĐ II", "level_m": 10.5, "severity": 2}
    assert (rows["weir"].latitude, rows["weir"].silence_limit_s) == (21.03, 1_800)
    assert (rows["mill"].river, rows["mill"].display_name) == ("Elbe", "Mill")
    assert audited(engine)[-2:] == ["device.register", "device.update"]
    assert do(client, page).status_code == 409
    assert "There is nothing to do" in give(client, FILE.replace("twin", "bad twin")).text


def test_what_was_changed_meanwhile_is_shown_anew_and_nothing_is_done(client: FlaskClient, engine: Engine) -> None:
    page = give(client, FILE).text
    with engine.begin() as connection:
        write_device(connection, DeviceRow(name="weir", river="Elbe"), actor="another")
    answer = do(client, page)
    assert answer.status_code == 409
    assert "Devices were changed since you looked" in answer.text
    assert names(engine) == ["weir"]
    assert do(client, answer.text).status_code == 303
    assert names(engine) == ["mill", "weir"]


def test_a_digest_of_something_else_is_refused(client: FlaskClient, engine: Engine, app: Flask) -> None:
    page = give(client, FILE).text
    for digest in ("", "0" * 64, "\0", "x" * 5_000):
        form = {"csrf_token": hidden(page, "csrf_token"), "digest": digest}
        assert client.post("/devices/register/csv/apply", data=form).status_code == 409
    assert do(sign_in(app, "guest"), page).status_code == 400
    assert client.post("/devices/register/csv/apply", data={"digest": hidden(page, "digest")}).status_code == 400
    assert names(engine) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "Choose a file"),
        (b"river\nx\n", "one of them must be called name"),
        (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16"),
        (b'name,river\na,"open\n', "cannot be read"),
        (b"name\n", "no line below"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_words(client: FlaskClient, content: bytes, complaint: str) -> None:
    answer = give(client, content)
    assert answer.status_code == 422
    assert complaint in answer.text


class Endless(io.RawIOBase):
    """A body that tells how much of it was read."""

    def __init__(self, size: int) -> None:
        self.size, self.place, self.taken = size, 0, 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (self.size if whence == io.SEEK_END else 0)
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        buffer[:] = b"x" * size
        self.taken += size
        return size


def test_two_hundred_megabytes_are_refused_before_they_are_read(client: FlaskClient, engine: Engine) -> None:
    body = Endless(200 * 2**20)
    answer = client.post(
        "/devices/register/csv",
        input_stream=body,
        content_type="multipart/form-data; boundary=b",
    )
    assert answer.status_code == 413
    assert body.taken < MAX_BYTES
    assert names(engine) == []


def test_a_viewer_may_not_send_even_one_megabyte(app: Flask) -> None:
    answer = give(sign_in(app, "guest"), b"name\n" + b"a\n" * 500_000)
    assert answer.status_code == 413


def test_ten_thousand_devices_in_one_table(client: FlaskClient, engine: Engine) -> None:
    lines = [
        f"station-{n:05},Station {n},21.{n:05},105.{n:05},Asia/Ho_Chi_Minh,BĐ I=9@1; BĐ II=10@2" for n in range(10_000)
    ]
    content = "name,display_name,latitude,longitude,time_zone,stages\n" + "\n".join(lines)
    began = time.perf_counter()
    answer = give(client, content)
    looked_s = time.perf_counter() - began
    assert "Do it: 10\N{NARROW NO-BREAK SPACE}000 devices" in answer.text
    assert len(answer.text) < 300_000
    began = time.perf_counter()
    assert do(client, answer.text).status_code == 303
    done_s = time.perf_counter() - began
    assert len(names(engine)) == 10_000
    assert looked_s < 10
    assert done_s < 25
    print(f"10,000 lines: looked at in {looked_s:.1f} s, done in {done_s:.1f} s")
    began = time.perf_counter()
    exported = client.get("/devices/register/devices.csv")
    assert exported.text.count("\r\n") == 10_001
    assert "There is nothing to do" in give(client, exported.data).text
    began = time.perf_counter()
    assert client.get("/devices?q=station").status_code == 200
    print(f"list of 10,000: {time.perf_counter() - began:.3f} s")
