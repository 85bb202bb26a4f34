from datetime import UTC, datetime

import numpy as np
import pytest

from simulator.site import (
    CONSTITUENTS,
    DAY_US,
    HOUR_US,
    SECOND_US,
    Catchment,
    ListedRain,
    LoopedRecord,
    PumpedTank,
    Runoff,
    SeededRain,
    Storm,
    Tide,
    TideTerm,
    equilibrium_argument_deg,
)
from streamgauge.reading import to_microseconds

CATCHMENT = Catchment(
    area_km2=10.0, runoff_coefficient=0.5, reservoirs=3, storage_s=1_800.0, baseflow_m3_s=0.1,
    rating_a=12.0, rating_b=1.6, zero_flow_m=0.2,
)  # fmt: skip
STEP_US = 60 * SECOND_US


@pytest.mark.parametrize("name", CONSTITUENTS)
def test_each_constituent_turns_at_its_published_speed(name: str) -> None:
    at = to_microseconds(datetime(2026, 1, 1, tzinfo=UTC))
    turned = equilibrium_argument_deg(CONSTITUENTS[name], np.array([at, at + 100 * HOUR_US], dtype=np.int64))
    assert (turned[1] - turned[0]) / 100 == pytest.approx(CONSTITUENTS[name].speed_deg_per_h, abs=2e-7)


def test_springs_come_with_the_new_moon() -> None:
    """M2 and S2 pull together at the new moon of 2024-04-08 18:21 UTC (a solar eclipse), and against each other a week later."""
    moon = np.array([to_microseconds(datetime(2024, 4, 8, 18, 21, tzinfo=UTC))], dtype=np.int64)
    for later_us, together in ((0, 1.0), (int(7.38 * DAY_US), -1.0)):
        m2, s2 = (equilibrium_argument_deg(CONSTITUENTS[name], moon + later_us)[0] for name in ("M2", "S2"))
        assert np.cos(np.deg2rad(m2 - s2)) == pytest.approx(together, abs=0.06)


def test_a_tide_stays_within_the_sum_of_its_parts_and_reaches_near_it() -> None:
    tide = Tide(
        mean_m=2.0,
        terms=(TideTerm(name="M2", amplitude_m=1.0, lag_deg=30), TideTerm(name="S2", amplitude_m=0.4, lag_deg=60)),
    )
    level = tide.measure(np.arange(0, 30 * DAY_US, 10 * 60 * SECOND_US, dtype=np.int64), 0)["level_m"]
    assert 3.35 < level.max() <= 3.4
    assert 0.6 <= level.min() < 0.65


def test_a_storm_sends_down_exactly_its_effective_rain() -> None:
    storm = Storm(start_us=2 * HOUR_US, duration_us=HOUR_US, rain_mm=30.0)
    time_us = np.arange(0, 60 * HOUR_US, STEP_US, dtype=np.int64)
    water = Runoff(catchment=CATCHMENT, rain=ListedRain((storm,))).measure(time_us, STEP_US)
    volume_m3 = float(np.sum(water["flow_m3_s"] - CATCHMENT.baseflow_m3_s)) * 60.0
    assert volume_m3 == pytest.approx(0.5 * 0.030 * 10e6, rel=1e-4)
    assert float(water["rainfall_mm"].sum()) == pytest.approx(30.0)
    before = time_us <= storm.start_us
    assert np.all(water["flow_m3_s"][before] == CATCHMENT.baseflow_m3_s)
    peak = int(np.argmax(water["level_m"]))
    assert storm.start_us < time_us[peak] < storm.start_us + 3 * HOUR_US


def test_the_level_follows_the_rating() -> None:
    flow = np.array([0.1, 5.0])
    assert CATCHMENT.rating_a * (
        CATCHMENT.stage_m(flow) - CATCHMENT.zero_flow_m
    ) ** CATCHMENT.rating_b == pytest.approx(flow)


def test_seeded_storms_do_not_depend_on_the_question() -> None:
    rain = SeededRain(seed=5, slot_us=6 * HOUR_US, mean_rain_mm=8.0, mean_duration_us=HOUR_US)
    whole = rain.storms(0, 40 * DAY_US)
    pieces = [storm for day in range(40) for storm in rain.storms(day * DAY_US, (day + 1) * DAY_US)]
    assert list(whole) == pieces
    assert len(whole) == 160
    assert np.mean([storm.rain_mm for storm in whole]) == pytest.approx(8.0, rel=0.3)


def test_a_tank_swings_between_its_switches() -> None:
    tank = PumpedTank(low_m=1.0, high_m=2.0, fill_s=100.0, drain_s=300.0)
    level = tank.measure(np.array([0, 50, 100, 250, 400], dtype=np.int64) * SECOND_US, 0)["level_m"]
    assert level == pytest.approx([1.0, 1.5, 2.0, 1.5, 1.0])


def test_a_looped_record_begins_anew() -> None:
    record = LoopedRecord(np.array([100, 110, 120], dtype=np.int64), np.array([1.0, 3.0, 1.0]))
    assert record.measure(np.array([100, 105, 110, 120, 130, 95], dtype=np.int64), 0)["level_m"] == pytest.approx(
        [1.0, 2.0, 3.0, 1.0, 3.0, 2.0]
    )
