"""The live WebSocket: one reader of the Redis stream per process, one bounded queue per browser."""

from app.live.routes import init_app

__all__ = ["init_app"]
