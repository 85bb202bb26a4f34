"""The overview: is everything all right?"""

from app.overview.routes import blueprint

__all__ = ["blueprint"]
