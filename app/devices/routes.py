"""Devices: register, describe, decommission."""

from flask import Blueprint

blueprint = Blueprint("devices", __name__)
