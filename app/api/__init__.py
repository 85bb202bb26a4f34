"""The JSON API, version 1. Errors are problem details (RFC 9457); pages of results are followed by an opaque cursor."""

from app.api import devices, forecast, ingest, readings, rescore_runs, webhooks
from app.api.blueprint import blueprint

__all__ = ["blueprint", "devices", "forecast", "ingest", "readings", "rescore_runs", "webhooks"]
