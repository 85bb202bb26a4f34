"""Who is asking: the session's random token in the signed cookie, looked up with its user on every request.

The cookie holds the token, the CSRF secret and nothing that is trusted by itself: what counts is the row of ``sessions``, which
knows only the token's SHA-256. A token is replaced every quarter of an hour by one that follows from it, the time and the secret
key: an answer that took longer than a rotation brings the token of now in its cookie, not the one that it began with.
"""

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.connections import connections
from app.declared import mark
from streamgauge.storage import sessions as storage
from streamgauge.storage.sessions import Limits, OpenSession
from streamgauge.storage.users import User

log = logging.getLogger(__name__)
SESSION_LIFETIME = timedelta(days=30)
TOKEN_BYTES = 32
MAX_ADDRESS_LENGTH = 64
P = ParamSpec("P")
R = TypeVar("R")


def fingerprint(user: User) -> str:
    """Binds a session to the password it was opened with: changing the password ends every session."""
    key = cast("str", current_app.config["SECRET_KEY"]).encode()
    return hmac.new(key, user.password_hash.encode(), hashlib.sha256).hexdigest()[:32]


def open_session(user: User, provider: str = "password") -> None:
    """Sign this browser in, with nothing left of the session before: neither its token nor its CSRF secret."""
    close_session()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with connections().engine.begin() as connection:
        session_id = storage.add_session(
            connection,
            token_sha256=_sha256(token),
            user_id=user.id,
            limits=_limits(),
            address=(request.remote_addr or "")[:MAX_ADDRESS_LENGTH],
            agent=request.user_agent.string,
            provider=provider,
        )
    session.permanent = True
    session.update(token=token, session=session_id, password=fingerprint(user))


def close_session() -> None:
    """Sign this browser out: its session ends, and the cookie is emptied."""
    found = _open_session()
    if found is not None:
        with connections().engine.begin() as connection:
            storage.end_sessions(connection, found.user.id, only=found.id)
    session.clear()
    g.pop("open_session", None)


def keep_session(user: User) -> None:
    """Let this browser's session outlive the change of its user's password that was just made in it."""
    session["password"] = fingerprint(user)
    g.pop("open_session", None)


def signed_in_user() -> User | None:
    """The user of this request's session, if the session still holds."""
    found = _open_session()
    return None if found is None else found.user


def current_session_id() -> int | None:
    """The row of this request's session, if the session still holds."""
    found = _open_session()
    return None if found is None else found.id


def sessions_alive(connection: Connection, session_ids: Collection[int]) -> set[int]:
    """Which of these sessions hold still: neither ended nor expired, their users not disabled. One query for all."""
    return storage.living_sessions(connection, session_ids)


def _open_session() -> OpenSession | None:
    if "open_session" not in g:
        g.open_session = _load()
    return cast("OpenSession | None", g.open_session)


def _load() -> OpenSession | None:
    token = session.get("token")
    if not isinstance(token, str):
        return None
    with connections().engine.connect() as connection:
        found = storage.find_session(connection, _sha256(token))
        if found is None or not hmac.compare_digest(str(session.get("password")), fingerprint(found.user)):
            return None
        if found.is_due and _may_rotate():
            _rotate(connection, found, token)
            connection.commit()
        elif found.is_stale:
            storage.note_use(connection, found.id, _limits())
            connection.commit()
    return found


def _may_rotate() -> bool:
    # A handshake's answer carries no cookie; and that of a form may be long in coming.
    return request.method == "GET" and "Upgrade" not in request.headers


def _rotate(connection: Connection, found: OpenSession, token: str) -> None:
    new = _next_token(token, found.at)
    if storage.rotate(connection, found, old_sha256=_sha256(token), new_sha256=_sha256(new), limits=_limits()):
        session["token"] = new


def _next_token(token: str, at: datetime) -> str:
    key = cast("str", current_app.config["SECRET_KEY"]).encode()
    content = f"next token\n{token}\n{at.astimezone(UTC).isoformat()}".encode()
    return base64.urlsafe_b64encode(hmac.new(key, content, hashlib.sha256).digest()).rstrip(b"=").decode()


def _send_newest_token(response: Response) -> Response:
    """Write no token into the cookie that was replaced while this answer was made: another answer has brought the new one."""
    token, session_id = session.get("token"), session.get("session")
    if not session.modified or not isinstance(token, str) or not isinstance(session_id, int):
        return response
    try:
        with connections().engine.connect() as connection:
            last = storage.last_rotation(connection, session_id)
    except SQLAlchemyError:
        log.warning("a session's token could not be looked up", exc_info=True)
        return response
    if last is None or last.token_sha256 == _sha256(token):
        return response
    newest = _next_token(token, last.rotated_at)
    if last.previous_sha256 == _sha256(token) and last.token_sha256 == _sha256(newest):
        session["token"] = newest
    else:
        # Replaced more than once: then the cookie that the browser has is the better one, even if a word to its user is lost.
        session.modified = False
    return response


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _limits() -> Limits:
    settings = connections().settings
    return Limits(idle_s=settings.session_idle_s, lifetime_s=settings.session_lifetime_s)


def login_required(view: Callable[P, R]) -> Callable[P, R | Response]:
    """Send whoever is not signed in to the sign-in page, and back afterwards."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        if signed_in_user() is not None:
            return view(*args, **kwargs)
        target = url_for("session.login", next=_where_one_was())
        if "HX-Request" in request.headers:
            # A fragment cannot become a sign-in page: the whole page goes there.
            return Response(status=401, headers={"HX-Redirect": target})
        return cast("Response", redirect(target))

    return mark(cast("Callable[P, R | Response]", guarded), "viewer")


def _where_one_was() -> str:
    if request.method != "GET":
        return "/"
    path: str = request.full_path if request.query_string else request.path
    return path


def init_identity(app: Flask) -> None:
    """Templates know who is signed in."""

    def identity() -> dict[str, Any]:
        return {"user": signed_in_user}

    with app.app_context():
        lifetime_s = connections().settings.session_lifetime_s
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=lifetime_s)
    # Otherwise an answer that was under way during a rotation would bring the token before back.
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    app.after_request(_send_newest_token)
    app.context_processor(identity)
