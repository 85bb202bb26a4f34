"""Gunicorn's settings for the web and API processes; ``python -m app serve`` adds the address.

One worker per process: more of them are more processes (replicas), each with its own ``/metrics``. A browser on ``/live``
holds one thread for as long as it looks, so ``threads`` bounds browsers and requests together.
"""

from typing import Any

from gunicorn.glogging import Logger

from app.live.routes import keep_hub_while
from streamgauge.logs import configure

bind = "127.0.0.1:8000"
workers = 1
worker_class = "gthread"
threads = 128
worker_connections = 1_000
keepalive = 15
timeout = 60
graceful_timeout = 10
accesslog = None
preload_app = False


class JsonLogger(Logger):  # type: ignore[misc]
    """Gunicorn's own words in the one JSON format; requests are logged by the application alone."""

    def setup(self, cfg: Any) -> None:
        """Hand everything to the root logger."""
        super().setup(cfg)
        configure("web", cfg.loglevel.upper())
        self._access_log_enabled = False
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = JsonLogger


def post_worker_init(worker: Any) -> None:
    """Let open WebSockets end when the worker is asked to stop, instead of holding it until it is killed."""
    keep_hub_while(worker.app.wsgi(), lambda: bool(worker.alive))
