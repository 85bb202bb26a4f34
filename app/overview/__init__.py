"""The overview: is everything all right?"""

from app.overview.routes import blueprint, warm_up

__all__ = ["blueprint", "warm_up"]
