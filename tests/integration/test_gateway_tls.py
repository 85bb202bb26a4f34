"""The gateway publishes over TLS with a certificate of its own, and to nobody whom it cannot trust."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from streamgauge.wire import batch_topic, status_topic, stored_topic
from tests.support.gateway import Alone, Gateway, devices_toml
from tests.support.system import wait_until
from tests.support.tls_broker import TlsBroker, mosquitto, running_tls_broker

NAME, TOKEN = "gateway-1", "quay-s-token"
SENSOR = {"name": '"quay"', "activation": '"ip"', "token_sha256": f'"{sha256(TOKEN.encode()).hexdigest()}"'}
needs_mosquitto = pytest.mark.skipif(mosquitto() is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[TlsBroker]:
    with running_tls_broker(tmp_path, NAME) as one:
        yield one


def gateway_at(broker: TlsBroker, certificate: str, ca: str = "ca") -> Gateway:
    settings = {
        "STREAMGAUGE_MQTT_CA_FILE": str(broker.folder / f"{ca}.pem"),
        "STREAMGAUGE_GATEWAY_CERT_FILE": str(broker.folder / f"{certificate}.pem"),
        "STREAMGAUGE_GATEWAY_CERT_KEY_FILE": str(broker.folder / f"{certificate}.key"),
    }
    gateway = Gateway(Alone(broker.url), broker.folder / "gateway", settings=settings)
    gateway.configure(devices_toml([SENSOR]))
    gateway.start()
    return gateway


@contextmanager
def cloud_at(broker: TlsBroker) -> Iterator[dict[str, list[Any]]]:
    """Answers every batch with ``stored``; gives what came, by topic's last word."""
    heard: dict[str, list[Any]] = {"batches": [], "status": []}
    subscribed = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="cloud")
    files = [str(broker.folder / name) for name in ("ca.pem", "cloud.pem", "cloud.key")]
    client.tls_set(*files)

    def on_message(_client: Any, _user: Any, message: mqtt.MQTTMessage) -> None:
        content = json.loads(message.payload)
        heard[message.topic.rpartition("/")[2]].append(content)
        if "batch" in content:
            answer = {"batch": content["batch"], "stored": len(content["readings"]), "dead": 0}
            client.publish(stored_topic(NAME), json.dumps(answer), qos=1)

    client.on_message = on_message
    client.on_connect = lambda *_: client.subscribe([(batch_topic("+"), 1), (status_topic("+"), 1)])
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert subscribed.wait(10)
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
def test_readings_leave_over_tls_and_are_deleted_when_they_are_stored(broker: TlsBroker) -> None:
    with cloud_at(broker) as heard:
        gateway = gateway_at(broker, NAME)
        for number in range(5):
            assert gateway.post({"level_m": 1.0, "seq": number}, TOKEN)[0] == 201
        wait_until(lambda: gateway.metric("streamgauge_gateway_readings_confirmed_total") == 5, "not stored", 20)
        wait_until(lambda: gateway.metric("streamgauge_gateway_buffered_readings") == 0, "not deleted", 10)
        assert sorted(reading["seq"] for batch in heard["batches"] for reading in batch["readings"]) == list(range(5))
        assert heard["status"][0]["online"] is True
        gateway.kill()
        wait_until(lambda: heard["status"][-1] == {"online": False}, "no last will", 60)


@needs_mosquitto
@pytest.mark.parametrize(("certificate", "ca"), [("stranger", "ca"), (NAME, "stranger")])
def test_nothing_leaves_where_one_side_cannot_be_trusted(broker: TlsBroker, certificate: str, ca: str) -> None:
    with cloud_at(broker) as heard:
        gateway = gateway_at(broker, certificate, ca)
        assert gateway.post({"level_m": 1.0}, TOKEN)[0] == 201
        wait_until(lambda: gateway.process.said("no link to the cloud's broker"), "nothing is said", 20)
        assert gateway.metric("streamgauge_gateway_link_connected") == 0
        wait_until(lambda: gateway.metric("streamgauge_gateway_buffered_readings") == 1, "not kept", 10)
        assert heard["batches"] == []
        assert gateway.stop() == 0
