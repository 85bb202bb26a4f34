"""One station: how high, how sure, how it came there."""

from app.stations.routes import blueprint

__all__ = ["blueprint"]
