"""The station page on a real database: stages, ranges, corrections, what forecasts were worth, alerts, signal, comparing."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.reading import Reading
from streamgauge.storage.partitions import make_partitions, month_of
from streamgauge.storage.rollup import advance
from tests.support import model_pages as rows
from tests.support.ingest import ingest, series, services
from tests.support.pages import csrf_token, make_app, sign_in

NOW = datetime.now(UTC)
STAGES = [
    {"name": "BĐ I", "level_m": 1.5, "severity": 1},
    {"name": "BĐ II", "level_m": 2.0, "severity": 2},
    {"name": "BĐ III", "level_m": 9.0, "severity": 3},
]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url, commit_timeout_s=0.3)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "guest")


def json_of(page: str, element: str = "chart-data") -> dict[str, Any]:
    found = re.search(rf'id="{element}">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def said(page: str, element: str) -> str:
    """The words of an element, without its tags."""
    found = re.search(rf'<(\w+)[^>]* id="{element}".*?</\1>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()) if found else ""


def add_water(engine: Engine, redis: Redis, levels: list[float | None], device: str = "a", **columns: Any) -> None:
    """Readings every five minutes, the last one now; and the device's row."""
    readings = series(levels, device=device, start=NOW - timedelta(minutes=5 * (len(levels) - 1)), step_s=300.0)
    ingest(services(engine, redis), readings)
    with engine.begin() as connection:
        for name, value in columns.items():
            connection.execute(
                text(f"UPDATE devices SET {name} = :value WHERE name = :device"), {"value": value, "device": device}
            )


def add_years(engine: Engine, redis: Redis, start: datetime, hours: int, level: str, **values: Any) -> None:
    """A reading an hour, written as it is; ``level`` is an SQL expression of ``time``."""
    add_water(engine, redis, [1.0])
    times = [start + timedelta(hours=hour) for hour in range(hours)]
    with engine.begin() as connection:
        make_partitions(connection, {month_of(time) for time in times})
        connection.execute(
            text(
                "INSERT INTO readings (device_id, time, level_m, temperature_c, flags, received_at) "
                f"SELECT :id, time, {level}, 8.0, jsonb_build_object('level_m', 1), time "
                "FROM unnest(CAST(:times AS timestamptz[])) AS made(time) ON CONFLICT DO NOTHING"
            ),
            {"id": device_id(engine), "times": times, **values},
        )


def device_id(engine: Engine, device: str = "a") -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT id FROM devices WHERE name = :n"), {"n": device}).scalar_one())


