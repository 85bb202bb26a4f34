"""Administration: users, tokens, who changed what."""

from app.admin.routes import blueprint

__all__ = ["blueprint"]
