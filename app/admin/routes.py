"""Administration: users, tokens, who changed what."""

from flask import Blueprint

blueprint = Blueprint("admin", __name__)
