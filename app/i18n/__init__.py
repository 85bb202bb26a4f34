"""Words of the pages, in the user's language: one catalogue per language, held alike by a test.

Everything a user reads stands in ``en.json`` and ``vi.json`` under one key, so that a later change to another catalogue format
touches this package only. A value may hold ``{name}`` placeholders.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

from flask import Flask, g, request

LANGUAGES = ("en", "vi")
LANGUAGE_COOKIE = "streamgauge_language"
CLIENT_PREFIX = "js."
"""Keys with this prefix are handed to the scripts of the pages."""
SHARED_PREFIX = "why."
"""Keys that pages and scripts both say; scripts have them under their whole name."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
YEAR_S = 365 * DAY_S


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All words of one language by key."""
    content = (Path(__file__).parent / f"{language}.json").read_text(encoding="utf-8")
    return cast("Mapping[str, str]", json.loads(content))


_WRITTEN = {
    "en": str.maketrans({",": "\N{NARROW NO-BREAK SPACE}", "-": "\N{MINUS SIGN}"}),
    "vi": str.maketrans({",": ".", ".": ",", "-": "\N{MINUS SIGN}"}),
}


class Words:
    """Words and numbers of one language; called with a key, it gives the text."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of ``key`` with its placeholders filled.

        Raises:
            KeyError: no such key; a test finds every key that the templates use.
        """
        text = self._texts[key]
        return text.format(**values) if values else text

    def knows(self, key: str) -> bool:
        """Whether there is a text for this key."""
        return key in self._texts

    def count(self, key: str, number: int) -> str:
        """The text for so many things: ``KEY.one`` or ``KEY.other``."""
        return self(f"{key}.{'one' if number == 1 else 'other'}", n=self.number(number, 0))

    def number(self, value: float, decimals: int, *, signed: bool = False) -> str:
        """A number with fixed decimals, written as the language writes it; minus is U+2212."""
        text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
        if float(text.replace(",", "")) == 0:
            text = text.lstrip("+-")
        return text.translate(_WRITTEN[self.language])

    def age(self, seconds: float) -> str:
        """How long ago, rounded for people. ``static/js/live.js`` says it the same way while the page is open."""
        if seconds < MINUTE_S:
            return self("js.age.now")
        if seconds < HOUR_S:
            return self("js.age.minutes", n=int(seconds // MINUTE_S))
        if seconds < 2 * DAY_S:
            return self("js.age.hours", n=int(seconds // HOUR_S))
        if seconds < 2 * YEAR_S:
            return self("js.age.days", n=int(seconds // DAY_S))
        return self("js.age.years", n=int(seconds // YEAR_S))

    def duration(self, seconds: float) -> str:
        """A length of time, rounded for people."""
        if seconds < HOUR_S:
            return self("duration.minutes", n=self.number(seconds / MINUTE_S, 0))
        return self("duration.hours", n=self.number(seconds / HOUR_S, 1 if seconds % HOUR_S else 0))

    def for_scripts(self) -> dict[str, str]:
        """The texts that scripts need, without their prefix."""
        return {
            key.removeprefix(CLIENT_PREFIX): text
            for key, text in self._texts.items()
            if key.startswith((CLIENT_PREFIX, SHARED_PREFIX))
        }


def words() -> Words:
    """The words of the current request's language: the user's choice, else what the browser accepts, else English."""
    if "words" not in g:
        chosen = request.cookies.get(LANGUAGE_COOKIE, "")
        if chosen not in LANGUAGES:
            chosen = request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0]
        g.words = Words(chosen)
    return cast("Words", g.words)


def init_app(app: Flask) -> None:
    """Give every template ``t`` (the words) and ``language``."""
    app.context_processor(lambda: {"t": words(), "language": words().language})
