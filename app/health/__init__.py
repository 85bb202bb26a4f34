"""Health and metrics, for machines."""

from flask import Flask

from app.health import metrics, routes


def init_app(app: Flask) -> None:
    """Serve ``/health``, ``/health/db`` and ``/metrics``."""
    app.register_blueprint(routes.blueprint)
    metrics.init_app(app)
