"""Celery's Redis transport, made to survive the loss of its server.

When a connection is lost, kombu 5.7 gives unacknowledged tasks back to the queue over the connection that it has just torn
down, and a task that ends a moment later is acknowledged over it. Either raises an ``AttributeError``, which ends the whole
worker. Neither needs to be done at that moment: an unacknowledged task stays in Redis and returns after the visibility
timeout, a sender that waits sends it again sooner, and carrying it out twice changes nothing.
"""

import logging
from typing import Any

from kombu.transport import redis

log = logging.getLogger("streamgauge.redis_transport")


class PatientQoS(redis.QoS):
    """Leaves a task to its visibility timeout when its channel is gone."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a task, unless its channel is gone."""
        if self._channel_is_gone("acknowledged"):
            return
        super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give one task back, unless its channel is gone."""
        if self._channel_is_gone("given back"):
            return
        super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Give all tasks back, at the worker's end; called at a connection's loss too, where it cannot work."""
        if self._delivered and self._channel_is_gone("given back"):
            return
        super().restore_unacked_once(stderr)  # type: ignore[no-untyped-call]

    def _channel_is_gone(self, what: str) -> bool:
        gone = self.channel.connection is None or self.channel.connection.client is None
        if gone:
            log.warning("task not %s, as its connection is lost; it returns after the visibility timeout", what)
        return gone


class PatientChannel(redis.Channel):
    """A channel whose loss does not end the worker."""

    QoS = PatientQoS


class Transport(redis.Transport):
    """What ``broker_transport`` names."""

    Channel = PatientChannel
