"""Celery's Redis transport, made to survive the loss of its server.

When a connection is lost, kombu 5.7 gives unacknowledged tasks back to the queue, over a connection that it has just torn
down. That raises an ``AttributeError``, which ends the whole worker. Nothing needs to be given back at that moment: an
unacknowledged task stays in Redis and returns after the visibility timeout, and a sender that waits sends it again sooner.
"""

import logging
from typing import Any

from kombu.transport import redis

log = logging.getLogger("streamgauge.redis_transport")


class PatientQoS(redis.QoS):
    """Gives unacknowledged tasks back if it can, and leaves them to their visibility timeout if it cannot."""

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Called when a channel closes: at a connection's loss, and at the worker's end."""
        try:
            super().restore_unacked_once(stderr)  # type: ignore[no-untyped-call]
        except Exception:
            # Whatever it is, the worker's life is worth more: the tasks are still in Redis.
            log.warning("unacknowledged tasks not given back; they return after the visibility timeout", exc_info=True)


class PatientChannel(redis.Channel):
    """A channel whose loss does not end the worker."""

    QoS = PatientQoS


class Transport(redis.Transport):
    """What ``broker_transport`` names."""

    Channel = PatientChannel
