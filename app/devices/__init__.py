"""Devices: register, describe, decommission."""

from app.devices.routes import blueprint

__all__ = ["blueprint"]
