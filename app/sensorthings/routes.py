"""The OGC SensorThings API v1.1, to read."""

from flask import Blueprint

blueprint = Blueprint("sensorthings", __name__)
