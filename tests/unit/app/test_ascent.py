"""What the station page says of the way to the next stage."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.i18n import Words
from app.stations.ascent import chance_text, make_ascent
from streamgauge.stages import Stage
from streamgauge.storage.forecasts import HorizonForecast, IssuedForecast

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
T = Words("en")
STAGES = (
    Stage(name="BĐ I", level_m=4.0, severity=1),
    Stage(name="BĐ II", level_m=5.0, severity=2),
    Stage(name="BĐ III", level_m=6.0, severity=3),
)


def rising(to_m: float, age: timedelta = timedelta(0), spread_m: float = 0.2) -> IssuedForecast:
    """From 4.5 m up in a straight line for two hours."""
    horizons = tuple(
        HorizonForecast(
            horizon_s=hours * 3_600,
            expected_m=4.5 + (to_m - 4.5) * hours / 2,
            low_m=4.5 + (to_m - 4.5) * hours / 2 - spread_m,
            high_m=4.5 + (to_m - 4.5) * hours / 2 + spread_m,
            method="model",
        )
        for hours in (1, 2)
    )
    return IssuedForecast(issued_at=NOW - age, baseline_m=4.5, model_id=1, horizons=horizons)


def test_the_time_to_the_next_stage_is_told_by_the_forecast() -> None:
    way = make_ascent(4.5, 0.5, STAGES, rising(5.5), HANOI, NOW, T)
    assert way.reached
    assert way.following
    assert (way.reached.name, way.following.name, way.following.level) == ("BĐ I", "BĐ II", "5.00 m")
    assert (way.when, way.clock, way.below, way.chance, way.within) == ("1 h", "20:00", "0.50 m", "over 95 %", "")


def test_time_that_has_passed_since_the_forecast_is_taken_off() -> None:
    way = make_ascent(4.5, 0.5, STAGES, rising(5.5, timedelta(minutes=20)), HANOI, NOW, T)
    assert (way.when, way.clock) == ("40 min", "19:40")


def test_water_that_rises_and_does_not_get_there_says_within_what() -> None:
    way = make_ascent(4.5, 0.1, STAGES, rising(4.7), HANOI, NOW, T)
    assert (way.when, way.below, way.within, way.chance) == ("", "0.50 m", "2 h", "under 5 %")
    assert not way.may


@pytest.mark.parametrize("rate_m_per_h", [0.1, -0.1, None])
def test_a_stage_that_only_the_band_holds_may_be_reached(rate_m_per_h: float | None) -> None:
    way = make_ascent(4.5, rate_m_per_h, STAGES, rising(4.9, spread_m=0.5), HANOI, NOW, T)
    assert (way.when, way.within, way.may, way.chance) == ("", "2 h", True, "35 %")


def test_water_that_falls_says_only_how_far_it_is() -> None:
    way = make_ascent(4.5, -0.1, STAGES, rising(4.4), HANOI, NOW, T)
    assert (way.when, way.below, way.within, way.chance) == ("", "0.50 m", "", "")


@pytest.mark.parametrize("level_m", [None, float("nan")])
def test_without_a_level_nothing_is_said(level_m: float | None) -> None:
    way = make_ascent(level_m, None, STAGES, rising(5.5), HANOI, NOW, T)
    assert (way.reached, way.following, way.below, way.when, way.chance) == (None, None, "", "", "")


def test_without_a_forecast_the_distance_is_said() -> None:
    way = make_ascent(3.0, 0.5, STAGES, None, HANOI, NOW, Words("en", "feet"))
    assert way.reached is None
    assert (way.below, way.when, way.chance) == ("3.28 ft", "", "")


def test_above_the_last_stage_there_is_no_next_one() -> None:
    way = make_ascent(7.0, 0.5, STAGES, rising(5.5), HANOI, NOW, T)
    assert way.reached
    assert (way.reached.severity, way.following, way.when) == (3, None, "")
    assert make_ascent(7.0, 0.5, (), None, HANOI, NOW, T).reached is None


@pytest.mark.parametrize(
    ("chance", "said"),
    [(0.0, "under 5 %"), (0.049, "under 5 %"), (0.06, "5 %"), (0.63, "65 %"), (0.94, "95 %"), (0.96, "over 95 %")],
)
def test_chances_are_no_more_exact_than_a_forecast_is(chance: float, said: str) -> None:
    assert chance_text(chance, T) == said
