"""Settings of the embedded stack and the supervisor, read from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from streamgauge.errors import SettingsError

POSTGRES_KINDS = ("auto", "bundled", "system")
BROKER_KINDS = ("auto", "mosquitto", "amqtt")


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """What decides which servers are started, and where.

    Attributes:
        home: folder of all data, logs and secrets (``STREAMGAUGE_HOME``).
        postgres_kind: ``bundled`` (the wheel's), ``system``, or ``auto``: bundled where it is there
            (``STREAMGAUGE_EMBEDDED_POSTGRES``).
        broker_kind: ``mosquitto``, ``amqtt``, or ``auto``: Mosquitto where it is installed
            (``STREAMGAUGE_EMBEDDED_BROKER``).
        database_url: the real Postgres to use instead of an embedded one (``STREAMGAUGE_DATABASE_URL``).
        redis_url: the same for Redis (``STREAMGAUGE_REDIS_URL``).
        mqtt_url: the same for the broker (``STREAMGAUGE_MQTT_URL``).
        http_port: the web server's port, if it is free (``STREAMGAUGE_HTTP_PORT``).
        secret_key: signs sessions; generated and kept where it is not set (``STREAMGAUGE_SECRET_KEY``).
        gateway_key: opens sensors' sealed keys; likewise (``STREAMGAUGE_GATEWAY_KEY``).
        gateway_udp_port: where packet forwarders send to, if it is free (``STREAMGAUGE_GATEWAY_UDP_PORT``).
        gateway_http_port: the gateway's page, if it is free (``STREAMGAUGE_GATEWAY_HTTP_PORT``).
    """

    home: Path = Path(".streamgauge")
    postgres_kind: str = "auto"
    broker_kind: str = "auto"
    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    mqtt_url: str | None = field(default=None, repr=False)
    http_port: int = 8000
    secret_key: str | None = field(default=None, repr=False)
    gateway_key: str | None = field(default=None, repr=False)
    gateway_udp_port: int = 1_700
    gateway_http_port: int = 8_070


def load(environ: Mapping[str, str]) -> EmbeddedSettings:
    """Read the settings; ``NAME_FILE`` reads a value from a file, empty values count as absent.

    Raises:
        SettingsError: naming every bad key.
    """
    reader = _Reader(environ)
    settings = EmbeddedSettings(
        home=Path(reader.text("STREAMGAUGE_HOME") or ".streamgauge").absolute(),
        postgres_kind=reader.choice("STREAMGAUGE_EMBEDDED_POSTGRES", POSTGRES_KINDS),
        broker_kind=reader.choice("STREAMGAUGE_EMBEDDED_BROKER", BROKER_KINDS),
        database_url=reader.url("STREAMGAUGE_DATABASE_URL", ("postgresql",)),
        redis_url=reader.url("STREAMGAUGE_REDIS_URL", ("redis", "rediss")),
        mqtt_url=reader.url("STREAMGAUGE_MQTT_URL", ("mqtt", "mqtts")),
        http_port=reader.port("STREAMGAUGE_HTTP_PORT", 8000),
        secret_key=reader.text("STREAMGAUGE_SECRET_KEY"),
        gateway_key=reader.text("STREAMGAUGE_GATEWAY_KEY"),
        gateway_udp_port=reader.port("STREAMGAUGE_GATEWAY_UDP_PORT", EmbeddedSettings.gateway_udp_port),
        gateway_http_port=reader.port("STREAMGAUGE_GATEWAY_HTTP_PORT", EmbeddedSettings.gateway_http_port),
    )
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


class _Reader:
    """Reads values and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, key: str) -> str | None:
        value, file_name = self._environ.get(key), self._environ.get(key + "_FILE")
        if value and file_name:
            self.problems.append(f"{key} is set together with {key}_FILE: set one of the two")
        if not file_name:
            return value or None
        try:
            return Path(file_name).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{key} cannot be read from the file that {key}_FILE names: {error}")
            return None

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.text(key) or allowed[0]
        if value not in allowed:
            self.problems.append(f"{key} must be one of {', '.join(allowed)}")
        return value

    def url(self, key: str, schemes: tuple[str, ...]) -> str | None:
        value = self.text(key)
        if value is None:
            return None
        # The message never repeats the value: it holds a password.
        try:
            parts = urlsplit(value)
            good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            self.problems.append(f"{key} must be a URL that begins with {schemes[0]}:// and names a host")
        return value

    def port(self, key: str, default: int) -> int:
        value = self.text(key)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65_535:
            self.problems.append(f"{key} must be a whole number from 1 to 65535")
            return default
        return int(value)
