"""How often one caller may ask: a token, a session, else an address. Counted in Redis; per process while Redis is away.

What brings readings in may come ten times as often, as one gateway speaks for many sensors. Health, metrics and static files are
not counted. Failed sign-ins of strangers at one address have a limit of their own beside ``app.session.backoff``; a browser in
which the user signed in before is no stranger, and is counted by itself, so that nobody at the same address can keep it out.
"""

import hashlib
import logging
import re
import time

from flask import Flask, Response, current_app, g, request, session
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from werkzeug.exceptions import HTTPException

from app.api.access import bearer_sha256, is_known
from app.connections import connections
from app.declared import NEEDS
from app.session.backoff import is_known_browser, known_user

INGEST_FACTOR = 10
FAILED_SIGN_INS = "30/minute;200/hour"
LOGIN_PATH = "/login"
UNCOUNTED = re.compile(r"/(health(/.*)?|metrics)")
STORAGE_TIMEOUT_S = 1
_NUMBER = re.compile(r"\d+")


def caller() -> str:
    """Who asks, as far as it is known without a query: a token that was good a while ago, a session, a browser, an address."""
    sha256 = bearer_sha256()
    if sha256 is not None and is_known(sha256):
        return f"token:{sha256.hex()[:32]}"
    session_id = session.get("session")
    if sha256 is None and isinstance(session_id, int):
        return f"session:{session_id}"
    user = known_user()
    if user is not None:
        return f"known:{hashlib.sha256(user.encode(errors='surrogatepass')).hexdigest()[:32]}"
    return address()


def address() -> str:
    """The address of who asks."""
    return f"address:{request.remote_addr or 'unknown'}"


def init_app(app: Flask) -> None:
    """Count requests, unless ``RATE_LIMIT`` is off."""
    with app.app_context():
        settings = connections().settings
    if not settings.rate_limit:
        return
    # It logs each refusal at INFO; the request has its own line, which says 429.
    logging.getLogger("flask-limiter").setLevel(logging.WARNING)
    usual, generous = settings.rate_limit, times(settings.rate_limit, INGEST_FACTOR)
    limiter = Limiter(
        caller,
        application_limits=[
            ApplicationLimit(lambda: generous if _is_ingest() else usual, error_message=_detail),
            ApplicationLimit(
                FAILED_SIGN_INS,
                key_function=address,
                scope="login",
                exempt_when=lambda: not _is_stranger_signing_in(),
                deduct_when=lambda response: response.status_code == 401,
                error_message=_detail,
            ),
        ],
        storage_uri=settings.redis_url,
        storage_options={"socket_timeout": STORAGE_TIMEOUT_S, "socket_connect_timeout": STORAGE_TIMEOUT_S},
        key_prefix="streamgauge",
        in_memory_fallback_enabled=True,
        swallow_errors=True,
        on_breach=_note_wait,
    )
    limiter.request_filter(lambda: UNCOUNTED.fullmatch(request.path) is not None)
    app.after_request(_tell_wait)
    limiter.init_app(app)


def times(limits: str, factor: int) -> str:
    """Limits so many times as high: ``600/minute;50/second`` becomes ``6000/minute;500/second``."""
    return _NUMBER.sub(lambda found: str(int(found[0]) * factor), limits)


def _is_stranger_signing_in() -> bool:
    if (request.path, request.method) != (LOGIN_PATH, "POST"):
        return False
    try:
        return not is_known_browser(request.form.get("name", ""))
    except HTTPException:  # The form cannot be read; whoever reads it next says so.
        return True


def _is_ingest() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, NEEDS, None) == "scope:ingest"


def _note_wait(limit: RequestLimit) -> None:
    g.retry_after_s = max(1, int(limit.reset_at - time.time()) + 1)


def _detail() -> str:
    return f"Too many requests from this caller. Try again in {g.get('retry_after_s', 1)} s."


def _tell_wait(response: Response) -> Response:
    if response.status_code == 429 and "retry_after_s" in g:
        response.headers["Retry-After"] = str(g.retry_after_s)
    return response
