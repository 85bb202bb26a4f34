"""What every page's frame needs: theme, versioned addresses of static files."""

import hashlib
import time
from functools import cache
from pathlib import Path

from flask import Flask, url_for

from app import preferences
from app.measures import measures
from app.times import field_type

STATIC_MAX_AGE_S = 365 * 86_400
STATIC = Path(__file__).parent / "static"


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of a static file; it changes with the file's content, so browsers may keep it for long."""
    return url_for("static", filename=name, v=_version(name))


def _context() -> dict[str, object]:
    chosen = preferences.preferences()
    return {
        "asset": asset,
        "preferences": chosen,
        "theme": chosen.theme,
        "measures": measures(),
        "now_s": time.time,
    }


def init_app(app: Flask) -> None:
    """Give templates ``asset``, ``preferences``, ``theme``, ``measures`` and the filter ``time_field``, and take preferences."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["time_field"] = field_type
    app.context_processor(_context)
    app.register_blueprint(preferences.blueprint)
