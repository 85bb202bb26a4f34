"""A publisher in a process of its own: messages from a file, as fast as it can or at a rate, QoS 1, a bounded number in flight.

It says ``ready`` when everything is loaded and it is connected, begins when it reads a line, and ends with one JSON object:
when it began and ended (seconds since 1970), its CPU seconds, and, at a rate, when it sent each message.
One thread drives paho's socket, which costs less than paho's own thread: the two cores are what is measured.
"""

import argparse
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

QOS = 1
WINDOW_MESSAGES = 500
ANSWER_TIMEOUT_S = 60.0


class Publisher:
    """One connection and the count of what the broker has not acknowledged yet."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"bench-publisher-{os.getpid()}")
        client.username_pw_set(where.username or "", where.password)
        client.max_inflight_messages_set(0xFFFF)
        client.max_queued_messages_set(0)
        # With this callback set, paho leaves the writing to our loop.
        client.on_socket_register_write = lambda *_: None
        client.on_publish = self._on_publish
        self._unanswered = 0
        client.connect(where.hostname or "", where.port or 1883)
        self._turn_until(client.is_connected)

    def send_all(self, messages: Sequence[tuple[str, str]]) -> None:
        """Send everything as fast as the broker acknowledges."""
        waiting = iter(messages)
        for topic, payload in waiting:
            self._send(topic, payload)
            if self._unanswered >= WINDOW_MESSAGES:
                # Half a window at a time: the socket is looked at once for many messages.
                self._turn_until(lambda: self._unanswered <= WINDOW_MESSAGES // 2)
        self.drain()

    def send_at(self, messages: Sequence[tuple[str, str]], rate: float) -> list[float]:
        """Send one after the other at a rate per second; returns when each was sent, seconds since 1970."""
        begun_s, sent_at = time.monotonic(), []
        for number, (topic, payload) in enumerate(messages):
            due_s = begun_s + number / rate
            while (left_s := due_s - time.monotonic()) > 0:
                self._turn(left_s)
            sent_at.append(time.time())
            self._send(topic, payload)
            self._client.loop_write()
        self.drain()
        return sent_at

    def drain(self) -> None:
        """Wait until the broker has acknowledged everything."""
        self._turn_until(lambda: self._unanswered == 0)

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_write()

    def _send(self, topic: str, payload: str) -> None:
        self._unanswered += 1
        result = self._client.publish(topic, payload, qos=QOS)
        if result.rc != mqtt.MQTT_ERR_SUCCESS:
            raise RuntimeError(f"not published: {mqtt.error_string(result.rc)}")

    def _turn_until(self, reached: Any) -> None:
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        while not reached():
            self._turn(0.5)
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the broker has not answered within {ANSWER_TIMEOUT_S:g} s")

    def _turn(self, wait_s: float) -> None:
        client = self._client
        if client.want_write():
            client.loop_write()
        sock: Any = client.socket()
        if sock is None:
            raise RuntimeError("the broker has closed the connection")
        if select.select([sock], [], [], wait_s)[0]:
            client.loop_read()

    def _on_publish(self, *_: Any) -> None:
        self._unanswered -= 1


def main(arguments: Sequence[str]) -> None:
    """Send one file's messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=Path, help="one JSON array [topic, payload] a line")
    parser.add_argument("--rate", type=float, help="messages per second (default: as fast as possible)")
    options = parser.parse_args(arguments)
    with options.messages.open("rb") as lines:
        messages = [tuple(orjson.loads(line)) for line in lines]
    publisher = Publisher(os.environ["STREAMGAUGE_MQTT_URL"])
    print("ready", flush=True)
    sys.stdin.readline()
    cpu_before_s, began = time.process_time(), time.time()
    sent_at: list[float] = []
    if options.rate:
        sent_at = publisher.send_at(messages, options.rate)
    else:
        publisher.send_all(messages)
    ended = time.time()
    publisher.close()
    result = {"began": began, "ended": ended, "cpu_s": time.process_time() - cpu_before_s, "sent_at": sent_at}
    print(orjson.dumps(result).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
