"""Rows for the pages of models and forecasts, as workers would have written them, for tests that look at pages only."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.scoring.shipped import shipped_card
from streamgauge.storage.model_aliases import CHAMPION, GENERAL, alias_of, challenge, promote, save_gate
from streamgauge.storage.models import RETRAINED, SHIPPED, ModelFacts, ensure_model

HORIZONS_S = (300, 900, 1_800, 3_600, 7_200, 10_800, 21_600)
FEATURES = str(shipped_card()["features_sha256"])
FILES = {"model.ubj": b"only its hash counts here"}


def sha256_of(name: str) -> str:
    """A hash that a test can recognise."""
    return name.encode().hex().ljust(64, "7")


def add_model(connection: Connection, name: str, **facts: Any) -> int:
    """A model as retraining writes it, of which pages show everything but its trees."""
    card = {"features_sha256": FEATURES, "libraries": {"xgboost": "3.2.0", "numpy": "2.4.6"}}
    known: dict[str, Any] = {
        "origin": RETRAINED,
        "features_sha256": FEATURES,
        "data_from": datetime(2026, 5, 1, tzinfo=UTC),
        "data_until": datetime(2026, 11, 1, tzinfo=UTC),
        "seed": 20261101,
        "quality_rules": 3,
        "metrics": {"held_back": metrics()},
    }
    return ensure_model(connection, sha256_of(name), card, FILES, ModelFacts(**(known | facts)))


def add_shipped(connection: Connection) -> int:
    """The model that ships with the program, champion of all stations."""
    card = shipped_card()
    facts = ModelFacts(origin=SHIPPED, features_sha256=FEATURES)
    model_id = ensure_model(connection, card["sha256"], card, FILES, facts)
    if alias_of(connection, GENERAL, CHAMPION) != model_id:
        promote(connection, device_id=GENERAL, model_id=model_id, by="first start", reason="ships with the program")
    return model_id


def metrics() -> dict[str, Any]:
    """Figures of a model beside the baselines."""
    horizons = [
        {
            "horizon_s": horizon_s,
            "overall": _losses(0.0011 * horizon_s**0.25, 0.30),
            "moving": _losses(0.006 * horizon_s**0.25, 0.41),
        }
        for horizon_s in HORIZONS_S
    ]
    return {"overall": _losses(0.0004, 0.22), "moving": _losses(0.006, 0.29), "horizons": horizons}


def _losses(model_m: float, skill: float) -> dict[str, Any]:
    return {
        "rows": 50_515,
        "model_mae_m": model_m,
        "persistence_mae_m": model_m / (1 - skill),
        "moving_average_mae_m": model_m / (1 - skill) * 1.4,
        "skill": skill,
        "coverage": 0.902,
    }


def gate(champion_id: int, *, passed: bool = True) -> dict[str, Any]:
    """What the gate says of a challenger."""

    def criterion(name: str, value: float, limit: float, ok: bool = True) -> dict[str, Any]:
        return {"name": name, "passed": ok, "value": value, "limit": limit, "detail": f"{name}: {value} of {limit}"}

    compared = [
        {
            "horizon_s": horizon_s,
            "overall": {"rows": 9_800, "champion": 0.0031, "challenger": 0.0027, "persistence": 0.0042},
            "still": {"rows": 8_000, "champion": 0.0011, "challenger": 0.0011, "persistence": 0.0012},
            "moving": {"rows": 1_800, "champion": 0.021, "challenger": 0.017, "persistence": 0.034},
            "champion_coverage": 0.89,
            "challenger_coverage": 0.905,
        }
        for horizon_s in (0, *HORIZONS_S)
    ]
    return {
        "passed": passed,
        "judged_at": "2026-11-20T04:00:00Z",
        "champion_id": champion_id,
        "why_not": None if passed else "nearer than the champion by +0.4%",
        "criteria": [
            criterion("readings", 9_800, 2_000),
            criterion("days", 19.6, 7.0),
            criterion("still water", 0.004, 0.02),
            criterion("better", 0.19 if passed else 0.004, 0.02, passed),
            criterion("nowhere worse", -0.02, 0.05),
            criterion("coverage", 0.905, 0.85),
            criterion("marked", 0.0021, 0.0042),
            criterion("floods", 0.0, 0.002),
        ],
        "figures": {"readings": 9_800, "days": 19.6, "stations": 3, "compared": compared},
    }


def add_challenger(connection: Connection, champion_id: int, name: str = "new", *, passed: bool = True) -> int:
    """A retrained model in the shadow of the general champion, judged by the gate."""
    model_id = add_model(connection, name)
    challenge(connection, device_id=GENERAL, model_id=model_id, by="retraining")
    save_gate(connection, model_id, GENERAL, gate(champion_id, passed=passed))
    return model_id


def add_forecast(
    connection: Connection,
    device: str,
    issued_at: datetime,
    baseline_m: float,
    *,
    slope_m_per_h: float = 0.0,
    staying: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """An issue of a station; returns its horizons as the live stream has them."""
    device_id = connection.execute(text("SELECT id FROM devices WHERE name = :name"), {"name": device}).scalar_one()
    horizons = []
    for horizon_s in HORIZONS_S:
        hours = horizon_s / 3_600
        stays = horizon_s in staying
        expected = baseline_m + (0.0 if stays else slope_m_per_h * (1.0 - 2.718 ** (-hours)))
        width = 0.01 + 0.12 * abs(slope_m_per_h) * hours**0.6 + 0.02 * hours**0.5
        horizons.append(
            {
                "horizon_s": horizon_s,
                "expected_m": round(expected, 4),
                "low_m": round(expected - width, 4),
                "high_m": round(expected + 1.5 * width, 4),
                "method": "persistence" if stays else "model",
            }
        )
    query = text(
        "INSERT INTO forecasts (device_id, issued_at, horizon_s, model_id, method, expected_m, low_m, high_m, baseline_m) "
        "VALUES (:device_id, :issued_at, :horizon_s, 1, :method, :expected_m, :low_m, :high_m, :baseline_m)"
    )
    shared = {"device_id": device_id, "issued_at": issued_at, "baseline_m": baseline_m}
    connection.execute(query, [shared | horizon for horizon in horizons])
    return horizons


def record() -> dict[str, Any]:
    """How good a station's forecasts have been, better from half an hour on."""
    skills = (-0.04, 0.02, 0.11, 0.24, 0.31, 0.33, 0.28)
    rows = [
        {
            "horizon_s": horizon_s,
            "method": "model" if skill > 0.05 else "persistence",
            "overall": _losses(0.0011 * horizon_s**0.25, skill) | {"rows": 1_720.4},
            "moving": _losses(0.006 * horizon_s**0.25, skill + 0.1) | {"rows": 210.0},
        }
        for horizon_s, skill in zip(HORIZONS_S, skills, strict=True)
    ]
    return {"horizons": rows}


