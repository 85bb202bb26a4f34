"""What every page's frame needs: theme, versioned addresses of static files, preferences."""

import hashlib
import time
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, redirect, request, url_for

from app.i18n import LANGUAGE_COOKIE, LANGUAGES

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "streamgauge_theme"
PREFERENCE_MAX_AGE_S = 365 * 86_400
STATIC_MAX_AGE_S = 365 * 86_400
STATIC = Path(__file__).parent / "static"

blueprint = Blueprint("preferences", __name__)


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of a static file; it changes with the file's content, so browsers may keep it for long."""
    return url_for("static", filename=name, v=_version(name))


def theme() -> str:
    """The user's theme; ``auto`` follows the device."""
    chosen = request.cookies.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def safe_next(target: str | None) -> str:
    """A path of ours to go to, or ``/``: never another site, whatever the address says."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    if any(ord(character) < 32 for character in target) or "\\" in target:
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc else target


@blueprint.post("/preferences")
def set_preferences() -> Response:
    """Keep language and theme in cookies, and go back to where one was."""
    response = redirect(safe_next(request.form.get("next")), code=303)
    for field, cookie, allowed in (("language", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
        value = request.form.get(field, "")
        if value in allowed:
            response.set_cookie(
                cookie, value, max_age=PREFERENCE_MAX_AGE_S, httponly=True, samesite="Lax", secure=request.is_secure
            )
    return response  # type: ignore[return-value]


def init_app(app: Flask) -> None:
    """Give templates ``asset`` and ``theme``, and take preferences."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.context_processor(lambda: {"asset": asset, "theme": theme(), "now_s": time.time})
    app.register_blueprint(blueprint)
