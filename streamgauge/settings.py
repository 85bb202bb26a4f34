"""Settings: one frozen class per part, read from the environment completely before anything connects.

Every variable begins with ``STREAMGAUGE_``; ``NAME_FILE`` names a file to read the value from (a mounted secret). ``load``
reports every bad key at once, and unknown keys too, as a misspelt setting is otherwise a silent default.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from streamgauge.errors import SettingsError

PREFIX = "STREAMGAUGE_"
FOREIGN_KEYS = frozenset({"HOME", "HTTP_URL", "FLOWER_URL", "API_TOKEN", "NO_SKIPS", "DEV_PASSWORD"})
"""Keys with the prefix that are no part's setting: the supervisor, the simulator, tests and compose read them."""
FOREIGN_PREFIXES = ("EMBEDDED_", "TEST_", "BENCH_")

Part = TypeVar("Part")


def _setting(key: str, parse: Callable[[str], Any], doc: str, *, default: Any = MISSING, secret: bool = False) -> Any:
    metadata = {"key": key, "parse": parse, "doc": doc, "secret": secret}
    if default is MISSING:
        return field(repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return value

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return parse


def _flag(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be 1 or 0 (also true/false, yes/no, on/off)")


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:\-]{1,64}", text):
        raise ValueError("must be 1 to 64 of A–Z a–z 0–9 . _ : -")
    return text


def _secret_key(text: str) -> str:
    if len(text) < 32:
        raise ValueError(
            "must have at least 32 characters (make one: python -c 'import secrets; print(secrets.token_hex(32))')"
        )
    return text


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        # The message never repeats the value: it holds a password.
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:
            raise ValueError(f"is not a URL ({schemes[0]}://user:password@host:port…)") from None
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(
                f"must be a URL that begins with {' or '.join(scheme + '://' for scheme in schemes)} and names a host"
            )
        return text

    return parse


def _time(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be an RFC 3339 time, for example 2000-01-01T00:00:00Z") from None
    if value.tzinfo is None:
        raise ValueError("must have an offset, for example 2000-01-01T00:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999") from None


def _path(text: str) -> Path:
    return Path(text)


EARLIEST_READING_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What every part takes."""

    log_level: str = _setting(
        "LOG_LEVEL", _choice("DEBUG", "INFO", "WARNING", "ERROR"), "Least severe level that is logged.", default="INFO"
    )


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """How to reach the broker."""

    mqtt_url: str = _setting(
        "MQTT_URL",
        _url("mqtt", "mqtts"),
        "The broker: `mqtt://user:password@host:port`, or `mqtts://…` for TLS.",
        secret=True,
    )
    mqtt_ca_file: Path | None = _setting(
        "MQTT_CA_FILE", _path, "Certificate authorities for `mqtts://`; the system's where it is not set.", default=None
    )
    mqtt_protocol: str = _setting(
        "MQTT_PROTOCOL",
        _choice("auto", "5", "3.1.1"),
        "MQTT version; `auto` tries 5 and falls back to 3.1.1.",
        default="auto",
    )


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """How to reach Postgres and Redis."""

    database_url: str = _setting(
        "DATABASE_URL", _url("postgresql"), "Postgres: `postgresql://user:password@host:port/name`.", secret=True
    )
    redis_url: str = _setting(
        "REDIS_URL", _url("redis", "rediss"), "Redis: `redis://:password@host:port/0`.", secret=True
    )


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """What enqueuing parts and workers must agree on."""

    redis_url: str = _setting(
        "REDIS_URL", _url("redis", "rediss"), "Redis: `redis://:password@host:port/0`.", secret=True
    )
    task_max_readings: int = _setting(
        "TASK_MAX_READINGS",
        _whole(1, 5_000),
        "Most readings that share one Celery task; 1 gives strictly one task per reading.",
        default=500,
    )


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What is accepted at the door."""

    max_message_bytes: int = _setting(
        "MAX_MESSAGE_BYTES",
        _whole(1_024, 64 * 2**20),
        "Longest message that is parsed; a longer one becomes a dead letter.",
        default=4 * 2**20,
    )
    max_batch_readings: int = _setting(
        "MAX_BATCH_READINGS",
        _whole(1, 1_000_000),
        "Most readings in one message; a longer one becomes a dead letter as a whole.",
        default=20_000,
    )
    earliest_time: datetime = _setting(
        "EARLIEST_TIME", _time, "A reading from before this time becomes a dead letter.", default=EARLIEST_READING_TIME
    )
    future_tolerance_s: float = _setting(
        "FUTURE_TOLERANCE_S", _seconds(0, 86_400), "How far ahead of our clock a reading's time may lie.", default=600.0
    )


@dataclass(frozen=True, kw_only=True)
class SubscriberSettings(CommonSettings, MqttSettings, QueueSettings, LimitSettings):
    """The MQTT subscriber."""

    client_id: str = _setting(
        "SUBSCRIBER_CLIENT_ID",
        _name,
        "Fixed MQTT client id: one per replica, kept over restarts.",
        default="streamgauge-subscriber-0",
    )
    share_group: str | None = _setting(
        "SUBSCRIBER_SHARE_GROUP", _name, "Subscribe as `$share/<group>/…`, on brokers that redistribute.", default=None
    )
    max_inflight_messages: int = _setting(
        "SUBSCRIBER_MAX_INFLIGHT",
        _whole(1, 65_535),
        "Most messages held unacknowledged; MQTT 5's Receive Maximum.",
        default=5_000,
    )
    max_inflight_tasks: int = _setting(
        "SUBSCRIBER_MAX_TASKS",
        _whole(1, 1_000),
        "Most tasks under way at once; what arrives meanwhile shares the next one.",
        default=4,
    )
    max_pending_readings: int = _setting(
        "SUBSCRIBER_MAX_PENDING",
        _whole(1, 1_000_000),
        "Readings taken and not yet in a task at which the subscriber stops taking messages.",
        default=10_000,
    )
    max_pending_bytes: int = _setting(
        "SUBSCRIBER_MAX_PENDING_BYTES",
        _whole(2**20, 2**40),
        "Bytes of refused payloads, not yet in a task, at which the subscriber stops taking messages.",
        default=64 * 2**20,
    )
    resend_after_s: float = _setting(
        "SUBSCRIBER_RESEND_AFTER_S",
        _seconds(0.5, 3_600),
        "A task of which nothing is heard for so long is enqueued again.",
        default=30.0,
    )
    queue_pause_length: int = _setting(
        "SUBSCRIBER_QUEUE_PAUSE",
        _whole(1, 1_000_000),
        "Tasks waiting in `readings` at which the subscriber stops taking messages.",
        default=200,
    )
    session_expiry_s: int = _setting(
        "SUBSCRIBER_SESSION_EXPIRY_S",
        _whole(60, 4_294_967_294),
        "How long an MQTT 5 broker keeps our session while we are away.",
        default=604_800,
    )
    metrics_port: int = _setting(
        "SUBSCRIBER_METRICS_PORT", _whole(0, 65_535), "Port of `/metrics`, on loopback; 0 for none.", default=0
    )
    metrics_host: str = _setting(
        "SUBSCRIBER_METRICS_HOST", str, "Address that `/metrics` is bound to.", default="127.0.0.1"
    )


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(CommonSettings, StoreSettings, QueueSettings, LimitSettings):
    """Celery workers and beat."""

    auto_register: bool = _setting(
        "AUTO_REGISTER",
        _flag,
        "Whether an unknown device is registered on its first reading (else: a dead letter).",
        default=False,
    )
    model_dir: Path | None = _setting(
        "MODEL_DIR", _path, "Folder of the model's artefact; the one that is shipped where it is not set.", default=None
    )
    task_soft_limit_s: int = _setting(
        "TASK_SOFT_LIMIT_S", _whole(1, 3_600), "After so long a task is asked to stop.", default=60
    )
    task_hard_limit_s: int = _setting(
        "TASK_HARD_LIMIT_S", _whole(2, 3_600), "After so long a task's process is killed.", default=90
    )
    visibility_timeout_s: int = _setting(
        "VISIBILITY_TIMEOUT_S",
        _whole(3, 86_400),
        "After so long a task that nobody acknowledged is delivered again.",
        default=300,
    )
    live_max_events: int = _setting(
        "LIVE_MAX_EVENTS", _whole(100, 1_000_000), "Events kept in the live stream.", default=10_000
    )
    worker_metrics_port: int = _setting(
        "WORKER_METRICS_PORT", _whole(0, 65_535), "Port of the workers' `/metrics`, on loopback; 0 for none.", default=0
    )
    worker_metrics_host: str = _setting(
        "WORKER_METRICS_HOST", str, "Address that the workers' `/metrics` is bound to.", default="127.0.0.1"
    )


@dataclass(frozen=True, kw_only=True)
class WebSettings(CommonSettings, StoreSettings, LimitSettings):
    """The web and API processes."""

    secret_key: str = _setting(
        "SECRET_KEY",
        _secret_key,
        "Signs sessions; at least 32 random characters, the same on every replica.",
        secret=True,
    )
    http_port: int = _setting("HTTP_PORT", _whole(1, 65_535), "Port of the web server.", default=8000)
    http_host: str = _setting("HTTP_HOST", str, "Address that the web server is bound to.", default="127.0.0.1")
    task_max_readings: int = _setting(
        "TASK_MAX_READINGS",
        _whole(1, 5_000),
        "Most readings that share one Celery task; 1 gives strictly one task per reading.",
        default=500,
    )
    commit_timeout_s: float = _setting(
        "COMMIT_TIMEOUT_S",
        _seconds(0.1, 60),
        "How long `POST /readings` waits for the commit before it answers 503.",
        default=5.0,
    )
    live_backlog_events: int = _setting(
        "LIVE_BACKLOG_EVENTS",
        _whole(8, 100_000),
        "Events kept for one slow browser before it is told to ask anew.",
        default=256,
    )
    cookie_secure: bool = _setting("COOKIE_SECURE", _flag, "Send the session cookie over HTTPS only.", default=True)
    trusted_proxies: int = _setting(
        "TRUSTED_PROXIES", _whole(0, 10), "How many proxies in front of us set X-Forwarded-*.", default=0
    )
    flower_url: str | None = _setting(
        "FLOWER_URL", _url("http", "https"), "Where operators reach Flower; linked from the pages.", default=None
    )


@dataclass(frozen=True, kw_only=True)
class MigrationSettings(CommonSettings):
    """Alembic."""

    database_url: str = _setting(
        "DATABASE_URL", _url("postgresql"), "Postgres: `postgresql://user:password@host:port/name`.", secret=True
    )


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings(CommonSettings, MqttSettings):
    """The simulator."""


PARTS = (SubscriberSettings, WorkerSettings, WebSettings, MigrationSettings, SimulatorSettings)


@dataclass(frozen=True, kw_only=True)
class SettingDoc:
    """One row of the settings table in the documentation."""

    key: str
    parts: tuple[str, ...]
    default: str
    doc: str


def load(part: type[Part], environ: Mapping[str, str]) -> Part:
    """Read one part's settings.

    Args:
        part: a settings class of this module.
        environ: normally ``os.environ``; empty values count as absent.

    Raises:
        SettingsError: naming every key that is missing, bad or unknown.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for spec in fields(part):  # type: ignore[arg-type]
        key = PREFIX + spec.metadata["key"]
        try:
            text = _raw_value(key, environ)
            if text is not None:
                values[spec.name] = spec.metadata["parse"](text)
            elif spec.default is MISSING:
                raise ValueError("is required: " + spec.metadata["doc"])
        except ValueError as error:
            problems.append(f"{key} {error}")
    problems.extend(_unknown_keys(environ))
    problems.extend(_contradictions(values))
    if problems:
        raise SettingsError(problems)
    return part(**values)


def document() -> Iterator[SettingDoc]:
    """Every setting once, sorted by key: the source of the settings table in the documentation."""
    rows: dict[str, SettingDoc] = {}
    for part in PARTS:
        name = part.__name__.removesuffix("Settings").lower()
        for spec in fields(part):
            key = PREFIX + spec.metadata["key"]
            parts = (*(rows[key].parts if key in rows else ()), name)
            rows[key] = SettingDoc(key=key, parts=parts, default=_default_text(spec.default), doc=spec.metadata["doc"])
    yield from (rows[key] for key in sorted(rows))


def _default_text(default: Any) -> str:
    if default is MISSING:
        return "required"
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return "1" if default else "0"
    if isinstance(default, datetime):
        return default.isoformat().replace("+00:00", "Z")
    return f"{default:g}" if isinstance(default, float) else str(default)


def _raw_value(key: str, environ: Mapping[str, str]) -> str | None:
    text, file_name = environ.get(key) or None, environ.get(key + "_FILE") or None
    if text is not None and file_name is not None:
        raise ValueError(f"is set together with {key}_FILE: set one of the two")
    if file_name is None:
        return text
    try:
        return Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read from the file that {key}_FILE names: {error}") from error


def _unknown_keys(environ: Mapping[str, str]) -> Iterator[str]:
    known = {spec.metadata["key"] for part in PARTS for spec in fields(part)}
    known |= {key + "_FILE" for key in known} | FOREIGN_KEYS
    for key in sorted(environ):
        bare = key.removeprefix(PREFIX)
        if key.startswith(PREFIX) and bare not in known and not bare.startswith(FOREIGN_PREFIXES):
            yield f"{key} is no setting of Streamgauge: remove it or mend its spelling (docs/settings.md lists all)"


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    soft, hard = values.get("task_soft_limit_s", 60), values.get("task_hard_limit_s", 90)
    visibility = values.get("visibility_timeout_s", 300)
    if not soft < hard < visibility:
        yield (
            f"{PREFIX}TASK_SOFT_LIMIT_S ({soft}) must be less than {PREFIX}TASK_HARD_LIMIT_S ({hard}), and that less than "
            f"{PREFIX}VISIBILITY_TIMEOUT_S ({visibility}): otherwise a task that still runs is delivered a second time"
        )
