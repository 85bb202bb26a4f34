"""From the buffer to the broker: batches, each kept until the cloud says ``stored``, whatever the broker says.

One thread, which waits on the broker's socket and on a pipe by which the keeper wakes it. At a connection everything in the
buffer is backlog; what is accepted from then on is live and overtakes it. A batch that is not answered leaves again, ever
more rarely, and soon after each reconnection. A reading too long for the broker even alone stays in the buffer, is counted,
and is tried again now and then; it goes by the buffer's rule like every other.
"""

import contextlib
import logging
import os
import random
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import orjson

from gateway.buffer.buffer import Buffer
from gateway.buffer.keeper import Keeper
from gateway.entries import Entry
from gateway.handover.batches import PARTS, BatchMaker, BatchOptions
from gateway.handover.outbox import Batch, Ignored, Outbox
from gateway.page.state import LinkState
from streamgauge.errors import InvalidMessage, TransientError
from streamgauge.gateway_metrics import (
    ANSWERS_IGNORED,
    BATCHES_RESENT,
    BATCHES_SENT,
    LINK_CONNECTED,
    READINGS_CONFIRMED,
)
from streamgauge.mqtt.link import BrokerUnavailable, LinkOptions, MqttLink, Will
from streamgauge.wire import batch_topic, decode_stored, status_topic, stored_topic

log = logging.getLogger("streamgauge.gateway.publish")

_LONGEST_NAP_S = 0.5
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0
_SETTLED_S = 30.0
"""A connection that has held so long, or on which the cloud has answered, ends the backoff."""

