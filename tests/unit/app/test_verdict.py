"""A station's state, and its quality in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.i18n import Words
from app.verdict import (
    State,
    freshness,
    quality_of,
    rate_text,
    reason_text,
    stage_of,
    state_of,
    trend_of,
    urgency,
    why_text,
)
from streamgauge.quality.reasons import CHECKS, describe
from streamgauge.stages import Stage
from streamgauge.storage.read_overview import StationNow

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CALM = StationNow(
    device_id=1,
    name="a",
    display_name=None,
    silence_limit_s=3600,
    time_zone="UTC",
    datum=None,
    time=NOW - timedelta(minutes=5),
    level_m=1.0,
    level_flag=1,
    level_reason=None,
    score=0.1,
    rate_m_per_h=0.0,
)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.ORDINARY),
        ({"decommissioned_at": NOW}, State.DECOMMISSIONED),
        ({"decommissioned_at": NOW, "time": None}, State.DECOMMISSIONED),
        ({"score": 0.99}, State.ANOMALOUS),
        ({"level_flag": 3, "score": 0.99}, State.SUSPECT),
        ({"level_flag": 4}, State.SUSPECT),
        ({"rate_m_per_h": 0.5, "level_flag": 3}, State.RISING),
        ({"rate_m_per_h": -0.5}, State.ORDINARY),
        ({"time": NOW - timedelta(hours=2), "rate_m_per_h": 0.5}, State.SILENT),
        ({"time": None, "level_m": None}, State.SILENT),
    ],
)
def test_states(changes: dict[str, object], state: State) -> None:
    assert state_of(replace(CALM, **changes), NOW) is state  # type: ignore[arg-type]


MINOR = Stage(name="Minor", level_m=2.0, severity=2)
MAJOR = Stage(name="Major", level_m=3.0, severity=4)
STAGED = replace(CALM, stages=(MINOR, MAJOR))


@pytest.mark.parametrize(
    ("standing_m", "stage", "state"),
    [
        (None, None, State.ORDINARY),
        (1.999, None, State.ORDINARY),
        (2.0, MINOR, State.STAGE),
        (3.5, MAJOR, State.STAGE),
    ],
)
def test_the_standing_level_decides_on_the_stage(standing_m: float | None, stage: Stage | None, state: State) -> None:
    # The newest level alone does not: it may be a suspect one beside a better known one.
    station = replace(STAGED, level_m=9.0, standing_m=standing_m)
    assert stage_of(station) == stage
    assert state_of(station, NOW) is state
    assert state_of(replace(station, rate_m_per_h=0.5), NOW) is (State.STAGE if stage else State.RISING)


def test_a_station_that_fell_silent_over_a_stage_keeps_its_last_one() -> None:
    gone = replace(STAGED, time=NOW - timedelta(hours=2), standing_m=2.5)
    assert state_of(gone, NOW) is State.SILENT
    assert stage_of(gone) == MINOR


def test_the_most_urgent_come_first() -> None:
    order = [
        (State.STAGE, MAJOR),
        (State.STAGE, MINOR),
        (State.SILENT, MAJOR),
        (State.SILENT, MINOR),
        (State.RISING, None),
        (State.SILENT, None),
        (State.SUSPECT, None),
        (State.ANOMALOUS, None),
        (State.ORDINARY, None),
    ]
    assert sorted(order, key=lambda item: urgency(*item)) == order
    assert len({urgency(*item) for item in order}) == len(order)


def test_old_data_fades() -> None:
    ages = [timedelta(minutes=m) for m in (0, 29, 31, 61)]
    assert [freshness(replace(CALM, time=NOW - age), NOW) for age in ages] == ["fresh", "fresh", "fading", "old"]


def test_quality_says_why() -> None:
    reason = {"check": "spike", "measured_m": 0.42, "limit_m": 0.1}
    assert quality_of(3, reason, Words("en")).sentence == "Suspect: jumped 0.42 m (limit 0.10 m)"
    assert quality_of(3, reason, Words("vi")).sentence == "Nghi ngờ: nhảy vọt 0,42 m (giới hạn 0,10 m)"
    assert quality_of(None, None, Words("en")).key == "missing"


@pytest.mark.parametrize("language", ["en", "vi"])
def test_every_check_has_words(language: str) -> None:
    for index, check in enumerate(CHECKS[1:], 1):
        text = reason_text(describe(index, 7200.0, 3600.0), Words(language))
        assert text
        assert check.replace("_", " ") != text
        assert reason_text({"check": check}, Words(language))


def test_a_check_without_words_is_still_named() -> None:
    assert reason_text({"check": "neighbour_check", "measured_m": 1}, Words("en")) == "neighbour check"


def test_rates_are_rounded_for_people() -> None:
    t = Words("en")
    assert [rate_text(rate, t) for rate in (0.123, -0.0314, None)] == ["+12 cm/h", "\N{MINUS SIGN}3.1 cm/h", "–"]
    assert [trend_of(rate) for rate in (0.2, -0.2, 0.001, None)] == ["rising", "falling", "steady", "unknown"]


@pytest.mark.parametrize(
    ("language", "channel", "end"),
    [
        ("en", "pressure_kpa", ": Pressure"),
        ("vi", "pressure_kpa", ": Áp suất"),
        ("en", "conductivity_us", ": conductivity us"),
    ],
)
def test_a_sensor_that_is_off_is_named(language: str, channel: str, end: str) -> None:
    reason = {"surprise": "fault", "why": "sensors_disagree", "channel": channel, "rate_m_per_h": 0.1}
    assert why_text(reason, Words(language)).endswith(end)
