"""When a local alarm is raised, and when not: what a duty officer would want at three in the morning."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.alarms.alarms import LEVEL_MARGIN_M, Alarms
from gateway.alarms.message import Raised
from gateway.configuration import Rule
from gateway.judging.verdict import Verdict
from streamgauge.quality.flags import Flag

START = datetime(2026, 11, 21, tzinfo=UTC)
HIGH = Rule(name="high", device="bridge", when="always", level_above_m=1.5)
OFFLINE = Rule(name="alone", device="bridge", when="offline", level_above_m=1.5)
QUIET_S = 900.0


class Watch:
    """Alarms with a clock that a test moves."""

    def __init__(self, *rules: Rule, now_s: float = 0.0) -> None:
        self.now_s = now_s
        self.sent: list[Raised] = []
        self.notes: list[str] = []
        self.offline = False
        self.alarms = Alarms(
            rules,
            self.sent.append,
            note=lambda note: self.notes.append(note.outcome),
            gateway="station-3",
            offline_after_s=60.0,
            quiet_s=QUIET_S,
            monotonic_s=lambda: self.now_s,
            now=lambda: START + timedelta(seconds=self.now_s),
        )

    def see(self, level_m: float, *, after_s: float = 300.0, **fields: object) -> int:
        """A reading some time after the last; returns how many alarms have been raised so far."""
        self.now_s += after_s
        time = START + timedelta(seconds=self.now_s)
        verdict = Verdict(
            device="bridge", time=time, level_m=level_m, flag=Flag.GOOD, newest=True, sudden=False, step_s=300.0
        )
        self.alarms.consider(replace(verdict, **fields), self.offline)
        return len(self.sent)

    def wait(self, seconds: float) -> int:
        for _ in range(int(seconds // 10)):
            self.now_s += 10.0
            self.alarms.tick(self.offline)
        return len(self.sent)


def test_it_is_raised_once_until_the_water_is_clearly_down_again() -> None:
    watch = Watch(HIGH)
    assert watch.see(1.49) == 0
    assert watch.see(1.51) == 1
    for level_m in (1.6, 1.7, 1.51, 1.5 - LEVEL_MARGIN_M / 2, 1.52):
        assert watch.see(level_m) == 1
    assert watch.alarms.open() == watch.sent
    watch.see(1.5 - 2 * LEVEL_MARGIN_M)
    assert watch.alarms.open() == []
    watch.wait(QUIET_S)
    assert watch.see(1.55) == 2
    assert watch.notes == ["raised", "cleared", "raised"]


@pytest.mark.parametrize("flag", [Flag.SUSPECT, Flag.FAIL, Flag.MISSING])
def test_what_is_not_good_neither_raises_nor_ends(flag) -> None:
    watch = Watch(HIGH)
    assert watch.see(9.0, flag=flag) == 0
    assert watch.see(1.6) == 1
    watch.see(0.1, flag=flag)
    assert len(watch.alarms.open()) == 1


def test_a_late_reading_does_not_count() -> None:
    assert Watch(HIGH).see(9.0, newest=False) == 0


def test_another_device_does_not_count() -> None:
    assert Watch(HIGH).see(9.0, device="weir") == 0


def test_a_single_spike_raises_nothing() -> None:
    watch = Watch(HIGH)
    assert watch.see(1.9, sudden=True) == 0
    assert watch.see(1.2, after_s=300) == 0
    assert watch.wait(5_000) == 0


def test_a_leap_that_the_next_reading_confirms_is_raised() -> None:
    watch = Watch(HIGH)
    assert watch.see(1.9, sudden=True) == 0
    assert watch.see(1.95, sudden=True) == 1
    assert watch.sent[0].is_confirmed


def test_a_leap_followed_by_silence_is_raised_and_says_that_it_is_not_confirmed() -> None:
    watch = Watch(HIGH)
    watch.see(1.9, sudden=True)
    assert watch.wait(440) == 0
    assert watch.wait(20) == 1
    assert not watch.sent[0].is_confirmed
    assert "not confirmed" in watch.sent[0].text["en"]


def test_a_suspect_reading_after_a_leap_decides_nothing() -> None:
    watch = Watch(HIGH)
    watch.see(1.9, sudden=True)
    assert watch.see(5.0, flag=Flag.SUSPECT, after_s=200) == 0
    assert watch.wait(300) == 1


def test_a_sudden_drop_ends_an_alarm_only_when_it_is_confirmed() -> None:
    watch = Watch(HIGH)
    watch.see(1.6)
    watch.see(0.2, sudden=True)
    watch.see(1.65, sudden=False)
    assert len(watch.alarms.open()) == 1
    watch.see(0.2, sudden=True)
    watch.see(0.2, sudden=True)
    assert watch.alarms.open() == []


def test_water_that_plays_about_the_bound_is_told_of_seldom_but_is_told_of() -> None:
    watch = Watch(HIGH)
    for step in range(10):
        watch.see(1.6 if step % 2 == 0 else 1.3, after_s=60)
    assert len(watch.sent) == 1
    watch.see(1.6, after_s=60)
    assert watch.wait(QUIET_S) == 2


def test_all_bounds_of_a_rule_must_be_passed() -> None:
    watch = Watch(replace(HIGH, rise_above_m_per_h=0.3, score_above=0.5))
    assert watch.see(1.6, rise_m_per_h=0.4, score=0.4) == 0
    assert watch.see(1.6, rise_m_per_h=None, score=0.9) == 0
    assert watch.see(1.4, rise_m_per_h=0.4, score=0.9) == 0
    assert watch.see(1.6, rise_m_per_h=0.4, score=0.9) == 1
    watch.see(1.6, rise_m_per_h=0.28, score=0.9)
    watch.see(1.6, rise_m_per_h=None, score=None)
    assert len(watch.alarms.open()) == 1
    watch.see(1.6, rise_m_per_h=0.2, score=0.9)
    assert watch.alarms.open() == []


@pytest.mark.parametrize("bound", [0.0, -0.2])
def test_a_bound_may_be_zero_or_less(bound) -> None:
    watch = Watch(Rule(name="rises", device="bridge", when="always", rise_above_m_per_h=bound))
    assert watch.see(1.0, rise_m_per_h=bound) == 0
    assert watch.see(1.0, rise_m_per_h=bound + 0.01) == 1
    watch.see(1.0, rise_m_per_h=bound - 0.1)
    assert watch.alarms.open() == []


def test_offline_rules_are_due_once_the_link_has_been_down_for_long_enough() -> None:
    watch = Watch(OFFLINE)
    assert watch.see(1.7) == 0
    assert watch.wait(300) == 0
    watch.offline = True
    assert watch.wait(50) == 0
    assert watch.wait(30) == 1
    assert watch.sent[0].is_offline
    watch.offline = False
    watch.wait(100)
    assert len(watch.alarms.open()) == 1


def test_a_link_that_comes_and_goes_is_not_down() -> None:
    watch = Watch(OFFLINE)
    watch.see(1.7)
    for _ in range(20):
        watch.offline = not watch.offline
        assert watch.wait(50) == 0


def test_what_was_seen_long_ago_is_not_raised_when_the_link_goes() -> None:
    watch = Watch(OFFLINE)
    watch.see(1.7)
    watch.wait(4_000)
    watch.offline = True
    assert watch.wait(300) == 0


def restarted(watch: Watch, *rules: Rule) -> Watch:
    again = Watch(*rules, now_s=50_000.0)
    assert again.alarms.restore(watch.alarms.memory())
    return again


def test_a_restart_neither_forgets_an_open_alarm_nor_raises_it_twice() -> None:
    watch = Watch(HIGH)
    watch.see(1.7)
    watch.alarms.told(watch.sent[0].id)
    again = restarted(watch, HIGH)
    assert again.alarms.open() == watch.alarms.open()
    assert again.see(1.8) == 0
    again.see(1.2)
    assert again.alarms.open() == []


def test_an_alarm_that_was_not_told_is_sent_again_after_a_restart_under_the_same_id() -> None:
    watch = Watch(HIGH)
    watch.see(1.7)
    assert [raised.id for raised in restarted(watch, HIGH).sent] == [watch.sent[0].id]


def test_a_quiet_period_outlasts_a_restart() -> None:
    watch = Watch(HIGH)
    watch.see(1.7)
    watch.see(1.2)
    again = restarted(watch, HIGH)
    assert again.see(1.7) == 0
    assert again.wait(QUIET_S) == 1


def test_a_rule_that_is_gone_is_passed_over() -> None:
    watch = Watch(HIGH)
    watch.see(1.7)
    assert restarted(watch, OFFLINE).alarms.open() == []


@pytest.mark.parametrize("content", [b"", b"SGA1", b"x" * 50])
def test_damaged_state_is_told_and_changes_nothing(content, caplog) -> None:
    watch = Watch(HIGH)
    assert not watch.alarms.restore(content)
    watch.see(1.7)
    sound = watch.alarms.memory()
    for place in range(len(sound)):
        broken = bytearray(sound)
        broken[place] ^= 8
        assert not Watch(HIGH).alarms.restore(bytes(broken))
    assert "damaged" in caplog.text


def test_the_revision_grows_with_what_must_be_saved_only() -> None:
    watch = Watch(HIGH)
    watch.see(1.2)
    assert watch.alarms.revision == 0
    watch.see(1.7)
    watch.see(1.8)
    assert watch.alarms.revision == 1
    watch.alarms.told(watch.sent[0].id)
    watch.alarms.told("another")
    watch.see(1.0)
    assert watch.alarms.revision == 3


def test_what_an_alarm_says() -> None:
    watch = Watch(replace(HIGH, rise_above_m_per_h=0.2))
    watch.see(1.634, rise_m_per_h=0.34, score=0.97)
    raised = watch.sent[0]
    assert raised.text["en"] == "high: bridge at 1.63\u00a0m (limit 1.50\u00a0m), +34\u00a0cm/h (limit +20\u00a0cm/h)"
    assert (
        raised.text["vi"] == "high: bridge ở 1,63\u00a0m (giới hạn 1,50\u00a0m), +34\u00a0cm/h (giới hạn +20\u00a0cm/h)"
    )
    content = raised.as_json()
    assert Raised.from_json(content) == raised
    assert content["gateway"] == "station-3"
    assert content["bounds"] == {"level_above_m": 1.5, "rise_above_m_per_h": 0.2}
    assert content["time"] == "2026-11-21T00:05:00.000Z"


class AnyWater(RuleBasedStateMachine):
    """Any readings, silences, links and restarts: never two alarms open at once, never one without a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch(HIGH, OFFLINE)
        self.good_above = 0

    @rule(
        level_m=st.sampled_from([1.0, 1.49, 1.51, 2.0]),
        flag=st.sampled_from([Flag.GOOD, Flag.GOOD, Flag.SUSPECT, Flag.FAIL]),
        sudden=st.booleans(),
        after_s=st.sampled_from([1.0, 300.0, 4_000.0]),
    )
    def reading(self, level_m, flag, sudden, after_s) -> None:
        before = len(self.watch.alarms.open())
        self.good_above += flag is Flag.GOOD and level_m > 1.5
        self.watch.see(level_m, flag=flag, sudden=sudden, after_s=after_s)
        if flag is not Flag.GOOD:
            assert len(self.watch.alarms.open()) >= before

    @rule(seconds=st.sampled_from([10, 100, 1_000]), offline=st.booleans())
    def pause(self, seconds, offline) -> None:
        self.watch.offline = offline
        self.watch.wait(seconds)

    @rule()
    def restart(self) -> None:
        opened = self.watch.alarms.open()
        again = Watch(HIGH, OFFLINE, now_s=self.watch.now_s)
        assert again.alarms.restore(self.watch.alarms.memory())
        assert again.alarms.open() == opened
        again.offline = self.watch.offline
        again.sent = [*self.watch.sent]
        again.alarms._send = again.sent.append
        self.watch = again

    @invariant()
    def each_alarm_has_a_reading_that_passed(self) -> None:
        assert len({raised.id for raised in self.watch.sent}) <= 2 * self.good_above
        assert len(self.watch.alarms.open()) <= 2
        assert all(raised.level_m > 1.5 for raised in self.watch.sent)


TestAnyWater = AnyWater.TestCase
TestAnyWater.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
