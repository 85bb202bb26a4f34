"""What ``make up`` runs besides the servers, as data: commands, where they can be seen, how they are stopped."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embedded.firsts import Secrets
from embedded.home import Home
from embedded.ports import LOOPBACK

FLOWER_USER = "streamgauge"
WORKER_PROCESSES = 2
BATCH_PROCESSES = 2
BATCH_NICE = 10
"""The batch worker steps back behind everything that somebody waits for."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command that runs to its end before the parts start.

    Attributes:
        name: as the console calls it, and the name of its log.
        argv: program and arguments.
        makes_login: whether it may print the first login as a JSON object with ``user`` and ``password``.
    """

    name: str
    argv: tuple[str, ...]
    makes_login: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process that runs as long as ``make up`` does.

    Attributes:
        name: as the console calls it, and the name of its log.
        argv: program and arguments.
        env: settings that only this part gets.
        address: where a person finds it; empty if nowhere.
        ready_url: answers over HTTP, with whatever status, once it is ready; ``None`` if it need not be waited for.
        waits: start it only when every part before it is ready.
        stop_signal: asks it to end.
        stop_s: how long that may take, in seconds.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str = ""
    ready_url: str | None = None
    waits: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps in order, then parts in order; parts are stopped in reverse."""

    steps: tuple[Step, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the plan depends on."""

    home: Home
    secrets: Secrets
    http_port: int
    flower_port: int
    gateway_udp_port: int
    gateway_http_port: int

    @property
    def http_url(self) -> str:
        """Address of the pages."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def flower_url(self) -> str:
        """Address of Flower."""
        return f"http://{LOOPBACK}:{self.flower_port}"

    @property
    def gateway_url(self) -> str:
        """Address of the gateway's page."""
        return f"http://{LOOPBACK}:{self.gateway_http_port}"

    @property
    def gateway_udp(self) -> str:
        """Where packet forwarders send to: ``host:port``."""
        return f"{LOOPBACK}:{self.gateway_udp_port}"

    @property
    def gateway_config(self) -> Path:
        """The gateway's sensors, forwarders and rules."""
        return self.home.gateway / "gateway.toml"

    @property
    def flower_login(self) -> str:
        """``user:password``."""
        return f"{FLOWER_USER}:{self.secrets.flower}"


def product(place: Place, *, demo: bool) -> Plan:
    """The whole of Streamgauge.

    Args:
        place: folder, ports and passwords.
        demo: whether simulated stations are to send readings, over the air to the gateway.
    """
    parts = [
        _worker(),
        _batch_worker(),
        _beat(place),
        _module("subscriber", "tasks.subscriber", stop_s=8),
        _web(place),
        _flower(place),
    ]
    parts.append(_gateway(place))
    if demo:
        parts.append(_module("simulator", "simulator", "demo", waits=True))
    steps = (
        Step(name="migrations", argv=_python("-m", "alembic", "-c", "migrations/alembic.ini", "upgrade", "head")),
        Step(name="first login", argv=_python("-m", "app", "create-admin", "--if-none"), makes_login=True),
        _demo_sensors(place) if demo else _no_sensors(place),
        *((_demo_stations(),) if demo else ()),
    )
    return Plan(steps=steps, parts=tuple(parts))


def _demo_sensors(place: Place) -> Step:
    argv = _python("-m", "simulator", "provision", "--demo", "--out", str(place.home.gateway))
    return Step(name="gateway devices", argv=argv)


def _demo_stations() -> Step:
    # Where they stand and which stages they have; what somebody has changed since stays.
    argv = _python("-m", "app", "import-devices", "--only-new", "simulator/data/demo_stations.csv")
    return Step(name="demo stations", argv=argv)


def _no_sensors(place: Place) -> Step:
    argv = _python("-m", "embedded.gateway_file", str(place.gateway_config))
    return Step(name="gateway devices", argv=argv)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def _celery(*arguments: str) -> tuple[str, ...]:
    return _python("-m", "celery", "-A", "tasks.worker", *arguments)


def _module(name: str, module: str, *arguments: str, waits: bool = False, stop_s: float = 5.0) -> Part:
    return Part(name=name, argv=_python("-m", module, *arguments), waits=waits, stop_s=stop_s)


def _worker() -> Part:
    return Part(name="worker", argv=_worker_argv("readings,alerts", WORKER_PROCESSES, "worker@%h"), stop_s=15)


def _batch_worker() -> Part:
    argv = _worker_argv("batch", BATCH_PROCESSES, "batch@%h")
    env = {"STREAMGAUGE_WORKER_NICE": str(BATCH_NICE)}
    return Part(name="batch worker", argv=argv, env=env, stop_s=15)


def _worker_argv(queues: str, processes: int, hostname: str) -> tuple[str, ...]:
    # Alone on its queues: nobody to gossip with, and asking around costs a second at each start.
    alone = ("--without-gossip", "--without-mingle", "--hostname", hostname)
    return _celery("worker", "--queues", queues, "--concurrency", str(processes), *alone)


def _beat(place: Place) -> Part:
    schedule = place.home.root / "beat-schedule"
    return Part(name="beat", argv=_celery("beat", "--schedule", str(schedule), "--pidfile="))


def _web(place: Place) -> Part:
    ready_url = place.http_url + "/health"
    argv = _python("-m", "app", "serve")
    return Part(name="web", argv=argv, address=place.http_url, ready_url=ready_url, stop_s=8)


def _flower(place: Place) -> Part:
    database = place.home.root / "flower.db"
    options = (f"--address={LOOPBACK}", f"--port={place.flower_port}", "--persistent=True", f"--db={database}")
    return Part(
        name="flower",
        argv=_celery("flower", *options),
        env={"FLOWER_BASIC_AUTH": place.flower_login},
        address=place.flower_url,
        ready_url=place.flower_url,
    )


def _gateway(place: Place) -> Part:
    ready_url = place.gateway_url + "/health"
    return Part(name="gateway", argv=_python("-m", "gateway"), address=place.gateway_url, ready_url=ready_url, stop_s=8)


def log_of(home: Home, name: str) -> Path:
    """The log of a step or part."""
    return home.logs / f"{name.replace(' ', '-')}.log"
