"""The receiver of the broker on site goes on whatever happens, and stamps nothing that is old."""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage

from gateway import receive_mqtt
from gateway.receive_mqtt import LocalMqttReceiver
from streamgauge.mqtt.link import BrokerUnavailable, LinkOptions
from streamgauge.wire import readings_topic

OPTIONS = LinkOptions(
    url="mqtt://127.0.0.1:1",
    protocol="auto",
    client_id="one",
    ca_file=None,
    receive_maximum=10,
    session_expiry_s=60,
    topics=(),
)


class Link:
    """Stands for a connection: hands over what the broker still has, until it is acknowledged."""

    pending: dict[int, MQTTMessage]
    fails: list[Exception]

    def __init__(self, _options: LinkOptions) -> None:
        self.received: deque[MQTTMessage] = deque()
        self._ours, self._broker = socket.socketpair()

    def open(self) -> None:
        if self.fails:
            raise self.fails.pop()
        self.received.extend(self.pending.values())

    def acknowledge(self, mid: int) -> None:
        self.pending.pop(mid)

    def fileno(self) -> int:
        return self._ours.fileno()

    def close(self) -> None:
        self.received.clear()

    def wants_write(self) -> bool:
        return False

    def read(self) -> None: ...

    tick = flush = leave = read


def message(mid: int, payload: bytes, *, retain: bool = False) -> MQTTMessage:
    one = MQTTMessage(mid, readings_topic("quay").encode())
    one.payload, one.qos, one.retain = payload, 1, retain
    return one


def run_until_acknowledged(
    monkeypatch: pytest.MonkeyPatch, messages: list[MQTTMessage], handle: Any, fails: list[Exception]
) -> bool:
    """Whether everything is acknowledged in time."""
    monkeypatch.setattr(receive_mqtt, "MqttLink", Link)
    monkeypatch.setattr(receive_mqtt, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(Link, "pending", {one.mid: one for one in messages}, raising=False)
    monkeypatch.setattr(Link, "fails", fails, raising=False)
    receiver, stopping = LocalMqttReceiver(OPTIONS, handle), threading.Event()
    thread = threading.Thread(target=receiver.run, args=(stopping.is_set,), daemon=True)
    thread.start()
    deadline_s = time.monotonic() + 5
    while Link.pending and time.monotonic() < deadline_s and thread.is_alive():
        time.sleep(0.01)
    stopping.set()
    receiver.wake()
    thread.join(5)
    return not Link.pending


def test_it_goes_on_after_a_broker_that_fails_and_a_message_that_the_program_fails_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults: list[Exception] = [RuntimeError("a fault in the program")]
    heard: list[bytes] = []

    def handle(_device: str, payload: bytes, done: Callable[[], None]) -> bool:
        if faults:
            raise faults.pop()
        heard.append(payload)
        done()
        return True

    fails = [BrokerUnavailable("away"), IndexError("nonsense of a broker")]
    assert run_until_acknowledged(monkeypatch, [message(1, b"a"), message(2, b"b")], handle, fails)
    assert heard == [b"a", b"b"]


def test_what_a_broker_keeps_for_subscribers_is_taken_only_with_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def handle(_device: str, payload: bytes, done: Callable[[], None]) -> bool:
        heard.append(payload)
        done()
        return True

    timed, untimed = b'{"level_m":1,"time":"2026-11-21T10:00:00Z"}', b'[{"level_m":2}]'
    messages = [message(1, timed, retain=True), message(2, untimed, retain=True), message(3, untimed)]
    messages.append(message(4, b"no JSON", retain=True))
    assert run_until_acknowledged(monkeypatch, messages, handle, [])
    assert heard == [timed, untimed]
