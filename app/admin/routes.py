"""``/admin``: users, everybody's tokens, and who changed what."""

from app.admin import audit, tokens, users
from app.admin.blueprint import blueprint

__all__ = ["audit", "blueprint", "tokens", "users"]
