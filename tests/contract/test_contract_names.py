"""The names that operators, dashboards and other people's programs rely on."""

import pytest

from streamgauge import metrics, queue, settings, wire
from streamgauge.errors import DeadReason
from streamgauge.live import stream
from streamgauge.reading import QUANTITIES
from streamgauge.storage.schema import metadata
from tests.architecture.write_docs import COMPUTED_METRICS, metrics_document

METRICS = {
    "streamgauge_readings_received_total": "source",
    "streamgauge_readings_stored_total": "–",
    "streamgauge_readings_dead_total": "reason",
    "streamgauge_reading_delay_seconds": "–",
    "streamgauge_newest_reading_age_seconds": "device",
    "streamgauge_queue_messages": "queue",
    "streamgauge_inflight_messages": "–",
    "streamgauge_gateway_buffered_readings": "–",
    "streamgauge_live_clients": "–",
}

SETTINGS = (
    "DATABASE_URL", "REDIS_URL", "MQTT_URL", "SECRET_KEY", "HTTP_PORT", "TASK_MAX_READINGS", "LOG_LEVEL", "AUTO_REGISTER",
)  # fmt: skip

READING_COLUMNS = {
    "device_id", "time", *QUANTITIES, "battery_v", "rssi_dbm", "snr_db", "seq", "extra", "flags", "expected_m", "low_m", "high_m",
    "score", "model_id", "received_at", "stored_at",
}  # fmt: skip


@pytest.mark.parametrize(("name", "labels"), METRICS.items())
def test_metrics(name: str, labels: str) -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in metrics_document().splitlines()
        if line.startswith("| `")
    ]
    assert {row[0].strip("`"): row[2] for row in rows}[name] == labels


def test_the_web_s_requests_are_counted_by_url_rule() -> None:
    assert (
        "url_rule" in {name: labels for name, _, labels, _ in COMPUTED_METRICS}["flask_http_request_duration_seconds"]
    )


def test_no_metric_is_named_otherwise() -> None:
    names = [line.split("`")[1] for line in metrics_document().splitlines() if line.startswith("| `")]
    assert all(name.startswith(("streamgauge_", "flask_http_request_")) for name in names)
    assert len(names) == len(set(names))
    assert metrics.NEWEST_READING_AGE in names


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name: str) -> None:
    assert f"STREAMGAUGE_{name}" in {row.key for row in settings.document()}


def test_defaults_of_the_contract() -> None:
    defaults = {row.key: row.default for row in settings.document()}
    assert defaults["STREAMGAUGE_HTTP_PORT"] == "8000"
    assert defaults["STREAMGAUGE_TASK_MAX_READINGS"] == "500"
    assert defaults["STREAMGAUGE_AUTO_REGISTER"] == "0"


def test_topics() -> None:
    assert wire.readings_topic("d") == "streamgauge/v1/devices/d/readings"
    assert wire.batch_topic("g") == "streamgauge/v1/gateways/g/batches"
    assert wire.stored_topic("g") == "streamgauge/v1/gateways/g/stored"
    assert wire.status_topic("g") == "streamgauge/v1/gateways/g/status"
    assert {"application/+/device/+/event/up", "v3/+/devices/+/up"} <= set(wire.SUBSCRIPTIONS)
    assert {"application/+/device/+/event/up", "v3/+/devices/+/up"} <= set(wire.SUBSCRIPTIONS)


def test_redis_keys_and_queues() -> None:
    assert stream.LIVE_KEY == "streamgauge:live"
    assert queue.STORED_KEY == "streamgauge:stored"
    assert queue.QUEUES == ("readings", "alerts", "batch")


def test_tables_and_columns() -> None:
    assert set(metadata.tables) >= {
        "devices", "gateways", "readings", "readings_hourly", "models", "rescore_runs", "alert_rules", "alerts",
        "notification_channels", "dead_letters", "users", "api_tokens", "audit_log",
    }  # fmt: skip
    assert set(metadata.tables["readings"].columns.keys()) >= READING_COLUMNS
    assert [column.name for column in metadata.tables["readings"].primary_key] == ["device_id", "time"]


def test_reasons_are_label_values() -> None:
    assert all(reason.value == reason.name.lower() for reason in DeadReason)
