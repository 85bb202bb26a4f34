"""Gunicorn's settings for the web and API processes; ``python -m app serve`` adds the address.

One worker per process: more of them are more processes (replicas), each with its own ``/metrics``. ``threads`` bounds the
requests that are answered at the same time, and ``worker_connections`` the connections; browsers on ``/live`` count as neither,
as the live hub takes their sockets over (``STREAMGAUGE_LIVE_MAX_CLIENTS`` bounds them).
"""

import contextlib
import resource
from typing import Any

from gunicorn.glogging import Logger

from app.live.routes import keep_hub_while, stop_hub
from app.overview import warm_up
from app.sending import THREADS
from streamgauge.logs import configure

bind = "127.0.0.1:8000"
workers = 1
worker_class = "app.sending.Worker"
threads = THREADS
# The system would send a file as slowly as its reader likes, past our socket.
sendfile = False
worker_connections = 1_000
backlog = 4_096
keepalive = 15
timeout = 60
graceful_timeout = 10
accesslog = None
preload_app = False
OPEN_FILES = 131_072


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


def post_fork(_server: Any, _worker: Any) -> None:
    """Allow many open files, as far as the system lets us: every browser is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def post_worker_init(worker: Any) -> None:
    """Let browsers on ``/live`` go as soon as the worker is asked to stop; have the overview ready before anybody asks."""
    keep_hub_while(worker.app.wsgi(), lambda: bool(worker.alive))
    warm_up(worker.app.wsgi())


def worker_exit(_server: Any, worker: Any) -> None:
    """Wait until those browsers were told that we are going: their threads end with the process."""
    stop_hub(worker.app.wsgi())
