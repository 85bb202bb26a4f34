"""``/admin`` and ``/admin/users``: who may sign in, as what; passwords shown once; nobody is ever deleted."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from flask import Response, abort, flash, redirect, render_template, request
from sqlalchemy import Connection

from app.account.page import session_line
from app.addresses import LARGEST_ID
from app.admin.blueprint import blueprint
from app.connections import connections
from app.i18n import Words, words
from app.session.passwords import generate_password, hash_password
from app.session.roles import actor, needs_role
from streamgauge.storage.audit import write_audit
from streamgauge.storage.sessions import end_sessions, list_sessions, rotate_soon
from streamgauge.storage.users import (
    NO_PASSWORD,
    ROLES,
    ListedUser,
    User,
    add_user,
    find_user,
    is_last_admin,
    list_users,
    lock_user,
    set_disabled,
    set_password_hash,
    set_role,
)

USERS_SHOWN = 200
MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class UserForm:
    """A form for a new user as somebody filled it in, with what is wrong, by field."""

    name: str = ""
    role: str = "viewer"
    email: str = ""
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLine:
    """A user in the list."""

    id: int
    name: str
    role: str
    email: str | None
    by_oidc: bool
    is_disabled: bool
    signed_in: str
    made: str
    sessions: int
    tokens: int


@blueprint.get("/admin")
@needs_role("admin")
def show_users() -> str:
    """Everybody, by name."""
    return _users_page(UserForm())[0]


@blueprint.post("/admin/users")
@needs_role("admin")
def create_user() -> tuple[str, int]:
    """Add a user with a generated password, shown in this answer and never again."""
    form = _read_form(words())
    if form.faults:
        return _users_page(form, 422)
    password = generate_password()
    with connections().engine.begin() as connection:
        if not add_user(connection, form.name, hash_password(password), form.role, email=form.email or None):
            form.faults["name"] = words()("admin.users.error.taken")
        else:
            after = {"role": form.role, "email": form.email or None}
            write_audit(connection, actor=actor(), action="user.create", subject=f"user {form.name}", after=after)
            made = find_user(connection, form.name)
    if form.faults:
        return _users_page(form, 422)
    assert made is not None
    return _user_page(made.id, 201, new_password=password)


@blueprint.get("/admin/users/<int:user_id>")
@needs_role("admin")
def show_user(user_id: int) -> str:
    """One user."""
    return _user_page(user_id)[0]


@blueprint.post("/admin/users/<int:user_id>/role")
@needs_role("admin")
def change_role(user_id: int) -> Response | tuple[str, int]:
    """Give a user another role; the user's sessions get new tokens with their next request."""
    role = request.form.get("role", "")
    if role not in ROLES:
        return _user_page(user_id, 422, problem=words()("admin.users.error.role"))
    with connections().engine.begin() as connection:
        user = _locked(connection, user_id)
        is_refused = role != "admin" and is_last_admin(connection, user)
        if not is_refused and role != user.role:
            set_role(connection, user.id, role)
            rotate_soon(connection, user.id)
            _audit(connection, user, "user.role", {"role": user.role}, {"role": role})
    if is_refused:
        return _user_page(user_id, 409, problem=words()("admin.users.error.last_admin"))
    return _done(user_id, words()("admin.users.role_changed", name=user.name))


@blueprint.post("/admin/users/<int:user_id>/disable")
@needs_role("admin")
def disable(user_id: int) -> Response | tuple[str, int]:
    """Keep a user out: sessions end and tokens are refused at once; nothing is deleted."""
    with connections().engine.begin() as connection:
        user = _locked(connection, user_id)
        is_refused = is_last_admin(connection, user)
        if not is_refused and user.disabled_at is None:
            ended = end_sessions(connection, user.id)
            set_disabled(connection, user.id, disabled=True)
            _audit(connection, user, "user.disable", {"disabled": False}, {"disabled": True, "sessions": len(ended)})
    if is_refused:
        return _user_page(user_id, 409, problem=words()("admin.users.error.last_admin"))
    return _done(user_id, words()("admin.users.disabled_now", name=user.name))


@blueprint.post("/admin/users/<int:user_id>/enable")
@needs_role("admin")
def enable(user_id: int) -> Response:
    """Let a user in again."""
    with connections().engine.begin() as connection:
        user = _locked(connection, user_id)
        if user.disabled_at is not None:
            set_disabled(connection, user.id, disabled=False)
            _audit(connection, user, "user.enable", {"disabled": True}, {"disabled": False})
    return _done(user_id, words()("admin.users.enabled_now", name=user.name))


