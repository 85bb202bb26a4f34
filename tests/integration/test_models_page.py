"""The models page on a real database: empty, full, broken rows; moves, runs, refusals."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text

from streamgauge.scoring.shipped import shipped_card
from streamgauge.storage.model_aliases import CHAMPION, GENERAL, alias_of, promote
from tests.support import model_pages as rows
from tests.support.ingest import ingest, series, services
from tests.support.pages import make_app, send, sign_in


@pytest.fixture
def app(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> Iterator[Flask]:
    app = make_app(engine, database_url, redis_url)
    yield app
    app.extensions["streamgauge_connections"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return sign_in(app, "duty")


@pytest.fixture
def station(engine: Engine, redis: Redis) -> str:
    start = datetime.now(UTC) - timedelta(hours=3)
    ingest(services(engine, redis), series([1.0 + step / 100 for step in range(30)], device="mill", start=start))
    return "mill"


def audited(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT actor, action FROM audit_log ORDER BY id"))]


def test_a_fresh_install_has_a_page_that_teaches(client: FlaskClient) -> None:
    page = client.get("/models")
    assert page.status_code == 200
    for words in ("No model is in use yet", "No run yet", "No report yet", "Nothing was moved yet", "No challenger"):
        assert words in page.text
    client.set_cookie("streamgauge_language", "vi")
    assert "Chưa có mô hình nào được dùng" in client.get("/models").text


def test_whoever_is_not_signed_in_sees_nothing(app: Flask) -> None:
    for path in ("/models", "/models/1", "/models/runs", "/models/runs/1"):
        assert app.test_client().get(path).status_code == 302


def test_a_challenger_that_passed_is_put_into_use_and_rolled_back(
    client: FlaskClient, engine: Engine, station: str
) -> None:
    with engine.begin() as connection:
        shipped = rows.add_shipped(connection)
        new = rows.add_challenger(connection, shipped)
    page = client.get("/models").text
    assert "The gate lets it pass" in page
    assert "From the next reading on, 1 station is judged" in page
    assert send(client, f"/models/{new}/promote", scope="0").status_code == 303
    page = client.get("/models").text
    assert "is in use now" in page
    assert f"Roll back to {shipped_card()['sha256'][:8]}" in page
    with engine.connect() as connection:
        assert alias_of(connection, GENERAL, CHAMPION) == new
    assert send(client, "/models/roll-back", scope="0").status_code == 303
    with engine.connect() as connection:
        assert alias_of(connection, GENERAL, CHAMPION) == shipped
    assert audited(engine)[-2:] == [("duty", "models.promote"), ("duty", "models.roll_back")]


def test_without_the_gate_a_reason_is_needed_and_kept(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        new = rows.add_challenger(connection, rows.add_shipped(connection), passed=False)
    assert "The gate does not let it pass" in client.get("/models").text
    for form in ({}, {"force": "1", "reason": "  "}):
        answer = send(client, f"/models/{new}/promote", scope="0", **form)
        assert answer.status_code == 409
        assert "othing was changed" in answer.text
    assert (
        send(client, f"/models/{new}/promote", scope="0", force="1", reason="The old one <b>drifts</b>").status_code
        == 303
    )
    page = client.get("/models").text
    assert "The old one &lt;b&gt;drifts&lt;/b&gt;" in page
    assert "without the gate" in page


def test_a_viewer_sees_it_all_and_moves_nothing(app: Flask, engine: Engine) -> None:
    with engine.begin() as connection:
        new = rows.add_challenger(connection, rows.add_shipped(connection))
    guest = sign_in(app, "guest")
    page = guest.get("/models").text
    assert "needs an operator" in page
    assert "/promote" not in page
    for path in (
        f"/models/{new}/promote",
        "/models/roll-back",
        "/models/withdraw",
        "/models/runs",
        "/models/runs/1/cancel",
    ):
        assert send(guest, path, scope="0").status_code == 403


def test_a_move_that_another_person_made_first_is_refused_in_words(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        new = rows.add_challenger(connection, rows.add_shipped(connection))
    assert send(client, f"/models/{new}/promote", scope="0").status_code == 303
    answer = send(client, f"/models/{new}/promote", scope="0")
    assert answer.status_code == 409
    assert "nothing was changed" in answer.text
    assert send(client, f"/models/{new}/promote", scope="all").status_code == 400
    assert send(client, f"/models/{new}/promote", scope="0", seen="x").status_code == 400
    for action in ("promote", "challenge"):
        assert send(client, f"/models/3000000000/{action}", scope="0").status_code == 404
    assert client.post(f"/models/{new}/promote", data={"scope": "0"}).status_code == 400


def test_two_who_roll_back_at_once_go_back_one_champion(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        shipped = rows.add_shipped(connection)
        second = rows.add_challenger(connection, shipped)
        promote(connection, device_id=GENERAL, model_id=second, by="duty", reason="tried")
        third = rows.add_model(connection, "third")
        promote(connection, device_id=GENERAL, model_id=third, by="duty", reason="tried")
    shown = f'name="seen" value="{third}"'
    assert shown in client.get("/models").text
    answers = [send(client, "/models/roll-back", scope="0", seen=str(third)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 409]
    assert "somebody else has changed this" in answers[1].text
    assert send(client, f"/models/{third}/promote", scope="0", reason="so", seen=str(third)).status_code == 409
    assert send(client, "/models/withdraw", scope="0", seen=str(third)).status_code == 409
    with engine.connect() as connection:
        assert alias_of(connection, GENERAL, CHAMPION) == second


def test_rows_that_cannot_be_used_or_read_are_shown_as_such(client: FlaskClient, engine: Engine, station: str) -> None:
    with engine.begin() as connection:
        shipped = rows.add_shipped(connection)
        rows.add_model(connection, "other", features_sha256="0" * 64)
        new = rows.add_challenger(connection, shipped, "odd")
        gates = (
            '{"gates": {"0": {"passed": true, "criteria": [7, {"name": 3}], "figures": [1]}},'
            ' "x": {"overall": {"rows": "9"}}}'
        )
        connection.execute(
            text("UPDATE models SET metrics = CAST(:m AS jsonb) WHERE id = :id"), {"m": gates, "id": new}
        )
        connection.execute(text("DELETE FROM model_files WHERE model_id = :id"), {"id": shipped})
        rows.add_run(connection, "failed", error="chunk 3: OperationalError", report={"alarms": 5, "by_device": []})
        connection.execute(text("INSERT INTO rescore_runs (state, parameters) VALUES ('waiting', '[]')"))
        rows.add_drift(connection, station, "odd", ["never_heard"])
        connection.execute(text('UPDATE drift_reports SET figures = \'{"measures": {"level": 3}}\''))
    page = client.get("/models").text
    assert "its files are not in the database" in page
    assert "it was made for other features" in page
    for path in ("/models/1", "/models/2", "/models/3", "/models/runs", "/models/runs/1", "/models/runs/2"):
        assert client.get(path).status_code == 200
    run = client.get("/models/runs/1").text
    assert "chunk 3: OperationalError" in run
    assert "what was done is kept" in run


def test_a_model_has_a_card_to_read(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        shipped = rows.add_shipped(connection)
        rows.add_model(connection, "plain")
    page = client.get(f"/models/{shipped}").text
    assert shipped_card()["sha256"] in page
    assert "On a site it never saw" in page
    assert "All stations without a model of their own" in page
    assert "Make it challenger" in client.get("/models/2").text
    for path in ("/models/99", "/models/99999999999999999999", "/models/runs/99", "/models/runs/99999999999999999999"):
        assert client.get(path).status_code == 404


def test_a_run_is_asked_for_followed_and_cancelled(client: FlaskClient, engine: Engine, station: str) -> None:
    with engine.begin() as connection:
        rows.add_shipped(connection)
    answer = send(client, "/models/runs", device=station, span="24h", model="champion")
    assert (answer.status_code, answer.location) == (303, "/models/runs/1")
    page = client.get("/models/runs/1").text
    assert 'hx-trigger="every 1s"' in page
    assert "Cancel this run" in page
    again = send(client, "/models/runs", device=station, span="all", model="champion")
    assert again.location == "/models/runs/2"
    assert "the beginning" in client.get("/models/runs/2").text
    assert send(client, "/models/runs/1/cancel").status_code == 303
    page = client.get("/models/runs/1").text
    assert "Being cancelled" in page
    assert "Cancel this run" not in page
    assert audited(engine)[-3:] == [("duty", "rescore.start"), ("duty", "rescore.start"), ("duty", "rescore.cancel")]


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"span": "between", "from": "", "until": "x"}, "A day and a time are needed"),
        ({"span": "between", "from": "2026-11-02T00:00", "until": "2026-11-01T00:00"}, "Until must be after From"),
        (
            {"span": "between", "from": "2001-01-01T00:00", "until": "2001-01-02T00:00"},
            "No reading is stored in this time",
        ),
        ({"span": "for ever"}, "Choose one of these"),
        ({"span": "7d", "device": "nobody"}, "There is no such station"),
        ({"span": "7d", "model": "\0' OR 1"}, "There is no such model"),
        ({"span": "7d", "model": "challenger"}, "no challenger at present"),
    ],
)
def test_a_form_that_is_wrong_keeps_what_was_typed(
    client: FlaskClient, engine: Engine, station: str, form: dict[str, str], complaint: str
) -> None:
    with engine.begin() as connection:
        rows.add_shipped(connection)
    answer = send(client, "/models/runs", **form)
    assert answer.status_code == 422
    assert complaint in answer.text
    assert 'aria-invalid="true"' in answer.text
    for typed in (form.get("from"), form.get("until")):
        if typed:
            assert f'value="{typed}"' in answer.text


def test_times_are_read_in_the_zone_of_the_station(client: FlaskClient, engine: Engine, station: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE devices SET time_zone = 'Asia/Ho_Chi_Minh'"))
    assert "(Asia/Ho_Chi_Minh)" in client.get("/models").text
    form = {"span": "between", "from": "2026-01-01T07:00", "until": "2030-01-01T07:00", "model": "champion"}
    assert send(client, "/models/runs", device=station, **form).status_code == 303
    assert send(client, "/models/runs", **form).status_code == 303
    with engine.connect() as connection:
        since = connection.execute(text("SELECT parameters->>'from' FROM rescore_runs ORDER BY id")).scalars().all()
    assert [time[:16] for time in since] == ["2026-01-01T00:00", "2026-01-01T07:00"]


def test_progress_asks_for_itself_until_the_run_has_ended(client: FlaskClient, engine: Engine, station: str) -> None:
    with engine.begin() as connection:
        running = rows.add_run(connection, "running", done=1)
        done = rows.add_run(connection, "done", done=4, report=rows.report(station))
    progress = client.get(f"/models/runs/{running}/progress?told=0").text
    assert "20\N{NARROW NO-BREAK SPACE}000 of 80\N{NARROW NO-BREAK SPACE}000 readings" in progress
    assert 'hx-trigger="every 1s"' in progress
    assert 'id="run-told"' in progress
    assert 'id="run-told"' not in client.get(f"/models/runs/{running}/progress?told=2").text
    assert "<tr" in client.get(f"/models/runs/{running}/progress?row=1").text
    ended = client.get(f"/models/runs/{done}/progress?told=2").text
    assert "hx-trigger" not in ended
    assert "Alarms that there would have been" in ended
    assert f"/stations/{station}?from=" in ended
    assert "9 readings are marked that were not, and 22 no longer are" in ended


def test_a_thousand_runs_are_read_by_pages(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO rescore_runs (state, parameters) SELECT 'done', '{}' FROM generate_series(1, 1000)")
        )
    page = client.get("/models").text
    assert "Run 1000<" in page
    assert "Run 990<" not in page
    page = client.get("/models/runs?before=991").text
    assert "Run 990<" in page
    assert "before=941" in page
    assert "Run 1000<" in client.get("/models/runs?before=abc").text


def test_a_station_tells_what_it_expects_and_how_good_that_was(
    client: FlaskClient, engine: Engine, station: str
) -> None:
    assert "No forecast yet" in client.get(f"/stations/{station}").text
    with engine.begin() as connection:
        issued = datetime.now(UTC) - timedelta(minutes=4)
        rows.add_forecast(connection, station, issued, 1.29, slope_m_per_h=0.2, staying=(300, 900))
    page = client.get(f"/stations/{station}").text
    assert "In 1 h, " in page
    assert "In 5 min, 15 min ahead" not in page
    assert "5 min, 15 min ahead, the model is not better" in page
    assert '"forecast":{"issued":' in page
    with engine.begin() as connection:
        connection.execute(text("UPDATE forecasts SET issued_at = issued_at - interval '3 hours'"))
    page = client.get(f"/stations/{station}").text
    assert 'id="in-an-hour"' not in page
    assert 'data-freshness="old"' in page
