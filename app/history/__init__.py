"""History: readings by range, quantity and flag; exports."""

from app.history.routes import blueprint

__all__ = ["blueprint"]
