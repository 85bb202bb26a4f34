"""The live stream: a bounded Redis stream of what was just stored. A hint, never the truth: it may be lost and begins anew.

One entry holds the readings of one stored batch, so that a flood of readings costs Redis and browsers little, or the forecasts
that were issued together (a second field, ``forecasts``, which readers that do not know it pass over).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from redis import Redis, RedisError, ResponseError

LIVE_KEY = "streamgauge:live"
MAX_EVENTS = 10_000
MAX_READINGS = 100_000
FORECAST_SIZE = 3
"""A forecast counts like so many readings: it is about as long."""
START_ID = "0-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry: its id in the stream, and the readings of one stored batch, or forecasts, as the page's JSON objects."""

    id: str
    readings: list[dict[str, Any]]
    forecasts: list[dict[str, Any]] = field(default_factory=list)


def append(
    redis: "Redis",
    readings: Sequence[Mapping[str, Any]],
    max_events: int = MAX_EVENTS,
    forecasts: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Append one stored batch; the oldest entries leave.

    A large batch makes more of them leave than a small one, so that a flood of readings does not fill Redis: about
    ``MAX_READINGS`` readings stay at most, however they came.

    Args:
        redis: a client.
        readings: JSON-able objects: device, time (wire format), quantities, flags, reasons, expected_m, low_m, high_m, score.
        max_events: how many entries stay, about, if they are small.
        forecasts: JSON-able objects: device, issued_at (wire format), baseline_m, horizons (a list of horizon_s, expected_m,
            low_m, high_m, method).

    Raises:
        redis.RedisError: Redis did not take it.
    """
    entry = {"readings": orjson.dumps(list(readings))}
    if forecasts:
        entry["forecasts"] = orjson.dumps(list(forecasts))
    size = len(readings) + FORECAST_SIZE * len(forecasts)
    events = max(1, min(max_events, MAX_READINGS // max(1, size)))
    return _text(redis.xadd(LIVE_KEY, entry, maxlen=events, approximate=True))  # type: ignore[arg-type]


def read_after(redis: "Redis", last_id: str, block_ms: int | None = None, count: int = 100) -> list[Event]:
    """Entries after an id, oldest first; waits up to ``block_ms`` if there are none (``None``: does not wait).

    Raises:
        redis.RedisError: Redis did not answer.
    """
    answer: Any = redis.xread({LIVE_KEY: last_id}, count=count, block=block_ms)
    return _events(_entries(answer))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of the stream at one moment.

    Attributes:
        events: its newest entries, oldest first.
        is_whole: whether these are all that ever were in it.
    """

    events: list[Event]
    is_whole: bool


def read_tail(redis: "Redis", count: int) -> Tail:
    """The newest entries.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    with redis.pipeline(transaction=True) as pipe:
        pipe.xrevrange(LIVE_KEY, count=count)
        pipe.xinfo_stream(LIVE_KEY)
        newest, about = pipe.execute(raise_on_error=False)
    if isinstance(newest, RedisError):
        raise newest
    if isinstance(about, ResponseError):
        # There is no such stream yet.
        return Tail(events=_events(newest[::-1]), is_whole=not newest)
    if isinstance(about, RedisError):
        raise about
    return Tail(events=_events(newest[::-1]), is_whole=about.get("entries-added") == len(newest))


def _events(entries: Sequence[Any]) -> list[Event]:
    return [
        Event(id=_text(entry_id), readings=_objects(fields, b"readings"), forecasts=_objects(fields, b"forecasts"))
        for entry_id, fields in entries
    ]


def _objects(fields: Mapping[bytes, bytes], name: bytes) -> list[dict[str, Any]]:
    """One of an entry's lists; empty for an entry that is not ours, has no such list, or is of another version."""
    try:
        objects = orjson.loads(fields[name])
    except (KeyError, ValueError):
        return []
    return objects if isinstance(objects, list) else []


def newest_id(redis: "Redis") -> str:
    """The id of the newest entry; ``START_ID`` for an empty stream."""
    return _edge(redis.xrevrange(LIVE_KEY, count=1))


def oldest_id(redis: "Redis") -> str:
    """The id of the oldest entry that is still there; ``START_ID`` for an empty stream."""
    return _edge(redis.xrange(LIVE_KEY, count=1))


def _edge(entries: Any) -> str:
    return _text(entries[0][0]) if entries else START_ID


def _entries(answer: Any) -> list[Any]:
    if not answer:
        return []
    streams = answer.items() if isinstance(answer, dict) else answer
    for _key, entries in streams:
        # redis-py wraps the entries of one key in a further list when it speaks RESP3.
        return list(entries[0] if len(entries) == 1 and isinstance(entries[0], list) else entries)
    return []


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
