"""Devices: register, describe, decommission."""

from app.devices import many, tools
from app.devices.routes import blueprint

__all__ = ["blueprint", "many", "tools"]
