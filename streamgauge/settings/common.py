"""Settings that several parts share."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streamgauge.settings.declare import choice, moment, path, seconds, setting, url, whole

EARLIEST_READING_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What every part takes."""

    log_level: str = setting(
        "LOG_LEVEL", choice("DEBUG", "INFO", "WARNING", "ERROR"), "Least severe level that is logged.", default="INFO"
    )


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """How to reach the broker."""

    mqtt_url: str = setting(
        "MQTT_URL",
        url("mqtt", "mqtts"),
        "The broker: `mqtt://user:password@host:port`, or `mqtts://…` for TLS.",
        secret=True,
    )
    mqtt_ca_file: Path | None = setting(
        "MQTT_CA_FILE", path, "Certificate authorities for `mqtts://`; the system's where it is not set.", default=None
    )
    mqtt_protocol: str = setting(
        "MQTT_PROTOCOL",
        choice("auto", "5", "3.1.1"),
        "MQTT version; `auto` tries 5 and falls back to 3.1.1.",
        default="auto",
    )


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """How to reach Postgres and Redis."""

    database_url: str = setting(
        "DATABASE_URL", url("postgresql"), "Postgres: `postgresql://user:password@host:port/name`.", secret=True
    )
    redis_url: str = setting(
        "REDIS_URL", url("redis", "rediss"), "Redis: `redis://:password@host:port/0`.", secret=True
    )


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """What enqueuing parts and workers must agree on."""

    redis_url: str = setting(
        "REDIS_URL", url("redis", "rediss"), "Redis: `redis://:password@host:port/0`.", secret=True
    )
    task_max_readings: int = setting(
        "TASK_MAX_READINGS",
        whole(1, 5_000),
        "Most readings that share one Celery task; 1 gives strictly one task per reading.",
        default=500,
    )


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What is accepted at the door."""

    max_message_bytes: int = setting(
        "MAX_MESSAGE_BYTES",
        whole(1_024, 64 * 2**20),
        "Longest message that is parsed; a longer one becomes a dead letter.",
        default=4 * 2**20,
    )
    max_batch_readings: int = setting(
        "MAX_BATCH_READINGS",
        whole(1, 1_000_000),
        "Most readings in one message; a longer one becomes a dead letter as a whole.",
        default=20_000,
    )
    earliest_time: datetime = setting(
        "EARLIEST_TIME", moment, "A reading from before this time becomes a dead letter.", default=EARLIEST_READING_TIME
    )
    future_tolerance_s: float = setting(
        "FUTURE_TOLERANCE_S", seconds(0, 86_400), "How far ahead of our clock a reading's time may lie.", default=600.0
    )
