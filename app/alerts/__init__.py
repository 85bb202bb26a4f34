"""Alerts: what is wrong now, who has it, what was."""

from app.alerts.routes import blueprint

__all__ = ["blueprint"]
