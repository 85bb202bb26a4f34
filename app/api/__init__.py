"""The JSON API, version 1. Errors are problem details (RFC 9457); pages of results are followed by an opaque cursor."""

from app.api import alerts, devices, documents, forecast, ingest, openapi, readings, rescore_runs, webhooks
from app.api.blueprint import blueprint

__all__ = [
    "alerts",
    "blueprint",
    "devices",
    "documents",
    "forecast",
    "ingest",
    "openapi",
    "readings",
    "rescore_runs",
    "webhooks",
]
