"""``GET /api/v1/devices/<device>/forecast``: a station's newest forecast, and how good its forecasts have been."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from flask import Response
from werkzeug.exceptions import NotFound

from app.api.answers import json_answer
from app.api.declare import endpoint, json_of
from app.api.schemas import ForecastObject
from app.connections import connections
from streamgauge.storage.forecasts import (
    ForecastRecord,
    IssuedForecast,
    forecast_record,
    model_sha256,
    newest_forecast,
)
from streamgauge.storage.read_readings import find_device

_ABSENT: dict[str, Any] = {
    "issued_at": None,
    "made_at": None,
    "age_s": None,
    "expired": None,
    "model": None,
    "persistence_m": None,
    "horizons": [],
}


@endpoint(
    "GET",
    "/devices/<device>/forecast",
    scope="read",
    tag="Devices",
    summary="A station's newest forecast, and how good its forecasts have been",
    answers={200: json_of("The newest forecast.", ForecastObject)},
    problems=(404,),
)
def get_forecast(device: str) -> Response:
    """The newest forecast with its age; nulls and no horizons for a station that has none yet.

    Its ETag stays while nothing but the age has changed: who has it counts on from ``issued_at``.
    """
    with connections().engine.connect() as connection:
        known = find_device(connection, device)
        if known is None:
            raise NotFound("No device of this name is registered.")
        issue = newest_forecast(connection, known.id)
        record = forecast_record(connection, known.id)
        model = None if issue is None else model_sha256(connection, issue.model_id)
    shown = _ABSENT if issue is None else forecast_object(issue, model, datetime.now(UTC))
    body = {"device": known.name, **shown, **_record_object(record)}
    answer = json_answer(body)
    ageless = json_answer({**body, "age_s": None}).get_data()
    answer.set_etag(sha256(ageless).hexdigest()[:32], weak=True)
    return answer


def forecast_object(issue: IssuedForecast, model: str | None, now: datetime) -> dict[str, Any]:
    """A forecast as the API shows it.

    Args:
        issue: the forecast.
        model: the identity of the model that made it.
        now: by which its age is told, aware.
    """
    horizons = [
        {
            "horizon_s": horizon.horizon_s,
            "time": issue.issued_at + timedelta(seconds=horizon.horizon_s),
            "expected_m": horizon.expected_m,
            "low_m": horizon.low_m,
            "high_m": horizon.high_m,
            "method": horizon.method,
        }
        for horizon in issue.horizons
    ]
    return {
        "issued_at": issue.issued_at,
        "made_at": issue.made_at,
        "age_s": issue.age_s(now),
        "expired": issue.is_expired(now),
        "model": model,
        "persistence_m": issue.baseline_m,
        "horizons": horizons,
    }


def _record_object(record: ForecastRecord | None) -> dict[str, Any]:
    if record is None:
        return {"record": None, "record_through": None}
    return {"record": record.record, "record_through": record.through}
