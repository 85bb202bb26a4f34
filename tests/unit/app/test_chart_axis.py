"""The axis of levels is for the water: what is expected, and stages, count where they are near it."""

from typing import Any

import numpy as np
import pytest

from app.stations.chart import LEAST_SPAN_M, SPAN_MARGIN, level_span
from streamgauge.stages import Stage

NOTHING = np.empty(0)
CALM = np.linspace(1.0, 1.02, 200)
JUMP = np.r_[np.full(200, 1.0), 3.61]
EDGE = 1 + 2 * SPAN_MARGIN


def stages(*levels: float) -> tuple[Stage, ...]:
    return tuple(Stage(name=str(level), level_m=level, severity=1) for level in levels)


def forecast(expected: float, low: float, high: float) -> list[list[Any]]:
    return [[0.0, 1.0, 1.0, 1.0, "model"], [3_600.0, expected, low, high, "model"]]


def test_a_reading_that_jumps_leaves_the_axis_to_the_water() -> None:
    band = np.r_[np.full(200, 1.0), -6.0, 13.0]
    low, high = level_span(JUMP, band, forecast(3.6, -4.0, 14.0), stages(8.0, 13.0))
    assert 3.61 < high < 3.61 + 0.8 * 2.61
    assert 1.0 - 0.8 * 2.61 < low < 1.0


@pytest.mark.parametrize("wild", [50.0, -50.0, 1e6])
def test_a_wild_band_costs_no_more_than_half_of_the_picture(wild: float) -> None:
    low, high = level_span(CALM, np.array([wild, -wild]))
    assert high - low <= 2 * LEAST_SPAN_M * EDGE + 0.03


def test_a_band_near_the_water_is_shown_whole() -> None:
    low, high = level_span(np.array([1.0, 2.0]), np.array([0.7, 2.4, np.nan]))
    assert [low, high] == pytest.approx([0.7 - 1.7 * SPAN_MARGIN, 2.4 + 1.7 * SPAN_MARGIN])


def test_what_is_expected_counts_farther_than_its_band() -> None:
    _, high = level_span(np.array([1.0, 2.0]), NOTHING, forecast(2.9, 2.5, 9.0))
    assert high == pytest.approx(2.9 + 1.9 * SPAN_MARGIN)


def test_the_stage_above_shows_where_it_is_near() -> None:
    water = np.array([1.0, 2.0])
    assert level_span(water, NOTHING, (), stages(2.9, 9.0))[1] == pytest.approx(2.9 + 1.9 * SPAN_MARGIN, abs=1e-3)
    assert level_span(water, NOTHING, (), stages(3.1))[1] < 3.1


@pytest.mark.parametrize("line", [NOTHING, np.array([np.nan])])
def test_without_water_the_axis_is_for_what_is_expected(line: Any) -> None:
    assert level_span(line, NOTHING) == [0.0, 1.0]
    low, high = level_span(line, NOTHING, forecast(2.0, 1.5, 2.4))
    assert low < 1.0
    assert 2.0 < high < 3.0
