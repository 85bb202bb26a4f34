"""Which role a page or an action needs. Each role may do what those before it may.

Every view declares what it needs, by one of these decorators or by ``app.api.access.needs``; a test walks over all routes and
fails for one that declares nothing.
"""

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec, TypeVar, cast

from flask import Response, abort

from app.declared import NEEDS, mark, public
from app.session.identity import login_required, signed_in_user
from streamgauge.storage.users import ROLES

__all__ = ["NEEDS", "Role", "actor", "has_role", "mark", "needs_role", "public"]

Role = Literal["viewer", "operator", "admin"]
P = ParamSpec("P")
R = TypeVar("R")


def needs_role(role: Role) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """Let in who is signed in and has at least this role; others get 403, strangers the sign-in page."""

    def decorate(view: Callable[P, R]) -> Callable[P, R | Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
            if not has_role(role):
                abort(403)
            return view(*args, **kwargs)

        return mark(cast("Callable[P, R | Response]", login_required(guarded)), role)

    return decorate


def has_role(role: Role) -> bool:
    """Whether who is signed in has at least this role."""
    user = signed_in_user()
    return user is not None and user.role in ROLES and ROLES.index(user.role) >= ROLES.index(role)


def actor() -> str:
    """The name of who is signed in, for the audit log; only in a view that needs a role."""
    user = signed_in_user()
    assert user is not None
    return user.name
