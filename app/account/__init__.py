"""Account: one's own password, sessions, tokens."""

from app.account.routes import blueprint

__all__ = ["blueprint"]
