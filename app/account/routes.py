"""Account: one's own password, sessions, tokens."""

from flask import Blueprint

blueprint = Blueprint("account", __name__)
