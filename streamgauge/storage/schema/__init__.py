"""The database's tables as SQLAlchemy Core knows them. Migrations make them; tests hold the two against each other."""

from streamgauge.storage.schema.base import metadata
from streamgauge.storage.schema.devices import devices, gateways, station_notes, station_photos
from streamgauge.storage.schema.models import (
    calibrations,
    drift_reports,
    model_aliases,
    model_files,
    model_promotions,
    models,
)
from streamgauge.storage.schema.people import (
    alert_rules,
    alerts,
    api_tokens,
    audit_log,
    notification_channels,
    sessions,
    users,
)
from streamgauge.storage.schema.readings import (
    corrections,
    dead_letters,
    forecast_tracks,
    forecasts,
    readings,
    readings_daily,
    readings_hourly,
    rescore_chunks,
    rescore_runs,
    rollup_pending,
    rollup_state,
    scores,
)

__all__ = [
    "alert_rules",
    "alerts",
    "api_tokens",
    "audit_log",
    "calibrations",
    "corrections",
    "dead_letters",
    "devices",
    "drift_reports",
    "forecast_tracks",
    "forecasts",
    "gateways",
    "metadata",
    "model_aliases",
    "model_files",
    "model_promotions",
    "models",
    "notification_channels",
    "readings",
    "readings_daily",
    "readings_hourly",
    "rescore_chunks",
    "rescore_runs",
    "rollup_pending",
    "rollup_state",
    "scores",
    "sessions",
    "station_notes",
    "station_photos",
    "users",
]