_BUFFER_RETRY_S = 1.0
_PACKET_HEAD_BYTES = 16
_OFFLINE = orjson.dumps({"online": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """How to hand readings over.

    Attributes:
        gateway: the gateway's name: its topics.
        version: this program's version, for the status.
        batches: how batches are made.
        resend_after_s: how long the first answer is waited for; doubles up to two minutes.
        status_every_s: how often the status is published.
    """

    gateway: str
    version: str
    batches: BatchOptions = field(default_factory=BatchOptions)
    resend_after_s: float = 10.0
    status_every_s: float = 60.0


def link_options(options: LinkOptions, gateway: str) -> LinkOptions:
    """Options of a connection completed by what the publisher needs of it: topic, last will, no session."""
    return replace(
        options,
        topics=[stored_topic(gateway)],
        session_expiry_s=0,
        will=Will(topic=status_topic(gateway), payload=_OFFLINE),
    )


class Publisher:
    """See the module. ``run`` is its thread's function; ``wake`` and ``link_state`` may be called from any other.

    Args:
        link: how to connect; topics, session and last will are set here.
        keeper: deletes what is stored, and wakes us when something is accepted. Not started yet.
        buffer: what is read.
        options: see there.
    """

    def __init__(self, link: LinkOptions, keeper: Keeper, buffer: Buffer, options: PublishOptions) -> None:
        self._link = MqttLink(link_options(link, options.gateway))
        self._keeper = keeper
        self._buffer = buffer
        self._options = options
        self._topic = batch_topic(options.gateway)
        self._outbox = Outbox(resend_after_s=options.resend_after_s)
        self._maker = BatchMaker(buffer, self._outbox, options.batches, len(self._topic.encode()) + _PACKET_HEAD_BYTES)
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._state = LinkState(connected=False)
        self._state_lock = threading.Lock()
        self._answers_here = 0
        self._longest_sent_bytes = 0
        self._next_status_s = self._next_tick_s = self._buffer_retry_s = 0.0
        keeper.on_commit(self._accepted)

    def link_state(self) -> LinkState:
        """How the link stands, for people."""
        with self._state_lock:
            return self._state

    def wake(self) -> None:
        """Something is to be looked at now. Never waits."""
        # If the pipe is full it has been woken often enough.
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_writer, b"\0")

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Hand over until told to stop; returns within a few seconds, later only while a broker hangs at connecting."""
        failures = 0
        while not should_stop():
            began_s = time.monotonic()
            try:
                self._connect()
                while not should_stop():
                    self._turn()
            except TransientError as error:
                failures = self._lost(str(error), failures, time.monotonic() - began_s)
            except Exception as error:
                log.exception("the publisher goes on after an error")
                failures = self._lost(repr(error), failures, time.monotonic() - began_s)
            else:
                break
            self._rest(failures, should_stop)
        self._leave()

    def close(self) -> None:
        """Give the pipe back; after ``run`` has returned and the keeper has stopped."""
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _connect(self) -> None:
        self._answers_here = self._longest_sent_bytes = 0
        self._link.open()
        now_s = time.monotonic()
        self._maker.limit.stated_bytes = self._link.max_packet_bytes
        self._outbox.reconnected(now_s)
        self._maker.start_over(now_s)
        self._next_status_s = self._next_tick_s = now_s
        self._set_state(connected=True, since=datetime.now(UTC))
        log.info("handing over", extra={"buffered": self._buffer.count, "unanswered_batches": len(self._outbox)})

    def _turn(self) -> None:
        """Do everything that is due, then wait for the next thing."""
        link, now_s = self._link, time.monotonic()
        # Also unasked: TLS may hold back what the selector no longer sees.
        link.read()
        self._take_answers()
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + 1.0
            link.tick()
        self._report(now_s)
        link.flush()
        if not link.wants_write() and now_s >= self._buffer_retry_s:
            self._hand_over(now_s)
            link.flush()
        self._wait()

    def _hand_over(self, now_s: float) -> None:
        try:
            self._maker.fill(now_s)
            for batch in self._outbox.due(now_s):
                if self._link.wants_write():
                    # What the socket does not take now would only swell the client's queue.
                    return
                self._send(batch, now_s)
                self._link.flush()
        except BrokerUnavailable:
            raise
        except TransientError as error:
            self._buffer_retry_s = now_s + _BUFFER_RETRY_S
            log.warning("the buffer cannot be read; trying again", extra={"reason": str(error)})

    def _send(self, batch: Batch, now_s: float) -> None:
        if self._outbox.is_stuck(batch):
            log.warning("a batch is never answered and goes on in parts", extra={"batch": batch.name})
            if batch.overtaken:
                self._maker.limit.lower(len(batch.payload) // PARTS, now_s)
            self._maker.divide(batch, now_s)
        elif not self._maker.fits(batch, now_s):
            self._maker.divide(batch, now_s)
        else:
            self._link.publish(self._topic, batch.payload)
            (BATCHES_RESENT if batch.times_sent else BATCHES_SENT).labels(batch.lane).inc()
            self._longest_sent_bytes = max(self._longest_sent_bytes, len(batch.payload))
            self._outbox.sent(batch, now_s)

    def _wait(self) -> None:
        if not self._link.is_open:
            raise BrokerUnavailable("the connection to the broker is lost")
        now_s = time.monotonic()
        moments = [now_s + _LONGEST_NAP_S, self._next_status_s, self._outbox.next_due_s(), self._maker.next_live_s()]
        is_blocked = self._link.wants_write()
        if is_blocked or now_s < self._buffer_retry_s:
            moments = moments[:2]
        elif self._maker.is_ready(now_s):
            moments.append(now_s)
        nap_s = max(0.0, min(moment for moment in moments if moment is not None) - now_s)
        with selectors.DefaultSelector() as selector:
            selector.register(self._link.fileno(), selectors.EVENT_READ | (selectors.EVENT_WRITE if is_blocked else 0))
            selector.register(self._wake_reader, selectors.EVENT_READ)
            selector.select(nap_s)
        self._drain_pipe()

    def _take_answers(self) -> None:
        while self._link.received:
            message = self._link.received.popleft()
            self._take_answer(bytes(message.payload))
            if message.qos:
                self._link.acknowledge(message.mid)

    def _take_answer(self, payload: bytes) -> None:
        try:
            answer = decode_stored(payload)
        except InvalidMessage as error:
            ANSWERS_IGNORED.labels(Ignored.UNREADABLE).inc()
            log.warning("an answer of the cloud cannot be read", extra={"reason": error.detail})
            return
        batch = self._outbox.answered(answer)
        if isinstance(batch, Ignored):
            ANSWERS_IGNORED.labels(batch).inc()
            if batch is Ignored.WRONG_COUNT:
                log.warning("an answer of the cloud counts wrong", extra=answer._asdict())
            return
        self._answers_here += 1
        self._keeper.delete(batch.ranges)
        READINGS_CONFIRMED.labels("stored").inc(answer.stored)
        READINGS_CONFIRMED.labels("dead").inc(answer.dead)
        if answer.dead:
            log.warning("the cloud keeps readings as dead letters", extra=answer._asdict())
        self._set_state(last_stored_at=datetime.now(UTC))

    def _report(self, now_s: float) -> None:
        if now_s < self._next_status_s:
            return
        self._next_status_s = now_s + self._options.status_every_s
        try:
            oldest_us = self._buffer.oldest_gateway_time_us()
        except TransientError as error:
            log.warning("the buffer cannot be read", extra={"reason": str(error)})
            oldest_us = None
        status = {
            "online": True,
            "buffered": self._buffer.count,
            # A clock that was set back makes it negative.
            "oldest_s": 0.0 if oldest_us is None else max(0.0, round(time.time() - oldest_us / 1e6, 1)),
            "dropped": self._buffer.dropped,
            "version": self._options.version,
        }
        self._link.publish(status_topic(self._options.gateway), orjson.dumps(status), retain=True)

    def _lost(self, reason: str, failures: int, lasted_s: float) -> int:
        """Note the end of an attempt or of a connection; returns how many have failed in a row."""
        was_connected = self.link_state().connected
        self._link.close()
        is_sudden = was_connected and not self._answers_here and lasted_s < _SETTLED_S
        if is_sudden and failures and self._longest_sent_bytes:
            self._maker.limit.lower(self._longest_sent_bytes // 2, time.monotonic())
        self._set_state(connected=False, last_error=reason, **({"since": datetime.now(UTC)} if was_connected else {}))
        if was_connected and (self._answers_here or lasted_s >= _SETTLED_S):
            failures = 0
        if was_connected or not failures:
            log.warning("no link to the cloud's broker; trying again", extra={"reason": reason})
        return failures + 1

    def _rest(self, failures: int, should_stop: Callable[[], bool]) -> None:
        wait_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)
        until_s = time.monotonic() + wait_s
        while not should_stop() and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.1))

    def _leave(self) -> None:
        """Say that we go, as the last will is only for those who do not."""
        try:
            if self._link.is_open:
                self._link.publish(status_topic(self._options.gateway), _OFFLINE, retain=True)
                self._link.flush()
                self._link.leave()
        except TransientError as error:
            log.info("the broker was lost at the end", extra={"reason": str(error)})
        self._link.close()
        if self.link_state().connected:
            self._set_state(connected=False, since=datetime.now(UTC))

    def _set_state(self, **changes: object) -> None:
        with self._state_lock:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]
            LINK_CONNECTED.set(self._state.connected)

    def _accepted(self, _: Sequence[Entry]) -> None:
        self.wake()

    def _drain_pipe(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_reader, 4_096):
                pass