@blueprint.post("/admin/users/<int:user_id>/reset-password")
@needs_role("admin")
def reset_password(user_id: int) -> tuple[str, int]:
    """Give a user a generated password, shown in this answer and never again; every session of the user ends."""
    password = generate_password()
    with connections().engine.begin() as connection:
        user = _locked(connection, user_id)
        has_password = user.password_hash != NO_PASSWORD
        if has_password:
            set_password_hash(connection, user.id, hash_password(password))
            ended = end_sessions(connection, user.id)
            _audit(connection, user, "user.reset_password", None, {"sessions": len(ended)})
    if not has_password:
        return _user_page(user_id, 409, problem=words()("admin.users.error.no_password"))
    return _user_page(user_id, 200, new_password=password)


@blueprint.post("/admin/users/<int:user_id>/end-sessions")
@needs_role("admin")
def end_user_sessions(user_id: int) -> Response:
    """Sign a user out everywhere."""
    with connections().engine.begin() as connection:
        user = _locked(connection, user_id)
        ended = end_sessions(connection, user.id)
        if ended:
            _audit(connection, user, "session.end", None, {"sessions": ended})
    return _done(user_id, words().count("admin.users.signed_out", len(ended), name=user.name))


def _read_form(t: Words) -> UserForm:
    name, email = request.form.get("name", "").strip(), request.form.get("email", "").strip()
    role, faults = request.form.get("role", ""), {}
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        faults["name"] = t("admin.users.error.name", n=MAX_NAME_LENGTH)
    if role not in ROLES:
        faults["role"] = t("admin.users.error.role")
    if email and (len(email) > 254 or "@" not in email[1:-1] or not email.isprintable() or " " in email):
        faults["email"] = t("admin.users.error.email")
    return UserForm(name=name[: 2 * MAX_NAME_LENGTH], role=role, email=email[:300], faults=faults)


def _locked(connection: Connection, user_id: int) -> User:
    user = lock_user(connection, user_id) if user_id <= LARGEST_ID else None
    if user is None:
        abort(404)
    return user


def _audit(
    connection: Connection, user: User, action: str, before: dict[str, Any] | None, after: dict[str, Any]
) -> None:
    subject = f"user {user.name}"
    write_audit(connection, actor=actor(), action=action, subject=subject, before=before, after=after)


def _done(user_id: int, said: str) -> Response:
    flash(said)
    return cast("Response", redirect(f"/admin/users/{user_id}", code=303))


def _line(user: ListedUser, now: datetime, t: Words) -> UserLine:
    seen = user.signed_in_at
    return UserLine(
        id=user.id,
        name=user.name,
        role=user.role,
        email=user.email,
        by_oidc=user.oidc_issuer is not None,
        is_disabled=user.disabled_at is not None,
        signed_in=t.age((now - seen).total_seconds()) if seen else t("admin.users.never"),
        made=t.date(user.created_at, UTC),
        sessions=user.sessions,
        tokens=user.tokens,
    )


def _users_page(form: UserForm, status: int = 200) -> tuple[str, int]:
    after, t, now = request.args.get("after", "").replace("\0", "")[:MAX_NAME_LENGTH], words(), datetime.now(UTC)
    with connections().engine.connect() as connection:
        found = list_users(connection, after=after, limit=USERS_SHOWN + 1)
    users = [_line(user, now, t) for user in found[:USERS_SHOWN]]
    has_more = len(found) > USERS_SHOWN
    page = render_template("admin/users.html", place="users", users=users, has_more=has_more, form=form, roles=ROLES)
    return page, status


def _user_page(
    user_id: int, status: int = 200, *, new_password: str | None = None, problem: str | None = None
) -> tuple[str, int]:
    t, now = words(), datetime.now(UTC)
    with connections().engine.connect() as connection:
        found = list_users(connection, only=user_id, limit=1) if user_id <= LARGEST_ID else []
        if not found:
            abort(404)
        sessions = [session_line(session, now, t) for session in list_sessions(connection, user_id)]
    page = render_template(
        "admin/user.html",
        place="users",
        one=_line(found[0], now, t),
        sessions=sessions,
        roles=ROLES,
        new_password=new_password,
        problem=problem,
    )
    return page, status
