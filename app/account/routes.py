"""``/account``: one's own password, sessions, tokens."""

from collections.abc import Mapping
from typing import Any, cast

from flask import Blueprint, Response, abort, flash, redirect, render_template, request

from app.account.page import account_page, read_token_form
from app.addresses import LARGEST_ID
from app.api.access import make_token, token_sha256
from app.connections import connections
from app.i18n import words
from app.session.backoff import Guesser
from app.session.identity import current_session_id, keep_session, signed_in_user
from app.session.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, hash_password, is_right, weakness
from app.session.roles import needs_role
from app.session.routes import count_failure, seconds_to_wait
from streamgauge.storage.api_tokens import add_token, count_usable, revoke_token
from streamgauge.storage.audit import write_audit
from streamgauge.storage.sessions import end_sessions
from streamgauge.storage.users import NO_PASSWORD, User, get_user, lock_user, set_password_hash

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@needs_role("viewer")
def show() -> str:
    """The page."""
    return _page()[0]


@blueprint.post("/account/password")
@needs_role("viewer")
def change_password() -> Response | tuple[str, int]:
    """Change one's password: every other session ends."""
    user = _me()
    if user.password_hash == NO_PASSWORD:
        abort(403)
    faults = _password_faults(user)
    if faults:
        return _page(422, password_faults=faults)
    hashed = hash_password(request.form.get("new", ""))
    with connections().engine.begin() as connection:
        lock_user(connection, user.id)
        set_password_hash(connection, user.id, hashed)
        ended = end_sessions(connection, user.id, all_but=current_session_id())
        after = {"sessions_ended": len(ended)}
        write_audit(connection, actor=user.name, action="user.password", subject=f"user {user.name}", after=after)
        changed = get_user(connection, user.id)
    assert changed is not None
    keep_session(changed)
    flash(words()("account.password.changed"))
    return _back()


@blueprint.post("/account/sessions/<int:session_id>/end")
@needs_role("viewer")
def end_session(session_id: int) -> Response:
    """End one of one's sessions."""
    return _end(only=_known_id(session_id), is_this=session_id == current_session_id())


@blueprint.post("/account/sessions/end-others")
@needs_role("viewer")
def end_other_sessions() -> Response:
    """End all of one's sessions but this one."""
    return _end(all_but=current_session_id())


@blueprint.post("/account/tokens")
@needs_role("viewer")
def create_token() -> tuple[str, int]:
    """Make a token; it is shown in this answer and never again."""
    user, token = _me(), make_token()
    with connections().engine.begin() as connection:
        form = read_token_form(request.form, user, count_usable(connection, user.id), words())
        if not form.faults:
            token_id = add_token(
                connection,
                form.name,
                token_sha256(token),
                form.scopes,
                user_id=user.id,
                created_by=user.name,
                expires_at=form.expires_at,
            )
            after = {"name": form.name, "scopes": list(form.scopes), "expires_at": form.expires_at}
            write_audit(connection, actor=user.name, action="token.create", subject=f"token {token_id}", after=after)
    if form.faults:
        return _page(422, form=form)
    return _page(201, new_token=token, new_token_name=form.name)


@blueprint.post("/account/tokens/<int:token_id>/revoke")
@needs_role("viewer")
def revoke(token_id: int) -> Response:
    """Revoke one of one's tokens."""
    user = _me()
    with connections().engine.begin() as connection:
        revoked = revoke_token(connection, _known_id(token_id), user_id=user.id)
        if revoked is None:
            abort(404)
        before = {"name": revoked.name, "scopes": revoked.scopes}
        write_audit(connection, actor=user.name, action="token.revoke", subject=f"token {token_id}", before=before)
    flash(words()("account.tokens.revoked", name=revoked.name))
    return _back()


def _end(*, only: int | None = None, all_but: int | None = None, is_this: bool = False) -> Response:
    user = _me()
    with connections().engine.begin() as connection:
        ended = end_sessions(connection, user.id, only=only, all_but=all_but)
        if ended:
            after = {"sessions": ended}
            write_audit(connection, actor=user.name, action="session.end", subject=f"user {user.name}", after=after)
    if only is not None and not ended:
        abort(404)
    if is_this:
        return cast("Response", redirect("/login", code=303))
    flash(words().count("account.sessions.ended", len(ended)))
    return _back()


def _password_faults(user: User) -> dict[str, str]:
    """What is wrong with the passwords of the form, by field."""
    t, new = words(), request.form.get("new", "")
    guesser = Guesser(user.name, request.remote_addr or "", is_known=True)
    if wait_s := seconds_to_wait(guesser):
        return {"current": t("login.wait", seconds=wait_s)}
    if not is_right(user.password_hash, request.form.get("current", "")):
        count_failure(guesser)
        return {"current": t("account.password.error.wrong")}
    faults = {}
    if why := weakness(new, user.name):
        faults["new"] = t(f"account.password.error.{why}", least=MIN_PASSWORD_LENGTH, most=MAX_PASSWORD_LENGTH)
    elif new != request.form.get("again", ""):
        faults["again"] = t("account.password.error.again")
    return faults


def _me() -> User:
    user = signed_in_user()
    assert user is not None
    return user


def _known_id(number: int) -> int:
    if number > LARGEST_ID:
        abort(404)
    return number


def _back() -> Response:
    return cast("Response", redirect("/account", code=303))


def _page(
    status: int = 200, *, form: Any = None, password_faults: Mapping[str, str] | None = None, **further: Any
) -> tuple[str, int]:
    with connections().engine.connect() as connection:
        content = account_page(connection, _me(), form)
    limits = {"least": MIN_PASSWORD_LENGTH, "most": MAX_PASSWORD_LENGTH}
    page = render_template(
        "account/index.html", password_faults=password_faults or {}, limits=limits, **content, **further
    )
    return page, status
