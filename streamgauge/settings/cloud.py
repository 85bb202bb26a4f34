"""Settings of the parts that run in the cloud: subscriber, workers, migrations."""

from dataclasses import dataclass
from pathlib import Path

from streamgauge.settings.common import CommonSettings, LimitSettings, MqttSettings, QueueSettings, StoreSettings
from streamgauge.settings.declare import flag, name, path, seconds, setting, url, whole


@dataclass(frozen=True, kw_only=True)
class SubscriberSettings(CommonSettings, MqttSettings, QueueSettings, LimitSettings):
    """The MQTT subscriber."""

    client_id: str = setting(
        "SUBSCRIBER_CLIENT_ID",
        name,
        "Fixed MQTT client id: one per replica, kept over restarts.",
        default="streamgauge-subscriber-0",
    )
    share_group: str | None = setting(
        "SUBSCRIBER_SHARE_GROUP", name, "Subscribe as `$share/<group>/…`, on brokers that redistribute.", default=None
    )
    max_inflight_messages: int = setting(
        "SUBSCRIBER_MAX_INFLIGHT",
        whole(1, 65_535),
        "Most messages held unacknowledged; MQTT 5's Receive Maximum.",
        default=5_000,
    )
    max_inflight_tasks: int = setting(
        "SUBSCRIBER_MAX_TASKS",
        whole(1, 1_000),
        "Most tasks under way at once; what arrives meanwhile shares the next one.",
        default=4,
    )
    max_pending_readings: int = setting(
        "SUBSCRIBER_MAX_PENDING",
        whole(1, 1_000_000),
        "Readings taken and not yet in a task at which the subscriber stops taking messages.",
        default=10_000,
    )
    max_pending_bytes: int = setting(
        "SUBSCRIBER_MAX_PENDING_BYTES",
        whole(2**20, 2**40),
        "Bytes of refused payloads, not yet in a task, at which the subscriber stops taking messages.",
        default=64 * 2**20,
    )
    resend_after_s: float = setting(
        "SUBSCRIBER_RESEND_AFTER_S",
        seconds(0.5, 3_600),
        "A task of which nothing is heard for so long is enqueued again.",
        default=30.0,
    )
    queue_pause_length: int = setting(
        "SUBSCRIBER_QUEUE_PAUSE",
        whole(1, 1_000_000),
        "Tasks waiting in `readings` at which the subscriber stops taking messages.",
        default=200,
    )
    session_expiry_s: int = setting(
        "SUBSCRIBER_SESSION_EXPIRY_S",
        whole(60, 4_294_967_294),
        "How long an MQTT 5 broker keeps our session while we are away.",
        default=604_800,
    )
    metrics_port: int = setting(
        "SUBSCRIBER_METRICS_PORT", whole(0, 65_535), "Port of `/metrics`, on loopback; 0 for none.", default=0
    )
    metrics_host: str = setting(
        "SUBSCRIBER_METRICS_HOST", str, "Address that `/metrics` is bound to.", default="127.0.0.1"
    )


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(CommonSettings, StoreSettings, QueueSettings, LimitSettings):
    """Celery workers and beat."""

    auto_register: bool = setting(
        "AUTO_REGISTER",
        flag,
        "Whether an unknown device is registered on its first reading (else: a dead letter).",
        default=False,
    )
    model_dir: Path | None = setting(
        "MODEL_DIR", path, "Folder of the model's artefact; the one that is shipped where it is not set.", default=None
    )
    task_soft_limit_s: int = setting(
        "TASK_SOFT_LIMIT_S", whole(1, 3_600), "After so long a task is asked to stop.", default=60
    )
    task_hard_limit_s: int = setting(
        "TASK_HARD_LIMIT_S", whole(2, 3_600), "After so long a task's process is killed.", default=90
    )
    visibility_timeout_s: int = setting(
        "VISIBILITY_TIMEOUT_S",
        whole(3, 86_400),
        "After so long a task that nobody acknowledged is delivered again.",
        default=300,
    )
    live_max_events: int = setting(
        "LIVE_MAX_EVENTS", whole(100, 1_000_000), "Events kept in the live stream.", default=10_000
    )
    worker_nice: int = setting(
        "WORKER_NICE",
        whole(0, 19),
        "How far a worker steps back behind other processes; for the one of queue `batch`.",
        default=0,
    )
    rescore_tasks: int = setting(
        "RESCORE_TASKS", whole(1, 64), "Most chunks of re-scoring runs that are under way at once.", default=2
    )
    rescore_chunk_readings: int = setting(
        "RESCORE_CHUNK_READINGS",
        whole(10, 200_000),
        "Most readings in a chunk of a re-scoring run: one transaction.",
        default=20_000,
    )
    rescore_give_way_tasks: int = setting(
        "RESCORE_GIVE_WAY_TASKS",
        whole(1, 1_000_000),
        "Tasks waiting in `readings` at which re-scoring pauses.",
        default=16,
    )
    rescore_scheduled_days: int = setting(
        "RESCORE_SCHEDULED_DAYS",
        whole(0, 3_660),
        "How many days of readings are scored again, weekly, after a promotion; 0 for none.",
        default=30,
    )
    forecast_tick_s: float = setting(
        "FORECAST_TICK_S",
        seconds(1, 3_600),
        "How often the worker looks for stations that are due for a forecast.",
        default=15.0,
    )
    forecast_every_s: float = setting(
        "FORECAST_EVERY_S",
        seconds(1, 86_400),
        "A station is due when its newest reading is so much newer than the one its last forecast rests on.",
        default=60.0,
    )
    forecast_keep_days: int = setting(
        "FORECAST_KEEP_DAYS", whole(1, 36_500), "After so many days forecasts are deleted.", default=90
    )
    retrain_days: int = setting(
        "RETRAIN_DAYS", whole(30, 3_650), "So many days of stored history at most train a model.", default=730
    )
    retrain_site_days: int = setting(
        "RETRAIN_SITE_DAYS",
        whole(14, 3_650),
        "A station with so many days of history gets a model of its own, as challenger.",
        default=60,
    )
    retrain_sites_max: int = setting(
        "RETRAIN_SITES_MAX", whole(0, 100), "Most models of single stations that one retraining makes.", default=3
    )
    retrain_hard_limit_s: int = setting(
        "RETRAIN_HARD_LIMIT_S",
        whole(60, 86_400),
        "After so long a retraining, or a comparison of models, is ended.",
        default=7_200,
    )
    mlflow_url: str | None = setting(
        "MLFLOW_URL",
        url("http", "https"),
        "MLflow tracking server that models are mirrored to; its credentials are MLflow's own variables. Not set: none.",
        default=None,
    )
    mlflow_experiment: str = setting(
        "MLFLOW_EXPERIMENT", name, "The experiment there that holds the models' runs.", default="streamgauge"
    )
    worker_metrics_port: int = setting(
        "WORKER_METRICS_PORT", whole(0, 65_535), "Port of the workers' `/metrics`, on loopback; 0 for none.", default=0
    )
    worker_metrics_host: str = setting(
        "WORKER_METRICS_HOST", str, "Address that the workers' `/metrics` is bound to.", default="127.0.0.1"
    )


@dataclass(frozen=True, kw_only=True)
class MigrationSettings(CommonSettings):
    """Alembic."""

    database_url: str = setting(
        "DATABASE_URL", url("postgresql"), "Postgres: `postgresql://user:password@host:port/name`.", secret=True
    )
