"""The supervisor: starts the servers and every part, watches them, and leaves nothing behind."""

import http.client
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from embedded.console import Console, Row
from embedded.errors import Cancelled, CannotStart, PartFailed
from embedded.firsts import Login, Secrets, keep_login, load_secrets
from embedded.home import Home, Lock, publish
from embedded.meter import Meter
from embedded.parts import Part, Place, Plan, Step, log_of
from embedded.ports import is_free_for_datagrams, preferred_or_next
from embedded.processes import LOG_MAX_BYTES, Child, Command, Keeper, rotate, tail
from embedded.server import AnyServer
from embedded.settings import EmbeddedSettings
from embedded.stack import Ports, Stack

PREFERRED_PORTS = {"postgres": 15_432, "redis": 16_379, "broker": 1_883, "flower": 5_555}
WATCH_EVERY_S = 0.2
STATUS_EVERY_S = 5.0
STATUS_EVERY_UNWATCHED_S = 30.0
STEP_LIMIT_S = 300.0
READY_LIMIT_S = 120.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

MakePlan = Callable[[Place], Plan]


def run(
    settings: EmbeddedSettings, environ: Mapping[str, str], make_plan: MakePlan, *, parent: int | None = None
) -> int:
    """Start everything, watch it until a signal comes or a part ends, stop everything.

    Args:
        settings: of the embedded stack.
        environ: what the parts inherit.
        make_plan: what to run besides the servers.
        parent: process to end with, if any: ``make`` itself, so that nothing stays when it is killed.

    Returns:
        The exit code: 0 after a signal, 1 when something failed or could not start.
    """
    os.umask(0o077)
    console = Console()
    home = Home(settings.home)
    try:
        home.create()
        lock = Lock(home.lock)
    except CannotStart as error:
        console.error(str(error))
        return 1
    supervisor = Supervisor(settings, environ, home, lock, console)
    with supervisor.signals():
        try:
            supervisor.start(make_plan)
            supervisor.watch(parent)
        except Cancelled:
            return 0
        except (PartFailed, CannotStart) as error:
            console.error(str(error))
            return 1
        finally:
            supervisor.stop()
            lock.release()


