"""Slowing down guesses: after a few failures, each further one doubles the wait.

Strangers' failures are counted three ways: per user and address, per address alone, and per user from whatever address. A
browser that signed in as this user before (the "device cookie" of OWASP's authentication cheat sheet) has counts of its own and
waits for none of those, so that nobody can keep a user out by failing on purpose: not from anywhere, and not from the address
that the user's office shares.
"""

import hashlib
from dataclasses import dataclass

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from redis import Redis

FREE_FAILURES = 4
FREE_FAILURES_OF_ADDRESS = 20
FREE_FAILURES_OF_USER = 40
FIRST_WAIT_S = 2
LONGEST_WAIT_S = 900
LONGEST_WAIT_OF_USER_S = 60
FORGET_AFTER_S = 3_600
KNOWN_COOKIE = "streamgauge_known"
KNOWN_MAX_AGE_S = 365 * 86_400
_KEY = "streamgauge:login:"


@dataclass(frozen=True, slots=True)
class _Count:
    """A count of failures: its Redis key, how many cost nothing, the longest wait."""

    key: str
    free: int
    longest_s: int


@dataclass(frozen=True, slots=True)
class Guesser:
    """Who tries: a stated user name from an address, perhaps in a browser known to be this user's. Redis only sees hashes."""

    user: str
    address: str
    is_known: bool = False

    @property
    def counts(self) -> tuple[_Count, ...]:
        """What this guesser's failures count for, and waits for; the first is forgotten after the right password."""
        pair = f"{self.user}\n{self.address}"
        if self.is_known:
            # The second is for who has stolen such a browser's cookie and comes from many addresses.
            return (
                _Count(_hashed("known", pair), FREE_FAILURES, LONGEST_WAIT_S),
                _Count(_hashed("known-user", self.user), FREE_FAILURES_OF_USER, LONGEST_WAIT_OF_USER_S),
            )
        return (
            _Count(_hashed("both", pair), FREE_FAILURES, LONGEST_WAIT_S),
            _Count(_hashed("address", self.address), FREE_FAILURES_OF_ADDRESS, LONGEST_WAIT_S),
            _Count(_hashed("user", self.user), FREE_FAILURES_OF_USER, LONGEST_WAIT_OF_USER_S),
        )


def _hashed(kind: str, content: str) -> str:
    return f"{_KEY}{kind}:{hashlib.sha256(content.encode(errors='surrogatepass')).hexdigest()[:32]}"


def wait_left_s(redis: Redis, guesser: Guesser) -> int:
    """Seconds until this guesser may try again; 0 for now.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    return max(0, *(int(redis.ttl(f"{count.key}:wait")) for count in guesser.counts))


def note_failure(redis: Redis, guesser: Guesser) -> None:
    """Count a failure, and make the guesser wait if there were too many.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    for count in guesser.counts:
        failures: int = redis.incr(count.key)
        redis.expire(count.key, FORGET_AFTER_S)
        if failures > count.free:
            wait_s = min(count.longest_s, FIRST_WAIT_S * 2 ** min(failures - count.free - 1, 20))
            redis.set(f"{count.key}:wait", 1, ex=wait_s)


def forget(redis: Redis, guesser: Guesser) -> None:
    """Forget this user's failures from this address, after the right password.

    Raises:
        redis.RedisError: Redis did not answer.
    """
    key = guesser.counts[0].key
    redis.delete(key, f"{key}:wait")


def is_known_browser(user: str) -> bool:
    """Whether the current request comes from a browser in which this user signed in before."""
    return known_user() == user


def known_user() -> str | None:
    """Who signed in before in the browser that the current request comes from; only ``/login`` is told."""
    try:
        return str(_serializer().loads(request.cookies.get(KNOWN_COOKIE, "")))
    except BadSignature:
        return None


def remember_browser(response: Response, user: str) -> Response:
    """Let the browser show later that this user signed in with it. The cookie opens nothing."""
    response.set_cookie(
        KNOWN_COOKIE,
        str(_serializer().dumps(user)),
        max_age=KNOWN_MAX_AGE_S,
        path="/login",
        httponly=True,
        samesite="Lax",
        secure=current_app.config["SESSION_COOKIE_SECURE"],
    )
    return response


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="streamgauge known browser")
