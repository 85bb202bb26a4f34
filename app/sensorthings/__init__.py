"""The OGC SensorThings API v1.1, to read."""

from app.sensorthings.routes import blueprint

__all__ = ["blueprint"]