class Supervisor:
    """Everything that one ``make up`` started."""

    def __init__(
        self, settings: EmbeddedSettings, environ: Mapping[str, str], home: Home, lock: Lock, console: Console
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._home = home
        self._lock = lock
        self._console = console
        self._cancelled = threading.Event()
        self._hurry = threading.Event()
        self._keeper = Keeper(guard_fds=(lock.fileno(),), cancelled=self._cancelled)
        self._stack: Stack | None = None
        self._children: list[tuple[Part, Child]] = []

    @contextmanager
    def signals(self) -> Iterator[None]:
        """The first signal asks to stop, a second one to be quick about it."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            if self._cancelled.is_set():
                self._hurry.set()
            self._cancelled.set()

        before = {number: signal.signal(number, ask) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, make_plan: MakePlan) -> None:
        """Servers, addresses, steps, parts; each before the next.

        Raises:
            PartFailed: when one of them does not come up.
            CannotStart: when something that they need is missing.
            Cancelled: when a signal came.
        """
        self._console.say("Streamgauge starts. Ctrl-C stops everything.")
        self._home.urls.unlink(missing_ok=True)
        secrets = load_secrets(self._home.secrets)
        stack = self._stack = Stack(
            self._home.root, ports=_server_ports(), settings=self._settings, keeper=self._keeper
        )
        stack.start(self._tell_started)
        place = self._place(secrets)
        plan = make_plan(place)
        environment = self._environment(stack, place)
        login = self._run_steps(plan, environment)
        self._publish(stack, place)
        for part in plan.parts:
            if part.waits:
                self._wait_until_ready()
            self._start_part(part, environment)
        self._wait_until_ready()
        self._lock.describe(place.http_url)
        self._introduce(stack, plan, place, login)

    def watch(self, parent: int | None) -> NoReturn:
        """Look after everything until a signal comes.

        Args:
            parent: process to end with, if any.

        Raises:
            PartFailed: when a process ends.
            Cancelled: when a signal came, or the parent went away.
        """
        meter = Meter(self._stack.postgres.url) if self._stack and self._children else None
        next_status = time.monotonic()
        try:
            while not self._cancelled.wait(WATCH_EVERY_S):
                self._check_children()
                if parent is not None and os.getppid() != parent:
                    break
                if meter and time.monotonic() >= next_status:
                    self._keep_logs_short()
                    self._tell_flow(meter)
                    next_status = time.monotonic() + (
                        STATUS_EVERY_S if self._console.terminal else STATUS_EVERY_UNWATCHED_S
                    )
        finally:
            if meter:
                meter.close()
        raise Cancelled

    def stop(self) -> None:
        """Stop everything in reverse order; a second signal shortens every wait."""
        self._cancelled.set()
        self._console.say("Stopping. Ctrl-C again to hurry.")
        self._home.urls.unlink(missing_ok=True)
        for _, child in reversed(self._children):
            child.stop(self._hurry)
            self._keeper.forget(child)
        self._children.clear()
        if self._stack is not None:
            self._stack.stop(self._hurry)
        self._keeper.close()
        self._console.say("Everything has stopped.")

    def _tell_started(self, server: AnyServer) -> None:
        self._console.step(f"{server.name} is ready: {server.program}")

    def _place(self, secrets: Secrets) -> Place:
        settings = self._settings
        http_port = preferred_or_next(settings.http_port)
        flower_port = preferred_or_next(PREFERRED_PORTS["flower"], taken={http_port})
        gateway_http_port = preferred_or_next(settings.gateway_http_port, taken={http_port, flower_port})
        gateway_udp_port = preferred_or_next(settings.gateway_udp_port, fits=is_free_for_datagrams)
        place = Place(
            home=self._home, secrets=secrets, http_port=http_port, flower_port=flower_port,
            gateway_udp_port=gateway_udp_port, gateway_http_port=gateway_http_port,
        )  # fmt: skip
        for what, wanted, got in (
            ("the web server", settings.http_port, place.http_port),
            ("Flower", PREFERRED_PORTS["flower"], place.flower_port),
            ("the gateway's page", settings.gateway_http_port, place.gateway_http_port),
            ("the gateway's radio", settings.gateway_udp_port, place.gateway_udp_port),
        ):
            if wanted != got:
                self._console.say(f"           port {wanted} is taken by another program: {what} gets {got}")
        return place

    def _environment(self, stack: Stack, place: Place) -> dict[str, str]:
        ours = {
            **stack.addresses.as_environment(),
            "STREAMGAUGE_SECRET_KEY": self._settings.secret_key or place.secrets.secret_key,
            "STREAMGAUGE_HTTP_PORT": str(place.http_port),
            "STREAMGAUGE_FLOWER_URL": place.flower_url,
            **self._gateway_environment(place),
            "PYTHONUNBUFFERED": "1",
        }
        defaults = {
            "STREAMGAUGE_AUTO_REGISTER": "1",
            "STREAMGAUGE_GATEWAY_NAME": "gateway-1",
            "STREAMGAUGE_COOKIE_SECURE": "0",  # the pages are served on loopback without TLS
            "STREAMGAUGE_FORECAST_TICK_S": "5",  # the demo's stations report every two seconds: their forecasts keep up
            "STREAMGAUGE_FORECAST_EVERY_S": "5",
        }
        inherited = {name: value for name, value in self._environ.items() if name.removesuffix("_FILE") not in ours}
        return {**defaults, **inherited, **ours}

    def _gateway_environment(self, place: Place) -> dict[str, str]:
        return {
            "STREAMGAUGE_GATEWAY_DIR": str(place.home.gateway),
            "STREAMGAUGE_GATEWAY_CONFIG_FILE": str(place.gateway_config),
            "STREAMGAUGE_GATEWAY_KEY": self._settings.gateway_key or place.secrets.gateway_key,
            "STREAMGAUGE_GATEWAY_UDP_PORT": str(place.gateway_udp_port),
            "STREAMGAUGE_GATEWAY_HTTP_PORT": str(place.gateway_http_port),
            "STREAMGAUGE_GATEWAY_UDP": place.gateway_udp,
            "STREAMGAUGE_GATEWAY_URL": place.gateway_url,
        }

    def _publish(self, stack: Stack, place: Place) -> None:
        environment = self._environment(stack, place)
        values = {name: value for name, value in environment.items() if name.startswith("STREAMGAUGE_")}
        values["STREAMGAUGE_HTTP_URL"] = place.http_url
        values["STREAMGAUGE_EMBEDDED_FLOWER_LOGIN"] = place.flower_login
        publish(self._home.urls, values)
        self._keeper.remove_at_death(self._home.urls)

    def _run_steps(self, plan: Plan, environment: Mapping[str, str]) -> Login | None:
        login = None
        for step in plan.steps:
            output = self._run_step(step, environment)
            if step.makes_login:
                login = keep_login(self._home.first_login, output)
            self._console.step(f"{step.name}: done")
        return login

    def _run_step(self, step: Step, environment: Mapping[str, str]) -> str:
        log = log_of(self._home, step.name)
        log.unlink(missing_ok=True)
        child = self._keeper.start(step.name, Command(argv=step.argv, env=environment, log=log))
        try:
            deadline = time.monotonic() + STEP_LIMIT_S
            while child.exit_code() is None and time.monotonic() < deadline:
                if self._cancelled.wait(0.02):
                    raise Cancelled
        finally:
            child.kill()
            self._keeper.forget(child)
        output = log.read_text(encoding="utf-8", errors="replace")
        if child.exit_code() != 0:
            raise PartFailed(step.name, _ended(child), log, tail(log))
        if step.makes_login:
            log.unlink()  # it holds a password
        return output

    def _start_part(self, part: Part, environment: Mapping[str, str]) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        command = Command(
            argv=part.argv,
            env={**environment, **part.env},
            log=log_of(self._home, part.name),
            stop_signal=part.stop_signal,
            stop_s=part.stop_s,
        )
        self._children.append((part, self._keeper.start(part.name, command)))

    def _wait_until_ready(self) -> None:
        for part, child in self._children:
            deadline = time.monotonic() + READY_LIMIT_S
            while part.ready_url and not _answers(part.ready_url):
                self._check_children()
                if self._cancelled.wait(0.05):
                    raise Cancelled
                if time.monotonic() > deadline:
                    log = child.command.log
                    raise PartFailed(part.name, f"did not answer within {READY_LIMIT_S:.0f} s", log, tail(log))
        self._check_children()

    def _check_children(self) -> None:
        servers = [server.child for server in self._stack.servers if server.child] if self._stack else []
        for child in (*servers, *(child for _, child in self._children)):
            if child.exit_code() is not None:
                raise PartFailed(child.name, _ended(child), child.command.log, tail(child.command.log))
        if not self._keeper.guarded():
            raise CannotStart(
                "The guard, which would clean up if this process were killed, has ended; so everything is stopped"
            )

    def _keep_logs_short(self) -> None:
        for log in self._home.logs.glob("*.log"):
            rotate(log, LOG_MAX_BYTES)

    def _tell_flow(self, meter: Meter) -> None:
        flow = meter.look()
        clock = time.strftime("%H:%M:%S")
        if flow is None:
            self._console.status(f"  {clock}  the number of stored readings cannot be read just now")
        else:
            rate = "" if flow.per_second is None else f"{flow.per_second:,.1f} readings/s   "
            self._console.status(f"  {clock}  {rate}{flow.stored:,} stored")

    def _introduce(self, stack: Stack, plan: Plan, place: Place, login: Login | None) -> None:
        rows = [Row(server.name, server.pid, server.where) for server in stack.servers]
        rows += [Row(part.name, child.pid, part.address) for part, child in self._children]
        self._console.step("everything runs")
        self._console.table(rows)
        names = {part.name for part in plan.parts}
        lines = [""]
        if "web" in names:
            lines.append(
                f"  Open {place.http_url}" + (f"   user {login.user}, password {login.password}" if login else "")
            )
        if login:
            lines.append(
                f"    (the first login is kept in {self._home.first_login}; delete the file once you have changed the password)"
            )
        if "flower" in names:
            user, _, password = place.flower_login.partition(":")
            lines.append(f"  Flower {place.flower_url}   user {user}, password {password}")
        if "gateway" in names:
            lines.append(f"  Gateway {place.gateway_url}   LoRaWAN forwarders send to {place.gateway_udp} (UDP)")
        lines.append(f"  Addresses for other programs: {self._home.urls}")
        lines.append(f"  Output of each part:          {self._home.logs}")
        self._console.say("\n".join(lines) + "\n")


def _server_ports() -> Ports:
    return Ports(**{name: preferred_or_next(PREFERRED_PORTS[name]) for name in ("postgres", "redis", "broker")})


def _ended(child: Child) -> str:
    code = child.exit_code()
    if code is None:
        return "took too long"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _answers(url: str) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (our own address on loopback)
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False
