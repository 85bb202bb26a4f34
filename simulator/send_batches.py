"""Readings as a gateway's batches over MQTT: each batch is kept until the cloud says ``stored``, whatever the broker
says.

The broker's acknowledgement only ends paho's own repeating. A batch whose answer stays away leaves again, with backoff
and jitter, and again after each reconnection; answers for batches that were never sent, or that come twice, change
nothing.
"""

import logging
import time
from dataclasses import dataclass

from paho.mqtt.client import MQTTMessageInfo

from simulator.errors import Unreachable
from simulator.ledger import Ledger
from simulator.mqtt_link import Broker, Denied, Event, Heard, Link, Lost, Ready
from simulator.outbox import Batch, Outbox, Verdict
from streamgauge.errors import InvalidMessage
from streamgauge.reading import Reading
from streamgauge.wire import batch_topic, decode_stored, encode_batch, status_topic, stored_topic

log = logging.getLogger(__name__)

_LONGEST_NAP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How batches are made and how long answers are waited for.

    Args:
        gateway: the name under which they are sent.
        batch_size: readings in a batch;
        batch_age_s: a batch that is not full leaves when its first reading has waited so long.
        window: most batches that may be unanswered; more readings wait in ``send``.
        answer_wait_s: the first wait for an answer before a batch leaves again, then doubling
        longest_wait_s: up to this.
        connect_wait_s: how long the first connection is tried; None for ever, and then refusals do not end it either.
        give_up_s: so long without any answer, with batches unanswered, ends the run; None never.
    """

    gateway: str
    batch_size: int = 50
    batch_age_s: float = 1.0
    window: int = 64
    answer_wait_s: float = 10.0
    longest_wait_s: float = 120.0
    connect_wait_s: float | None = 15.0
    give_up_s: float | None = 120.0


class BatchSender:
    """Sends readings as batches; see the module. Connects on construction.

    Raises:
        Unreachable: no broker in time, or no answer for too long.
        Refused: the broker does not want us.
    """

    def __init__(self, broker: Broker, options: BatchOptions) -> None:
        self.ledger = Ledger()
        self._options = options
        self._outbox = Outbox(answer_wait_s=options.answer_wait_s, longest_wait_s=options.longest_wait_s)
        self._handed_over: dict[str, MQTTMessageInfo] = {}
        self._open: list[Reading] = []
        self._open_since_s = 0.0
        self._is_ready = False
        self._times_ready = 0
        self._last_progress_s = time.monotonic()
        gateway = options.gateway
        self._link = Link(
            broker, listen=stored_topic(gateway), status=status_topic(gateway), inflight=options.window + 1
        )
        self._link.open(options.connect_wait_s)

    @property
    def has_room(self) -> bool:
        """Whether a full batch could leave at once."""
        return len(self._outbox) < self._options.window

    @property
    def is_ready(self) -> bool:
        """Whether the connection stood when it was last looked at."""
        return self._is_ready

    def send(self, reading: Reading) -> None:
        """Take one reading; blocks while ``window`` batches are unanswered."""
        if not self._open:
            self._open_since_s = time.monotonic()
        self._open.append(reading)
        if len(self._open) >= self._options.batch_size:
            self._seal()

    def wait(self, seconds: float) -> None:
        """Let time pass; answers are taken, and what is due leaves."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._step(left_s)

    def flush(self) -> None:
        """Let the open batch leave although it is not full."""
        if self._open:
            self._seal()

    def finish(self) -> None:
        """Send what is left and return when every batch is answered."""
        self.flush()
        self._last_progress_s = time.monotonic()
        while len(self._outbox):
            self._step(_LONGEST_NAP_S)

    def close(self) -> None:
        """End the connection. Batches that are unanswered are counted in the ledger and forgotten with this object."""
        self._link.close()

    def _seal(self) -> None:
        while not self.has_room:
            self._step(_LONGEST_NAP_S)
        readings, self._open = self._open, []
        if not readings:  # An old batch left while we waited for room.
            return
        now_s = time.monotonic()
        if not len(self._outbox):
            self._last_progress_s = now_s
        name = self._outbox.next_name()
        self._outbox.add(name, encode_batch(name, readings), len(readings), now_s)
        self.ledger.unanswered += len(readings)
        self._send_due(now_s)
        while (event := self._link.next_event(0.0)) is not None:
            self._take(event)

    def _step(self, longest_s: float) -> None:
        """Do what is due, then wait for one event, at most so long."""
        now_s = time.monotonic()
        self._send_due(now_s)
        if self._open and self.has_room and now_s >= self._open_since_s + self._options.batch_age_s:
            self._seal()
        self._check_patience(now_s)
        event = self._link.next_event(min(longest_s, self._nap_s(now_s)))
        while event is not None:
            self._take(event)
            event = self._link.next_event(0.0)

    def _nap_s(self, now_s: float) -> float:
        moments = [now_s + _LONGEST_NAP_S]
        if self._is_ready and (due_s := self._outbox.next_due_s()) is not None:
            moments.append(due_s)
        if self._open and self.has_room:
            moments.append(self._open_since_s + self._options.batch_age_s)
        return max(min(moments) - now_s, 0.001)

    def _send_due(self, now_s: float) -> None:
        if not self._is_ready:
            return
        for batch in self._outbox.due(now_s):
            handed_over = self._handed_over.get(batch.name)
            if handed_over is not None and not handed_over.is_published():
                # paho still holds the last copy and sends it by itself: another one would only swell its queue.
                self._outbox.postpone(batch, now_s)
            else:
                self._publish(batch, now_s)

    def _publish(self, batch: Batch, now_s: float) -> None:
        self._handed_over[batch.name] = self._link.publish(batch_topic(self._options.gateway), batch.payload)
        if batch.times_sent:
            self.ledger.resent += batch.readings
            self.ledger.messages_resent += 1
        else:
            self.ledger.sent += batch.readings
            self.ledger.messages += 1
        self._outbox.sent(batch, now_s)

    def _take(self, event: Event) -> None:
        match event:
            case Heard(payload):
                self._take_answer(payload)
            case Ready():
                self._became_ready()
            case Lost(reason):
                self._is_ready = False
                log.warning("Connection to the broker lost; reconnecting", extra={"reason": reason})
            case Denied(reason):
                self._is_ready = False
                if self._options.connect_wait_s is not None:
                    raise self._link.refusal(reason)
                log.error("The broker refuses us; trying again", extra={"reason": reason})
            case _:
                pass

    def _became_ready(self) -> None:
        self._is_ready = True
        self._times_ready += 1
        if self._times_ready > 1:
            self.ledger.reconnections += 1
            self._outbox.reconnected(time.monotonic())
            log.warning("Connected to the broker again", extra={"unanswered_batches": len(self._outbox)})

    def _take_answer(self, payload: bytes) -> None:
        try:
            answer = decode_stored(payload)
        except InvalidMessage as error:
            self.ledger.answers_unreadable += 1
            log.warning("An answer from the cloud cannot be read", extra={"reason": error.detail})
            return
        verdict, readings = self._outbox.answered(answer)
        if verdict is Verdict.FIRST:
            self._handed_over.pop(answer.batch, None)
            self._last_progress_s = time.monotonic()
            self.ledger.stored = (self.ledger.stored or 0) + answer.stored
            self.ledger.dead += answer.dead
            self.ledger.unanswered -= readings
            if answer.dead:
                log.warning("The cloud refused readings", extra={"batch": answer.batch, "dead": answer.dead})
        elif verdict is Verdict.REPEATED:
            self.ledger.answers_repeated += 1
        else:
            self.ledger.answers_unknown += 1

    def _check_patience(self, now_s: float) -> None:
        patience_s = self._options.give_up_s
        if patience_s is None or not len(self._outbox) or now_s < self._last_progress_s + patience_s:
            return
        raise Unreachable(
            f"Nothing was heard for {patience_s:g} s; {self.ledger.unanswered} readings in {len(self._outbox)} batches "
            "are without a stored answer. Is the subscriber running, and a worker? Repeating the run is harmless."
        )
