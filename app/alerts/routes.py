"""Alerts: what is wrong now, who has it, what was."""

from flask import Blueprint

blueprint = Blueprint("alerts", __name__)
