"""The gateway's own judgement of levels: as the cloud's, within its time, and over a restart."""

import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.judging.memory import memory_from_bytes
from gateway.judging.predict import Predictor
from streamgauge.quality.flags import Flag
from streamgauge.quality.series import CONTEXT_ROWS
from streamgauge.reading import Reading, from_microseconds, to_microseconds
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import judge
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import UNSEEN

START = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def model() -> EdgeModel:
    return EdgeModel.load()


@pytest.fixture
def predictor(model) -> Predictor:
    return Predictor(model)


def reading(minute: float, level_m: float | None, device: str = "weir") -> Reading:
    return Reading(device=device, time=START + timedelta(minutes=minute), level_m=level_m, temperature_c=4.0)


def later(minute: float = 10_000) -> int:
    return to_microseconds(START + timedelta(minutes=minute))


def flood(rows: int) -> list[Reading]:
    record = read_record(UNSEEN)
    peak = int(np.argmax(record.level_m))
    part = slice(max(0, peak - rows // 2), peak + rows // 2)
    return [
        Reading(device="dead-run", time=from_microseconds(int(time_us)), level_m=float(level_m))
        for time_us, level_m in zip(record.time_us[part], record.level_m[part], strict=True)
    ]


def test_a_flood_reading_by_reading_is_judged_as_the_cloud_judges_it(model, predictor) -> None:
    readings = flood(240)
    time_us = np.array([to_microseconds(each.time) for each in readings])
    level_m = np.array([each.level_m for each in readings])
    for row, each in enumerate(readings):
        (verdict,) = predictor.observe([each], int(time_us[row]))
        # The cloud, too, knows nothing after it yet.
        zero = np.zeros(row + 1, dtype=np.int64)
        whole = judge(model, zero, time_us[: row + 1], level_m[: row + 1], np.array([row]))
        assert verdict.flag == whole.checked.flags[0]
        assert verdict.newest
        for name in ("expected_m", "low_m", "high_m"):
            expected = getattr(whole.expected, name)[0]
            assert getattr(verdict, name) == (None if np.isnan(expected) else expected)
        assert verdict.score == (None if np.isnan(whole.score[0]) else whole.score[0])


def test_many_devices_at_once_are_judged_as_one_by_one(model) -> None:
    together, alone = Predictor(model), Predictor(model)
    for step in range(20):
        readings = [reading(5 * step, 1.0 + 0.003 * step * place, f"d{place}") for place in range(130)]
        verdicts = together.observe(readings, later())
        assert verdicts == [verdict for each in readings for verdict in alone.observe([each], later())]


def test_what_comes_next_is_expected_a_step_ahead(predictor) -> None:
    for step in range(60):
        (verdict,) = predictor.observe([reading(5 * step, 1.0 + 0.005 * step)], later())
    assert verdict.step_s == 300
    assert verdict.next_time == verdict.time + timedelta(minutes=5)
    assert verdict.next_m == pytest.approx(1.0 + 0.005 * 60, abs=0.003)
    assert verdict.next_low_m <= verdict.next_m <= verdict.next_high_m
    (after,) = predictor.observe([reading(300, 1.3)], later())
    assert after.expected_m == verdict.next_m


def test_a_steady_rise_is_told_in_metres_per_hour(predictor) -> None:
    for step in range(12):
        (verdict,) = predictor.observe([reading(5 * step, 1.0 + 0.02 * step)], later())
    assert verdict.rise_m_per_h == pytest.approx(0.24)


def test_a_spike_does_not_bend_the_trend(predictor) -> None:
    for step in range(12):
        predictor.observe([reading(5 * step, 1.9 if step == 9 else 1.0)], later())
    assert predictor.newest("weir").rise_m_per_h == pytest.approx(0.0, abs=1e-9)


def test_a_leap_is_sudden_and_the_reading_after_it_is_not(predictor) -> None:
    for step in range(10):
        (verdict,) = predictor.observe([reading(5 * step, 1.0)], later())
    assert not verdict.sudden
    (leap,) = predictor.observe([reading(50, 1.4)], later())
    assert leap.flag == Flag.GOOD
    assert leap.sudden
    (confirmed,) = predictor.observe([reading(55, 1.42)], later())
    assert not confirmed.sudden
    (back,) = Predictor(EdgeModel.load()).observe([reading(0, 1.0)], later())
    assert back.sudden  # There is nothing to compare it with.


def test_the_reading_after_a_spike_is_not_sudden(predictor) -> None:
    for step in range(10):
        predictor.observe([reading(5 * step, 1.0)], later())
    predictor.observe([reading(50, 1.4)], later())
    (back,) = predictor.observe([reading(55, 1.0)], later())
    assert not back.sudden


def test_a_failed_reading_says_why(predictor) -> None:
    (verdict,) = predictor.observe([reading(0, 500.0)], later())
    assert (verdict.flag, verdict.score) == (Flag.FAIL, 1.0)
    assert verdict.reason == {"check": "gross_range", "measured_m": 500.0, "limit_m": 100.0}
    assert not verdict.is_good


def test_limits_are_per_device(model) -> None:
    predictor = Predictor(model, {"sump": {"gross_max_m": 2.0}})
    verdicts = predictor.observe([reading(0, 3.0, "weir"), reading(0, 3.0, "sump")], later())
    assert [verdict.flag for verdict in verdicts] == [Flag.GOOD, Flag.SUSPECT]


def test_only_levels_give_verdicts_and_each_instant_once(predictor) -> None:
    assert predictor.observe([reading(0, None)], later()) == []
    first, second = reading(0, 1.0), replace(reading(0, 9.0), seq=2)
    (verdict,) = predictor.observe([first, second], later())
    assert verdict.level_m == 1.0
    assert predictor.observe([second, first], later()) == []


def test_readings_out_of_order_lead_to_the_same_memory(model) -> None:
    readings = flood(80)
    shuffled = random.Random(4).sample(readings, len(readings))
    in_order, out_of_order = Predictor(model), Predictor(model)
    in_order.observe(readings, later())
    for each in shuffled:
        out_of_order.observe([each], later())
    assert out_of_order.memory("dead-run") == in_order.memory("dead-run")
    last = flood(82)[-1]
    assert out_of_order.observe([last], later()) == in_order.observe([last], later())


def test_a_late_reading_is_judged_and_is_not_the_newest(predictor) -> None:
    predictor.observe([reading(5 * step, 1.0) for step in range(10) if step != 6], later())
    (late,) = predictor.observe([reading(30, 1.6)], later())
    assert (late.newest, late.flag) == (False, Flag.FAIL)
    assert predictor.newest("weir").time == START + timedelta(minutes=45)


def test_stored_history_within_one_call_has_one_newest(predictor) -> None:
    verdicts = predictor.observe([reading(minute, 1.0) for minute in (30, 0, 15)], later())
    assert [verdict.newest for verdict in verdicts] == [False, False, True]


def test_times_of_a_wrong_clock_are_forgotten_when_it_is_set_right(predictor) -> None:
    predictor.observe([reading(60 + 5 * step, 1.0) for step in range(10)], later(110))
    (verdict,) = predictor.observe([reading(10, 1.0)], later(10))  # The clock went back by an hour and more.
    assert verdict.newest
    assert predictor.observe([reading(200, 1.0)], later(10)) == []


def test_a_restart_changes_nothing(model, predictor) -> None:
    readings = flood(120)
    predictor.observe(readings[:-1], later())
    restarted = Predictor(model)
    assert restarted.restore("dead-run", predictor.memory("dead-run"))
    assert replace(restarted.newest("dead-run"), device="x") == replace(predictor.newest("dead-run"), device="x")
    assert restarted.observe(readings[-1:], later()) == predictor.observe(readings[-1:], later())


@given(damage=st.data())
def test_damaged_memory_is_told_and_changes_nothing(damage) -> None:
    predictor = Predictor(EdgeModel.load())
    predictor.observe([reading(5 * step, 1.0) for step in range(60)], later())
    sound = predictor.memory("weir")
    assert len(sound) == 9 + 16 * CONTEXT_ROWS
    place = damage.draw(st.integers(0, len(sound) - 1))
    broken = bytearray(sound)
    broken[place] ^= damage.draw(st.integers(1, 255))
    for content in (bytes(broken), sound[:place], sound + b"\0"):
        assert not predictor.restore("weir", content)
    assert predictor.memory("weir") == sound


@given(content=st.binary(max_size=100))
def test_any_bytes_are_memory_or_are_refused(content) -> None:
    assert memory_from_bytes(content) is None


def test_devices_are_bounded_and_the_quiet_one_goes(model) -> None:
    predictor = Predictor(model, devices_max=3)
    for place in range(5):
        predictor.observe([reading(0, 1.0, f"d{place}"), reading(place + 1, 1.0, "d0")], later())
    assert [bool(predictor.memory(f"d{place}")) for place in range(5)] == [True, False, False, True, True]
    assert predictor.newest("d1") is None


def test_it_needs_no_xgboost() -> None:
    program = "import sys; sys.modules['xgboost'] = None; import gateway.startup"
    subprocess.run([sys.executable, "-c", program], check=True)
