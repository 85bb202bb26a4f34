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


def add_user(connection: Connection, name: str, password_hash: str, role: str) -> bool:
    """Add a user.

    Returns:
        False, with nothing changed, when the name is taken.

    Raises:
        ValueError: a role that is none of ``ROLES``.
    """
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
    query = text(
        "INSERT INTO users (name, password_hash, role) VALUES (:name, :hash, :role) ON CONFLICT (name) DO NOTHING"
    )
    return connection.execute(query, {"name": name, "hash": password_hash, "role": role}).rowcount == 1


def set_password_hash(connection: Connection, user_id: int, password_hash: str) -> None:
    """Replace a password's hash; sessions that were opened with the old one end."""
    connection.execute(
        text("UPDATE users SET password_hash = :hash WHERE id = :id"), {"id": user_id, "hash": password_hash}
    )
