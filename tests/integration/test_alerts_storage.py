"""What becomes of an alert when two people act at once, and what is there when it must not be."""

import threading

import pytest
from sqlalchemy import Engine, text

from streamgauge.storage.alerts import (
    AlertUnknown,
    BadComment,
    Step,
    acknowledge_alert,
    clean_comment,
    comment_alert,
    count_unresolved,
    read_history,
    resolve_alert,
)
from tests.support.alert_rows import add_alert


def test_of_many_at_once_one_takes_it_and_the_log_says_so_once(engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, None)
    steps, together = list[Step](), threading.Barrier(4)

    def act(who: str) -> None:
        together.wait()
        with engine.begin() as connection:
            steps.append(acknowledge_alert(connection, number, by=who))

    threads = [threading.Thread(target=act, args=(f"person {place}",)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [step.changed for step in steps].count(True) == 1
    assert len({step.alert.acknowledged_by for step in steps}) == 1
    with engine.connect() as connection:
        history = read_history(connection, number)
    assert [(event.actor, event.action) for event in history] == [(steps[0].alert.acknowledged_by, "alert.acknowledge")]


def test_nothing_is_logged_for_what_is_not_carried_out(engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, None)
    with engine.connect() as connection:
        resolve_alert(connection, number, by="duty", comment="over")
        connection.rollback()
    with engine.connect() as connection:
        assert read_history(connection, number) == []
        assert count_unresolved(connection) == {"open": 1, "acknowledged": 0}
        assert connection.execute(text("SELECT comment FROM alerts")).scalar_one() is None


@pytest.mark.parametrize("number", [0, -1, 5, 2**63, 2**200])
def test_a_number_that_no_alert_has(engine: Engine, number: int) -> None:
    for act in (acknowledge_alert, resolve_alert, comment_alert):
        with pytest.raises(AlertUnknown), engine.begin() as connection:
            act(connection, number, by="duty", comment="?")


def test_the_whole_life_stays_written(engine: Engine) -> None:
    with engine.begin() as connection:
        number = add_alert(connection, None)
        acknowledge_alert(connection, number, by="duty")
        comment_alert(connection, number, by="duty", comment="a branch at the gauge")
        comment_alert(connection, number, by="duty", comment="a branch at the gauge")
        resolve_alert(connection, number, by="crew", comment="cleared")
        history = read_history(connection, number)
    assert [(event.actor, event.action, event.comment) for event in history] == [
        ("duty", "alert.acknowledge", None),
        ("duty", "alert.comment", "a branch at the gauge"),
        ("crew", "alert.resolve", "cleared"),
    ]


@pytest.mark.parametrize(
    ("typed", "kept"), [(None, None), (" \r\n ", None), ("a\r\nb\rc", "a\nb\nc"), ("ừ" * 2_000, "ừ" * 2_000)]
)
def test_comments_are_kept_as_they_are_meant(typed: str | None, kept: str | None) -> None:
    assert clean_comment(typed) == kept


@pytest.mark.parametrize("typed", ["x" * 2_001, "\0", "a\x07b", "\ud800"])
def test_comments_that_are_no_text(typed: str) -> None:
    with pytest.raises(BadComment):
        clean_comment(typed)
