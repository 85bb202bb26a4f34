"""What a new station's first day looks like, with no calibration of its own: water of the demo, pumps, tides, a noisy probe."""

import numpy as np
import pytest

from simulator.demo_places import GRID_US, measure, places
from streamgauge.quality.flags import Flag
from streamgauge.reading import to_microseconds
from streamgauge.scoring.anomaly import FAULT
from streamgauge.scoring.calibrating import calibrate
from streamgauge.scoring.calibration import Calibrations
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import Judged, judge

SECOND_US = 1_000_000
FIRST_US = 1_794_870_000 * SECOND_US
ROWS = 432
MARKED_MOST = 0.01
SCORE_MOST = 0.35
TANK_SCORE_MOST = 0.4
"""A tank that is sampled five times in its whole cycle is expected badly by a model of streams."""


@pytest.fixture(scope="module")
def model() -> EdgeModel:
    return EdgeModel.load()


def judged(model, time_us, level_m, valid=None) -> Judged:
    rows = np.arange(len(time_us))
    return judge(model, rows * 0, time_us, level_m, rows, calibrations=valid or Calibrations())


def water(name: str) -> tuple[np.ndarray, np.ndarray]:
    place = next(place for place in places() if place.name == name)
    readings = measure(place, FIRST_US // GRID_US * GRID_US + np.arange(ROWS) * GRID_US)
    rows = [(to_microseconds(each.time), each.level_m) for each in readings if each is not None]
    return np.array([row[0] for row in rows]), np.round([row[1] for row in rows], 3)


@pytest.mark.parametrize("name", ["dead-run", "harbour-tide", "mill-brook", "north-quay", "town-tank"])
def test_the_demos_water_is_ordinary_from_its_first_day(model, name):
    found = judged(model, *water(name))
    assert np.mean(found.surprise > 0) < MARKED_MOST
    assert np.nanmean(found.score) <= (TANK_SCORE_MOST if name == "town-tank" else SCORE_MOST)


@pytest.mark.parametrize("step_s", [360, 900])
def test_tides_noisy_probes_and_sumps_are_no_faults(model, step_s):
    chance, rows = np.random.default_rng(1), np.arange(600)
    time_us, seconds = FIRST_US + rows * step_s * SECOND_US, rows * step_s
    noise = chance.normal(0.0, 0.004, len(rows))
    tide = 2.0 + 1.5 * np.sin(seconds / 44_700 * 2 * np.pi) + noise
    sump = 1.0 + 1.2 * (seconds % 7_200) / 7_200 + noise
    for level_m in (tide, 2.0 + noise, sump):
        found = judged(model, time_us, np.round(level_m, 3))
        # A fall by a metre between two readings is a matter of the quality checks' limits.
        sound = found.checked.flags < Flag.SUSPECT
        assert np.mean(found.surprise[sound] > 0) < MARKED_MOST


def test_water_whose_leaps_mark_it_throughout_becomes_ordinary_with_its_first_calibration(model):
    """A sump that is filled for six hours, longer than a reading's context reaches at six minutes."""
    rows = np.arange(800)
    time_us = FIRST_US + rows * 360 * SECOND_US
    level_m = np.round(1.0 + 1.2 * (rows % 60) / 60 + np.random.default_rng(1).normal(0.0, 0.003, len(rows)), 3)
    first = judged(model, time_us, level_m)
    assert np.mean(first.surprise == FAULT) > 0.2
    made = calibrate(model, time_us[:300], level_m[:300])
    assert made is not None
    assert made.leaps
    after = judged(model, time_us, level_m, Calibrations([(0, int(time_us[300]), made)]))
    sound = after.checked.flags < Flag.SUSPECT
    assert np.mean(after.surprise[300:][sound[300:]] > 0) < MARKED_MOST


def test_noise_and_dropouts_of_an_unknown_station_are_faults_where_it_was_calm_before(model):
    chance = np.random.default_rng(3)
    calm = 1.0 + chance.normal(0.0, 0.001, 60)
    time_us = FIRST_US + np.arange(80) * 300 * SECOND_US
    noisy = judged(model, time_us, np.append(calm, 1.0 + chance.normal(0.0, 0.03, 20)))
    assert (noisy.surprise[60:] == FAULT).any()
    gone = judged(model, time_us, np.append(calm, np.zeros(20)))
    assert (gone.surprise[60:] == FAULT).all()
