"""The MQTT subscriber: takes messages, enqueues their readings, acknowledges once they are committed.

One thread, one loop that waits on the MQTT socket and on Redis notices together. Per turn: hear what is committed, take what
has arrived, enqueue it, acknowledge what is settled. Nothing upstream is told "done" before Postgres has committed.
"""

import logging
import os
import random
import selectors
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from celery import Celery
from prometheus_client import start_http_server
from redis import Redis, RedisError

from streamgauge import logs, metrics, network_servers
from streamgauge.errors import QueueUnavailable, SettingsError
from streamgauge.mqtt.link import BrokerUnavailable, LinkOptions, MqttLink
from streamgauge.queue import (
    READINGS,
    SOCKET_TIMEOUT_S,
    Message,
    enqueue_ingest,
    make_producer,
    new_task_id,
    queue_length,
)
from streamgauge.reading import to_microseconds
from streamgauge.settings import SubscriberSettings, load
from streamgauge.wire import SUBSCRIPTIONS, Limits, decode_message, encode_stored, stored_topic
from tasks.gateway_notes import GatewayNotes
from tasks.inflight import Inflight, Taken, Task
from tasks.notices import NoticeStream

log = logging.getLogger("streamgauge.subscriber")

TICK_S = 1.0
QUEUE_RETRY_S = 0.5
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.2, 10.0
DRAIN_S = 5.0
RESEND_DOUBLINGS = 4
"""A task that is enqueued again and again is so ever more rarely, down to every 16th part of the first pace."""


class Backoff:
    """When to try again: twice as long each time, with jitter, so that replicas do not knock in step."""

    def __init__(self) -> None:
        self._wait_s = BACKOFF_FIRST_S
        self._next_s = 0.0

    def due(self, now_s: float) -> bool:
        """Whether it is time."""
        return now_s >= self._next_s

    def failed(self, now_s: float) -> None:
        """An attempt failed: wait longer."""
        self._next_s = now_s + self._wait_s * random.uniform(0.5, 1.0)
        self._wait_s = min(2 * self._wait_s, BACKOFF_MOST_S)

    def succeeded(self) -> None:
        """Begin anew."""
        self._wait_s = BACKOFF_FIRST_S


