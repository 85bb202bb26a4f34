"""The other sensors of a device beside the verdict on its level."""

from dataclasses import replace

import numpy as np
import pytest

from streamgauge.quality.check import Checked
from streamgauge.quality.flags import Flag
from streamgauge.scoring.anomaly import ANOMALY_SCORE, EVENT, FAULT, NO_SURPRISE
from streamgauge.scoring.judge import Judged
from streamgauge.scoring.learnt import Learnt, LearntByTime
from streamgauge.scoring.model import Expected
from streamgauge.scoring.multisensor import MultisensorProfile
from streamgauge.scoring.sensors import SENSOR_ROWS, UNPINNED_MOST, SensorRows, with_sensors
from streamgauge.scoring.surprise import WHYS

NAMES = ("level_m", "pressure_kpa", "temperature_c")
MINUTE_US = 60_000_000
STEP_US = 5 * MINUTE_US
ROWS = 60
TIMES = np.arange(ROWS, dtype=np.int64) * STEP_US
STATION = np.full(ROWS, 3, dtype=np.int64)


def quiet(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = 1.0 + 0.02 * rng.normal(size=rows)
    return np.stack([level, 101.3 + 9.8 * level + 0.05 * rng.normal(size=rows), 9.0 + rng.normal(size=rows)], axis=1)


PROFILE = MultisensorProfile.learn(quiet(600, 1), NAMES)
LEARNT = LearntByTime([(3, 0, Learnt({}, PROFILE))])


def judged(score: float = 0.2, surprise: int = NO_SURPRISE, why: str = "", rows: int = ROWS) -> Judged:
    numbers = np.full(rows, np.nan)
    codes = np.zeros(rows, dtype=np.int8)
    good = np.full(rows, Flag.GOOD, dtype=np.uint8)
    checked = Checked(good, codes, numbers, numbers, good == Flag.GOOD, good == Flag.GOOD)
    expected = Expected(numbers, numbers, numbers)
    whys = codes + np.int8(WHYS.index(why))
    return Judged(checked, expected, np.full(rows, score), codes + np.int8(surprise), whys, numbers)


def look(values: np.ndarray, verdict: Judged, *, level: bool = True, learnt: LearntByTime = LEARNT) -> Judged:
    level_m = values[:, 0] if level else np.full(len(values), np.nan)
    rows = SensorRows(STATION, TIMES, NAMES, values if level else np.column_stack([level_m, values[:, 1:]]))
    return with_sensors(verdict, STATION, TIMES, level_m, rows, learnt)


def off(column: int, amount: float) -> np.ndarray:
    values = quiet(ROWS, 2)
    values[40:, column] += amount
    return values


@pytest.mark.parametrize(("column", "amount"), [(1, 3.0), (2, -15.0)])
def test_a_sensor_that_is_off_is_named(column: int, amount: float) -> None:
    found = look(off(column, amount), judged())
    assert not found.surprise[:40].any()
    assert set(found.surprise[44:].tolist()) == {FAULT}
    assert {found.channels[place] for place in range(44, ROWS)} == {NAMES[column]}
    assert (found.score[44:] >= ANOMALY_SCORE).all()
    assert found.reason(50) == {"surprise": "fault", "why": "sensors_disagree", "channel": NAMES[column]}


def test_the_score_is_the_higher_of_the_two() -> None:
    values = quiet(ROWS, 2)
    low, high = look(values, judged(0.0)), look(values, judged(0.9))
    assert (low.score > 0.0).any()
    assert (low.score < 0.9).any()
    np.testing.assert_array_equal(high.score, np.maximum(low.score, 0.9))


def test_an_event_of_the_level_stays_one() -> None:
    found = look(off(1, 3.0), judged(0.95, EVENT, "rising_like_water"))
    assert set(found.surprise.tolist()) == {EVENT}
    assert found.score[50] > 0.95
    assert not found.channels


def test_high_water_makes_no_other_sensor_faulty() -> None:
    values = off(0, 1.0)
    values[40:, 2] -= 15.0
    found = look(values, judged())
    assert not found.surprise.any()
    assert found.score.max() == UNPINNED_MOST < ANOMALY_SCORE


def test_without_a_level_an_alarm_marks_by_itself() -> None:
    one = look(off(2, -15.0), judged(np.nan), level=False)
    assert set(one.surprise[44:].tolist()) == {FAULT}
    assert np.isfinite(one.score).all()
    both = off(2, -15.0)
    both[40:, 1] += 2.0
    profile = MultisensorProfile.learn(quiet(600, 1)[:, 1:], NAMES[1:])
    found = look(both, judged(np.nan), level=False, learnt=LearntByTime([(3, 0, Learnt({}, profile))]))
    assert set(found.surprise[46:].tolist()) <= {EVENT, FAULT}
    assert all(found.surprise[place] == FAULT for place in found.channels)


def test_a_cut_series_gives_the_same_to_the_bit() -> None:
    values = off(1, 0.6)
    whole = look(values, judged())
    for place in (0, 5, 39, 43, 59):
        begin = max(0, place - SENSOR_ROWS)
        rows = SensorRows(STATION[begin : place + 1], TIMES[begin : place + 1], NAMES, values[begin : place + 1])
        one = with_sensors(
            judged(rows=1), STATION[:1], TIMES[place : place + 1], values[place : place + 1, 0], rows, LEARNT
        )
        assert (one.score[0], one.surprise[0]) == (whole.score[place], whole.surprise[place])


def test_what_was_before_a_pause_does_not_count() -> None:
    values, later = off(1, 3.0), TIMES + np.where(np.arange(ROWS) >= 58, 240 * MINUTE_US, 0)
    values[58:, 1] -= 3.0
    found = with_sensors(judged(), STATION, later, values[:, 0], SensorRows(STATION, later, NAMES, values), LEARNT)
    assert found.surprise[57] == FAULT
    assert not found.surprise[58:].any()


def test_a_profile_counts_from_its_time_on_and_other_stations_keep_their_verdict() -> None:
    learnt = LearntByTime([(3, int(TIMES[50]), Learnt({}, PROFILE)), (3, int(TIMES[55]), Learnt())])
    found = look(off(1, 3.0), judged(), learnt=learnt)
    assert np.flatnonzero(found.surprise).tolist() == [50, 51, 52, 53, 54]
    untouched = judged()
    assert look(off(1, 3.0), untouched, learnt=LearntByTime([(4, 0, Learnt({}, PROFILE))])) is untouched


def test_rows_that_are_not_among_the_sensors_keep_their_verdict() -> None:
    verdict = judged()
    empty = SensorRows(STATION[:0], TIMES[:0], NAMES, np.empty((0, 3)))
    assert with_sensors(verdict, STATION, TIMES, np.ones(ROWS), empty, LEARNT) is verdict
    other = replace(empty, station=STATION, time_us=TIMES + 1, values=quiet(ROWS, 2))
    assert with_sensors(verdict, STATION, TIMES, np.ones(ROWS), other, LEARNT) is verdict


def test_a_profile_of_names_that_nobody_sends_any_more_says_nothing() -> None:
    gone = MultisensorProfile.learn(quiet(200, 1), ("a", "b", "c"))
    verdict = judged()
    assert look(off(1, 3.0), verdict, learnt=LearntByTime([(3, 0, Learnt({}, gone))])) is verdict
