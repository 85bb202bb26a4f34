"""One station: how high, how sure, how it came there; and several beside each other."""

from app.stations import compare_routes
from app.stations.routes import blueprint

__all__ = ["blueprint", "compare_routes"]