class Subscriber:
    """The loop and what it holds. ``turn`` is one round; ``run`` goes on until it is told to stop."""

    def __init__(self, settings: SubscriberSettings, link: MqttLink, redis: "Redis", producer: Celery) -> None:
        self._settings = settings
        self._link = link
        self._redis = redis
        self._notices = NoticeStream(redis)
        self._producer = producer
        self._inflight = Inflight()
        self._gateways = GatewayNotes(redis)
        self._link_backoff, self._notices_backoff = Backoff(), Backoff()
        self._limits = Limits(
            settings.max_message_bytes,
            settings.max_batch_readings,
            settings.earliest_time,
            timedelta(seconds=settings.future_tolerance_s),
        )
        self._queue_retry_at_s = 0.0
        self._queue_is_long = False
        self._next_tick_s = 0.0

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Turn until told to stop; then take nothing more, and give what is under way a few seconds to settle."""
        while not should_stop():
            self.turn()
        deadline_s = time.monotonic() + DRAIN_S
        while self._inflight.tasks and time.monotonic() < deadline_s and self._notices.is_open and self._link.is_open:
            self.turn(taking=False)
        self._notices.close()
        try:
            self._link.leave()
        except BrokerUnavailable:
            log.info("left without goodbye")

    def turn(self, *, taking: bool = True) -> None:
        """One round: wait until something happens (a second at most), then do everything that it allows."""
        now_s = time.monotonic()
        self._open_what_is_closed(now_s)
        mqtt_ready, notices_ready = self._wait(taking=taking and not self._pause_reason())
        try:
            if notices_ready:
                self._hear()
            if mqtt_ready:
                self._link.read()
            self._take_received()
            self._enqueue(time.monotonic())
            self._acknowledge()
            if now_s >= self._next_tick_s:
                self._next_tick_s = now_s + TICK_S
                self._tick(now_s)
            if self._link.is_open:
                self._link.flush()
        except QueueUnavailable as error:
            log.warning("queue not reached", extra={"error": str(error)})
            self._notices_backoff.failed(now_s)
        except BrokerUnavailable as error:
            self._lose_broker(error)

    def _open_what_is_closed(self, now_s: float) -> None:
        if not self._notices.is_open and self._notices_backoff.due(now_s):
            try:
                self._notices.open()
            except QueueUnavailable as error:
                log.warning("queue not reached", extra={"error": str(error)})
                self._notices_backoff.failed(now_s)
            else:
                self._notices_backoff.succeeded()
                self._inflight.doubt_all(now_s)
        if not self._link.is_open and self._link_backoff.due(now_s):
            # However the connection was lost: identifiers of messages mean nothing on the next one.
            self._inflight.forget_connection()
            try:
                self._link.open()
            except BrokerUnavailable as error:
                log.warning("broker not reached", extra={"error": str(error)})
                self._link_backoff.failed(time.monotonic())
            else:
                self._link_backoff.succeeded()
                metrics.MQTT_CONNECTED.set(1)

    def _lose_broker(self, error: BrokerUnavailable) -> None:
        log.warning("broker lost", extra={"error": str(error), "held_messages": self._inflight.messages})
        metrics.MQTT_CONNECTED.set(0)
        # A connection that is lost as soon as it is made must not be made again at once.
        self._link_backoff.failed(time.monotonic())
        self._link.close()
        self._inflight.forget_connection()

    def _wait(self, *, taking: bool) -> tuple[bool, bool]:
        """Wait on both sockets; returns which of them has something: (MQTT, notices)."""
        if self._link.received:
            return False, False
        with selectors.DefaultSelector() as selector:
            if self._link.is_open:
                events = (selectors.EVENT_READ if taking else 0) | (
                    selectors.EVENT_WRITE if self._link.wants_write() else 0
                )
                if events:
                    selector.register(self._link.fileno(), events, "mqtt")
            if self._notices.is_open:
                selector.register(self._notices.fileno(), selectors.EVENT_READ, "notices")
            both = self._link.is_open and self._notices.is_open
            ready = {key.data: mask for key, mask in selector.select(TICK_S if both else QUEUE_RETRY_S / 5)}
        return bool(ready.get("mqtt", 0) & selectors.EVENT_READ), "notices" in ready

    def _pause_reason(self) -> str | None:
        """Why no messages are taken just now; each is a bound that a setting moves."""
        if self._inflight.messages >= self._settings.max_inflight_messages:
            return "inflight"
        if self._inflight.pending_items >= self._settings.max_pending_readings:
            return "pending"
        if self._inflight.pending_bytes >= self._settings.max_pending_bytes:
            return "bytes"
        return "queue" if self._queue_is_long else None

    def _take_received(self) -> None:
        now = datetime.now(UTC)
        received_us = to_microseconds(now)
        while self._link.received:
            packet = self._link.received.popleft()
            topic = packet._topic.decode("utf-8", "backslashreplace")  # noqa: SLF001 - .topic raises on bad UTF-8
            arrival = decode_message(topic, bytes(packet.payload), self._limits, now)
            message = Message(topic, arrival.source, received_us)
            self._gateways.hear(arrival, received_us / 1e6)
            taken = self._inflight.take(packet.mid if packet.qos else 0, message, arrival)
            metrics.READINGS_RECEIVED.labels(arrival.source).inc(taken.readings)
            for rejected in arrival.rejected:
                metrics.READINGS_DEAD.labels(rejected.reason).inc(max(1, rejected.readings))
                if arrival.source in network_servers.NETWORKS:
                    metrics.UPLINKS.labels(arrival.source, "refused").inc()
            if arrival.ignored is not None:
                metrics.UPLINKS.labels(arrival.source, "ignored").inc()
            if taken.settled:
                self._answer(taken)

    def _enqueue(self, now_s: float) -> None:
        if now_s < self._queue_retry_at_s:
            return
        while self._inflight.tasks < self._settings.max_inflight_tasks:
            task = self._inflight.next_task(new_task_id(), self._settings.task_max_readings)
            if task is None:
                return
            if not self._send(task, now_s):
                return

    def _send(self, task: Task, now_s: float) -> bool:
        try:
            enqueue_ingest(self._producer, task.id, self._settings.client_id, task.body)
        except QueueUnavailable as error:
            log.warning("queue not reached", extra={"error": str(error)})
            task.retry_at_s = self._queue_retry_at_s = now_s + QUEUE_RETRY_S
            return False
        task.retry_at_s = now_s + self._settings.resend_after_s * 2 ** min(task.attempts, RESEND_DOUBLINGS)
        task.attempts += 1
        return True

    def _hear(self) -> None:
        for notice in self._notices.read():
            if notice.recipient == self._settings.client_id:
                for taken in self._inflight.complete(notice):
                    self._answer(taken)

    def _answer(self, taken: Taken) -> None:
        """Tell a gateway that its batch is committed. If that gets lost, it sends the batch again and is told again."""
        answer = taken.answer()
        if answer is not None and taken.gateway is not None and self._link.is_open:
            self._link.publish(stored_topic(taken.gateway), encode_stored(answer))

    def _acknowledge(self) -> None:
        for taken in self._inflight.acknowledgeable():
            if taken.mid and self._link.is_open:
                self._link.acknowledge(taken.mid)

    def _tick(self, now_s: float) -> None:
        if self._link.is_open:
            self._link.tick()
        self._resend(now_s)
        self._look_at_queue()
        self._gateways.write()
        metrics.INFLIGHT_MESSAGES.set(self._inflight.messages)
        metrics.INFLIGHT_TASKS.set(self._inflight.tasks)
        for reason in ("inflight", "pending", "bytes", "queue"):
            metrics.INTAKE_PAUSED.labels(reason).set(self._pause_reason() == reason)

    def _resend(self, now_s: float) -> None:
        if self._queue_is_long:
            return  # What is overdue is most likely in there; more copies would only make it longer.
        for task in self._inflight.overdue(now_s):
            if not self._send(task, now_s):
                return
            metrics.TASKS_RESENT.inc()
            log.warning("task enqueued again", extra={"task_id": task.id, "messages": len(task.parts)})

    def _look_at_queue(self) -> None:
        try:
            self._queue_is_long = queue_length(self._redis, READINGS) >= self._settings.queue_pause_length
        except RedisError:
            # What matters of this is noticed where something is enqueued or heard.
            self._queue_is_long = False


def make_subscriber(settings: SubscriberSettings) -> Subscriber:
    """Build the subscriber from its settings; nothing is connected yet."""
    link = MqttLink(
        LinkOptions(
            url=settings.mqtt_url,
            protocol=settings.mqtt_protocol,
            client_id=settings.client_id,
            ca_file=settings.mqtt_ca_file,
            receive_maximum=settings.max_inflight_messages,
            session_expiry_s=settings.session_expiry_s,
            topics=_shared(settings.share_group),
        )
    )
    # The notice connection waits inside Redis for as long as it takes: it is read only when the selector says so.
    redis = Redis.from_url(settings.redis_url, socket_connect_timeout=SOCKET_TIMEOUT_S, socket_keepalive=True)
    return Subscriber(settings, link, redis, make_producer(settings.redis_url))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    try:
        settings = load(SubscriberSettings, os.environ)
    except SettingsError as error:
        sys.exit(str(error))
    logs.configure("subscriber", settings.log_level)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
    log.info("started", extra={"client_id": settings.client_id})
    make_subscriber(settings).run(lambda: stopping)
    log.info("stopped")


def _shared(group: str | None) -> list[str]:
    return [f"$share/{group}/{topic}" if group else topic for topic in SUBSCRIPTIONS]


if __name__ == "__main__":
    main()
