"""What a user reads, in the user's language: words from gettext catalogues, numbers and times by Babel's locales.

Everything stands in ``translations/<language>/LC_MESSAGES/<area>.po`` under one key, in both languages; tests hold them alike.
"""

from typing import cast

from flask import Flask, g
from flask_babel import Babel  # type: ignore[import-untyped]

from app.i18n.catalogues import catalogue
from app.i18n.words import CLIENT_PREFIX, LOCALES, SHARED_PREFIX, Words
from app.preferences import LANGUAGES, preferences

__all__ = ["CLIENT_PREFIX", "LANGUAGES", "LOCALES", "SHARED_PREFIX", "Words", "catalogue", "init_app", "words"]


def words() -> Words:
    """The words of the current request, by the user's language and units."""
    if "words" not in g:
        chosen = preferences()
        g.words = Words(chosen.language, chosen.units)
    return cast("Words", g.words)


def init_app(app: Flask) -> None:
    """Give every template ``t`` (the words) and ``language``, and every view Flask-Babel's formats in the user's locale.

    Flask-Babel's formats write UTC; what is told in a station's own time is written by ``Words`` with
    ``app.preferences.zone_of``. Its ``gettext`` is not used, and templates have no ``trans``: there is one way to say a word.
    """
    Babel(
        app, configure_jinja=False, locale_selector=lambda: LOCALES[words().language], timezone_selector=lambda: "UTC"
    )
    app.context_processor(lambda: {"t": words(), "language": words().language})
