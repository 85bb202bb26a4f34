"""Corrections: what an operator says of readings, shown before it counts, and undone when it was wrong."""

from app.corrections.routes import blueprint

__all__ = ["blueprint"]
