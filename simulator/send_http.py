"""Readings over HTTP: ``POST /api/v1/readings`` with a bearer token, an array at a time, over one connection kept
alive.

201 means committed. 503 (and what else passes by itself) is repeated after the time that ``Retry-After`` asks for;
repeating is harmless, as a reading is stored once however often it comes.
"""

import http.client
import logging
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from simulator.errors import InputFault, Refused, Unreachable
from simulator.ledger import Ledger
from streamgauge.reading import Reading
from streamgauge.wire import encode_reading

log = logging.getLogger(__name__)

API_PATH = "/api/v1/readings"
_LONGEST_RETRY_AFTER_S = 300.0
_MOST_OF_AN_ANSWER = 1 << 20
_PASSES_BY_ITSELF = frozenset({408, 425, 429, 500, 502, 503, 504})
_READINGS_REFUSED = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Where to and how.

    Args:
        url: of the server (``http://host:port``: the API's path is added) or of the resource itself.
        token: bearer token, if the server wants one.
        batch_size: readings in one request;
        batch_age_s: fewer leave when the first has waited so long.
        timeout_s: for one request.
        first_pause_s: pause before the first repeat where the server names none, then doubling
        longest_pause_s: up to this, with jitter.
        give_up_s: so long without success ends the run; None never.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    batch_size: int = 50
    batch_age_s: float = 1.0
    timeout_s: float = 30.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    give_up_s: float | None = 120.0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str | None
    body: bytes


class HttpSender:
    """Sends readings by HTTP; see the module. One request at a time.

    Raises:
        InputFault: the URL cannot be used.
        Unreachable: no success for too long.
        Refused: the server does not want us (token, path, method).
    """

    def __init__(self, options: HttpOptions) -> None:
        self.ledger = Ledger()
        self._options = options
        self._open: list[Reading] = []
        self._open_since_s = 0.0
        self._connection, self._path = _connection_to(options)

    def send(self, reading: Reading) -> None:
        """Take one reading; a full array is posted and waited for."""
        if not self._open:
            self._open_since_s = time.monotonic()
        self._open.append(reading)
        if len(self._open) >= self._options.batch_size:
            self._post_open()

    def wait(self, seconds: float) -> None:
        """Let time pass; an array that is old enough is posted."""
        deadline_s = time.monotonic() + seconds
        if self._open:
            age_out_s = self._open_since_s + self._options.batch_age_s
            if age_out_s <= deadline_s:
                time.sleep(max(age_out_s - time.monotonic(), 0.0))
                self._post_open()
        time.sleep(max(deadline_s - time.monotonic(), 0.0))

    def finish(self) -> None:
        """Post what is left."""
        if self._open:
            self._post_open()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _post_open(self) -> None:
        readings, self._open = self._open, []
        body = orjson.dumps([encode_reading(reading) for reading in readings])
        self.ledger.sent += len(readings)
        self.ledger.unanswered += len(readings)
        self.ledger.messages += 1
        self._settle(self._post_until_answered(body, len(readings)), len(readings))

    def _post_until_answered(self, body: bytes, readings: int) -> _Answer:
        start_s = time.monotonic()
        attempt = 0
        while True:
            problem, asked_pause_s = "", None
            try:
                answer = self._post(body)
                if answer.status not in _PASSES_BY_ITSELF:
                    return answer
                problem = f"it answers {answer.status} {_detail(answer.body)}".rstrip()
                asked_pause_s = retry_after_s(answer.retry_after, datetime.now(UTC))
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self._fail_if_untrusted(error)
                problem = str(error) or type(error).__name__
            pause_s = asked_pause_s if asked_pause_s is not None else self._pause_s(attempt)
            self._check_patience(start_s, pause_s, problem)
            log.warning("The server did not take the readings; trying again", extra={"reason": problem})
            time.sleep(pause_s)
            attempt += 1
            self.ledger.resent += readings
            self.ledger.messages_resent += 1

    def _post(self, body: bytes) -> _Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json, application/problem+json"}
        if self._options.token is not None:
            headers["Authorization"] = f"Bearer {self._options.token}"
        self._connection.request("POST", self._path, body, headers)
        response = self._connection.getresponse()
        content = response.read(_MOST_OF_AN_ANSWER)
        if not response.isclosed():
            self._connection.close()
        return _Answer(response.status, response.getheader("Retry-After"), content)

    def _settle(self, answer: _Answer, readings: int) -> None:
        if 200 <= answer.status < 300:
            stored, dead = _counts(answer.body, readings)
        elif answer.status in _READINGS_REFUSED:
            stored, dead = 0, readings
            reason = _detail(answer.body)
            log.warning("The server refused readings", extra={"status": answer.status, "reason": reason, "dead": dead})
        else:
            raise Refused(
                f"{self._options.url} refuses with {answer.status} {_detail(answer.body)}. "
                "Check the address, and the token (STREAMGAUGE_API_TOKEN or --token-file)."
            )
        self.ledger.stored = (self.ledger.stored or 0) + stored
        self.ledger.dead += dead
        self.ledger.unanswered -= readings

    def _pause_s(self, attempt: int) -> float:
        pause_s = min(self._options.longest_pause_s, self._options.first_pause_s * 2.0 ** min(attempt, 30))
        return pause_s * random.uniform(0.75, 1.25)

    def _check_patience(self, start_s: float, pause_s: float, problem: str) -> None:
        patience_s = self._options.give_up_s
        if patience_s is not None and time.monotonic() + pause_s > start_s + patience_s:
            raise Unreachable(f"{self._options.url} took nothing for {patience_s:g} s: {problem}")

    def _fail_if_untrusted(self, error: Exception) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise Refused(f"{self._options.url} cannot be trusted: {error}") from error


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The pause in seconds that a ``Retry-After`` header asks for (RFC 9110, section 10.2.3), at most five minutes."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), _LONGEST_RETRY_AFTER_S)


def _connection_to(options: HttpOptions) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(options.url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputFault("The address cannot be used", [f"{options.url!r}: {error}"]) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise InputFault("The address cannot be used", [f"{options.url!r} must look like http://host:port"])
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = parts.path if parts.path not in {"", "/"} else API_PATH
    return kind(host, port, timeout=options.timeout_s), path + (f"?{parts.query}" if parts.query else "")


def _counts(body: bytes, readings: int) -> tuple[int, int]:
    """How many the server says it stored and refused; 201 alone means all."""
    content = _object(body)
    stored, dead = content.get("stored"), content.get("dead", 0)
    if type(stored) is int and type(dead) is int:
        return stored, dead
    return readings, 0


def _detail(body: bytes) -> str:
    content = _object(body)
    said = [str(content[key]) for key in ("title", "detail") if content.get(key)]
    return ": ".join(said)[:400]


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
