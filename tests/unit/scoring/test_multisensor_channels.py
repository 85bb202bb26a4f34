"""From a device's readings to the array of its sensors."""

import numpy as np
import pytest

from streamgauge.reading import SIMULATED
from streamgauge.scoring.multisensor import MIN_ROWS, MultisensorProfile, sensor_names, sensor_values, surprise
from streamgauge.scoring.multisensor.channels import MAX_CHANNELS


def readings(rows: int):
    rng = np.random.default_rng(4)
    for row in range(rows):
        yield {
            "turbidity_ntu": rng.normal(),
            "temperature_c": rng.normal() if row % 2 else None,
            "level_m": 1 + rng.normal() / 100,
            "uptime_s": 300.0 * row,
            SIMULATED: 0,
        }


def test_sensors_are_found_and_counters_are_none() -> None:
    assert sensor_names(list(readings(50))) == ("level_m", "temperature_c", "turbidity_ntu")


def test_a_level_that_rises_in_steps_with_rests_is_a_sensor() -> None:
    assert sensor_names([{"level_m": float(row // 4)} for row in range(50)]) == ("level_m",)


def test_values_follow_the_profile_whatever_the_readings_hold() -> None:
    values = sensor_values([{"a": 1.0, "new": 5.0}, {"b": None}, {}], ["b", "a"])
    np.testing.assert_array_equal(values, [[np.nan, 1.0], [np.nan, np.nan], [np.nan, np.nan]])
    assert sensor_values([], ["a"]).shape == (0, 1)


def test_the_channels_with_the_most_values_are_taken() -> None:
    many = [{f"x{number:03}": float((row * 7 + number) % 5) for number in range(60)} for row in range(30)]
    for numbers in many[:10]:
        del numbers["x000"]
    names = sensor_names(many)
    assert len(names) == MAX_CHANNELS
    assert "x000" not in names


@pytest.mark.parametrize("nothing", [[], [{}], [{"level_m": None}], [{"level_m": float("nan")}] * 3])
def test_readings_without_numbers(nothing) -> None:
    names = sensor_names(nothing)
    assert names in {(), ("level_m",)}
    with pytest.raises(ValueError, match="readings teach nothing"):
        MultisensorProfile.learn(sensor_values(nothing, names), names)


def test_from_readings_to_blame() -> None:
    all_readings = list(readings(2 * MIN_ROWS))
    names = sensor_names(all_readings[:MIN_ROWS])
    profile = MultisensorProfile.learn(sensor_values(all_readings[:MIN_ROWS], names), names)
    for numbers in all_readings[MIN_ROWS + 20 :]:
        numbers["turbidity_ntu"] += 4
    verdict = surprise(profile, sensor_values(all_readings, profile.names))
    assert verdict.alarm[-1]
    assert profile.names[verdict.contribution[-1].argmax()] == "turbidity_ntu"
