"""An embedded MQTT broker: the system's Mosquitto, else ``amqtt`` (MQTT 3.1.1 only) in a child process."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from embedded.errors import CannotStart
from embedded.home import write_private
from embedded.ports import LOOPBACK
from embedded.processes import PROJECT, Command
from embedded.programs import find_program, plain_environment, version_line
from embedded.server import Recipe

USER = "streamgauge"
NOT_READY = (OSError,)
MESSAGE_LIMIT_BYTES = 16 * 2**20
"""Longest payload that the broker passes on; Mosquitto acknowledges a longer one to an MQTT 3.1.1 client and drops it."""

MOSQUITTO_CONFIGURATION = """\
listener {port} {host}
allow_anonymous false
password_file {passwords}
persistence true
persistence_location {data}/
# Mosquitto writes its whole store each time; what is lost between two writes is sent again by those who wait for "stored".
autosave_interval 60
persistent_client_expiration 14d
# The subscriber bounds what is in flight (MQTT 5 Receive Maximum); twenty, the default, would be one worker task per trip.
max_inflight_messages 0
# What exceeds either bound is dropped although it was acknowledged: both are far above what our own parts leave waiting.
max_queued_messages 500000
max_queued_bytes 268435456
message_size_limit {message_limit}
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
log_type notice
log_timestamp_format %Y-%m-%dT%H:%M:%S
"""


def choose(kind: str) -> tuple[str, Path | None]:
    """Which broker is run: ``mosquitto`` and its program, or ``amqtt``.

    Args:
        kind: ``auto``, ``mosquitto`` or ``amqtt``.

    Raises:
        CannotStart: when Mosquitto is demanded but not installed.
    """
    program = find_program("mosquitto") if kind != "amqtt" else None
    if program and find_program("mosquitto_passwd"):
        return "mosquitto", program
    if kind == "mosquitto":
        raise CannotStart("STREAMGAUGE_EMBEDDED_BROKER=mosquitto, but mosquitto and mosquitto_passwd are not installed")
    return "amqtt", None


def recipe(root: Path, *, port: int, password: str, kind: str = "auto") -> Recipe:
    """How to run a broker with its data in ``root/broker``."""
    chosen, program = choose(kind)
    if chosen == "mosquitto" and program is not None:
        return _mosquitto(root, program, port, password)
    return _amqtt(root, port, password)


def url_of(port: int, password: str) -> str:
    """The address with user and password."""
    return f"mqtt://{USER}:{password}@{LOOPBACK}:{port}"


def _mosquitto(root: Path, program: Path, port: int, password: str) -> Recipe:
    data, configuration, passwords = root / "broker", root / "mosquitto.conf", root / "mosquitto.passwords"

    def prepare() -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_mosquitto_passwords(passwords, password)
        text = MOSQUITTO_CONFIGURATION.format(
            port=port, host=LOOPBACK, passwords=passwords, data=data, message_limit=MESSAGE_LIMIT_BYTES
        )
        if os.geteuid() == 0:
            # Otherwise it changes to an account that cannot read the files above.
            text += "user root\n"
        write_private(configuration, text)

    def command() -> Command:
        return Command(
            argv=(str(program), "-c", str(configuration)),
            env=plain_environment(),
            log=root / "logs" / "broker.log",
            cwd=data,
            stop_s=10,
        )

    version = version_line(program, "-h").removesuffix(".").capitalize()
    return _recipe(root, f"{version or 'Mosquitto'} ({program})", port, password, prepare=prepare, command=command)


def _write_mosquitto_passwords(path: Path, password: str) -> None:
    """Let Mosquitto's own tool hash the password, in a file: on a command line every user of the machine could read it."""
    tool = find_program("mosquitto_passwd")
    if tool is None:
        raise CannotStart("mosquitto_passwd is not installed, although mosquitto is")
    plain = path.with_name(path.name + ".plain")
    write_private(plain, f"{USER}:{password}\n")
    done = subprocess.run([tool, "-U", plain], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        plain.unlink(missing_ok=True)
        raise CannotStart(f"mosquitto_passwd failed: {done.stderr.strip() or done.stdout.strip()}")
    plain.chmod(0o600)
    plain.replace(path)


def _amqtt(root: Path, port: int, password: str) -> Recipe:
    data, configuration = root / "broker", root / "amqtt.json"

    def prepare() -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(
            configuration,
            json.dumps(
                {
                    "bind": f"{LOOPBACK}:{port}",
                    "user": USER,
                    "password": password,
                    "passwords": str(root / "amqtt.passwords"),
                }
            ),
        )

    def command() -> Command:
        return Command(
            argv=(sys.executable, "-m", "embedded.amqtt_broker", str(configuration)),
            env=plain_environment(),
            log=root / "logs" / "broker.log",
            cwd=PROJECT,
            stop_s=5,
        )

    return _recipe(root, "amqtt (MQTT 3.1.1, in Python)", port, password, prepare=prepare, command=command)


def _recipe(root: Path, program: str, port: int, password: str, **steps: object) -> Recipe:
    url = url_of(port, password)
    return Recipe(
        name="broker",
        program=program,
        url=url,
        port=port,
        data=root / "broker",
        check=partial(check, url),
        not_ready=NOT_READY,
        **steps,  # type: ignore[arg-type]
    )


def check(url: str, timeout_s: float = 5.0) -> None:
    """Connect as a client with this URL's user, and leave.

    Raises:
        OSError: nobody answers, or not in time.
        CannotStart: the broker refuses the user or the password.
    """
    parts = urlsplit(url)
    answers: list[ReasonCode] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(unquote(parts.username or ""), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set()
    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: answers.append(reason)
    client.connect(parts.hostname or LOOPBACK, parts.port or (8883 if parts.scheme == "mqtts" else 1883))
    waited_s = 0.0
    while not answers and waited_s < timeout_s:
        if client.loop(timeout=0.1):
            break  # the connection was closed; its reason, if there was one, has been read
        waited_s += 0.1
    client.disconnect()
    if not answers:
        raise ConnectionError("the broker closed the connection or did not answer in time")
    if answers[0].is_failure:
        raise CannotStart(f"The MQTT broker refuses us: {answers[0]}")
