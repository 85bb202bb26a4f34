"""The frame of every page: which places there are, who sees them, and where one is."""

from dataclasses import dataclass

from flask import Flask, request

from app.session.roles import Role, has_role

PLACES: tuple[tuple[str, str, str, Role], ...] = (
    ("stations", "/", "stations", "viewer"),
    ("alerts", "/alerts", "alerts", "viewer"),
    ("history", "/history", "history", "viewer"),
    ("devices", "/devices", "devices", "viewer"),
    ("models", "/models", "models", "viewer"),
    ("operations", "/operations", "operations", "viewer"),
    ("admin", "/admin", "admin", "admin"),
)
"""Name, address, icon and the least role of each place, in the order of need."""
ON_PHONES = 4
"""So many have a place of their own below the page of a phone; the others are in its menu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that somebody may go to."""

    name: str
    path: str
    icon: str
    is_here: bool
    is_exact: bool


def places() -> list[Place]:
    """The places of who is signed in."""
    here = "/" if request.path.startswith("/stations") else request.path
    return [
        Place(
            name=name,
            path=path,
            icon=icon,
            is_here=here == path or (path != "/" and here.startswith(f"{path}/")),
            is_exact=request.path == path,
        )
        for name, path, icon, role in PLACES
        if has_role(role)
    ]


def init_app(app: Flask) -> None:
    """Give templates the places."""
    app.context_processor(lambda: {"frame_places": places, "places_on_phones": ON_PHONES})
