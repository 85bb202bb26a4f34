"""A correction counts everywhere alike, what the sensor sent stays visible where it is asked for, and undoing takes all back."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as parquet  # type: ignore[import-untyped]
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from app.overview.routes import board_of
from streamgauge.reading import Reading, format_time
from streamgauge.storage.correcting import Change, make_correction, undo_correction
from streamgauge.storage.corrections import correct, read_corrections
from streamgauge.storage.read_readings import read_bins, read_page
from streamgauge.storage.rollup import advance, roll_up_marked
from tests.support.ingest import ingest, series, services
from tests.support.pages import add_bearer, make_app, sign_in

END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
"""The newest reading: long enough ago for its hour to be rolled up; a day of silence is no silence here."""
RANGE = {
    "from": (END - timedelta(hours=3)).isoformat(),
    "to": (END + timedelta(hours=1)).isoformat(),
}
RAW_M, COUNTING_M = 9.0, 1.25
STAGES = '[{"name": "Flood", "level_m": 5.0, "severity": 4}]'


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    levels: list[float | None] = [1.5, *[1.0] * 24]
    ingest(services(engine, redis), series([*levels, RAW_M], device="weir", start=END - timedelta(minutes=125)))
    run(
        engine,
        'UPDATE readings SET flags = \'{"level_m": 1, "temperature_c": 1}\', reasons = NULL, score = 0.1, surprise = NULL, '
        "temperature_c = 8.0",
    )
    run(
        engine,
        "UPDATE devices SET stages = CAST(:stages AS jsonb), silence_limit_s = 86400, latitude = 21, longitude = 105.8",
        stages=STAGES,
    )
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "duty")


@pytest.fixture
def token(app: Flask, engine: Engine) -> dict[str, str]:
    return add_bearer(engine, "read")


def run(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def make(engine: Engine, **said: Any) -> int:
    change: dict[str, Any] = {"quantity": "level_m", "first": END, "last": END, "flag": None, "value": None}
    with engine.begin() as connection:
        return make_correction(
            connection,
            device_id=weir(engine),
            device="weir",
            change=Change(**{**change, "shift": None, "note": "Ice", **said}),
            actor="duty",
        )


def undo(engine: Engine, number: int) -> None:
    with engine.begin() as connection:
        undo_correction(connection, device_id=weir(engine), device="weir", correction_id=number, actor="duty")


def weir(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT id FROM devices WHERE name = 'weir'")).scalar_one())


def roll_up(engine: Engine) -> None:
    for step, most in ((advance, 1_000), (roll_up_marked, 100)):
        is_done = False
        while not is_done:
            with engine.begin() as connection:
                is_done = step(connection, most) is None


def chart_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="chart-data">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def words_of(page: str, pattern: str) -> str:
    """The words of what matches, without its tags; one that is struck out stands between dashes."""
    found = re.search(pattern, page, re.DOTALL)
    assert found, pattern
    struck = re.sub(r"<s\b[^>]*>(.*?)</s>", r"-\1-", found[0])
    return " ".join(re.sub(r"<[^>]+>", " ", struck).split())


def first_row(page: str) -> str:
    return words_of(page, r"<tbody>.*?</tr>")


def pages(client: FlaskClient) -> dict[str, Any]:
    """What the pages say of the newest reading."""
    station = client.get("/stations/weir", query_string=RANGE).text
    now = client.get("/stations/weir/now", query_string=RANGE).text
    chart = chart_of(station)
    board = client.get("/").text
    compared = chart_of(client.get("/compare", query_string={"device": "weir", **RANGE}).text)
    history = {"device": "weir", "range": "between", **RANGE, "mark": "suspect"}
    [place] = (client.get("/overview/map").json or {})["stations"]
    sparkline = re.search(r'class="line" d="([^"]+)"', board)
    return {
        "line": [point for point in chart["level"][1] if point is not None][-1],
        "raw points": [value for _, value in chart["raw"]],
        "marks": [(mark["level"], mark["text"]) for mark in chart["marks"]],
        "table": first_row(station),
        "head": words_of(station, r'<section id="head".*?</section>'),
        "now head": words_of(now, r'<section id="head".*?</section>'),
        "now table": first_row(now),
        "compared": [value for value in compared["stations"][0]["columns"][1] if value is not None][-1],
        "card": words_of(board, r'<span class="level">.*?</span>'),
        "state": re.findall(r'data-state="(\w+)"', board)[0],
        "over a stage": client.get("/?state=stage").text.count('id="card-weir"'),
        "place": place[4:],
        "sparkline": sparkline[1] if sparkline else "",
        "history": first_row(client.get("/history", query_string={**history, "mark": ""}).text),
        "history suspect": "an operator decided" in client.get("/history", query_string=history).text,
    }


def interfaces(client: FlaskClient, token: dict[str, str]) -> dict[str, Any]:
    """What the interfaces say of it."""
    path = "/api/v1/devices/weir"

    def ask(path: str, **query: Any) -> Any:
        answer = client.get(path, query_string=query, headers=token)
        assert answer.status_code == 200, answer.text
        return answer

    [*_, newest] = ask(f"{path}/readings", **RANGE).json["readings"]
    table = parquet.read_table(io.BytesIO(ask(f"{path}/readings", format="parquet", **RANGE).data)).to_pylist()
    header, *lines = (
        line for line in ask(f"{path}/readings", format="csv", **RANGE).text.splitlines() if line[:1] != "#"
    )
    last = dict(zip(header.split(","), lines[-1].split(","), strict=False))
    names = ("level_m", "level_m_corrected", "level_m_flag")
    observations = {"$filter": "Datastream/ObservedProperty/id eq 1", "$orderby": "phenomenonTime desc", "$top": "1"}
    [observation] = ask("/sensorthings/v1.1/Observations", **observations).json["value"]
    suspect = {"$filter": "resultQuality/flag eq 3", "$count": "true"}
    return {
        "reading": {name: newest.get(name) for name in ("level_m", "corrected", "flags", "raw_flags")},
        "bin": ask(f"{path}/readings", resolution="300", **RANGE).json["readings"][-1].get("level_m_max"),
        "device": {name: value for name, value in ask(path).json["now"].items() if name not in {"time", "score"}},
        "devices": [device["device"] for device in ask("/api/v1/devices", state="stage").json["devices"]],
        "csv": [last[name] for name in names],
        "parquet": [table[-1][name] for name in names],
        "result": observation["result"],
        "parameters": observation["parameters"].get("corrected"),
        "quality": observation["resultQuality"],
        "suspect": ask("/sensorthings/v1.1/Observations", **suspect).json["@iot.count"],
    }


def rolled_up(engine: Engine) -> Any:
    roll_up(engine)
    query = "SELECT high, n, suspect FROM readings_hourly WHERE quantity = 'level_m' ORDER BY hour DESC LIMIT 1"
    with engine.connect() as connection:
        return tuple(connection.execute(text(query)).one())


def test_one_correction_counts_on_every_surface_and_undone_on_none(
    client: FlaskClient, token: dict[str, str], engine: Engine
) -> None:
    before = (pages(client), interfaces(client, token), rolled_up(engine))
    assert (before[0]["state"], before[0]["table"].split()[2:4]) == ("stage", ["9.000", "Good"])
    assert before[1]["device"]["stage"] == "Flood"
    assert before[2] == (RAW_M, 1, 0)
    number = make(engine, value=COUNTING_M, flag=3)
    seen, told = pages(client), interfaces(client, token)

    assert (seen["line"], seen["compared"]) == (COUNTING_M, COUNTING_M)
    assert seen["raw points"] == [RAW_M]
    assert seen["marks"] == [(COUNTING_M, "Suspect: an operator decided")]
    for row in (seen["table"], seen["now table"], seen["history"]):
        assert "-9.000- 1.250" in row
        assert "Suspect: an operator decided" in row
    for head in (seen["head"], seen["now head"]):
        assert "1.25 m corrected; 9.00 m was measured" in head
        assert "Suspect: an operator decided" in head
        assert "Flood" in head
        assert "4.00 m" in head  # below the stage: from the level that stands, which is the good one before
    assert (seen["card"], seen["state"], seen["over a stage"], seen["place"][1]) == ("1.25", "suspect", 0, "")
    assert seen["sparkline"] != before[0]["sparkline"]
    assert (before[0]["history suspect"], seen["history suspect"]) == (False, True)

    assert told["reading"] == {
        "level_m": RAW_M,
        "corrected": {"level_m": COUNTING_M},
        "flags": {"level_m": 3, "temperature_c": 1},
        "raw_flags": {"level_m": 1},
    }
    assert told["bin"] == COUNTING_M
    assert told["device"] == {
        "state": "suspect",
        "level_m": COUNTING_M,
        "raw_level_m": RAW_M,
        "level_flag": 3,
        "rate_m_per_h": 0.0,
        "stage": None,
    }
    assert told["devices"] == []
    assert [float(cell) for cell in told["csv"]] == [RAW_M, COUNTING_M, 3]
    assert told["parquet"] == [RAW_M, COUNTING_M, 3]
    assert (told["result"], told["parameters"], told["suspect"]) == (RAW_M, COUNTING_M, 1)
    assert told["quality"] == {"scheme": "QARTOD", "flag": 3, "reason": {"check": "operator"}}
    assert rolled_up(engine) == (COUNTING_M, 1, 1)

    undo(engine, number)
    assert (pages(client), interfaces(client, token), rolled_up(engine)) == before


def test_a_failed_level_stands_nowhere_and_a_good_one_everywhere(
    client: FlaskClient, token: dict[str, str], engine: Engine
) -> None:
    number = make(engine, flag=4)
    seen, told = pages(client), interfaces(client, token)
    assert (seen["line"], seen["state"], told["bin"], told["device"]["stage"]) == (1.0, "suspect", None, None)
    undo(engine, number)
    run(engine, "UPDATE readings SET flags = '{\"level_m\": 4}' WHERE level_m > 8")
    make(engine, flag=1, shift=-2.0)
    seen, told = pages(client), interfaces(client, token)
    assert (seen["line"], told["bin"], told["device"]["level_m"]) == (7.0, 7.0, 7.0)
    assert told["device"]["stage"] == "Flood"
    assert told["reading"]["raw_flags"] == {"level_m": 4}


def test_the_trend_is_that_of_what_counts(client: FlaskClient, token: dict[str, str], engine: Engine) -> None:
    assert interfaces(client, token)["device"]["rate_m_per_h"] > 1
    make(engine, value=1.0)
    assert interfaces(client, token)["device"]["rate_m_per_h"] == pytest.approx(0.0)


def test_other_quantities_count_on_the_chart_too(client: FlaskClient, engine: Engine) -> None:
    def temperatures() -> list[float]:
        [other] = chart_of(client.get("/stations/weir", query_string=RANGE).text)["others"]
        return [value for value in other["columns"][1] if value is not None]

    run(engine, 'UPDATE readings SET flags = \'{"level_m": 1, "temperature_c": 4}\' WHERE time = :time', time=END)
    assert temperatures()[-1] == 8.0
    count = len(temperatures())
    make(engine, quantity="temperature_c", flag=1, value=6.5)
    assert temperatures()[-1] == 6.5
    make(engine, quantity="temperature_c", flag=4, first=END - timedelta(minutes=5))
    assert len(temperatures()) <= count
    assert temperatures()[-1] == 8.0


def test_what_came_of_a_forecast_is_what_counts(client: FlaskClient, engine: Engine) -> None:
    run(
        engine,
        "INSERT INTO forecasts (device_id, issued_at, horizon_s, model_id, method, expected_m, low_m, high_m, baseline_m) "
        "SELECT :id, :issued, 3600, (SELECT min(id) FROM models), 'model', 1, 0.9, 1.1, 1",
        id=weir(engine),
        issued=END - timedelta(hours=1),
    )

    def came() -> Any:
        page = client.get("/stations/weir/worth", query_string=RANGE).text
        found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
        assert found
        return json.loads(found[1])["columns"][1]

    assert came() == [RAW_M]
    make(engine, value=COUNTING_M)
    assert came() == [COUNTING_M]


def test_what_comes_live_into_a_corrected_stretch_counts_corrected(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    make(engine, shift=-8.0, last=END + timedelta(days=2))
    told = chart_of(client.get("/stations/weir").text)["corrections"]
    assert [(one["name"], one["shift"]) for one in told] == [("level_m", -8.0)]
    board = client.get("/").text
    for minutes, level_m in ((5, 9.1), (10, 9.3)):
        reading = Reading(device="weir", time=END + timedelta(minutes=minutes), level_m=level_m)
        ingest(services(engine, redis), [reading])
        page = client.get("/").text
        assert f'<span class="level">{level_m - 8:.2f}</span>' in page
        assert format_time(reading.time) in page
    lines = [re.search(r'class="line" d="([^"]+)"', shown) for shown in (board, page)]
    assert lines[0]
    assert lines[1]
    assert lines[0][1] != lines[1][1]
    # As a process draws it that has heard of nothing.
    board_of(client.application)._lines.forget()
    again = re.search(r'class="line" d="([^"]+)"', client.get("/").text)
    assert again
    assert again[1] == lines[1][1]


def test_sql_and_arrays_say_the_same_of_many_corrections(engine: Engine, client: FlaskClient) -> None:
    for place in range(8):
        first = END - timedelta(minutes=15 * place)
        said: dict[str, Any] = {"shift": 0.1 * place} if place % 2 else {"value": 2.0 + place}
        make(engine, first=first, last=first + timedelta(minutes=20), flag=(None, 3, 1, 4)[place % 4], **said)
    device_id, start, end = weir(engine), END - timedelta(hours=3), END + timedelta(seconds=1)
    with engine.connect() as connection:
        rows = read_page(connection, device_id, start, end, 100)
        bins = read_bins(connection, device_id, start, end, 1, 100)
        found = read_corrections(connection, [device_id], start, end)
    time_us = np.array([int(row["time"].timestamp()) * 1_000_000 for row in rows])
    raw = np.array([row["level_m"] for row in rows])
    value, flag = correct(
        found, "level_m", np.full(len(rows), device_id), time_us, raw, np.ones(len(rows), dtype=np.int16)
    )
    assert [row.get("corrected", {}).get("level_m", row["level_m"]) for row in rows] == value.tolist()
    assert [row["flags"]["level_m"] for row in rows] == flag.tolist()
    assert [one["level_m_max"] for one in bins] == [
        None if failed else pytest.approx(level) for level, failed in zip(value.tolist(), flag == 4, strict=True)
    ]
