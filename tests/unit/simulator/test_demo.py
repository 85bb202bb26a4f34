import numpy as np
import pytest

from simulator.chance import IntArray
from simulator.demo import DemoTimes, Station, due_moments, history, stations_of
from simulator.demo_places import GRID_US, demo_plans, measure, places
from simulator.errors import InputFault
from simulator.fleet import Fleet
from simulator.provision import plan_fleet, provision
from simulator.site import HOUR_US, SECOND_US
from streamgauge.reading import Reading, to_microseconds

NOW_US = 1_780_000_000_123_456
TIMES = DemoTimes()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("fleet")
    provision(folder, plan_fleet("mine", 2, ["decentlab_dl_mbx"], {}, {}, "otaa"), 2, "k" * 64)
    return provision(folder, demo_plans(), 2, "k" * 64)


@pytest.fixture(scope="module")
def stations(fleet: Fleet) -> list[Station]:
    return stations_of(fleet)[0]


def coarse(now_us: int = NOW_US) -> IntArray:
    return due_moments(now_us - TIMES.history_us, now_us, TIMES)[0]


def test_the_history_is_coarse_and_the_present_is_live() -> None:
    moments, live_us = due_moments(NOW_US - TIMES.history_us, NOW_US, TIMES)
    assert moments.size == 36 * 12
    assert set(np.diff(moments).tolist()) == {300 * SECOND_US}
    assert live_us is not None
    assert 0 <= NOW_US - live_us < 2 * SECOND_US


def test_nothing_is_due_twice_and_sensors_do_not_measure_the_past() -> None:
    last = int(NOW_US // (2 * SECOND_US) * 2 * SECOND_US)
    assert due_moments(last, NOW_US, TIMES)[1] is None
    moments, live_us = due_moments(last, last + 61 * SECOND_US, TIMES)
    assert (moments.size, live_us) == (0, last + 60 * SECOND_US)


def test_a_long_gap_is_filled_in_the_historys_steps() -> None:
    moments, _ = due_moments(NOW_US - HOUR_US, NOW_US, TIMES)
    assert moments.size == 12
    assert all(moment % GRID_US == 0 for moment in moments.tolist())


def test_the_fleet_has_the_demos_sensors_among_others(fleet: Fleet) -> None:
    stations, own = stations_of(fleet)
    assert [station.place.name for station in stations] == [card.name for card in own.sensors]
    assert len(own.sensors) == 6
    assert own.forwarders == fleet.forwarders
    with pytest.raises(InputFault, match="provision --demo"):
        stations_of(Fleet(sensors=fleet.sensors[:4], forwarders=fleet.forwarders))


def test_history_and_live_frames_say_the_same_of_the_same_moment(stations: list[Station]) -> None:
    moments = coarse()[::20]
    then = {(reading.device, reading.time): reading for reading in history(stations, moments)}
    for station in stations:
        for moment in moments.tolist():
            (reading,) = measure(station.place, np.array([moment], dtype=np.int64))
            if reading is not None:
                # What the gateway makes of the live frame that left at this moment.
                live = station.instrument.expected(station.instrument.payload(reading), reading.time)
                assert live == then[station.place.name, reading.time]


def test_a_restarted_demo_sends_equal_readings_for_equal_times(stations: list[Station]) -> None:
    first, again = history(stations, coarse()), history(stations, coarse(NOW_US + HOUR_US))
    shared = {(reading.device, reading.time): reading for reading in first}
    both = [reading for reading in again if (reading.device, reading.time) in shared]
    assert len(both) > 2_000
    assert all(shared[reading.device, reading.time] == reading for reading in both)


def test_every_sensor_is_fine_enough_and_never_at_the_end_of_its_range(stations: list[Station]) -> None:
    for station in stations:
        low_m, high_m = station.instrument.levels_m
        levels = [r.level_m for r in measure(station.place, coarse()) if r is not None and r.level_m is not None]
        assert station.instrument.resolution_m <= 0.001_01
        assert low_m + 0.1 < min(levels)
        assert max(levels) < high_m - 0.1


def levels_of(readings: list[Reading]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for reading in readings:
        found.setdefault(reading.device, []).append(reading.level_m or 0.0)
    return found


def test_a_flood_a_silence_and_a_spike_are_in_the_history(stations: list[Station]) -> None:
    levels = levels_of(history(stations, coarse()))
    assert max(levels["dead-run"]) > 1.8
    assert np.sort(np.abs(np.diff(levels["old-weir"])))[-10] > 0.5
    counts = {name: len(own) for name, own in levels.items()}
    assert counts["north-quay"] < 432
    assert all(count == 432 for name, count in counts.items() if name != "north-quay")


def test_the_brook_reports_flow_and_its_rain_adds_up(stations: list[Station]) -> None:
    brook = next(station for station in stations if station.place.name == "mill-brook")
    start = NOW_US // (6 * HOUR_US) * 6 * HOUR_US
    grid = np.arange(start + GRID_US, start + 6 * HOUR_US + 1, GRID_US, dtype=np.int64)
    live = np.arange(start + 2 * SECOND_US, start + 6 * HOUR_US + 1, 10 * SECOND_US, dtype=np.int64)

    def rain_mm(moments: IntArray) -> float:
        return sum(reading.rainfall_mm or 0.0 for reading in history([brook], moments))

    assert rain_mm(grid) > 1.0
    assert rain_mm(np.union1d(live, grid)) == pytest.approx(rain_mm(grid))
    assert all(reading.flow_m3_s for reading in history([brook], grid))


def test_all_stations_move_within_minutes() -> None:
    first = NOW_US // (2 * SECOND_US) * 2 * SECOND_US
    for start in range(first, first + 24 * HOUR_US, HOUR_US):
        moments = np.arange(start, start + 300 * SECOND_US, 2 * SECOND_US, dtype=np.int64)
        seen = [[r.level_m for r in measure(place, moments) if r is not None and r.level_m] for place in places()]
        assert sum(len({round(level_m, 3) for level_m in levels}) > 5 for levels in seen) >= 3


def test_readings_carry_the_times_that_were_asked_for() -> None:
    moments = np.array([NOW_US], dtype=np.int64)
    for place in places():
        for reading in measure(place, moments):
            assert reading is None or to_microseconds(reading.time) == NOW_US
