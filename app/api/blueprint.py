"""The blueprint that every handler of the API registers with."""

from flask import Blueprint

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
