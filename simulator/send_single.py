"""Readings one by one over MQTT, as from sensors that speak MQTT themselves (QoS 1).

A reading is done when the broker has acknowledged it, and that promises less than a gateway's batches do: the broker
may lose what it has acknowledged (when it is killed, or when the subscriber's queue there is full), and nobody tells
the sensor whether the reading was stored. Where that matters, send batches.
"""

import logging
import time
from dataclasses import dataclass

import orjson

from simulator.errors import Unreachable
from simulator.ledger import Ledger
from simulator.mqtt_link import Acknowledged, Broker, Denied, Event, Link, Lost, Ready
from streamgauge.reading import Reading
from streamgauge.wire import encode_reading, readings_topic

log = logging.getLogger(__name__)

_LONGEST_NAP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleOptions:
    """How long the broker is waited for.

    Args:
        window: most readings that the broker may still have to acknowledge.
        connect_wait_s: how long the first connection is tried.
        give_up_s: so long without an acknowledgement, with readings under way, ends the run; None never.
    """

    window: int = 200
    connect_wait_s: float = 15.0
    give_up_s: float | None = 120.0


class SingleSender:
    """Sends each reading as a message of its own; see the module. Connects on construction.

    Raises:
        Unreachable: no broker in time, or no acknowledgement for too long.
        Refused: the broker does not want us.
    """

    def __init__(self, broker: Broker, options: SingleOptions) -> None:
        self.ledger = Ledger(stored=None, acknowledged=0)
        self._options = options
        self._under_way: set[int] = set()
        self._times_ready = 0
        self._last_progress_s = time.monotonic()
        self._link = Link(broker, inflight=options.window)
        self._link.open(options.connect_wait_s)

    def send(self, reading: Reading) -> None:
        """Hand one reading over; blocks while ``window`` of them are unacknowledged."""
        while len(self._under_way) >= self._options.window or not self._times_ready:
            self._step(_LONGEST_NAP_S)
        message = self._link.publish(readings_topic(reading.device), orjson.dumps(encode_reading(reading)))
        if not self._under_way:
            self._last_progress_s = time.monotonic()
        self._under_way.add(message.mid)
        self.ledger.sent += 1
        self.ledger.messages += 1
        self.ledger.unanswered += 1
        while (event := self._link.next_event(0.0)) is not None:
            self._take(event)

    def wait(self, seconds: float) -> None:
        """Let time pass; acknowledgements are taken."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._step(min(left_s, _LONGEST_NAP_S))

    def finish(self) -> None:
        """Return when the broker has acknowledged every reading."""
        self._last_progress_s = time.monotonic()
        while self._under_way:
            self._step(_LONGEST_NAP_S)

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _step(self, longest_s: float) -> None:
        patience_s = self._options.give_up_s
        waited_s = time.monotonic() - self._last_progress_s
        if patience_s is not None and waited_s >= patience_s and (self._under_way or not self._times_ready):
            raise Unreachable(
                f"The broker acknowledged nothing for {patience_s:g} s; "
                f"{len(self._under_way)} readings are unacknowledged."
            )
        event = self._link.next_event(longest_s)
        while event is not None:
            self._take(event)
            event = self._link.next_event(0.0)

    def _take(self, event: Event) -> None:
        match event:
            case Acknowledged(message_id):
                self._acknowledged(message_id)
            case Ready():
                self._became_ready()
            case Lost(reason):
                log.warning("Connection to the broker lost; reconnecting", extra={"reason": reason})
            case Denied(reason):
                raise self._link.refusal(reason)
            case _:
                pass

    def _acknowledged(self, message_id: int) -> None:
        if message_id in self._under_way:
            self._under_way.remove(message_id)
            self._last_progress_s = time.monotonic()
            self.ledger.acknowledged = (self.ledger.acknowledged or 0) + 1
            self.ledger.unanswered -= 1

    def _became_ready(self) -> None:
        self._times_ready += 1
        if self._times_ready > 1:
            # paho sends every unacknowledged message again after a reconnection.
            self.ledger.reconnections += 1
            self.ledger.resent += len(self._under_way)
            self.ledger.messages_resent += len(self._under_way)
            log.warning("Connected to the broker again", extra={"unacknowledged": len(self._under_way)})
