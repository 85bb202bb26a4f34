"""Exports on a real database: what stands in the files, how far they are, and what ends them."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as parquet
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app.downloads import MOST_OF_ONE
from streamgauge.storage import export
from streamgauge.storage.export import PLAIN_COLUMNS, Progress, full_columns, safe_cell, stream_csv
from streamgauge.storage.export_head import csv_preamble
from streamgauge.storage.export_parquet import stream_parquet
from streamgauge.storage.history import MARKS, Selection
from streamgauge.storage.read_readings import Device, find_device
from tests.support.history_rows import BEGIN, add_device, add_readings
from tests.support.pages import make_app, sign_in

END = BEGIN + timedelta(days=400)
ROWS = 300


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def mill(engine: Engine) -> Device:
    name = "-two"
    fields = {"display_name": "=HYPERLINK(1);x", "time_zone": "Asia/Ho_Chi_Minh", "datum": "@sea, level\nline"}
    add_readings(engine, add_device(engine, name, decommissioned_at=END, **fields), ROWS)
    return device(engine, name)


def device(engine: Engine, name: str) -> Device:
    with engine.connect() as connection:
        found = find_device(connection, name)
    assert found
    return found


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "guest")


def rows_of(content: bytes) -> list[dict[str, str]]:
    lines = [line for line in content.decode().splitlines(keepends=True) if not line.startswith("#")]
    return list(csv.DictReader(lines))


def test_csv_is_the_whole_record_in_chunks(engine: Engine, mill: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK_ROWS", 7)
    told: list[Progress] = []
    chunks = list(stream_csv(engine, Selection(devices=(mill,), start=BEGIN, end=END), told=told.append))
    rows = rows_of(b"".join(chunks))
    assert len(chunks) > ROWS / 8
    assert tuple(rows[0]) == PLAIN_COLUMNS
    assert [float(row["level_m"]) for row in rows] == [round(1 + n / 1000, 3) for n in range(ROWS)]
    assert rows[1]["time"] == "2026-09-29T00:15:00.000000Z"
    assert told[-1] == Progress(ROWS, 1.0)
    assert [one.share for one in told] == sorted(one.share for one in told)


def test_local_times_and_gaps_of_years_lose_nothing(
    engine: Engine, mill: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK_ROWS", 11)
    for begin in (datetime(1890, 6, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)):
        add_readings(engine, mill.id, 40, begin=begin, step_s=0.25)
    selection = Selection(devices=(mill,), start=datetime(1800, 1, 1, tzinfo=UTC), end=END)
    content = b"".join(stream_csv(engine, selection, columns=full_columns(), in_local_time=True))
    times = [datetime.fromisoformat(row["time"]) for row in rows_of(content)]
    assert len(times) == len(set(times)) == ROWS + 80
    assert times == sorted(times)
    assert rows_of(content)[-1]["time"].endswith("+07:00")


def test_the_file_says_units_datum_zone_and_what_was_asked_for_safely(client: FlaskClient, mill: Device) -> None:
    answer = client.get("/history/export", query_string={"device": mill.name, "range": "all", "mark": "suspect"})
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert 'filename="streamgauge_-two_2026-09-29_' in answer.headers["Content-Disposition"]
    cells = list(csv.reader(io.StringIO(answer.text)))
    about = {row[0]: row[1:] for row in cells if row and row[0].startswith("#")}
    assert about["#readings"] == ["suspect"]
    assert "title: =HYPERLINK(1),x" in about["#station"]
    assert "datum: @sea, level line" in about["#station"]
    assert "time_zone: Asia/Ho_Chi_Minh" in about["#station"]
    assert ["#column", "level_m", "m", "above the station's datum"] in cells
    rows = rows_of(answer.data)
    assert len(rows) == ROWS / 10
    assert {row["device"] for row in rows} == {"'-two"}
    assert json.loads(rows[0]["reasons"])["level_m"]["check"] == "spike"
    for row in cells:
        numbers = [cell for cell in row if cell.lstrip("+-").replace(".", "").isdigit()]
        assert not [cell for cell in row if cell not in numbers and cell.startswith(("=", "+", "-", "@", "\t"))]


def test_no_cell_of_text_is_a_formula() -> None:
    for text_of_cell in ("=1+1", "+1", "-1", "@x", "\tx", "\rx"):
        assert safe_cell(text_of_cell) == f"'{text_of_cell}"
    assert safe_cell("mill") == "mill"


def test_parquet_holds_the_same_with_types_and_units(
    engine: Engine, mill: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK_ROWS", 50)
    selection = Selection(devices=(mill,), start=BEGIN, end=END)
    correct(engine, mill, 0.25)
    found = parquet.read_table(io.BytesIO(b"".join(stream_parquet(engine, selection, datetime.now(UTC)))))
    assert found.num_rows == ROWS
    first = found.slice(0, 1).to_pylist()[0]
    assert (first["device"], first["time"], first["level_m"], first["level_m_corrected"]) == ("-two", BEGIN, 1.0, 1.25)
    assert (first["level_m_flag"], first["temperature_c"], first["flow_m3_s"]) == (1, 20.5, None)
    assert found.schema.field("level_m").metadata[b"unit"] == b"m"
    about = json.loads(found.schema.metadata[b"streamgauge"])
    assert about["stations"][0]["datum"] == "@sea, level\nline"


def correct(engine: Engine, of: Device, shift: float) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO corrections (device_id, quantity, first, last, shift, note, made_by) "
                "VALUES (:id, 'level_m', :at, :at, :shift, 'levelled', 'duty')"
            ),
            {"id": of.id, "at": BEGIN, "shift": shift},
        )


def test_an_export_of_nothing_is_a_file_of_its_head(engine: Engine) -> None:
    add_device(engine, "new")
    selection = Selection(devices=(device(engine, "new"),), start=BEGIN, end=END)
    columns = full_columns(("flow_m3_s",))
    preamble = csv_preamble(selection, columns, datetime.now(UTC))
    assert b"".join(stream_csv(engine, selection, columns=columns, preamble=preamble)).endswith(b"extra,reasons\r\n")
    assert parquet.read_table(io.BytesIO(b"".join(stream_parquet(engine, selection, datetime.now(UTC))))).num_rows == 0


def test_every_mark_can_be_exported(engine: Engine, mill: Device) -> None:
    counts = {}
    for mark in MARKS:
        selection = Selection(devices=(mill,), start=BEGIN, end=END, quantities=("level_m",), mark=mark)
        counts[mark] = len(rows_of(b"".join(stream_csv(engine, selection))))
    assert counts == {"good": 240, "suspect": 30, "failed": 30, "surprising": 6, "corrected": 0}


def test_the_page_is_told_how_far_an_export_is(client: FlaskClient, app: Flask, mill: Device) -> None:
    wanted = {"device": mill.name, "range": "all", "export": "an-export-of-mine"}
    waiting = client.get("/history/exports?export=an-export-of-mine&first=1").text
    assert "being begun" in waiting
    assert 'hx-trigger="load delay:1s"' in waiting
    assert client.get("/history/export", query_string=wanted, buffered=True).status_code == 200
    done = client.get("/history/exports?export=an-export-of-mine").text
    assert "Done: 300 readings" in done
    assert "hx-get" not in done
    assert "being begun" in sign_in(app, "duty").get("/history/exports?export=an-export-of-mine").text
    assert client.get("/history/exports?export=../x").status_code == 404


def test_a_reader_who_goes_away_ends_the_export(
    client: FlaskClient, engine: Engine, mill: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK_ROWS", 10)
    wanted = {"device": mill.name, "range": "all", "export": "an-export-of-mine"}
    answer = client.get("/history/export", query_string=wanted, buffered=False)
    parts = answer.iter_encoded()
    for _ in range(3):
        next(parts)
    answer.close()
    assert "Stopped by the browser" in client.get("/history/exports?export=an-export-of-mine").text
    with engine.connect() as connection:
        busy = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%' AND state <> 'idle'")
        assert connection.execute(busy).scalar_one() == 0


def test_a_wrong_export_is_refused(client: FlaskClient, mill: Device) -> None:
    for query in ("format=xls", "times=mars", "range=x", "device=no"):
        assert client.get(f"/history/export?device={mill.name}&{query}").status_code == 422


def test_who_asks_for_too_many_at_once_is_told_so_and_the_place_comes_back(
    client: FlaskClient, mill: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"device": mill.name, "range": "all", "export": "an-export-of-mine"}
    running = [client.get("/history/export", query_string=wanted, buffered=False) for _ in range(MOST_OF_ONE)]
    refused = client.get("/history/export", query_string=wanted)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert "Too many downloads" in refused.text
    assert "Not begun" in client.get("/history/exports?export=an-export-of-mine").text
    program = client.get(f"/api/v1/devices/{mill.name}/readings?format=parquet")
    assert (program.status_code, program.headers["Retry-After"]) == (503, "30")
    assert "your downloads are running" in program.json["detail"]
    for one in running:
        one.close()
    assert client.get("/history/export", query_string=wanted, buffered=True).status_code == 200
    assert all(client.head("/history/export", query_string=wanted).status_code == 200 for _ in range(2 * MOST_OF_ONE))
    monkeypatch.setattr("app.downloads.MOST", 0)
    assert "Too many downloads" in client.get("/history/export", query_string=wanted).text
