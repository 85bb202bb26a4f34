"""The blueprint of the admin pages."""

from flask import Blueprint

blueprint = Blueprint("admin", __name__)
