"""Quantities in the user's units: metres as they always stood, and feet with what goes with them."""

import pytest

from app.i18n import LANGUAGES, Words
from app.measures import Measures
from app.preferences import UNITS
from app.verdict import quality_of, rate_text
from streamgauge.reading import QUANTITIES

METRES, FEET = Measures(Words("en")), Measures(Words("en", "feet"))
VIETNAMESE_FEET = Measures(Words("vi", "feet"))
MINUS = "\N{MINUS SIGN}"


def test_levels_in_metres() -> None:
    assert (METRES.level(1.2345), METRES.level(1.2345, 3), METRES.level(None)) == ("1.23", "1.234", "–")
    assert (METRES.level_unit, METRES.factor) == ("m", 1.0)


def test_levels_in_feet_have_the_step_in_which_they_are_published() -> None:
    assert (FEET.level(0.3048), FEET.level(1.0, 3), FEET.level(-3.048, 0)) == ("1.00", "3.28", f"{MINUS}10")
    assert VIETNAMESE_FEET.level(1.0) == "3,28"
    assert (FEET.level_unit, FEET.factor) == ("ft", 1 / 0.3048)


@pytest.mark.parametrize(
    ("error_m", "metric", "feet"), [(0.0032, "3.2", "0.13"), (0.00042, "0.42", "0.017"), (0.25, "250.0", "9.84")]
)
def test_errors_are_in_the_small_unit_of_each(error_m: float, metric: str, feet: str) -> None:
    assert (METRES.error(error_m), FEET.error(error_m)) == (metric, feet)
    assert (METRES.error_unit, FEET.error_unit) == ("mm", "in")


@pytest.mark.parametrize(
    ("rate_m_per_h", "metric", "feet"),
    [
        (0.12, "+12 cm/h", "+0.39 ft/h"),
        (-0.0314, f"{MINUS}3.1 cm/h", f"{MINUS}0.10 ft/h"),
        (0.0, "0.0 cm/h", "0.00 ft/h"),
        (None, "–", "–"),
    ],
)
def test_rates(rate_m_per_h: float | None, metric: str, feet: str) -> None:
    assert (METRES.rate(rate_m_per_h), FEET.rate(rate_m_per_h)) == (metric, feet)
    assert rate_text(rate_m_per_h, Words("en", "feet")) == feet


def test_lengths_have_their_unit() -> None:
    assert (METRES.length(0.42), FEET.length(0.42), VIETNAMESE_FEET.length(0.42)) == ("0.42 m", "1.38 ft", "1,38 ft")
    assert (METRES.length_per_hour(0.2), FEET.length_per_hour(0.2)) == ("0.20 m/h", "0.66 ft/h")


@pytest.mark.parametrize(
    ("name", "value", "metric", "feet"),
    [
        ("level_m", 1.5, ("1.500", "m"), ("4.92", "ft")),
        ("pressure_kpa", 101.3, ("101.30", "kPa"), ("101.30", "kPa")),
        ("temperature_c", -40.0, (f"{MINUS}40.0", "°C"), (f"{MINUS}40.0", "°F")),
        ("temperature_c", 21.0, ("21.0", "°C"), ("69.8", "°F")),
        ("flow_m3_s", 1.0, ("1.000", "m³/s"), ("35.31", "ft³/s")),
        ("rainfall_mm", 25.4, ("25.4", "mm"), ("1.00", "in")),
        ("rainfall_mm", None, ("", "mm"), ("", "in")),
    ],
)
def test_other_quantities(name: str, value: float | None, metric: tuple[str, str], feet: tuple[str, str]) -> None:
    assert METRES.quantity(name, value) == metric
    assert FEET.quantity(name, value) == feet
    assert FEET.unit_of(name) == feet[1]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("units", UNITS)
def test_every_quantity_of_a_reading_can_be_written(language: str, units: str) -> None:
    for name in QUANTITIES:
        text, unit = Measures(Words(language, units)).quantity(name, 1.0)
        assert text
        assert unit


def test_a_reason_is_told_in_the_user_s_units() -> None:
    jump = {"check": "spike", "measured_m": 0.42, "limit_m": 0.1}
    change = {"check": "rate_of_change", "measured_m_per_h": 2.0, "limit_m_per_h": 1.0}
    t = Words("en", "feet")
    assert quality_of(3, jump, t).sentence == "Suspect: jumped 1.38 ft (limit 0.33 ft)"
    assert quality_of(3, change, t).sentence == "Suspect: changed at 6.56 ft/h (limit 3.28 ft/h)"
