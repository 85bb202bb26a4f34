"""Readings from sensors that publish to a broker on site: a session of our own, acknowledged once they are kept."""

import contextlib
import logging
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from paho.mqtt.client import MQTTMessage

from gateway.ip_readings import is_timed
from streamgauge.mqtt.link import BrokerUnavailable, LinkOptions, MqttLink
from streamgauge.wire import readings_topic

log = logging.getLogger("streamgauge.gateway.mqtt")

TICK_S = 1.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 30.0
RECEIVE_MAXIMUM = 200
SESSION_EXPIRY_S = 604_800
TOPIC = readings_topic("+")
LEVELS = len(TOPIC.split("/"))

Handle = Callable[[str, bytes, Callable[[], None]], bool]
"""(device, payload, done) → whether it was taken; ``done`` is called, from any thread, when nothing of it can be lost."""


class LocalMqttReceiver:
    """Listens to the broker on site in its caller's thread; see ``run``.

    A message that is not taken, as the buffer has no room, is not acknowledged: the connection is closed and made anew after a
    pause, upon which the broker sends it again.
    """

    def __init__(self, options: LinkOptions, handle: Handle) -> None:
        self._link = MqttLink(options)
        self._handle = handle
        self._connection = 0
        self._kept: deque[tuple[int, int]] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._wait_s = BACKOFF_FIRST_S
        self.is_connected = False

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Listen until told to stop; whatever the broker does, this goes on."""
        while not should_stop():
            try:
                self._connect()
                while not should_stop():
                    self._turn()
            except BrokerUnavailable as error:
                self._lose(error, should_stop)
            except Exception as error:
                log.exception("the receiver of the broker on site goes on after an error")
                self._lose(error, should_stop)
        self.is_connected = False
        try:
            self._link.leave()
        except BrokerUnavailable:
            log.info("left without goodbye")

    def wake(self) -> None:
        """End a wait, so that ``should_stop`` is asked again; from any thread."""
        with contextlib.suppress(BlockingIOError):  # It is awake already.
            self._wake_out.send(b"\0")

    def _connect(self) -> None:
        self._connection += 1
        self._link.open()
        self.is_connected = True
        self._wait_s = BACKOFF_FIRST_S

    def _turn(self) -> None:
        link = self._link
        if not link.received:
            broker, woken = link.fileno(), self._wake_in.fileno()
            readable, _, _ = select.select([broker, woken], [broker] if link.wants_write() else [], [], TICK_S)
            if woken in readable:
                self._wake_in.recv(4_096)
            if broker in readable:
                link.read()
        while link.received:
            self._take(link.received.popleft())
        self._acknowledge()
        link.tick()
        link.flush()

    def _take(self, packet: MQTTMessage) -> None:
        topic = packet._topic.decode("utf-8", "backslashreplace")  # noqa: SLF001 - .topic raises on bad UTF-8
        parts = topic.split("/")
        device = parts[3] if len(parts) == LEVELS else topic
        key = (self._connection, packet.mid if packet.qos else 0)

        def done() -> None:
            self._kept.append(key)
            self.wake()

        if packet.retain and not is_timed(bytes(packet.payload)):
            # What a broker keeps for subscribers was measured some time ago, and was heard then. Nobody knows when.
            done()
        elif not self._handle(device, bytes(packet.payload), done):
            raise BrokerUnavailable("the buffer takes no more: messages are left with the broker")

    def _acknowledge(self) -> None:
        while self._kept:
            connection, mid = self._kept.popleft()
            # Identifiers mean nothing on another connection; what was not acknowledged there comes again.
            if connection == self._connection and mid:
                self._link.acknowledge(mid)

    def _lose(self, error: Exception, should_stop: Callable[[], bool]) -> None:
        self.is_connected = False
        log.warning("broker on site not reached", extra={"error": str(error)})
        self._link.close()
        until_s = time.monotonic() + self._wait_s * random.uniform(0.5, 1.0)
        self._wait_s = min(2 * self._wait_s, BACKOFF_MOST_S)
        while not should_stop() and (left_s := until_s - time.monotonic()) > 0:
            threading.Event().wait(min(left_s, 0.2))
