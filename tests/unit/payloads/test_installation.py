"""From a sensor's value to a level above the station's datum."""

import math

import pytest

from streamgauge.payloads.installation import (
    INSTALLATION_PARAMETERS,
    Installation,
    level_of,
    level_range,
    pressure_to_depth,
)


def test_a_distance_is_measured_down_from_the_sensors_face() -> None:
    installation = Installation(sensor_height_m=5.0, offset_m=0.02)
    level_m, reason = level_of({"distance_m": 1.234}, "distance", installation)
    assert level_m == pytest.approx(5.0 - 1.234 + 0.02)
    assert reason is None


def test_a_distance_without_the_sensors_height_is_no_level_and_says_why() -> None:
    level_m, reason = level_of({"distance_m": 1.234}, "distance", Installation())
    assert level_m is None
    assert reason is not None
    assert "sensor_height_m" in reason


def test_a_depths_datum_is_the_probe_unless_its_height_is_known() -> None:
    assert level_of({"depth_m": 2.5}, "depth", Installation()) == (2.5, None)
    assert level_of({"depth_m": 2.5}, "depth", Installation(sensor_height_m=-1.0, offset_m=0.25)) == (1.75, None)


def test_a_pressure_is_a_water_column_of_the_places_density_and_gravity() -> None:
    fresh = Installation(sensor_height_m=0.0)
    ten_metres_kpa = 10.0 * 999.7 * 9.80665 / 1000.0
    assert level_of({"pressure_kpa": ten_metres_kpa}, "pressure", fresh)[0] == pytest.approx(10.0)
    sea_at_the_pole = Installation(sensor_height_m=0.0, density_kg_m3=1025.0, gravity_m_s2=9.832)
    expected = 98_063.7 / (1025.0 * 9.832)
    assert level_of({"pressure_kpa": 98.0637}, "pressure", sea_at_the_pole)[0] == pytest.approx(expected)
    assert pressure_to_depth(1.0, fresh) == pytest.approx(0.10200, abs=1e-5)


def test_a_pressure_without_the_probes_height_is_a_pipes_and_no_level() -> None:
    level_m, reason = level_of({"pressure_kpa": 300.0}, "pressure", Installation())
    assert level_m is None
    assert reason is not None
    assert "sensor_height_m" in reason


@pytest.mark.parametrize(
    ("measures", "values"),
    [
        ("distance", {"distance_m": 1.0}),
        ("depth", {"depth_m": 1.0}),
        ("level", {"level_m": 1.0}),
        ("other", {"level_m": 1.0}),
    ],
)
def test_a_tilted_sensors_value_is_never_a_level(measures: str, values: dict[str, float]) -> None:
    installation = Installation(sensor_height_m=5.0)
    assert level_of({**values, "tilted": 0.0}, measures, installation)[0] is not None
    level_m, reason = level_of({**values, "tilted": 1.0}, measures, installation)
    assert level_m is None
    assert reason is not None
    assert "tilted" in reason


def test_a_sensors_own_level_is_moved_to_the_datum() -> None:
    assert level_of({"level_m": 1.5}, "level", Installation()) == (1.5, None)
    assert level_of({"level_m": 1.5}, "level", Installation(sensor_height_m=10.0, offset_m=-0.5)) == (11.0, None)


def test_any_water_value_counts_where_the_device_decides_but_never_a_pressure() -> None:
    installation = Installation(sensor_height_m=10.0)
    assert level_of({"distance_m": 4.0}, "other", installation) == (6.0, None)
    assert level_of({"level_m": 1.0, "distance_m": 4.0}, "other", installation) == (11.0, None)
    assert level_of({"pressure_kpa": 101.3}, "other", installation) == (None, None)


def test_nothing_is_said_where_there_is_no_water_value() -> None:
    assert level_of({"temperature_c": 4.0}, "distance", Installation()) == (None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_level(value: float) -> None:
    level_m, reason = level_of({"depth_m": value}, "depth", Installation())
    assert level_m is None
    assert reason is not None


@pytest.mark.parametrize("parameter", INSTALLATION_PARAMETERS, ids=lambda parameter: parameter.name)
def test_an_installation_outside_of_its_bounds_is_refused(parameter: object) -> None:
    name, high = getattr(parameter, "name"), getattr(parameter, "high")  # noqa: B009
    Installation(**{name: high})
    for value in (high * 2 + 1, math.nan, math.inf):
        with pytest.raises(ValueError, match=name):
            Installation(**{name: value})


def test_defaults_are_what_the_parameters_declare() -> None:
    installation = Installation()
    assert {p.name: getattr(installation, p.name) for p in INSTALLATION_PARAMETERS} == {
        p.name: p.default for p in INSTALLATION_PARAMETERS
    }


def test_the_levels_that_a_sensor_can_tell_follow_from_where_it_stands() -> None:
    ranges = {"distance_m": (0.3, 10.0), "depth_m": (0.0, 2.0), "pressure_kpa": (0.0, 9.80371)}
    assert level_range("distance", ranges, Installation(sensor_height_m=12.0)) == pytest.approx((2.0, 11.7))
    assert level_range("depth", ranges, Installation(offset_m=1.0)) == pytest.approx((1.0, 3.0))
    assert level_range("pressure", ranges, Installation(sensor_height_m=0.0)) == pytest.approx((0.0, 1.0), abs=1e-4)
    assert level_range("distance", ranges, Installation()) is None
    assert level_range("level", ranges, Installation()) is None
