"""Drift through a real Postgres: each station's week once, at any time of day, shown and counted."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from app import create_app
from streamgauge.settings import WebSettings
from streamgauge.storage.devices import register_devices
from streamgauge.storage.drift import WEEK, count_changed, drift_history, drift_overview
from streamgauge.storage.partitions import make_partitions, month_of
from tasks.drift import assess_missing, assess_station, main, week_of

NOW = datetime.now(UTC)
LAST_WEEK = week_of(NOW) - WEEK

_FILL = text("""
INSERT INTO readings (device_id, time, level_m, flags, received_at, model_id, score)
SELECT :device_id, moment, 1 + 0.01 * sin(n) + CASE WHEN moment >= :since THEN CAST(:moved AS float8) ELSE 0 END,
       '{"level_m": 1}', moment, 7, 0
FROM generate_series(CAST(:first AS timestamptz), CAST(:until AS timestamptz) - interval '1 s', '30 min')
     WITH ORDINALITY AS series(moment, n)
""")


@pytest.fixture
def stations(engine: Engine) -> Engine:
    """``steady`` and ``moved`` with ten weeks of readings, ``silent`` without any."""
    first = LAST_WEEK - 9 * WEEK
    with engine.begin() as connection:
        register_devices(connection, ["moved", "silent", "steady"])
        connection.execute(text("UPDATE devices SET registered_at = :first"), {"first": first})
        make_partitions(connection, {month_of(first + timedelta(days=day)) for day in range(0, 80, 10)})
        for device_id, moved in ((1, 0.4), (3, 0.0)):
            values = {"device_id": device_id, "first": first, "until": LAST_WEEK + WEEK, "since": LAST_WEEK}
            connection.execute(_FILL, {**values, "moved": moved})
    return engine


def test_each_station_s_last_week_is_assessed_once_and_shown(
    stations: Engine, redis_url: str, database_url: str
) -> None:
    assert assess_missing(stations, NOW, budget_s=-1) == 3, "without time everything is left for later"
    assert assess_missing(stations, NOW) == 0
    with stations.connect() as connection:
        shown = {row.device: row for row in drift_overview(connection)}
        assert list(shown) == ["moved", "silent", "steady"]
        assert count_changed(connection, NOW) == 1
        assert count_changed(connection, NOW + 5 * WEEK) == 0
    assert {name: row.verdict for name, row in shown.items()} == {
        "moved": "changed",
        "silent": "unknown",
        "steady": "steady",
    }
    assert shown["moved"].figures["reasons"] == ["low_level"]
    assert shown["silent"].figures["reasons"] == ["no_readings"]
    assert (shown["steady"].week, shown["steady"].model_id, shown["silent"].model_id) == (LAST_WEEK, 7, 0)
    settings = WebSettings(database_url=database_url, redis_url=redis_url, secret_key="k" * 40)
    app = create_app(settings)
    assert "streamgauge_drift_changed_stations 1.0" in app.test_client().get("/metrics").text
    app.extensions["streamgauge_connections"].close()
    with stations.begin() as connection:
        connection.execute(text("UPDATE drift_reports SET verdict = 'kept'"))
    assert assess_missing(stations, NOW) == 0
    with stations.connect() as connection:
        assert {row.verdict for row in drift_overview(connection)} == {"kept"}


def test_a_week_can_be_assessed_again_and_forecasts_count(stations: Engine) -> None:
    with stations.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO forecasts (device_id, issued_at, horizon_s, model_id, method, expected_m, low_m, high_m, baseline_m)
            SELECT 3, time, 3600, 7, 'model', 1 + CASE WHEN time >= :since THEN 0.05 ELSE 0.005 END, 0, 2, 1.02
            FROM readings WHERE device_id = 3
            """),
            {"since": LAST_WEEK},
        )
    drift = assess_station(stations, 3, "steady", LAST_WEEK)
    assert drift.reasons == ("forecast_error",)
    assess_station(stations, 3, "steady", LAST_WEEK)
    assess_station(stations, 3, "steady", LAST_WEEK - WEEK)
    with stations.connect() as connection:
        assert [row.week for row in drift_history(connection, 3)] == [LAST_WEEK, LAST_WEEK - WEEK]


def test_the_command_prints_what_it_found(
    stations: Engine,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STREAMGAUGE_DATABASE_URL", database_url)
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", redis_url)
    main(["--device", "moved", "--weeks", "2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if '"verdict"' in line]
    assert ['"steady"' in lines[0], '"changed"' in lines[1]] == [True, True]
    with pytest.raises(SystemExit, match="nobody"):
        main(["--device", "nobody"])
