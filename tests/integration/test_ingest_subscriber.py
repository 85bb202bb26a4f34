"""The subscriber among real parts: what it is told by the broker, what it tells gateways, and what it survives."""

import contextlib
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from streamgauge.wire import StoredAnswer, batch_topic, decode_stored, encode_batch, readings_topic, stored_topic
from tests.support.ingest import series
from tests.support.system import System, wait_until


class Gateway:
    """A client of the broker that publishes and hears its ``stored`` answers."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.answers: list[StoredAnswer] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self.client.username_pw_set(where.username, where.password)
        self.client.on_message = lambda _client, _data, message: self.answers.append(decode_stored(message.payload))
        ready: list[bool] = []
        self.client.on_subscribe = lambda *_: ready.append(True)
        self.client.connect(where.hostname or "", where.port or 1883)
        self.client.loop_start()
        self.client.subscribe(stored_topic("g"), qos=1)
        wait_until(lambda: bool(ready), "not subscribed")

    def publish(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def gateway(system: System) -> Iterator[Gateway]:
    system.empty()
    speaking = Gateway(system.stack.addresses.mqtt_url)
    yield speaking
    speaking.close()


def rows(system: System) -> int:
    return int(system.scalar("SELECT count(*) FROM readings"))


def test_a_batch_is_answered_after_its_commit_and_again_when_it_is_sent_again(system: System, gateway: Gateway) -> None:
    sound = encode_batch("b-1", series([1.0, 1.1, 1.2]))
    mixed = orjson.dumps(
        {"batch": "b-2", "readings": [*orjson.loads(sound)["readings"], {"device": "a", "time": "never"}]}
    )
    for payload in (sound, mixed, sound):
        before = len(gateway.answers)
        gateway.publish(batch_topic("g"), payload)
        wait_until(lambda before=before: len(gateway.answers) > before, "no answer", explain=system.subscriber.tail)
        assert rows(system) == 3
    assert gateway.answers == [("b-1", 3, 0), ("b-2", 3, 1), ("b-1", 3, 0)]


def test_messages_made_to_end_the_subscriber_do_not(system: System, gateway: Gateway) -> None:
    deep = b"[" * 900 + b"]" * 900
    for poison in (
        deep,
        b"[1," + deep + b"]",
        b'[{"time":' + deep + b"},1]",
        b'{"device":' + deep + b"}",
        b"\x00" * 1_000,
    ):
        gateway.publish(readings_topic("a"), poison)
        gateway.publish(batch_topic("g"), b'{"batch":"x","readings":' + poison + b"}")
    gateway.publish(readings_topic("a"), orjson.dumps({"time": "2026-11-20T00:00:00Z", "level_m": 1}))
    wait_until(lambda: rows(system) == 1, "the sound reading is not stored", explain=system.subscriber.tail)
    assert system.subscriber.alive
    wait_until(lambda: system.scalar("SELECT count(*) FROM dead_letters") >= 10, "dead letters are missing")


def test_what_arrives_while_the_workers_are_away_is_stored_when_they_are_back(system: System, gateway: Gateway) -> None:
    system.worker.kill()
    with contextlib.ExitStack() as back:
        back.callback(system.worker.start)
        for place, reading in enumerate(series([1.0 + number / 100 for number in range(30)])):
            gateway.publish(batch_topic("g"), encode_batch(f"late-{place}", [reading]))
        time.sleep(0.5)
        assert rows(system) == 0
        assert gateway.answers == []
    wait_until(
        lambda: len({answer.batch for answer in gateway.answers}) == 30, "not all are answered", 60, system.worker.tail
    )
    assert rows(system) == 30
    assert {(answer.stored, answer.dead) for answer in gateway.answers} == {(1, 0)}
