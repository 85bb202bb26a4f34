"""Models: which one is in use, how good it is, what may take its place; judging the past again; what has drifted."""

from app.models import run_routes
from app.models.routes import blueprint

__all__ = ["blueprint", "run_routes"]
