"""Who may use the API: a bearer token with the scope, or, to read, whoever is signed in to the pages."""

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar, cast

from flask import Response, g, request

from app.connections import connections
from app.declared import mark
from app.errors import problem
from app.session.identity import signed_in_user
from streamgauge.storage.api_tokens import ApiToken, use_token

Scope = Literal["read", "ingest", "write"]
TOKEN_PREFIX = "sg_"  # noqa: S105 - a mark by which leaked tokens are found, not a secret
TOKEN_BYTES = 32
MAX_TOKEN_LENGTH = 256
MAX_KNOWN = 4_096
P = ParamSpec("P")
R = TypeVar("R")


def make_token() -> str:
    """A new token; it is shown once and kept only as its hash."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def token_sha256(token: str) -> bytes:
    """What is kept of a token. A plain hash is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def needs(scope: Scope) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """Refuse a call without a token of this scope.

    ``read``: every GET; a session of the pages may read, too. ``ingest``: readings come in (POST /readings, webhooks). ``write``:
    whatever else changes something; it implies ``ingest``.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R | Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
            refusal = _refusal(scope)
            return view(*args, **kwargs) if refusal is None else refusal

        return mark(cast("Callable[P, R | Response]", guarded), f"scope:{scope}")

    return decorate


def token_name() -> str:
    """The name of the token that this call was let in with; empty for a session."""
    return str(g.get("api_token_name", ""))


def bearer_sha256() -> bytes | None:
    """The hash of the token that the current request brings, good or not; None without one."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token_sha256(token.strip()) if kind.lower() == "bearer" else None


class _Known:
    """Hashes of tokens that were good when they were last looked up, for what must not cost a query. It opens no door."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def note(self, sha256: bytes, *, good: bool) -> None:
        with self._lock:
            self._hashes.pop(sha256, None)
            if good:
                self._hashes[sha256] = None
                if len(self._hashes) > MAX_KNOWN:
                    self._hashes.popitem(last=False)

    def holds(self, sha256: bytes) -> bool:
        with self._lock:
            return sha256 in self._hashes


_known = _Known()


def is_known(sha256: bytes) -> bool:
    """Whether the token of this hash was good when this process last looked it up."""
    return _known.holds(sha256)


def _refusal(scope: Scope) -> Response | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        known = _find(token.strip())
        if known is None:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return problem(401, "Token not valid", "The bearer token is unknown, expired or revoked.", headers)
        if not known.may(scope):
            headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
            detail = f"This call needs a token with the scope {scope!r}; this one has not got it."
            return problem(403, "Scope missing", detail, headers)
        g.api_token_name = known.name
        return None
    if scope == "read" and signed_in_user() is not None:
        return None
    detail = (
        "Send a token as 'Authorization: Bearer …'; make one on the page /account or with 'python -m app create-token'."
    )
    return problem(401, "Token missing", detail, {"WWW-Authenticate": "Bearer"})


def _find(token: str) -> ApiToken | None:
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None
    sha256 = token_sha256(token)
    with connections().engine.begin() as connection:
        found = use_token(connection, sha256)
    _known.note(sha256, good=found is not None)
    return found
