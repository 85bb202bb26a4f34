"""What the gateway remembers of what it heard: bounded, newest first, per device, for many threads."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from gateway.journal import (
    ACCEPTED,
    DETAIL_CHARACTERS,
    VALUES_KEPT,
    AlarmNote,
    Heard,
    Journal,
    Outcome,
    values_of,
)
from streamgauge.reading import Reading

START = datetime(2026, 11, 21, tzinfo=UTC)


def heard(minute: float = 0, outcome: Outcome = Outcome.STORED, device: str | None = "weir", **fields) -> Heard:
    return Heard(time=START + timedelta(minutes=minute), way="udp", outcome=outcome, device=device, **fields)


def test_frames_come_newest_first_and_are_bounded() -> None:
    journal = Journal(frames=3)
    for minute in range(5):
        journal.record(heard(minute))
    assert [(each.time - START).seconds // 60 for each in journal.newest()] == [4, 3, 2]
    assert len(journal.newest(2)) == 2
    assert journal.newest(0) == []
    assert journal.counts() == {Outcome.STORED: 5}


def test_a_device_is_heard_by_genuine_frames_only() -> None:
    journal = Journal()
    assert journal.last_heard("weir").time is None
    journal.record(heard(1))
    journal.record(heard(2, Outcome.BAD_MIC))
    last = journal.last_heard("weir")
    assert last.time == START + timedelta(minutes=1)
    assert last.refused.outcome is Outcome.BAD_MIC
    journal.record(heard(3))
    assert journal.last_heard("weir").refused is None


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_either_genuine_or_refused(outcome) -> None:
    journal = Journal()
    journal.record(heard(1, outcome))
    last = journal.last_heard("weir")
    assert (last.time is not None) == (outcome in ACCEPTED)
    assert (last.refused is not None) == (outcome not in ACCEPTED)


def test_the_usual_interval_is_the_median_and_repeats_do_not_count() -> None:
    journal = Journal()
    for minute in (0, 5, 10, 70):
        journal.record(heard(minute))
        journal.record(heard(minute + 0.01, Outcome.REPEATED))
    assert journal.last_heard("weir").interval_s == 300
    few = Journal()
    few.record(heard(0))
    few.record(heard(5))
    assert few.last_heard("weir").interval_s is None


def test_the_battery_is_remembered_from_the_last_frame_that_told_it() -> None:
    journal = Journal()
    journal.record(heard(0, values={"battery_v": 3.6, "level_m": 1.0}))
    journal.record(heard(5, values={"level_m": 1.0}))
    assert journal.last_heard("weir").battery_v == 3.6


def test_devices_are_bounded() -> None:
    journal = Journal(devices=10)
    for number in range(50):
        journal.record(heard(number, device=f"d{number}"))
    assert journal.last_heard("d39").time is None
    assert journal.last_heard("d40").time is not None


def test_what_comes_from_the_air_is_cut() -> None:
    journal = Journal()
    journal.record(heard(detail="x" * 10_000, values={f"v{number}": 1.0 for number in range(1_000)}))
    (kept,) = journal.newest()
    assert len(kept.detail) == DETAIL_CHARACTERS
    assert len(kept.values) == VALUES_KEPT


def test_alarm_notes_are_bounded_and_newest_first() -> None:
    journal = Journal()
    for number in range(80):
        journal.record_alarm(AlarmNote(time=START, rule=str(number), device="weir", outcome="raised"))
    assert [note.rule for note in journal.newest_alarms(2)] == ["79", "78"]
    assert len(journal.newest_alarms()) == 50


def test_a_reading_in_values() -> None:
    reading = Reading(device="weir", time=START, level_m=1.2, battery_v=3.6, rssi_dbm=-90.0, extra={"distance_m": 2.3})
    assert values_of(reading) == {"level_m": 1.2, "battery_v": 3.6, "distance_m": 2.3}


def test_threads_may_share_it() -> None:
    journal = Journal(frames=50)

    def record() -> None:
        for minute in range(500):
            journal.record(heard(minute))
            journal.newest()
            journal.last_heard("weir")

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.counts() == {Outcome.STORED: 2_000}
