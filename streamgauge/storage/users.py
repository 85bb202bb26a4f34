"""Users: who may sign in to the pages. A password is only ever seen here as its argon2 hash."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

ROLES = ("viewer", "operator", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One row of ``users``."""

    id: int
    name: str
    password_hash: str = field(repr=False)
    role: str
    created_at: datetime
    disabled_at: datetime | None
    email: str | None = None
    oidc_issuer: str | None = None
    oidc_subject: str | None = None
    signed_in_at: datetime | None = None


COLUMNS = (
    "id",
    "name",
    "password_hash",
    "role",
    "created_at",
    "disabled_at",
    "email",
    "oidc_issuer",
    "oidc_subject",
    "signed_in_at",
)
"""The columns of ``users`` that a ``User`` holds."""
NO_PASSWORD = "!"  # noqa: S105
"""Stands for the hash of a user who has no password and comes by OpenID; no password has this hash."""
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM users"


def find_user(connection: Connection, name: str) -> User | None:
    """The user of this name, disabled or not, or None."""
    if "\0" in name:
        return None  # Postgres has no text with a NUL.
    row = connection.execute(text(f"{_SELECT} WHERE name = :name"), {"name": name}).mappings().one_or_none()
    return None if row is None else User(**row)


def get_user(connection: Connection, user_id: int) -> User | None:
    """The user of this id, disabled or not, or None."""
    row = connection.execute(text(f"{_SELECT} WHERE id = :id"), {"id": user_id}).mappings().one_or_none()
    return None if row is None else User(**row)


def has_admin(connection: Connection) -> bool:
    """Whether somebody can administer: an admin who is not disabled."""
    query = text("SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL)")
    return bool(connection.execute(query).scalar_one())


def add_user(
    connection: Connection,
    name: str,
    password_hash: str,
    role: str,
    *,
    email: str | None = None,
    oidc_issuer: str | None = None,
    oidc_subject: str | None = None,
) -> bool:
    """Add a user; one who comes by OpenID has ``NO_PASSWORD`` and is known by issuer and subject.

    Returns:
        False, with nothing changed, when the name (or the OpenID subject) is taken.

    Raises:
        ValueError: a role that is none of ``ROLES``.
    """
    _check_role(role)
    query = text(
        "INSERT INTO users (name, password_hash, role, email, oidc_issuer, oidc_subject) "
        "VALUES (:name, :hash, :role, :email, :issuer, :subject) ON CONFLICT DO NOTHING"
    )
    values = {"name": name, "hash": password_hash, "role": role, "email": email}
    return connection.execute(query, {**values, "issuer": oidc_issuer, "subject": oidc_subject}).rowcount == 1


def find_oidc_user(connection: Connection, issuer: str, subject: str) -> User | None:
    """The user whom an OpenID provider knows as this subject, disabled or not, or None."""
    query = text(f"{_SELECT} WHERE oidc_issuer = :issuer AND oidc_subject = :subject")
    row = connection.execute(query, {"issuer": issuer, "subject": subject}).mappings().one_or_none()
    return None if row is None else User(**row)


def lock_user(connection: Connection, user_id: int) -> User | None:
    """The user of this id, or None, while no other transaction may change a user.

    All users are locked, not one: whether somebody is the last admin is a question about all of them.
    """
    connection.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
    return get_user(connection, user_id)


def is_last_admin(connection: Connection, user: User) -> bool:
    """Whether nobody else could administer if this user could not."""
    if user.role != "admin" or user.disabled_at is not None:
        return False
    query = text("SELECT NOT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> :id)")
    return bool(connection.execute(query, {"id": user.id}).scalar_one())


def set_role(connection: Connection, user_id: int, role: str) -> None:
    """Give a user another role.

    Raises:
        ValueError: a role that is none of ``ROLES``.
    """
    _check_role(role)
    connection.execute(text("UPDATE users SET role = :role WHERE id = :id"), {"id": user_id, "role": role})


def set_disabled(connection: Connection, user_id: int, *, disabled: bool) -> None:
    """Keep a user out, or let the user in again. Nothing of what the user did is lost."""
    query = "UPDATE users SET disabled_at = CASE WHEN :disabled THEN coalesce(disabled_at, now()) END WHERE id = :id"
    connection.execute(text(query), {"id": user_id, "disabled": disabled})


def set_email(connection: Connection, user_id: int, email: str | None) -> None:
    """Note a user's e-mail address; it identifies nobody."""
    connection.execute(text("UPDATE users SET email = :email WHERE id = :id"), {"id": user_id, "email": email})


def set_password_hash(connection: Connection, user_id: int, password_hash: str) -> None:
    """Replace a password's hash. Sessions that were opened with the old one do not hold any more."""
    connection.execute(
        text("UPDATE users SET password_hash = :hash WHERE id = :id"), {"id": user_id, "hash": password_hash}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUser:
    """A user as an admin sees it."""

    id: int
    name: str
    role: str
    email: str | None
    oidc_issuer: str | None
    created_at: datetime
    disabled_at: datetime | None
    signed_in_at: datetime | None
    sessions: int
    tokens: int


_LIST = text("""
SELECT u.id, u.name, u.role, u.email, u.oidc_issuer, u.created_at, u.disabled_at, u.signed_in_at,
    (SELECT count(*) FROM sessions s
        WHERE s.user_id = u.id AND s.ended_at IS NULL AND s.expires_at > now() AND u.disabled_at IS NULL) AS sessions,
    (SELECT count(*) FROM api_tokens t
        WHERE t.user_id = u.id AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())) AS tokens
FROM users u
WHERE (CAST(:only AS bigint) IS NULL OR u.id = :only) AND u.name > :after
ORDER BY u.name LIMIT :limit
""")


def list_users(connection: Connection, *, after: str = "", only: int | None = None, limit: int) -> list[ListedUser]:
    """Users by name, after a name; ``only`` one of them."""
    rows = connection.execute(_LIST, {"after": after, "only": only, "limit": limit}).mappings()
    return [ListedUser(**row) for row in rows]


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