def add_record(connection: Connection, device: str, record: Mapping[str, Any], model_id: int = 1) -> None:
    """How good a station's forecasts have been."""
    query = text(
        "INSERT INTO forecast_tracks (device_id, model_id, through, state, record) "
        "SELECT id, :model_id, now(), '\\x00', CAST(:record AS jsonb) FROM devices WHERE name = :device "
        "ON CONFLICT (device_id) DO UPDATE SET record = EXCLUDED.record"
    )
    connection.execute(query, {"device": device, "model_id": model_id, "record": json.dumps(record)})


def add_drift(connection: Connection, device: str, verdict: str, reasons: Sequence[str] = ()) -> None:
    """A station's newest week."""
    names = ("level", "step", "rate", "spread", "interval", "marked_share", "flagged_share", "forecast_error")
    measures = {
        name: {"value": 0.31 if name in reasons else 0.08, "usual": 0.07, "limit": 0.21, "changed": name in reasons}
        for name in names
    }
    figures = {"readings": 2_011, "reference_weeks": 8, "reasons": list(reasons), "measures": measures}
    query = text(
        "INSERT INTO drift_reports (device_id, week, model_id, verdict, figures) "
        "SELECT id, date_trunc('week', now()) - interval '1 week', 1, :verdict, CAST(:figures AS jsonb) FROM devices "
        "WHERE name = :device"
    )
    connection.execute(query, {"device": device, "verdict": verdict, "figures": json.dumps(figures)})


def add_run(connection: Connection, state: str, *, done: int = 0, chunks: int = 4, **columns: Any) -> int:
    """A run in some state, so many of its chunks done."""
    now = datetime.now(UTC)
    ended = now if state in {"done", "cancelled", "failed"} else None
    values = {
        "parameters": {
            "devices": None,
            "from": "2026-10-21T00:00:00Z",
            "until": "2026-11-20T00:00:00Z",
            "model": "champion",
        },
        "created_by": "officer",
        "started_at": now - timedelta(seconds=42),
        "ended_at": ended,
        "report": None,
        "error": None,
    } | columns
    values |= {key: json.dumps(values[key]) for key in ("parameters", "report")}
    query = text(
        "INSERT INTO rescore_runs (state, parameters, created_by, started_at, ended_at, chunks, report, error) VALUES "
        "(:state, CAST(:parameters AS jsonb), :created_by, :started_at, :ended_at, :chunks, "
        "NULLIF(CAST(:report AS jsonb), 'null'), :error) RETURNING id"
    )
    run_id = int(connection.execute(query, {**values, "state": state, "chunks": chunks}).scalar_one())
    for number in range(chunks):
        connection.execute(
            text(
                "INSERT INTO rescore_chunks (run_id, number, device_id, first, until, state, readings, done_at) "
                "VALUES (:run, :number, 1, now() - interval '1 day', now(), :state, 20000, :done_at)"
            ),
            {
                "run": run_id,
                "number": number,
                "state": "done" if number < done else "waiting",
                "done_at": now if number < done else None,
            },
        )
    return run_id


def report(device: str) -> dict[str, Any]:
    """What a run found."""
    counts = {
        "readings": 80_000,
        "scored": 79_400,
        "marked_before": 61,
        "marked_after": 48,
        "newly_marked": 9,
        "no_longer_marked": 22,
        "events": 31,
        "faults": 17,
        "flags_changed": 3,
    }
    now = datetime.now(UTC).replace(microsecond=0)

    def alarm(hours: float, surprise: str, before: str, after: str) -> dict[str, Any]:
        first = now - timedelta(hours=hours)
        return {
            "device": device,
            "from": first.isoformat(),
            "until": (first + timedelta(minutes=40)).isoformat(),
            "readings": 8,
            "highest_score": 0.991,
            "surprise": surprise,
            "before": before,
            "after": after,
        }

    alarms = [
        alarm(30, "event", "marked", "marked"),
        alarm(20, "fault", "not", "marked"),
        alarm(7, "event", "marked", "not"),
    ]
    return {**counts, "alarms": alarms, "alarms_left_out": 0, "by_device": {device: counts}, "devices_left_out": 0}
