"""Database engine, Redis client and queue producer of one process: made on first use, and anew after a fork."""

import os
import threading
from typing import cast

from celery import Celery
from flask import Flask, current_app
from redis import Redis
from sqlalchemy import Engine

from streamgauge.queue import make_producer
from streamgauge.settings import WebSettings
from streamgauge.storage.engine import make_engine

STATEMENT_TIMEOUT_MS = 30_000
POOL_SIZE = 4
MAX_OVERFLOW = 12
REDIS_TIMEOUT_S = 5.0
_EXTENSION = "streamgauge_connections"


class Connections:
    """What a process is connected to. Threads share one; a forked child makes its own."""

    def __init__(self, settings: WebSettings) -> None:
        self.settings = settings
        self.is_closed = False
        """Whether ``close`` was called; threads in the background then end."""
        self._lock = threading.Lock()
        self._owner_pid = 0
        self._engine: Engine | None = None
        self._redis: Redis | None = None
        self._waiting_redis: Redis | None = None
        self._producer: Celery | None = None

    def _forget_parents(self) -> None:
        if self._owner_pid != os.getpid():
            self._owner_pid = os.getpid()
            self._engine = self._redis = self._waiting_redis = self._producer = None

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        with self._lock:
            self._forget_parents()
            if self._engine is None:
                self._engine = make_engine(
                    self.settings.database_url,
                    pool_size=POOL_SIZE,
                    max_overflow=MAX_OVERFLOW,
                    application_name="streamgauge-web",
                    statement_timeout_ms=STATEMENT_TIMEOUT_MS,
                )
            return self._engine

    @property
    def redis(self) -> Redis:
        """A client for short commands; its answers are bytes."""
        with self._lock:
            self._forget_parents()
            if self._redis is None:
                self._redis = self.make_redis(REDIS_TIMEOUT_S)
            return self._redis

    @property
    def producer(self) -> Celery:
        """What enqueues tasks."""
        with self._lock:
            self._forget_parents()
            if self._producer is None:
                self._producer = make_producer(self.settings.redis_url)
            return self._producer

    @property
    def waiting_redis(self) -> Redis:
        """A client for calls that block until a commit is heard of."""
        with self._lock:
            self._forget_parents()
            if self._waiting_redis is None:
                self._waiting_redis = self.make_redis(self.settings.commit_timeout_s + REDIS_TIMEOUT_S)
            return self._waiting_redis

    def make_redis(self, timeout_s: float) -> Redis:
        """A client of one's own, for a thread that blocks."""
        return Redis.from_url(
            self.settings.redis_url,
            socket_timeout=timeout_s,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            health_check_interval=15,
        )

    def close(self) -> None:
        """Close what this process has opened."""
        with self._lock:
            self.is_closed = True
            if self._engine is not None:
                self._engine.dispose()
            for client in (self._redis, self._waiting_redis):
                if client is not None:
                    client.close()
            self._engine = self._redis = self._waiting_redis = None


def init_app(app: Flask, settings: WebSettings) -> None:
    """Give the application its (still unconnected) connections."""
    app.extensions[_EXTENSION] = Connections(settings)


def connections() -> Connections:
    """The current application's connections."""
    return cast("Connections", current_app.extensions[_EXTENSION])
