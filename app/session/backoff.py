"""Slowing down guesses: after a few failures, each further one doubles the wait, per user and address and per address alone."""

import hashlib
from dataclasses import dataclass

from redis import Redis

FREE_FAILURES = 4
FREE_FAILURES_OF_ADDRESS = 20
FIRST_WAIT_S = 2
LONGEST_WAIT_S = 900
FORGET_AFTER_S = 3_600
_KEY = "streamgauge:login:"


@dataclass(frozen=True, slots=True)
class Guesser:
    """Who tries: a stated user name from an address. Redis only sees hashes of both."""

    user: str
    address: str

    @property
    def keys(self) -> tuple[tuple[str, int], ...]:
        """Redis keys, each with the number of failures that cost nothing."""
        both = hashlib.sha256(f"{self.user}\n{self.address}".encode()).hexdigest()[:32]
        address = hashlib.sha256(self.address.encode()).hexdigest()[:32]
        return (f"{_KEY}both:{both}", FREE_FAILURES), (f"{_KEY}address:{address}", FREE_FAILURES_OF_ADDRESS)


def wait_left_s(redis: Redis, guesser: Guesser) -> int:
    """Seconds until this guesser may try again; 0 for now.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    return max(0, *(int(redis.ttl(f"{key}:wait")) for key, _ in guesser.keys))


def note_failure(redis: Redis, guesser: Guesser) -> None:
    """Count a failure, and make the guesser wait if there were too many.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    for key, free in guesser.keys:
        failures: int = redis.incr(key)
        redis.expire(key, FORGET_AFTER_S)
        if failures > free:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - free - 1, 20))
            redis.set(f"{key}:wait", 1, ex=wait_s)


def forget(redis: Redis, guesser: Guesser) -> None:
    """Forget this user's failures from this address, after the right password.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    key, _ = guesser.keys[0]
    redis.delete(key, f"{key}:wait")