def test_a_flood_says_its_stage_and_the_time_to_the_next(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    levels: list[float | None] = [1.4 + 0.02 * step for step in range(10)]
    add_water(engine, redis, levels, stages=json.dumps(STAGES), time_zone="Asia/Ho_Chi_Minh")
    with engine.begin() as connection:
        rows.add_forecast(connection, "a", NOW, 1.58, slope_m_per_h=1.0)
    page = client.get("/stations/a").text
    head = page.split('id="history"')[0]
    assert 'chip-stage-1"' in head
    assert "BĐ I</span>" in head
    assert "To BĐ II, 2.00 m" in head
    assert re.search(r"in about \d+ min", head)
    assert "chance over 95 %" in head
    chart = json_of(page)
    assert [(stage["name"], stage["level"]) for stage in chart["stages"]] == [
        ("BĐ I", 1.5),
        ("BĐ II", 2.0),
        ("BĐ III", 9.0),
    ]
    assert 2.0 < chart["span"][1] < 9.0, "a stage that is far away does not flatten the water"
    assert "To BĐ II" in client.get("/stations/a/now").text


def test_a_stage_that_the_band_holds_and_the_line_does_not_may_be_reached(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    add_water(engine, redis, [1.8 + 0.01 * step for step in range(10)], stages=json.dumps(STAGES))
    with engine.begin() as connection:
        rows.add_forecast(connection, "a", NOW, 1.89, slope_m_per_h=0.1)
    next_stage = said(client.get("/stations/a").text, "next-stage")
    assert re.search(r"may be reached within 6 h chance \d+ %", next_stage)
    assert "not expected" not in next_stage


def test_a_station_out_of_service_is_not_silent(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    since = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    add_water(
        engine,
        redis,
        [1.8, 1.9, 2.0],
        stages=json.dumps(STAGES),
        decommissioned_at=since,
        time_zone="Asia/Ho_Chi_Minh",
        silence_limit_s=1,
    )
    with engine.begin() as connection:
        rows.add_forecast(connection, "a", NOW, 2.0, slope_m_per_h=1.0)
    add_water(engine, redis, [1.8, 1.9], device="b")
    page = client.get("/stations/a").text
    head = page.split('id="history"')[0].split('id="head"')[1]
    assert 'data-state="decommissioned"' in f'id="head"{head}'
    assert re.search(r"Out of service since 1 Nov(ember)? 2026, 12:30", said(page, "out-of-service"))
    assert "icon-decommissioned" in head
    assert not re.search("icon-silent|Silent|chip-stage|next-stage|in-an-hour|cm/h", head)
    assert "This station is out of service. The chart ends at its newest reading" in page
    assert "is silent" not in page
    compared = client.get("/compare?device=a&device=b").text
    assert compared.count("Out of service since") == 1
    now = client.get("/api/v1/devices/a").json
    assert now
    assert (now["now"]["state"], now["now"]["stage"]) == ("decommissioned", None)
    shown = client.get("/").text
    assert 'data-device="b"' in shown
    assert 'data-device="a"' not in shown
    assert "Out of service" not in shown


def test_stages_that_cannot_be_used_do_no_harm(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    add_water(engine, redis, [1.0, 1.1], stages='{"not": "a list"}')
    page = client.get("/stations/a")
    assert page.status_code == 200
    assert json_of(page.text)["stages"] == []


@pytest.mark.parametrize(
    ("query", "calm"),
    [
        ("from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z", "the end lies before the beginning"),
        ("from=0001-01-01&to=9999-12-31", "longer than a hundred years"),
        ("from=%00&to=%00", "cannot be read"),
        ("from=<script>alert(1)</script>&to='; DROP TABLE readings", "cannot be read"),
        ("range=%3Cb%3Ex", "names a range of time that does not exist"),
        ("from=2026-11-20T00:00:00Z", "only one"),
    ],
)
def test_what_an_address_says_wrong_is_said_calmly(
    client: FlaskClient, engine: Engine, redis: Redis, query: str, calm: str
) -> None:
    add_water(engine, redis, [1.0, 1.1])
    for path in (f"/stations/a?{query}", f"/compare?device=a&{query}"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert calm in said(answer.text, "ignored")
        assert "<script>alert" not in answer.text
        assert "<b>x" not in answer.text
    for part in ("now", "worth"):
        assert client.get(f"/stations/a/{part}?{query}").status_code == 200


def test_a_free_range_is_read_in_the_station_s_zone_and_has_one_address(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    add_water(engine, redis, [1.0, 1.1], time_zone="Asia/Ho_Chi_Minh")
    answer = client.get("/stations/a?from=2026-11-20T07:00&to=2026-11-20T19:00", headers=HTMX)
    chart = json_of(answer.text)
    assert chart["start"] == datetime(2026, 11, 20, 0, tzinfo=UTC).timestamp()
    assert chart["end"] - chart["start"] == 12 * 3_600
    assert answer.headers["HX-Push-Url"] == (
        "/stations/a?from=2026-11-20T00%3A00%3A00.000Z&to=2026-11-20T12%3A00%3A00.000Z"
    )
    assert 'value="2026-11-20T07:00"' in answer.text
    assert "HX-Push-Url" not in client.get("/stations/a?range=7d", headers=HTMX).headers


def test_years_keep_every_peak_at_its_time(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    start = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(days=100)
    peak = start + timedelta(days=37, hours=5)
    add_years(engine, redis, start, 2_400, "CASE WHEN time = :peak THEN 1.0501 ELSE 1.0 END", peak=peak)
    chart = json_of(client.get("/stations/a?range=1y").text)
    times, levels = chart["level"][:2]
    assert len(times) <= 1_800
    assert levels[times.index(peak.timestamp())] == 1.0501
    assert [other["title"] for other in chart["others"]] == ["Temperature, °C"]
    client.post("/preferences", data={"csrf_token": csrf_token(client.get("/").text), "units": "feet"})
    other = json_of(client.get("/stations/a?range=1y").text)["others"][0]
    assert other["title"] == "Temperature, °F"
    assert other["columns"][1][0] * other["factor"] + other["offset"] == pytest.approx(46.4)


def test_a_corrected_line_stands_beside_what_was_measured(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    add_water(engine, redis, [1.0, 1.0, 1.5, 1.0])
    wrong = NOW - timedelta(minutes=5)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO corrections (device_id, quantity, first, last, value, note, made_by) "
                "VALUES (:id, 'level_m', :at, :at, 1.02, 'a boat', 'duty')"
            ),
            {"id": device_id(engine), "at": wrong},
        )
    chart = json_of(client.get("/stations/a").text)
    assert chart["raw"] == [[round(wrong.timestamp(), 3), 1.5]]
    assert max(level for level in chart["level"][1] if level is not None) == 1.02


def test_what_the_forecasts_were_worth_stands_beside_persistence(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    """The water rises by 6 cm an hour; forecasts say 5, persistence says none."""
    levels: list[float | None] = [round(1.0 + 0.005 * step, 3) for step in range(72)]
    add_water(engine, redis, levels)
    assert "No forecast for this range" in client.get("/stations/a/worth").text
    with engine.begin() as connection:
        for step in range(60):
            time = NOW - timedelta(minutes=5 * (71 - step))
            connection.execute(
                text(
                    "INSERT INTO forecasts (device_id, issued_at, horizon_s, model_id, method, expected_m, low_m, "
                    "high_m, baseline_m) VALUES (:id, :at, 3600, 1, 'model', :e, :e - 0.02, :e + 0.02, :b)"
                ),
                {"id": device_id(engine), "at": time, "e": 1.0 + 0.005 * step + 0.05, "b": 1.0 + 0.005 * step},
            )
    part = client.get("/stations/a/worth?horizon=3600&range=24h", headers=HTMX).text
    assert "<html" not in part
    assert "the 60 forecasts here were off by only 1.0 cm on average, “stays as it is” by 6.0 cm" in said(
        part, "worth-said"
    )
    assert "in 100 %" in said(part, "worth-said")
    columns = json_of(part, "worth-data")["columns"]
    assert columns[1][0] == pytest.approx(1.06)
    assert columns[2][0] == pytest.approx(1.05)
    for odd in ("0", "-1", "9" * 30, "%00", "1e3", "²"):
        assert client.get(f"/stations/a/worth?horizon={odd}").status_code == 200
    assert "<html" in client.get("/stations/a/worth").text
    client.post("/preferences", data={"csrf_token": csrf_token(client.get("/").text), "units": "feet"})
    part = client.get("/stations/a/worth?horizon=3600&range=24h", headers=HTMX).text
    assert "off by only 0.39 in on average, “stays as it is” by 2.36 in" in said(part, "worth-said")


def add_alert(engine: Engine, state: str = "open") -> int:
    cause = json.dumps({"kind": "stage", "stage": "BĐ I", "level_m": 1.5})
    with engine.begin() as connection:
        rule = connection.execute(
            text("INSERT INTO alert_rules (name, rule) VALUES ('r', '{}') RETURNING id")
        ).scalar_one()
        return int(
            connection.execute(
                text(
                    "INSERT INTO alerts (rule_id, device_id, state, cause, severity) "
                    "VALUES (:rule, :id, :state, CAST(:cause AS jsonb), 2) RETURNING id"
                ),
                {"rule": rule, "id": device_id(engine), "state": state, "cause": cause},
            ).scalar_one()
        )


def test_an_open_alert_is_taken_on_the_page_by_an_operator(app: Flask, engine: Engine, redis: Redis) -> None:
    add_water(engine, redis, [1.0, 1.1])
    alert = add_alert(engine)
    assert f'action="/alerts/{alert}/acknowledge"' not in sign_in(app, "guest").get("/stations/a").text
    client = sign_in(app, "duty")
    page = client.get("/stations/a").text
    assert page.index(f'action="/alerts/{alert}/acknowledge"') < page.index('id="history"')
    digest = re.search(r'data-digest="([^"]+)"', page)
    assert digest
    # Somebody may be writing into that form: it comes again only when something has changed.
    assert 'id="alerts-now"' not in client.get(f"/stations/a/now?alerts={digest[1]}").text
    form = {"csrf_token": csrf_token(page), "next": "/stations/a", "comment": "on my way"}
    answer = client.post(f"/alerts/{alert}/acknowledge", data=form)
    assert (answer.status_code, answer.location) == (303, "/stations/a")
    fragment = client.get(f"/stations/a/now?alerts={digest[1]}").text
    assert 'id="alerts-now"' in fragment
    assert "on my way" in fragment
    assert f'action="/alerts/{alert}/acknowledge"' not in fragment


def test_frames_tell_what_never_came(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    numbers = [7, 8, 12, 13, 1]
    readings = [
        Reading(
            device="a",
            time=NOW - timedelta(minutes=5 * (4 - place)),
            level_m=1.0,
            seq=seq,
            battery_v=3.61,
            rssi_dbm=-97.0,
        )
        for place, seq in enumerate(numbers)
    ]
    ingest(services(engine, redis), readings)
    signal = said(client.get("/stations/a").text, "signal")
    assert "3 of the last 8" in signal
    assert "3 before it never came" in signal
    assert "numbers began anew" in signal
    assert "Signal strength, dBm −97" in signal


def test_a_station_without_radio_says_what_could_be_sent(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    add_water(engine, redis, [1.0, 1.1])
    assert "battery_v" in said(client.get("/stations/a").text, "signal")


def test_the_site_tells_what_is_known(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    add_water(
        engine,
        redis,
        [1.0, 1.1],
        latitude=21.04,
        longitude=105.86,
        river="<b>Sông Hồng",
        description="Below the\nbridge",
    )
    site = client.get("/stations/a/site").text
    assert "21.04000, 105.86000" in site
    assert "&lt;b&gt;Sông Hồng" in site
    assert "Below the\nbridge" in site
    assert client.get("/stations/nowhere/site").status_code == 404


def test_six_stations_at_most_are_compared(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    for place in range(7):
        add_water(engine, redis, [1.0 + place, 1.2 + place, None], device=f"s{place}")
    names = "&".join(f"device=s{place}" for place in range(7))
    page = client.get(f"/compare?{names}&device=s0&device=nowhere&device=%00&as=mean").text
    assert [one["letter"] for one in json_of(page)["stations"]] == list("ABCDEF")
    assert "unknown, or are too many" in said(page, "ignored")
    assert [round(one["mean"], 3) for one in json_of(page)["stations"][:2]] == [1.1, 2.1]
    one = client.get("/compare?device=s0&find=S1", headers=HTMX).text
    assert 'href="/compare?device=s0&amp;device=s1&amp;as=own&amp;range=24h"' in one
    assert "compared already" in client.get("/compare/find?device=s0&find=s0").text
    assert "No station has" in client.get("/compare/find?device=s0&find=%25_\\<script>").text
    assert client.get("/compare").status_code == 200
    assert client.get("/compare?as=<b>&range=10y&device=s0&find=%00").status_code == 200


def test_comparing_years_has_the_mean_of_all_readings(client: FlaskClient, engine: Engine, redis: Redis) -> None:
    add_years(engine, redis, NOW - timedelta(hours=1_199), 1_200, "1.0 + 0.01 * (extract(hour FROM time)::int % 2)")
    content = json_of(client.get("/compare?device=a&range=1y").text)
    assert content["stations"][0]["mean"] == pytest.approx(1.005, abs=1e-4)
    with engine.begin() as connection:
        while advance(connection, 24 * 60):
            pass
    rolled_up = json_of(client.get("/compare?device=a&range=1y").text)["stations"][0]
    assert rolled_up["mean"] == pytest.approx(content["stations"][0]["mean"], abs=1e-9)
    assert max(level for level in rolled_up["columns"][1] if level is not None) == 1.01


def test_what_the_page_says_of_its_stretch_is_read_as_that_stretch(
    client: FlaskClient, engine: Engine, redis: Redis
) -> None:
    add_water(engine, redis, [1.0, 1.1], time_zone="Europe/Berlin")
    # The second half past two of the night in which Berlin's clocks are put back.
    start = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    asked = {"from": start.isoformat(), "to": (start + timedelta(hours=3)).isoformat()}
    page = unescape(client.get("/stations/a", query_string=asked).text)
    fields = dict(re.findall(r'name="(from|to)" value="([^"]+)"', page))
    assert fields == {"from": "2026-10-25T02:30+01:00", "to": "2026-10-25T05:30"}
    assert re.findall(r'type="([^"]+)" id="free-', page) == ["text", "datetime-local"]
    again, chart = json_of(client.get("/stations/a", query_string=fields).text), json_of(page)
    assert (again["start"], again["end"]) == (chart["start"], chart["end"])
    link = re.search(r'href="(/history\?[^"]+)"', page)
    assert link
    history = client.get(link[1])
    assert history.status_code == 200
    assert 'value="2026-10-25T02:30+01:00"' in unescape(history.text)
    assert 'value="2026-10-25T05:31"' in history.text
