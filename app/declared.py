"""What a view declares that it needs: a role, ``public``, or ``scope:NAME`` for the API. A test walks over all routes."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

NEEDS = "streamgauge_needs"
"""The attribute of a view that says what it needs."""
P = ParamSpec("P")
R = TypeVar("R")


def mark(view: Callable[P, R], needed: str) -> Callable[P, R]:
    """Write down on a view what it needs."""
    cast("Any", view).streamgauge_needs = needed
    return view


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Anybody may call this."""
    return mark(view, "public")
