"""A real gateway process in a running system, which can be killed, and whose clock can be moved."""

import atexit
import json
import os
import secrets
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.ports import any_free
from tests.support.system import Process, System


@dataclass(frozen=True)
class Alone:
    """A place without a cloud: there may be a broker at the address, or nothing."""

    mqtt_url: str

    @property
    def environ(self) -> dict[str, str]:
        """What a gateway there runs with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
        return {**kept, "STREAMGAUGE_MQTT_URL": self.mqtt_url}


@dataclass
class Gateway:
    """One gateway.

    Attributes:
        system: whose broker it publishes to.
        folder: its data, configuration and log.
        key: opens its sensors' keys.
        settings: further ones, by their full names.
        clock_file: where the offset of its clock stands, in seconds, if its clock can be moved.
    """

    system: System | Alone
    folder: Path
    key: str = field(default_factory=lambda: secrets.token_hex(32))
    settings: dict[str, str] = field(default_factory=dict)
    udp_port: int = field(default_factory=lambda: free_udp_port())  # noqa: PLW0108 - it stands below
    http_port: int = field(default_factory=any_free)
    clock_file: Path | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "gateway.log"
        log.touch()
        self._said_from = 0
        self.process = Process("gateway", (sys.executable, "-m", self._module()), self.environ, log, self._is_ready)
        # A test that fails stops nothing; the end of the test run does.
        atexit.register(self._end)

    @property
    def environ(self) -> dict[str, str]:
        """What it runs with."""
        return {
            **self.system.environ,
            "STREAMGAUGE_GATEWAY_NAME": "gateway-1",
            "STREAMGAUGE_GATEWAY_DIR": str(self.folder / "state"),
            "STREAMGAUGE_GATEWAY_CONFIG_FILE": str(self.folder / "gateway.toml"),
            "STREAMGAUGE_GATEWAY_KEY": self.key,
            "STREAMGAUGE_GATEWAY_UDP_PORT": str(self.udp_port),
            "STREAMGAUGE_GATEWAY_HTTP_PORT": str(self.http_port),
            **self._clock_environ(),
            **self.settings,
        }

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://127.0.0.1:{self.http_port}"

    def configure(self, text: str) -> None:
        """Write its gateway.toml."""
        (self.folder / "gateway.toml").write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._said_from = self.process.log.stat().st_size
        self.process.environ = self.environ
        self.process.start()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self.process.stop()

    def move_clock(self, offset_s: float) -> None:
        """Set its clock so far off the machine's, at once."""
        assert self.clock_file is not None
        replacement = self.clock_file.with_suffix(".new")
        replacement.write_text(str(offset_s), encoding="utf-8")
        replacement.replace(self.clock_file)

    def _end(self) -> None:
        if self.process.alive:
            self.process.kill()

    def post(self, content: Any, token: str) -> tuple[int, Any]:
        """Post readings to it as a sensor does; the status and the answer."""
        request = urllib.request.Request(
            self.url + "/readings", json.dumps(content).encode(), {"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metrics(self) -> str:
        """All its metrics, as Prometheus reads them."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """The sum of the metrics that begin so."""
        lines = self.metrics().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def _is_ready(self, process: Process) -> bool:
        if not process.alive:
            raise RuntimeError(f"the gateway has ended:\n{process.tail()}")
        return process.said('"message":"started"', self._said_from)

    def _module(self) -> str:
        return "gateway" if self.clock_file is None else "tests.support.gateway_with_clock"

    def _clock_environ(self) -> Mapping[str, str]:
        return {} if self.clock_file is None else {"TEST_CLOCK_FILE": str(self.clock_file)}


def free_udp_port() -> int:
    """A port that nobody listens to by UDP just now; that TCP's is free says nothing of it."""
    while True:
        port = any_free()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def devices_toml(tables: Iterable[Mapping[str, str]]) -> str:
    """``[[devices]]`` tables; values are TOML already."""
    lines = []
    for table in tables:
        lines += ["[[devices]]", *(f"{name} = {value}" for name, value in table.items()), ""]
    return "\n".join(lines)
