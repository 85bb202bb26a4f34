"""Who is asking: the user of the session cookie, checked against the database on every request."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import Flask, Response, current_app, g, redirect, request, session, url_for

from app.connections import connections
from streamgauge.storage.users import User, get_user

SESSION_LIFETIME = timedelta(days=14)
P = ParamSpec("P")
R = TypeVar("R")


def fingerprint(user: User) -> str:
    """Binds a session to the password it was opened with: changing the password ends every session."""
    key = cast("str", current_app.config["SECRET_KEY"]).encode()
    return hmac.new(key, user.password_hash.encode(), hashlib.sha256).hexdigest()[:32]


def open_session(user: User) -> None:
    """Sign this browser in, with nothing left of the session before."""
    session.clear()
    session.permanent = True
    session.update(user=user.id, password=fingerprint(user))


def signed_in_user() -> User | None:
    """The user of this request's session, if the session still holds."""
    if "user" not in g:
        g.user = _load_user()
    return cast("User | None", g.user)


def _load_user() -> User | None:
    user_id = session.get("user")
    if not isinstance(user_id, int):
        return None
    with connections().engine.connect() as connection:
        user = get_user(connection, user_id)
    if user is None or user.disabled_at is not None:
        return None
    return user if hmac.compare_digest(str(session.get("password")), fingerprint(user)) else None


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

    return guarded


def _where_one_was() -> str:
    path: str = request.full_path if request.query_string else request.path
    return path


def init_identity(app: Flask) -> None:
    """Templates know who is signed in."""

    def identity() -> dict[str, Any]:
        return {"user": signed_in_user}

    app.context_processor(identity)
