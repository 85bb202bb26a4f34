"""Words, numbers and times of one language."""

from collections.abc import Iterable
from datetime import datetime, tzinfo
from decimal import Decimal

from babel import Locale
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.numbers import get_decimal_symbol, get_group_symbol

from app.i18n.catalogues import catalogue

LOCALES = {"en": Locale("en", "GB"), "vi": Locale("vi", "VN")}
"""Whose conventions count: English has many, and "21 Nov 2026" is the one that cannot be misread."""
CLIENT_PREFIX = "js."
"""Keys with this prefix are handed to the scripts of the pages."""
SHARED_PREFIX = "why."
"""Keys that pages and scripts both say; scripts have them under their whole name."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
YEAR_S = 365 * DAY_S

_GROUPS = {"en": "\N{NARROW NO-BREAK SPACE}", "vi": get_group_symbol(LOCALES["vi"])}
"""What stands between thousands. In English no comma, as the locale has it: it may be read as a decimal one."""
_WRITTEN = {
    language: str.maketrans({",": _GROUPS[language], ".": get_decimal_symbol(locale), "-": "\N{MINUS SIGN}"})
    for language, locale in LOCALES.items()
}
_UNITS = [Decimal(1).scaleb(-decimals) for decimals in range(10)]
_EXACT_BELOW = Decimal(10) ** 18


class Words:
    """Words, numbers and times of one language; called with a key, it gives the text.

    ``units`` are the user's ("metric" or "feet"); ``app.measures`` writes lengths by them.
    """

    def __init__(self, language: str, units: str = "metric") -> None:
        self.language = language
        self.units = units
        self.locale = LOCALES[language]
        self._catalogue = catalogue(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of ``key`` with its placeholders filled.

        Raises:
            KeyError: no such key; a test finds every key that the templates use.
        """
        text = self._catalogue.texts[key]
        return text.format(**values) if values else text

    def knows(self, key: str) -> bool:
        """Whether there is a text for this key."""
        return key in self._catalogue.texts

    def count(self, key: str, number: int, /, **values: object) -> str:
        """The text for so many things, by the plural forms of the language; ``{n}`` is the number.

        Raises:
            KeyError: no such key with plural forms.
        """
        forms = self._catalogue.plurals[key]
        return forms[self._catalogue.form_of(number)].format(n=self.number(number, 0), **values)

    def number(self, value: float, decimals: int, *, signed: bool = False) -> str:
        """A number with fixed decimals, written as the language writes it; minus is U+2212 and zero has no sign."""
        # Babel's format_decimal says the same, ten times slower, and a page has a thousand numbers; a test holds them alike.
        exact = Decimal(str(value))
        if exact.is_finite() and abs(exact) < _EXACT_BELOW:
            exact = exact.quantize(_UNITS[decimals])
        text = f"{exact:{'+' if signed else ''},.{decimals}f}"
        if not any(digit in text for digit in "123456789"):
            text = text.lstrip("+-")
        return text.translate(_WRITTEN[self.language])

    def list(self, items: Iterable[str]) -> str:
        """Several things in a sentence: "a, b and c"."""
        return format_list(list(items), locale=self.locale)

    def date(self, time: datetime, zone: tzinfo) -> str:
        """The day in a zone, for sentences: "21 Nov 2026"."""
        return format_date(_local(time, zone).date(), "medium", locale=self.locale)

    def time(self, time: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
        """The time of day in a zone: "14:05", with ``seconds`` "14:05:09"."""
        return format_time(_local(time, zone), "HH:mm:ss" if seconds else "HH:mm", tzinfo=zone, locale=self.locale)

    def when(self, time: datetime, zone: tzinfo) -> str:
        """Day and time in a zone, for sentences: "21 Nov 2026, 14:05"."""
        return self("frame.when", date=self.date(time, zone), time=self.time(time, zone))

    def moment(self, time: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
        """Day and time in a zone, for tables: "2026-11-21 14:05" (ISO 8601, as English writes the day in several ways), and as
        Vietnamese writes it "21/11/2026 14:05".
        """
        day = "%d/%m/%Y" if self.language == "vi" else "%Y-%m-%d"
        return _local(time, zone).strftime(f"{day} %H:%M:%S" if seconds else f"{day} %H:%M")

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
            for key, text in self._catalogue.texts.items()
            if key.startswith((CLIENT_PREFIX, SHARED_PREFIX))
        }


def _local(time: datetime, zone: tzinfo) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone; times are aware from the door on")
    return time.astimezone(zone)
