"""Signing in to the pages: passwords or OpenID, sessions that are rows, roles, CSRF tokens, slowed guessing."""

from app.session.identity import SESSION_LIFETIME, init_identity, login_required, signed_in_user
from app.session.roles import actor, has_role, needs_role, public
from app.session.routes import init_app

__all__ = [
    "SESSION_LIFETIME",
    "actor",
    "has_role",
    "init_app",
    "init_identity",
    "login_required",
    "needs_role",
    "public",
    "signed_in_user",
]
