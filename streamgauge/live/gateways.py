"""What gateways said of themselves last, in Redis: a hint for the operations page. Lost, it comes back with their next status.

The subscriber notes it, as it alone hears them: a gateway's retained status (contract, "MQTT topics"), and when a batch came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from redis import Redis

GATEWAYS_KEY = "streamgauge:gateways"
MAX_GATEWAYS = 10_000
"""A name beyond so many is not noted: whoever may publish could otherwise fill Redis."""
STATUS_FIELDS = ("online", "buffered", "oldest_s", "dropped", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayNow:
    """One gateway; None for what it has not said.

    Attributes:
        name: the gateway's.
        online: whether its connection stands, as its status or its last will says.
        buffered: readings that it keeps until they are stored.
        oldest_s: age of the oldest of them when it said so, in seconds.
        dropped: readings that it gave up since it was started, as its buffer was full.
        version: of its program.
        status_s: when its status came, seconds since 1970.
        batch_s: when its newest batch came.
    """

    name: str
    online: bool | None = None
    buffered: int | None = None
    oldest_s: float | None = None
    dropped: int | None = None
    version: str | None = None
    status_s: float | None = None
    batch_s: float | None = None


def note_gateways(redis: "Redis", changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Note what is new of gateways; what is not named of one stays.

    Args:
        redis: a client.
        changes: by gateway's name fields of ``GatewayNow``.

    Raises:
        redis.RedisError: Redis did not take it.
    """
    names = list(changes)
    known: Any = redis.hmget(GATEWAYS_KEY, names)
    room = MAX_GATEWAYS - int(redis.hlen(GATEWAYS_KEY))
    noted: dict[str, bytes] = {}
    for name, found in zip(names, known, strict=True):
        if found is None and room <= 0:
            continue
        room -= found is None
        noted[name] = orjson.dumps(_object(found) | dict(changes[name]))
    if noted:
        redis.hset(GATEWAYS_KEY, mapping=noted)  # type: ignore[arg-type]


def read_gateways(redis: "Redis") -> list[GatewayNow]:
    """All gateways that were heard of, by name.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    found: Any = redis.hgetall(GATEWAYS_KEY)
    fields = GatewayNow.__dataclass_fields__
    gateways = []
    for name, content in found.items():
        facts = {key: value for key, value in _object(content).items() if key in fields and key != "name"}
        gateways.append(GatewayNow(name=name.decode("utf-8", "replace"), **facts))
    return sorted(gateways, key=lambda gateway: gateway.name)


def _object(content: bytes | None) -> dict[str, Any]:
    try:
        found = orjson.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
