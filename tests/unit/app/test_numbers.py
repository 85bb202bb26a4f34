"""Numbers are written as Babel writes them, but for the signs that we chose."""

import random

import pytest
from babel.numbers import format_decimal

from app.i18n import Words
from app.i18n.words import LOCALES

MINUS, NARROW = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}"
ODD = (
    0.0,
    -0.0,
    0.5,
    1.5,
    2.5,
    0.125,
    2.675,
    1.005,
    -2.5,
    999.995,
    1e-9,
    -1e-9,
    123456789.5,
    1e15 + 0.3,
    1e22,
    12,
    -1000,
)


@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_number_is_written_as_babel_writes_it(language: str, signed: bool) -> None:
    chance, t = random.Random(5), Words(language)
    values = [
        *ODD,
        *(round(chance.uniform(-1, 1) * 10 ** chance.randint(-3, 8), chance.randint(0, 6)) for _ in range(2_000)),
    ]
    for value in values:
        for decimals in range(5):
            pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
            wanted = format_decimal(value, f"+{pattern};-{pattern}" if signed else pattern, locale=LOCALES[language])
            if not any(digit in wanted for digit in "123456789"):
                wanted = wanted.lstrip("+-")
            wanted = wanted.replace("-", MINUS)
            assert t.number(value, decimals, signed=signed) == (
                wanted.replace(",", NARROW) if language == "en" else wanted
            ), value
