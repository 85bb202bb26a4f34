"""Headers that keep a browser from doing what these pages never ask for; a page asks for more by name."""

from typing import Literal

from flask import Flask, Response, g, request
from flask_cors import CORS

from app import rate_limits
from app.connections import connections
from app.declared import public

Kind = Literal["script-src", "style-src", "img-src", "font-src", "connect-src", "media-src", "worker-src"]
Feature = Literal["camera", "geolocation"]

_SOURCES: dict[str, tuple[str, ...]] = {
    "default-src": ("'none'",),
    "script-src": ("'self'",),
    "style-src": ("'self'",),
    "img-src": ("'self'", "data:"),
    "font-src": ("'self'",),
    "connect-src": ("'self'",),
    "manifest-src": ("'self'",),
    "form-action": ("'self'",),
    "base-uri": ("'none'",),
    "frame-ancestors": ("'none'",),
}
_FEATURES = ("camera", "geolocation", "microphone", "payment", "usb")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS = "max-age=31536000"
SHARED_PATHS = (r"/api/.*", r"/sensorthings/.*")
PREFLIGHT_MAX_AGE_S = 600


def allow_sources(kind: Kind, *origins: str) -> None:
    """Let the page that is being made load from these origins too.

    Args:
        kind: what, by its directive: ``img-src`` for map tiles.
        origins: scheme and host as ``https://tiles.example``, or a scheme as ``blob:``.

    Raises:
        ValueError: an origin that would end the directive.
    """
    if bad := [origin for origin in origins if not origin or any(character in " ;,\r\n" for character in origin)]:
        raise ValueError(f"not an origin: {bad[0]!r}")
    allowed: dict[str, list[str]] = g.setdefault("allowed_sources", {})
    allowed.setdefault(kind, []).extend(origins)


def allow_feature(feature: Feature) -> None:
    """Let the page that is being made ask the browser for this."""
    g.setdefault("allowed_features", set()).add(feature)


def content_security_policy() -> str:
    """The policy of the current request's answer."""
    allowed: dict[str, list[str]] = g.get("allowed_sources", {})
    kinds = [*_SOURCES, *(kind for kind in allowed if kind not in _SOURCES)]
    return "; ".join(" ".join((kind, *_SOURCES.get(kind, ()), *dict.fromkeys(allowed.get(kind, ())))) for kind in kinds)


def permissions_policy() -> str:
    """What the current request's page may ask the browser for."""
    allowed: set[str] = g.get("allowed_features", set())
    return ", ".join(f"{feature}=({'self' if feature in allowed else ''})" for feature in _FEATURES)


def init_app(app: Flask) -> None:
    """Add the headers to every answer, answer other origins' pages as far as the settings want it, and count requests."""
    app.after_request(_add_headers)
    _share_api(app)
    rate_limits.init_app(app)
    if static := app.view_functions.get("static"):
        public(static)


def _share_api(app: Flask) -> None:
    """Let pages of the origins of ``CORS_ORIGINS`` call the API with a token; never with our cookie."""
    with app.app_context():
        origins = connections().settings.cors_origins
    if origins:
        shared = {
            "origins": list(origins),
            "methods": ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"],
            "allow_headers": ["Authorization", "Content-Type", "If-None-Match", "If-Match", "X-Request-ID"],
            "expose_headers": ["ETag", "Link", "Location", "Retry-After", "X-Request-ID"],
            "supports_credentials": False,
            "max_age": PREFLIGHT_MAX_AGE_S,
        }
        CORS(app, resources=dict.fromkeys(SHARED_PATHS, shared))


def _add_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", content_security_policy())
    response.headers.setdefault("Permissions-Policy", permissions_policy())
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    if request.endpoint != "static":
        # Pages show what only signed-in users may see, and what is old in a minute.
        response.headers.setdefault("Cache-Control", "no-store")
    return response
