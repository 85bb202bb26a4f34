"""A real broker for the simulator's tests, and a cloud that answers as the test tells it to."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from embedded.broker import recipe
from embedded.ports import any_free
from embedded.processes import Keeper
from embedded.server import Server
from simulator.mqtt_link import Broker
from streamgauge.wire import batch_topic, status_topic, stored_topic

GATEWAY = "test-gateway"
PASSWORD = "only-for-tests"

Answer = Callable[[str, int], list[Mapping[str, Any] | bytes]]
"""From a batch's id and how often it has come: the answers to publish."""


@contextmanager
def running_broker(folder: Path, kind: str = "auto") -> Iterator[Server]:
    keeper = Keeper()
    server = Server(recipe(folder, port=any_free(), password=PASSWORD, kind=kind), keeper)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        keeper.close()


def broker_at(server: Server) -> Broker:
    return Broker.from_url(server.url)


class FakeCloud:
    """Stores what arrives (by natural key, as the real one does) and answers as ``answer`` says, from its own thread."""

    def __init__(self, server: Server, answer: Answer, delay_s: float = 0.0) -> None:
        self.stored: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.batches: Counter[str] = Counter()
        self.contents: dict[str, Any] = {}
        self.singles: list[Mapping[str, Any]] = []
        self.statuses: list[Any] = []
        self._answer = answer
        self._delay_s = delay_s
        self._subscribed = threading.Event()
        broker = broker_at(server)
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"cloud-{server.port}", clean_session=False, protocol=mqtt.MQTTv311
        )
        self._client.username_pw_set(broker.username, broker.password)
        self._client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(batch_topic("+"), 1), (status_topic("+"), 1), ("streamgauge/v1/devices/+/readings", 1)]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port, keepalive=5)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish_answer(self, answer: Mapping[str, Any] | bytes) -> None:
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self._client.publish(stored_topic(GATEWAY), payload, qos=1)

    def _on_message(self, _client: mqtt.Client, _user: Any, message: mqtt.MQTTMessage) -> None:
        content = json.loads(message.payload)
        if message.topic.endswith("/status"):
            self.statuses.append(content)
        elif message.topic.endswith("/readings"):
            self.singles.append(content)
        else:
            self._take_batch(content)

    def _take_batch(self, content: Any) -> None:
        name, readings = content["batch"], content["readings"]
        assert self.contents.setdefault(name, readings) == readings, "a batch came again with other content"
        self.batches[name] += 1
        for reading in readings:
            key = (reading["device"], reading["time"])
            assert self.stored.setdefault(key, reading) == reading
        time.sleep(self._delay_s)
        for answer in self._answer(name, self.batches[name]):
            self.publish_answer(answer)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.02)
