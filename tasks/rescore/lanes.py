"""How many chunk tasks there are: a few chains, each of tasks that enqueue their own successor, told apart by leases in Redis.

A chain renews its lease with every chunk. One that ends gives it back; one that is lost (its worker killed, the queue deleted)
lets it run out, and ``tend`` begins another in its lane. A chain whose lease has gone to another one ends. All of it is a hint:
too many chains would only find each other's chunks locked.
"""

from typing import Any

from redis import Redis, RedisError

from streamgauge.queue import new_task_id

LEASE_S = 15.0
KEY = "streamgauge:rescore:lane:{}"
_RENEW = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end"
)
_GIVE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"


def begin_chain(redis: "Redis", lane: int) -> str | None:
    """The name of a new chain in a lane; None: a chain is there.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    chain = new_task_id()
    taken = redis.set(KEY.format(lane), chain, nx=True, px=int(LEASE_S * 1000))
    return chain if taken else None


def clear_lanes(redis: "Redis", lanes: int) -> None:
    """Forget every chain: those that live end at their next chunk.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    redis.delete(*(KEY.format(lane) for lane in range(lanes)))


def renew(redis: "Redis", lane: int, chain: str) -> bool:
    """Keep a chain's lease; False: it is no longer this chain's, or Redis does not say."""
    return _ask(redis, _RENEW, lane, chain, str(int(LEASE_S * 1000)))


def give_back(redis: "Redis", lane: int, chain: str) -> None:
    """End a chain's lease, so that its lane is free at once."""
    _ask(redis, _GIVE_BACK, lane, chain)


def _ask(redis: "Redis", script: str, lane: int, *values: str) -> bool:
    try:
        answer: Any = redis.eval(script, 1, KEY.format(lane), *values)
    except RedisError:
        return False
    return bool(answer)
