"""Stages: read from JSON, found for a level, approached by a forecast."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.stages import (
    MAX_STAGES,
    PRESETS,
    BadStages,
    Expectation,
    Stage,
    approach,
    exceedance,
    read_stages,
    sound_stages,
    stage_above,
    stage_at,
    stages_json,
)

ACTION = Stage(name="Action", level_m=1.0, severity=1)
MINOR = Stage(name="Minor", level_m=1.5, severity=2)
BOTH = (ACTION, MINOR)


def test_stages_are_stored_and_read_alike() -> None:
    assert read_stages(stages_json(BOTH)) == BOTH
    assert read_stages(None) == ()
    assert read_stages([]) == ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "must be a list"),
        ([{}] * (MAX_STAGES + 1), "at most 8"),
        ([3], "stage 1 must be an object"),
        ([{"name": "", "level_m": 1, "severity": 1}], "stage 1: name"),
        ([{"name": "a\n", "level_m": 1, "severity": 1}], "stage 1: name"),
        ([{"name": "x", "level_m": math.nan, "severity": 1}], "stage 1: level_m"),
        ([{"name": "x", "level_m": True, "severity": 1}], "stage 1: level_m"),
        ([{"name": "x", "level_m": 1, "severity": 5}], "stage 1: severity"),
        (
            [{"name": "x", "level_m": 2, "severity": 1}, {"name": "y", "level_m": 2, "severity": 2}],
            "y must lie above x",
        ),
        ([{"name": "x", "level_m": 2, "severity": 1}, {"name": "x", "level_m": 3, "severity": 2}], "same name"),
        (
            [{"name": "x", "level_m": 2, "severity": 4}, {"name": "y", "level_m": 3, "severity": 1}],
            "y must not be milder",
        ),
    ],
)
def test_what_is_wrong_with_stages_is_named(value: object, told: str) -> None:
    with pytest.raises(BadStages, match=told):
        read_stages(value)
    assert sound_stages(value) == ()


def test_a_level_is_at_the_highest_stage_that_it_has_reached() -> None:
    assert stage_at(0.999, BOTH) is None
    assert stage_at(1.0, BOTH) == ACTION
    assert stage_at(9.0, BOTH) == MINOR
    assert stage_at(None, BOTH) is None
    assert stage_at(math.nan, BOTH) is None
    assert stage_above(0.5, BOTH) == ACTION
    assert stage_above(1.0, BOTH) == MINOR
    assert stage_above(1.5, BOTH) is None
    assert stage_above(None, BOTH) is None


def test_presets_can_be_stages() -> None:
    for preset in PRESETS.values():
        rows = [{"name": name, "level_m": n, "severity": severity} for n, (name, severity) in enumerate(preset)]
        assert len(read_stages(rows)) == len(preset)


def test_the_way_to_a_stage_is_a_straight_line_between_horizons() -> None:
    ahead = [
        Expectation(horizon_s=1_800, expected_m=0.9, low_m=0.8, high_m=1.0),
        Expectation(horizon_s=3_600, expected_m=1.1, low_m=0.9, high_m=1.3),
    ]
    found = approach(0.7, ACTION, ahead)
    assert found.after_s == pytest.approx(2_700)
    assert 0.5 < found.chance < 1
    assert approach(0.7, MINOR, ahead).after_s is None
    assert approach(0.7, ACTION, []).chance == 0


def test_the_bounds_are_what_they_say() -> None:
    ahead = Expectation(horizon_s=1, expected_m=1.0, low_m=0.8, high_m=1.4)
    assert exceedance(1.4, ahead) == pytest.approx(0.05)
    assert exceedance(0.8, ahead) == pytest.approx(0.95)
    assert exceedance(1.0, ahead) == pytest.approx(0.5)
    one_sided = Expectation(horizon_s=1, expected_m=1.0, low_m=0.0, high_m=1.0)
    assert exceedance(1.0, one_sided) == 0.5
    assert exceedance(1.01, one_sided) == 0.0
    certain = Expectation(horizon_s=1, expected_m=1.0, low_m=1.0, high_m=1.0)
    assert (exceedance(1.0, certain), exceedance(1.01, certain)) == (1.0, 0.0)


@given(st.floats(-5, 5), st.floats(0, 1), st.floats(0, 1), st.floats(-5, 5), st.floats(0, 3))
def test_a_higher_stage_is_never_likelier(
    expected: float, below: float, above: float, level: float, more: float
) -> None:
    ahead = Expectation(horizon_s=60, expected_m=expected, low_m=expected - below, high_m=expected + above)
    assert 0 <= exceedance(level + more, ahead) <= exceedance(level, ahead) <= 1
