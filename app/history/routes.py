"""History: readings by range, quantity and flag; exports."""

from flask import Blueprint

blueprint = Blueprint("history", __name__)
