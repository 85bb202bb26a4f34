"""What a user has chosen: language, theme, units and whose time; kept in cookies, read once per request."""

from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, g, redirect, request

from app.declared import public

LANGUAGES = ("en", "vi")
THEMES = ("auto", "light", "dark")
UNITS = ("metric", "feet")
TIMES = ("local", "utc")
CHOICES = {"language": LANGUAGES, "theme": THEMES, "units": UNITS, "times": TIMES}
"""What may be chosen; the first is what counts where nothing is."""
COOKIE_PREFIX = "streamgauge_"
COOKIE_MAX_AGE_S = 365 * 86_400
UTC_NAME = "UTC"

blueprint = Blueprint("preferences", __name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """A user's choices.

    Attributes:
        language: one of ``LANGUAGES``.
        theme: ``auto`` follows the device.
        units: lengths in metres or in feet.
        times: the station's own time, or UTC everywhere.
    """

    language: str = LANGUAGES[0]
    theme: str = THEMES[0]
    units: str = UNITS[0]
    times: str = TIMES[0]

    def zone_of(self, device_time_zone: str) -> ZoneInfo:
        """In which zone a station's times are told: its own, or UTC for a user who wants that and for a name unknown here."""
        return ZoneInfo(UTC_NAME) if self.times == "utc" else known_zone(device_time_zone)


def preferences() -> Preferences:
    """The choices of whoever makes the current request; what was not chosen, or is not ours, is as if nothing was.

    Without a choice the language is the one that the browser likes best.
    """
    if "preferences" not in g:
        chosen = {name: request.cookies.get(COOKIE_PREFIX + name, "") for name in CHOICES}
        usable = {name: value for name, value in chosen.items() if value in CHOICES[name]}
        accepted = request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0]
        g.preferences = Preferences(**{"language": accepted, **usable})
    return cast("Preferences", g.preferences)


def zone_of(device_time_zone: str) -> ZoneInfo:
    """In which zone a station's times are told to whoever makes the current request."""
    return preferences().zone_of(device_time_zone)


def known_zone(name: str) -> ZoneInfo:
    """The zone of this name; UTC for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Not found, not a relative path, or a folder of the zone database such as "Asia".
        return ZoneInfo(UTC_NAME)


def safe_next(target: str | None) -> str:
    """A path of ours to go to, or ``/``: never another site, whatever the address says."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    if any(ord(character) < 32 for character in target) or "\\" in target:
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc else target


@blueprint.post("/preferences")
@public
def set_preferences() -> Response:
    """Keep what was chosen in cookies, and go back to where one was."""
    response = redirect(safe_next(request.form.get("next")), code=303)
    for name, allowed in CHOICES.items():
        value = request.form.get(name, "")
        if value in allowed:
            response.set_cookie(
                COOKIE_PREFIX + name,
                value,
                max_age=COOKIE_MAX_AGE_S,
                httponly=True,
                samesite="Lax",
                secure=request.is_secure,
            )
    return response  # type: ignore[return-value]
