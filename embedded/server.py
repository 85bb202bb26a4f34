"""One embedded server: started until it answers, stopped, killed, restarted on the same port, wiped."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from embedded.errors import Cancelled, CannotStart, PartFailed
from embedded.processes import Child, Command, Keeper, tail


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to make one server.

    Attributes:
        name: as the console calls it.
        program: what it is, for people, for example ``Redis 7.0 (/usr/bin/redis-server)``.
        url: its address with user and password.
        port: TCP port on 127.0.0.1.
        data: folder of what it stores; may be a link.
        prepare: writes configuration and makes the data folder before each start; harmless when both are there.
        command: how it is started.
        check: raises one of ``not_ready`` until the server answers an authenticated client.
        settle: what is left to do once it answers, such as making the database; harmless when done.
        not_ready: what ``check`` raises while the server is still starting.
        ready_s: how long it may take to answer, in seconds.
    """

    name: str
    program: str
    url: str = field(repr=False)
    port: int
    data: Path
    prepare: Callable[[], None]
    command: Callable[[], Command]
    check: Callable[[], None]
    settle: Callable[[], None] = lambda: None
    not_ready: tuple[type[Exception], ...] = (OSError,)
    ready_s: float = 60.0


class Server:
    """An embedded server. Not safe to call from several threads at once."""

    def __init__(self, recipe: Recipe, keeper: Keeper) -> None:
        self.recipe = recipe
        self._keeper = keeper
        self._child: Child | None = None

    @property
    def name(self) -> str:
        """As the console calls it."""
        return self.recipe.name

    @property
    def url(self) -> str:
        """Address with user and password; the same before and after a restart."""
        return self.recipe.url

    @property
    def port(self) -> int:
        """TCP port on 127.0.0.1."""
        return self.recipe.port

    @property
    def program(self) -> str:
        """What it is, for people."""
        return self.recipe.program

    @property
    def where(self) -> str:
        """Host and port, without the password."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id of the server itself, while it was started and not stopped."""
        return self._child.pid if self._child else None

    @property
    def child(self) -> Child | None:
        """The process, while it was started and not stopped."""
        return self._child

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            PartFailed: when it ended, or did not answer in time.
        Cancelled: when the user asked to stop meanwhile.
            CannotStart: when its data does not fit this program, or the port is taken.
        """
        if self._child is not None and self._child.exit_code() is None:
            return
        self.recipe.prepare()
        self._child = self._keeper.start(self.name, self.recipe.command())
        try:
            self._wait_until_ready(self._child)
        except BaseException:
            self.kill()
            raise
        self.recipe.settle()

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + self.recipe.ready_s
        while True:
            if self._keeper.cancelled.is_set():
                raise Cancelled
            code = child.exit_code()
            if code is not None:
                raise PartFailed(
                    self.name, f"ended with exit code {code} while starting", child.command.log, tail(child.command.log)
                )
            try:
                self.recipe.check()
                return
            except self.recipe.not_ready as error:
                if time.monotonic() > deadline:
                    what = f"did not answer within {self.recipe.ready_s:.0f} s ({error})"
                    raise PartFailed(self.name, what, child.command.log, tail(child.command.log)) from error
            time.sleep(0.05)

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Ask it to end in good order; kill it when that takes too long. Harmless when it does not run."""
        if self._child is not None:
            self._child.stop(hurry)
            self._keeper.forget(self._child)
            self._child = None

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's out-of-memory killer would do; nothing of it runs afterwards."""
        if self._child is not None:
            self._child.kill()
            self._keeper.forget(self._child)
            self._child = None

    def wipe(self) -> None:
        """Delete everything that it stores.

        Raises:
            CannotStart: when it still runs.
        """
        if self._child is not None and self._child.exit_code() is None:
            raise CannotStart(f"{self.name} still runs: stop or kill it before its data is deleted")
        target = self.recipe.data.resolve()
        if target.exists():
            shutil.rmtree(target)


class ExternalServer:
    """A real server that a setting names: only waited for, never started or stopped by us."""

    pid: int | None = None
    child: Child | None = None
    program = "the one that the settings name"

    def __init__(self, name: str, url: str, check: Callable[[], None], not_ready: tuple[type[Exception], ...]) -> None:
        self.name = name
        self.url = url
        self._check = check
        self._not_ready = not_ready

    @property
    def where(self) -> str:
        """Host and port, without the password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def start(self, ready_s: float = 30.0) -> None:
        """Wait until it answers.

        Raises:
            CannotStart: when it does not within ``ready_s`` seconds.
        """
        deadline = time.monotonic() + ready_s
        while True:
            try:
                self._check()
                return
            except self._not_ready as error:
                if time.monotonic() > deadline:
                    raise CannotStart(f"{self.name}, which the settings name, does not answer: {error}") from error
            time.sleep(0.5)

    def stop(self, hurry: threading.Event | None = None) -> None:
        """It is not ours to stop."""

    def kill(self) -> None:
        """It is not ours to kill.

        Raises:
            CannotStart: always.
        """
        raise CannotStart(f"{self.name} was not started here and is not ours to kill")

    def wipe(self) -> None:
        """Its data is not ours to delete.

        Raises:
            CannotStart: always.
        """
        raise CannotStart(f"{self.name} was not started here and its data is not ours to delete")


AnyServer = Server | ExternalServer
