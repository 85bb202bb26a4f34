"""The sign-in page."""

import logging

from flask import Blueprint, Flask, Response, redirect, render_template, request
from flask_wtf.csrf import CSRFProtect
from redis import Redis, RedisError

from app.connections import connections
from app.declared import public
from app.i18n import words
from app.preferences import safe_next
from app.session.backoff import Guesser, forget, note_failure, wait_left_s
from app.session.identity import close_session, open_session, signed_in_user
from app.session.passwords import is_right
from streamgauge.storage.users import User, find_user

log = logging.getLogger(__name__)
MAX_NAME_LENGTH = 64

blueprint = Blueprint("session", __name__)


@blueprint.get("/login")
@public
def login() -> Response | str:
    """Show the form, or go on if one is signed in already."""
    if signed_in_user() is not None:
        return redirect(safe_next(request.args.get("next")))  # type: ignore[return-value]
    return render_template("session/login.html", next=safe_next(request.args.get("next")), name="", problem=None)


@blueprint.post("/login")
@public
def submit_login() -> Response | tuple[str, int]:
    """Check name and password; a wrong pair says no more than that."""
    name, password = request.form.get("name", "")[:MAX_NAME_LENGTH], request.form.get("password", "")
    guesser = Guesser(name, request.remote_addr or "")
    redis = connections().redis
    wait_s = _wait_left_s(redis, guesser)
    if wait_s > 0:
        return _again(name, words()("login.wait", seconds=wait_s), 429)
    user = _check(name, password)
    if user is None:
        _count_failure(redis, guesser)
        return _again(name, words()("login.wrong"), 401)
    open_session(user)
    _forget_failures(redis, guesser)
    return redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[return-value]


@blueprint.post("/logout")
@public
def logout() -> Response:
    """Sign out."""
    close_session()
    return redirect("/login", code=303)  # type: ignore[return-value]


def _check(name: str, password: str) -> User | None:
    with connections().engine.connect() as connection:
        user = find_user(connection, name)
    if user is not None and user.disabled_at is not None:
        user = None
    return user if is_right(user.password_hash if user else None, password) else None


def _again(name: str, problem: str, status: int) -> tuple[str, int]:
    return render_template(
        "session/login.html", next=safe_next(request.form.get("next")), name=name, problem=problem
    ), status


def _wait_left_s(redis: Redis, guesser: Guesser) -> int:
    # Without Redis nobody is locked out: argon2 itself slows guessing, and an operator must get in when Redis is down.
    try:
        return wait_left_s(redis, guesser)
    except RedisError:
        log.warning("sign-in backoff unavailable", exc_info=True)
        return 0


def _count_failure(redis: Redis, guesser: Guesser) -> None:
    try:
        note_failure(redis, guesser)
    except RedisError:
        log.warning("sign-in backoff unavailable", exc_info=True)


def _forget_failures(redis: Redis, guesser: Guesser) -> None:
    try:
        forget(redis, guesser)
    except RedisError:
        log.warning("sign-in backoff unavailable", exc_info=True)


def init_app(app: Flask, exempt: Blueprint) -> None:
    """Serve sign-in, and refuse every form without its CSRF token except the exempt API's: a token is no cookie."""
    # It logs each refusal at INFO; the request has its own line, which says 400.
    logging.getLogger("flask_wtf.csrf").setLevel(logging.WARNING)
    # A page may be open for a whole night and then be used: its forms hold as long as its session.
    app.config["WTF_CSRF_TIME_LIMIT"] = None
    csrf = CSRFProtect()
    csrf.init_app(app)
    csrf.exempt(exempt)
    app.register_blueprint(blueprint)
