"""What the subscriber hears of gateways, noted for the operations page once a second at most."""

import logging
from typing import Any

from redis import Redis, RedisError

from streamgauge.live.gateways import STATUS_FIELDS, note_gateways
from streamgauge.wire import Arrival

log = logging.getLogger("streamgauge.subscriber")
MOST_KEPT = 1_000
"""While Redis is away no more gateways than so many are remembered; they say it again."""


class GatewayNotes:
    """Collects what is new and writes it by the tick. Nothing waits for it, and nothing is lost that does not come again."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._new: dict[str, dict[str, Any]] = {}

    def hear(self, arrival: Arrival, now_s: float) -> None:
        """Take note of a message, if it is a gateway's.

        Args:
            arrival: the message.
            now_s: when it came, seconds since 1970.
        """
        if arrival.status is not None:
            facts = dict.fromkeys(STATUS_FIELDS) if arrival.status.online else {}
            said = facts | arrival.status.facts | {"online": arrival.status.online, "status_s": now_s}
            self._keep(arrival.status.gateway, said)
        elif arrival.gateway is not None:
            self._keep(arrival.gateway, {"batch_s": now_s})

    def _keep(self, gateway: str, facts: dict[str, Any]) -> None:
        if gateway in self._new or len(self._new) < MOST_KEPT:
            self._new.setdefault(gateway, {}).update(facts)

    def write(self) -> None:
        """Write what is new; if Redis is away, the next time."""
        if not self._new:
            return
        try:
            note_gateways(self._redis, self._new)
        except (RedisError, OSError):
            log.warning("gateways not noted", exc_info=True)
            return
        self._new = {}
