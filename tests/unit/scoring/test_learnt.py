"""What was learnt of a station: from its time on, behind what an operator sets, and never a reason to lose a reading."""

import numpy as np
import pytest

from streamgauge.quality.parameters import DEFAULTS
from streamgauge.scoring.learnt import NOTHING, NOTHING_LEARNT, Learnt, LearntByTime, merged, read_learnt_body
from streamgauge.scoring.multisensor import MultisensorProfile

PROFILE = MultisensorProfile.learn(np.random.default_rng(1).normal(size=(200, 2)), ("level_m", "x"))
STATION = np.array([7, 7, 7, 7, 8, 8], dtype=np.int64)
TIMES = np.array([0, 100, 199, 200, 100, 300], dtype=np.int64)


def test_each_row_gets_what_was_valid_at_its_time() -> None:
    first, second = Learnt({"flat_restless_share": 0.5}), Learnt({"flat_restless_share": 0.4})
    learnt = LearntByTime([(7, 200, second), (7, 100, first)])
    found = learnt.parameters(STATION, TIMES, {8: {"flat_restless_share": 0.9}})
    assert np.asarray(found.flat_restless_share).tolist() == [0.7, 0.5, 0.5, 0.4, 0.9, 0.9]
    assert [learnt.at(7, moment) for moment in (99, 100, 200)] == [NOTHING, first, second]
    assert learnt.at(9, 100) == NOTHING
    assert list(learnt.periods(9)) == []


def test_an_operator_s_settings_go_before_what_was_learnt_and_take_its_companion_along() -> None:
    learnt = {
        "flat_restless_share": 0.4,
        "attenuated_s": 3600.0,
        "attenuated_range_m": 0.002,
        "climatology": {"1": [0, 1]},
    }
    assert merged(learnt, {}) == learnt
    chosen = {"attenuated_s": 7200.0, "flat_moving_share": 1.0, "gap_s": 60.0}
    assert merged(learnt, chosen) == {"climatology": {"1": [0, 1]}, **chosen}
    found = LearntByTime([(7, 0, Learnt(learnt))]).parameters(STATION, TIMES, {7: {"flat_restless_share": 0.6}})
    assert np.asarray(found.flat_restless_share)[:4].tolist() == [0.6] * 4


def test_where_nothing_was_learnt_the_parameters_are_those_that_were_set() -> None:
    assert NOTHING_LEARNT.parameters(STATION, TIMES, {}) is DEFAULTS
    assert LearntByTime([(7, 0, Learnt({}, PROFILE))]).parameters(STATION, TIMES, {}) is DEFAULTS
    assert LearntByTime([(7, 0, Learnt({}, PROFILE)), (8, 0, Learnt())]).with_sensors == {7}


def test_it_survives_json() -> None:
    learnt = Learnt({"attenuated_s": 3600.0, "climatology": {"6": [0.1, 2.0]}}, PROFILE)
    assert read_learnt_body(learnt.to_json()) == (learnt, {})
    assert read_learnt_body(Learnt().to_json()) == (Learnt(), {})


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (None, {"body"}),
        ([1], {"body"}),
        ({"quality": 3}, {"quality"}),
        ({"quality": {"flat_line_s": -1, "gap_s": 60, "spike": 1}}, {"flat_line_s", "spike"}),
        ({"multisensor": {"format": "of another time"}}, {"multisensor"}),
        ({"multisensor": []}, {"multisensor"}),
        ({"multisensor": {**PROFILE.to_json(), "scale": [1.0]}}, {"multisensor"}),
    ],
)
def test_damaged_parts_are_left_out_and_named(body: object, named: set[str]) -> None:
    learnt, problems = read_learnt_body(body)
    assert set(problems) == named
    assert learnt.profile is None
    assert set(learnt.quality) <= {"gap_s"}
