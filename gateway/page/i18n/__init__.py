"""Words of the installer's page and of local alarms: one catalogue per language, held alike by a test.

The parts of Streamgauge never import each other, so that the gateway has words of its own, said as the web pages say them.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

LANGUAGES = ("en", "vi")

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
_KILO = 1_000.0
_CENTIMETRES = 100.0
_SLOW = 9.95

_WRITTEN = {
    "en": str.maketrans({",": "\N{NARROW NO-BREAK SPACE}", "-": "\N{MINUS SIGN}"}),
    "vi": str.maketrans({",": ".", ".": ",", "-": "\N{MINUS SIGN}"}),
}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All words of one language by key."""
    content = (Path(__file__).parent / f"{language}.json").read_text(encoding="utf-8")
    return cast("Mapping[str, str]", json.loads(content))


def choose_language(chosen: str | None, accepted: str) -> str:
    """The language to speak: the user's choice, else the first that the browser accepts, else English.

    Args:
        chosen: what the address asks for; anything else than a language is passed over.
        accepted: the value of ``Accept-Language`` (RFC 9110, section 12.5.4).
    """
    if chosen in LANGUAGES:
        return chosen
    ranked: list[tuple[float, str]] = []
    for part in accepted.split(",")[:20]:
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().split("-")[0]
        if language in LANGUAGES:
            ranked.append((_quality(weight), language))
    best = max(ranked, key=lambda found: found[0], default=(0.0, ""))
    return best[1] if best[0] > 0.0 else LANGUAGES[0]


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        quality = float(value)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


class Words:
    """Words and numbers of one language; called with a key, it gives the text."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of ``key`` with its placeholders filled.

        Raises:
            KeyError: no such key; a test finds every key that is in use.
        """
        text = self._texts[key]
        return text.format(**values) if values else text

    def get(self, key: str) -> str | None:
        """The text of ``key``, if there is one."""
        return self._texts.get(key)

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
        """How long ago, rounded for people."""
        if seconds < MINUTE_S:
            return self("age.now")
        return self("age.ago", duration=self.duration(seconds))

    def duration(self, seconds: float) -> str:
        """A length of time, rounded down for people."""
        if seconds < MINUTE_S:
            return self("duration.seconds", n=int(seconds))
        if seconds < HOUR_S:
            return self("duration.minutes", n=int(seconds // MINUTE_S))
        if seconds < 2 * DAY_S:
            return self("duration.hours", n=int(seconds // HOUR_S))
        return self("duration.days", n=self.number(seconds // DAY_S, 0))

    def size(self, count: float) -> str:
        """A number of bytes in steps of a thousand."""
        for unit in ("B", "kB", "MB"):
            if count < _KILO:
                return f"{self.number(count, 0)}\N{NO-BREAK SPACE}{unit}"
            count /= _KILO
        return f"{self.number(count, 1)}\N{NO-BREAK SPACE}GB"

    def rise(self, rise_m_per_h: float) -> str:
        """A rate in centimetres per hour, as in "+12 cm/h"; slow ones with a decimal."""
        centimetres = rise_m_per_h * _CENTIMETRES
        return self("unit.cm_per_h", n=self.number(centimetres, 0 if abs(centimetres) >= _SLOW else 1, signed=True))

    def reason(self, reason: Mapping[str, str | float] | None) -> str:
        """Why a level was flagged, as a clause; empty for no reason, and for a check without words its name."""
        if not reason:
            return ""
        check = str(reason.get("check", ""))
        measured, limit = self._amount(reason, "measured"), self._amount(reason, "limit")
        if self.get(f"reason.{check}") is None:
            return check.replace("_", " ")
        if measured is None or limit is None:
            return self(f"reason.{check}.bare")
        return self(f"reason.{check}", measured=measured, limit=limit)

    def _amount(self, reason: Mapping[str, str | float], what: str) -> str | None:
        for unit in ("m", "m_per_h", "s"):
            value = reason.get(f"{what}_{unit}")
            if isinstance(value, int | float):
                return self.duration(value) if unit == "s" else self(f"unit.{unit}", n=self.number(value, 2))
        return None
