"""A whole running system for tests and benchmarks: real servers, real processes, each of which can be killed and restarted."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from embedded.ports import any_free
from embedded.stack import Stack, temporary_stack
from streamgauge.storage.engine import make_engine

PROJECT = Path(__file__).parents[2]
READY_S = 60.0


@dataclass
class Process:
    """One part of the system. It leads a process group, which dies as a whole."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    log: Path
    ready: Callable[["Process"], bool]
    _popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as sink:
            self._popen = subprocess.Popen(
                self.argv, env=dict(self.environ), cwd=PROJECT, stdout=sink, stderr=sink, start_new_session=True
            )
        wait_until(lambda: self.ready(self), f"{self.name} is not ready", READY_S, self.tail)

    def kill(self) -> None:
        """SIGKILL, the whole group, at once."""
        self._signal(signal.SIGKILL)

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM, and SIGKILL if that does not help; returns the exit code."""
        if self._popen is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._popen.terminate()
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        return self._popen.wait()

    @property
    def pid(self) -> int:
        """The process id of the group's leader."""
        assert self._popen is not None
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def said(self, words: str, since: int = 0) -> bool:
        """Whether its log holds these words, from a position on."""
        return words in self.log.read_text(errors="replace")[since:]

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)
            self._popen.wait()


@dataclass
class System:
    """Servers, workers, subscriber and web. Start what a test needs; everything is stopped at the end.

    ``worker`` takes the queues somebody waits for, ``batch_worker`` the other one, as in ``make up``.
    """

    stack: Stack
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    worker_processes: int = 2
    http_port: int = field(default_factory=any_free)
    secret_key: str = field(default_factory=lambda: secrets.token_hex(32))

    def __post_init__(self) -> None:
        self.worker = self._worker("worker", "readings,alerts")
        self.batch_worker = self._worker("batch-worker", "batch", STREAMGAUGE_WORKER_NICE="10")
        self.subscriber = self._part(
            "subscriber", (sys.executable, "-m", "tasks.subscriber"), "connected to the broker"
        )
        self.web = self._web()
        self.engine: Engine = make_engine(self.stack.addresses.database_url, application_name="streamgauge-test")

    @property
    def environ(self) -> dict[str, str]:
        """What its parts run with; nothing of the caller's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
        return {
            **kept,
            **self.stack.addresses.as_environment(),
            "STREAMGAUGE_SECRET_KEY": self.secret_key,
            "STREAMGAUGE_COOKIE_SECURE": "0",
            "STREAMGAUGE_HTTP_PORT": str(self.http_port),
            "STREAMGAUGE_AUTO_REGISTER": "1",
            **self.settings,
        }

    @property
    def http_url(self) -> str:
        """The web server's address."""
        return f"http://127.0.0.1:{self.http_port}"

    def migrate(self) -> None:
        """Bring the database to the newest schema."""
        self.run("-m", "alembic", "-c", "migrations/alembic.ini", "upgrade", "head")

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a Python command of the project to its end, in this system's environment."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environ,
            cwd=PROJECT,
            check=check,
            capture_output=True,
            text=True,
            **options,
        )

    def scalar(self, query: str, **parameters: Any) -> Any:
        """The first value that a query gives."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), parameters).scalar()

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        """All rows that a query gives."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), parameters).all())

    def empty(self) -> None:
        """Delete every reading and dead letter. Devices stay, as they do in production: workers remember them for a while."""
        with self.engine.begin() as connection:
            connection.execute(text("TRUNCATE readings, dead_letters"))

    def stop(self) -> None:
        """Stop the parts; the servers are the stack's."""
        for part in (self.web, self.subscriber, self.worker, self.batch_worker):
            part.stop()
        self.engine.dispose()

    def _part(
        self, name: str, argv: tuple[str, ...], ready_words: str, environ: Mapping[str, str] | None = None
    ) -> Process:
        log = self.directory / f"{name}.log"
        log.touch()
        size = [0]

        def ready(process: Process) -> bool:
            if not process.alive:
                raise RuntimeError(f"{name} has ended:\n{process.tail()}")
            found = process.said(ready_words, size[0])
            if found:
                size[0] = log.stat().st_size
            return found

        return Process(name, argv, {**self.environ, **(environ or {})}, log, ready)

    def _worker(self, name: str, queues: str, **settings: str) -> Process:
        options = ("-Q", queues, "-c", str(self.worker_processes), "--hostname", f"{name}@%h")
        alone = ("--without-gossip", "--without-mingle")
        argv = (sys.executable, "-m", "celery", "-A", "tasks.worker", "worker", *options, *alone)
        return self._part(name, argv, " ready.", settings)

    def _web(self) -> Process:
        process = self._part("web", (sys.executable, "-m", "app", "serve"), "")
        process.ready = lambda _process: _answers(self.http_url + "/health")
        return process


@contextmanager
def running_system(
    directory: Path, *, broker_kind: str = "auto", worker_processes: int = 2, **settings: str
) -> Iterator[System]:
    """Servers with a migrated database; the parts are made and not started.

    Args:
        directory: for the parts' logs.
        broker_kind: ``auto``, ``mosquitto`` or ``amqtt``.
        worker_processes: of the Celery worker.
        settings: further settings, by their full names.
    """
    with temporary_stack(broker_kind=broker_kind) as stack:
        system = System(stack, directory, dict(settings), worker_processes)
        try:
            system.migrate()
            yield system
        finally:
            system.stop()


def wait_until(
    condition: Callable[[], bool], complaint: str, timeout_s: float = 30.0, explain: Callable[[], str] = lambda: ""
) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{complaint} after {timeout_s:g} s\n{explain()}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
