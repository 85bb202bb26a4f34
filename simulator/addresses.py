"""Where the running system is: from the environment, else from what ``make up`` wrote down."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import InputFault
from simulator.mqtt_link import Broker
from streamgauge.settings import SimulatorSettings, load
from streamgauge.settings.declare import secret_key

MQTT_URL, HTTP_URL, API_TOKEN = "STREAMGAUGE_MQTT_URL", "STREAMGAUGE_HTTP_URL", "STREAMGAUGE_API_TOKEN"
GATEWAY_UDP, GATEWAY_KEY = "STREAMGAUGE_GATEWAY_UDP", "STREAMGAUGE_GATEWAY_KEY"
_KEYS = (MQTT_URL, "STREAMGAUGE_MQTT_CA_FILE", HTTP_URL, API_TOKEN, GATEWAY_UDP, GATEWAY_KEY)
_LINE = re.compile(r"\s*(?:export\s+)?(STREAMGAUGE_[A-Z0-9_]+)=(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment as the simulator uses it.

    Args:
        environ: the process's environment, completed from ``urls_file`` where it was silent.
        taken: which keys came from the file.
        urls_file: where ``make up`` writes its addresses.
    """

    environ: Mapping[str, str]
    taken: tuple[str, ...]
    urls_file: Path


def look_around(environ: Mapping[str, str]) -> Surroundings:
    """Complete the environment from ``.streamgauge/urls.env``, if there is one; what is set wins.

    Raises:
        InputFault: the file is there and cannot be read.
    """
    urls_file = Path(environ.get("STREAMGAUGE_HOME") or ".streamgauge") / "urls.env"
    try:
        lines = urls_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise InputFault(f"{urls_file} cannot be read", [str(error)]) from error
    written = {match[1]: match[2].strip("\"'") for line in lines if (match := _LINE.fullmatch(line))}
    taken = {key: written[key] for key in _KEYS if written.get(key) and not _is_set(key, environ)}
    return Surroundings({**environ, **taken}, tuple(taken), urls_file)


def broker_of(around: Surroundings) -> Broker:
    """The broker that the settings name.

    Raises:
        SettingsError: a setting is bad or missing.
    """
    settings = load(SimulatorSettings, around.environ)
    return Broker.from_url(settings.mqtt_url, settings.mqtt_ca_file, settings.mqtt_protocol)


def http_url_of(around: Surroundings, url: str | None) -> str:
    """The web server's address: the argument, else the environment.

    Raises:
        InputFault: neither is there.
    """
    found = url or around.environ.get(HTTP_URL)
    if not found:
        raise InputFault("No server to send to", [f"set {HTTP_URL} or --url, or start the system with `make up`"])
    return found


def token_of(around: Surroundings, token_file: Path | None) -> str | None:
    """The bearer token: the file's content, else the environment's; None if there is none.

    Raises:
        InputFault: the file cannot be read, is empty, or a token holds what a header cannot carry.
    """
    token = around.environ.get(API_TOKEN) or None
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputFault("The token cannot be read", [str(error)]) from error
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise InputFault("The token cannot be used", ["it must be one word of visible ASCII characters"])
    return token


def gateway_udp_of(around: Surroundings, given: str | None) -> tuple[str, int]:
    """Host and port of the gateway's Semtech UDP: the argument, else the environment.

    Raises:
        InputFault: neither is there, or it is not ``host:port``.
    """
    found = given or around.environ.get(GATEWAY_UDP)
    if not found:
        raise InputFault("No gateway to send to", [f"set {GATEWAY_UDP} or --udp, or start the system with `make up`"])
    match = re.fullmatch(r"\[?([^\[\]\s]+?)\]?:([0-9]{1,5})", found)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        raise InputFault("The gateway cannot be used", [f"{found!r} must be host:port, such as 127.0.0.1:1700"])
    return match[1], int(match[2])


def gateway_key_of(around: Surroundings) -> str:
    """The key under which sensors' keys are sealed for the gateway.

    Raises:
        InputFault: it is not set, is too short, or the file that holds it cannot be read.
    """
    text, file_name = around.environ.get(GATEWAY_KEY), around.environ.get(f"{GATEWAY_KEY}_FILE")
    try:
        if file_name:
            text = Path(file_name).read_text(encoding="utf-8").strip()
        if not text:
            raise ValueError(f"set it to what the gateway has, or name a file in {GATEWAY_KEY}_FILE")
        return secret_key(text)
    except (OSError, ValueError) as error:
        raise InputFault(f"{GATEWAY_KEY} cannot be used", [str(error)]) from error


def fleet_folder_of(around: Surroundings, given: Path | None) -> Path:
    """The folder of the fleet: the argument, else where ``make up`` keeps the gateway's."""
    return given or around.urls_file.parent / "gateway"


def _is_set(key: str, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(key) or environ.get(f"{key}_FILE"))
