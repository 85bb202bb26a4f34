"""Signing in to the pages: argon2 passwords, signed session cookies, CSRF tokens, slowed guessing."""

from app.session.identity import SESSION_LIFETIME, init_identity, login_required, signed_in_user
from app.session.routes import init_app

__all__ = ["SESSION_LIFETIME", "init_app", "init_identity", "login_required", "signed_in_user"]
