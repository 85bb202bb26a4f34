"""The sign-in page, and signing out."""

import logging

from flask import Blueprint, Flask, Response, redirect, render_template, request
from flask_wtf.csrf import CSRFProtect
from redis import RedisError

from app.connections import connections
from app.declared import public
from app.i18n import words
from app.preferences import safe_next
from app.session import oidc
from app.session.backoff import Guesser, forget, is_known_browser, note_failure, remember_browser, wait_left_s
from app.session.identity import close_session, open_session, signed_in_user
from app.session.passwords import hash_password, is_outdated, is_right
from streamgauge.storage.users import User, find_user, set_password_hash

log = logging.getLogger(__name__)
MAX_NAME_LENGTH = 64

blueprint = Blueprint("session", __name__)


@blueprint.get("/login")
@public
def login() -> Response | str:
    """Show the form, or go on if one is signed in already."""
    if signed_in_user() is not None:
        return redirect(safe_next(request.args.get("next")))  # type: ignore[return-value]
    return sign_in_page(safe_next(request.args.get("next")))


@blueprint.post("/login")
@public
def submit_login() -> Response | tuple[str, int]:
    """Check name and password; a wrong pair says no more than that."""
    name, password = request.form.get("name", "")[:MAX_NAME_LENGTH], request.form.get("password", "")
    guesser = Guesser(name, request.remote_addr or "", is_known_browser(name))
    wait_s = seconds_to_wait(guesser)
    if wait_s > 0:
        return _again(name, words()("login.wait", seconds=wait_s), 429)
    user = _check(name, password)
    if user is None:
        count_failure(guesser)
        return _again(name, words()("login.wrong"), 401)
    open_session(user)
    _forget_failures(guesser)
    answer: Response = redirect(safe_next(request.form.get("next")), code=303)  # type: ignore[assignment]
    return remember_browser(answer, name)


@blueprint.get("/login/oidc")
@public
def begin_oidc() -> Response | tuple[str, int]:
    """Go to the OpenID provider to sign in there."""
    try:
        return oidc.begin(safe_next(request.args.get("next")))
    except oidc.OidcRefused as refused:
        return _refused(refused, safe_next(request.args.get("next")))


@blueprint.get("/login/oidc/callback")
@public
def end_oidc() -> Response | tuple[str, int]:
    """Come back from the OpenID provider."""
    try:
        user, target = oidc.finish()
    except oidc.OidcRefused as refused:
        return _refused(refused, "/")
    open_session(user, "oidc")
    return redirect(safe_next(target), code=303)  # type: ignore[return-value]


@blueprint.post("/logout")
@public
def logout() -> Response:
    """Sign out."""
    close_session()
    return redirect("/login", code=303)  # type: ignore[return-value]


def sign_in_page(target: str, name: str = "", problem: str | None = None) -> str:
    """The page with the form, and the button of the OpenID provider if there is one."""
    return render_template("session/login.html", next=target, name=name, problem=problem, oidc_name=oidc.button())


def seconds_to_wait(guesser: Guesser) -> int:
    """How long this guesser has to wait; 0 without Redis.

    Then nobody is locked out: argon2 itself slows guessing, and an operator must get in when Redis is down.
    """
    try:
        return wait_left_s(connections().redis, guesser)
    except RedisError:
        log.warning("sign-in backoff unavailable", exc_info=True)
        return 0


def count_failure(guesser: Guesser) -> None:
    """Count a wrong password, if Redis answers."""
    try:
        note_failure(connections().redis, guesser)
    except RedisError:
        log.warning("sign-in backoff unavailable", exc_info=True)


def _check(name: str, password: str) -> User | None:
    with connections().engine.connect() as connection:
        user = find_user(connection, name)
    if user is not None and user.disabled_at is not None:
        user = None
    if not is_right(user.password_hash if user else None, password) or user is None:
        return None
    if not is_outdated(user.password_hash):
        return user
    with connections().engine.begin() as connection:
        set_password_hash(connection, user.id, hash_password(password))
        return find_user(connection, name)


def _again(name: str, problem: str, status: int) -> tuple[str, int]:
    return sign_in_page(safe_next(request.form.get("next")), name, problem), status


def _refused(refused: oidc.OidcRefused, target: str) -> tuple[str, int]:
    log.warning("sign-in by OpenID refused", extra={"reason": refused.reason, "detail": refused.detail})
    problem = words()(f"login.oidc.{refused.reason}", name=connections().settings.oidc_name)
    return sign_in_page(target, "", problem), refused.status


def _forget_failures(guesser: Guesser) -> None:
    try:
        forget(connections().redis, guesser)
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
    oidc.init_app(app)
    app.register_blueprint(blueprint)
