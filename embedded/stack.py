"""The three servers as one thing: started in order, each until it answers, and stopped in reverse.

with temporary_stack() as stack:
    stack.addresses.database_url
    stack.redis.kill(); stack.redis.wipe(); stack.redis.start()      # the same port, and now empty
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from embedded import broker, postgres, redis
from embedded.account import LINK
from embedded.firsts import Secrets, load_secrets
from embedded.home import Home
from embedded.ports import any_free
from embedded.processes import Keeper
from embedded.server import AnyServer, ExternalServer, Server
from embedded.settings import EmbeddedSettings


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the servers are, with user and password."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    mqtt_url: str = field(repr=False)

    def as_environment(self) -> dict[str, str]:
        """Under the settings' names."""
        return {
            "STREAMGAUGE_DATABASE_URL": self.database_url,
            "STREAMGAUGE_REDIS_URL": self.redis_url,
            "STREAMGAUGE_MQTT_URL": self.mqtt_url,
        }


@dataclass(frozen=True, kw_only=True)
class Ports:
    """A TCP port on 127.0.0.1 per server; free ones chosen at random by default."""

    postgres: int = field(default_factory=any_free)
    redis: int = field(default_factory=any_free)
    broker: int = field(default_factory=any_free)


class Stack:
    """Postgres, Redis and an MQTT broker, with their data in one folder.

    Args:
        directory: folder of data, logs and generated passwords; made if it is not there.
        ports: by default free ones, which each server keeps over restarts.
        settings: which programs to use, and URLs of real servers that replace embedded ones; ``home`` is not read here.
        keeper: starts the processes; by default one of the stack's own.

    Raises:
        CannotStart: when a program is missing.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ports: Ports | None = None,
        settings: EmbeddedSettings | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.home = Home(directory.absolute())
        self.home.create()
        self._own_keeper = keeper is None
        self._keeper = keeper or Keeper()
        ports, settings = ports or Ports(), settings or EmbeddedSettings()
        secrets = load_secrets(self.home.secrets)
        self.postgres = self._postgres(ports, settings, secrets)
        self.redis = self._redis(ports, settings, secrets)
        self.broker = self._broker(ports, settings, secrets)

    def _postgres(self, ports: Ports, settings: EmbeddedSettings, secrets: Secrets) -> AnyServer:
        if settings.database_url:
            url = settings.database_url
            return ExternalServer("postgres", url, lambda: postgres.check(url), postgres.NOT_READY)
        return Server(
            postgres.recipe(self.home.root, port=ports.postgres, secrets=secrets, kind=settings.postgres_kind),
            self._keeper,
        )

    def _redis(self, ports: Ports, settings: EmbeddedSettings, secrets: Secrets) -> AnyServer:
        if settings.redis_url:
            url = settings.redis_url
            return ExternalServer("redis", url, lambda: redis.check(url), redis.NOT_READY)
        return Server(redis.recipe(self.home.root, port=ports.redis, password=secrets.redis), self._keeper)

    def _broker(self, ports: Ports, settings: EmbeddedSettings, secrets: Secrets) -> AnyServer:
        if settings.mqtt_url:
            url = settings.mqtt_url
            return ExternalServer("broker", url, lambda: broker.check(url), broker.NOT_READY)
        kind = settings.broker_kind
        return Server(
            broker.recipe(self.home.root, port=ports.broker, password=secrets.broker, kind=kind), self._keeper
        )

    @property
    def servers(self) -> tuple[AnyServer, AnyServer, AnyServer]:
        """In the order in which they start."""
        return self.postgres, self.redis, self.broker

    @property
    def addresses(self) -> Addresses:
        """Known before the servers start, and the same after a restart."""
        return Addresses(database_url=self.postgres.url, redis_url=self.redis.url, mqtt_url=self.broker.url)

    def start(self, started: Callable[[AnyServer], None] = lambda _server: None) -> Addresses:
        """Start one after the other, each until it answers.

        Args:
            started: called after each one.

        Raises:
            PartFailed: when one does not come up; those before it have been stopped.
            CannotStart: when one cannot.
        """
        try:
            for server in self.servers:
                server.start()
                started(server)
        except BaseException:
            self.stop()
            raise
        return self.addresses

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Stop all in reverse order; their data stays."""
        for server in reversed(self.servers):
            server.stop(hurry)
        if self._own_keeper:
            self._keeper.close()

    def discard(self) -> None:
        """Stop all and delete the whole folder, with the data that Postgres may keep elsewhere (``account.py``)."""
        self.stop()
        link = self.home.root / LINK
        if link.is_symlink():
            shutil.rmtree(link.readlink().parent, ignore_errors=True)
        shutil.rmtree(self.home.root, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def temporary_stack(*, postgres_kind: str = "auto", broker_kind: str = "auto") -> Iterator[Stack]:
    """A running stack in a new folder, on free ports, deleted at the end: for tests and benchmarks.

    Args:
        postgres_kind: ``auto``, ``bundled`` or ``system``.
        broker_kind: ``auto``, ``mosquitto`` or ``amqtt``.
    """
    directory = Path(tempfile.mkdtemp(prefix="streamgauge-stack-"))
    stack = Stack(
        directory, settings=EmbeddedSettings(home=directory, postgres_kind=postgres_kind, broker_kind=broker_kind)
    )
    try:
        stack.start()
        yield stack
    finally:
        stack.discard()
