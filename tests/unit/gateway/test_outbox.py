"""Batches under way: which answers count, when a batch leaves again, what is still to be sent."""

import pytest

from gateway.handover.outbox import LONGEST_WAIT_S, RECONNECT_SPREAD_S, Batch, Ignored, Lane, Outbox
from streamgauge.wire import StoredAnswer


def outbox(chance: float = 0.5) -> Outbox:
    return Outbox(resend_after_s=10.0, chance=lambda: chance)


def add(box: Outbox, first: int, last: int, lane: Lane = Lane.LIVE, due_s: float = 0.0) -> Batch:
    readings = last - first + 1
    batch = Batch(name=box.next_name(), lane=lane, ranges=[(first, last)], readings=readings, payload=b"", due_s=due_s)
    box.add(batch)
    return batch


def test_an_answer_that_counts_every_reading_settles_its_batch() -> None:
    box = outbox()
    batch = add(box, 1, 5)
    assert box.answered(StoredAnswer(batch.name, 3, 2)) is batch
    assert len(box) == 0


@pytest.mark.parametrize(("stored", "dead"), [(4, 0), (6, 0), (0, 0), (-1, 6), (6, -1), (2**70, 5)])
def test_an_answer_that_counts_wrong_changes_nothing(stored: int, dead: int) -> None:
    box = outbox()
    batch = add(box, 1, 5)
    assert box.answered(StoredAnswer(batch.name, stored, dead)) is Ignored.WRONG_COUNT
    assert list(box) == [batch]


def test_answers_to_nothing_under_way_change_nothing() -> None:
    box = outbox()
    batch = add(box, 1, 5)
    box.answered(StoredAnswer(batch.name, 5, 0))
    other = outbox().next_name()
    start = batch.name.partition("-")[0]
    assert box.answered(StoredAnswer(batch.name, 5, 0)) is Ignored.REPEATED
    for name in (other, "", "-", start, f"{start}-", f"{start}-2", f"{start}-²", f"{start}-{'9' * 5_000}", "🌊" * 99):
        assert box.answered(StoredAnswer(name, 5, 0)) is Ignored.UNKNOWN


def test_waits_double_up_to_two_minutes() -> None:
    box = outbox()
    batch = add(box, 1, 1)
    waits = []
    for _ in range(7):
        box.sent(batch, 0.0)
        waits.append(batch.due_s)
    assert waits == [10.0, 20.0, 40.0, 80.0, 120.0, 120.0, 120.0]
    assert LONGEST_WAIT_S == 120.0


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 7.5), (0.999999, 12.5)])
def test_waits_are_spread_by_a_quarter(chance: float, wait_s: float) -> None:
    box = outbox(chance)
    batch = add(box, 1, 1)
    box.sent(batch, 0.0)
    assert batch.due_s == pytest.approx(wait_s, abs=0.001)


def test_after_a_reconnection_everything_leaves_soon_as_backlog() -> None:
    box = outbox()
    batches = [add(box, number, number) for number in (1, 2, 3)]
    for batch in batches:
        for _ in range(5):
            box.sent(batch, 0.0)
    box.reconnected(50.0)
    assert all(50.0 <= batch.due_s <= 50.0 + RECONNECT_SPREAD_S for batch in batches)
    assert (box.in_lane(Lane.LIVE), box.in_lane(Lane.BACKLOG)) == (0, 3)
    box.sent(batches[0], 51.0)
    assert batches[0].due_s == 51.0 + 20.0


def test_live_batches_leave_before_the_backlog() -> None:
    box = outbox()
    backlog = [add(box, number, number, Lane.BACKLOG) for number in (1, 2)]
    live = [add(box, number, number) for number in (3, 4)]
    later = add(box, 5, 5, due_s=1.0)
    assert box.due(0.5) == [*live, *backlog]
    assert box.next_due_s() == 0.0
    assert box.due(1.0) == [*live, later, *backlog]


def test_a_batch_that_others_overtake_is_stuck() -> None:
    box = outbox()
    stuck = add(box, 1, 10)
    for attempt in range(3):
        box.sent(stuck, float(attempt))
    others = [add(box, number, number) for number in (11, 12, 13)]
    for answered, other in enumerate(others):
        assert not (answered and box.is_stuck(stuck))
        box.sent(other, 10.0)
        box.answered(StoredAnswer(other.name, 1, 0))
    assert box.is_stuck(stuck)


def test_while_nothing_is_answered_only_the_oldest_is_tried_in_parts() -> None:
    box = outbox()
    batches = [add(box, 10 * number, 10 * number + 9) for number in range(5)]
    for attempt in range(5):
        assert not any(box.is_stuck(batch) for batch in batches)
        for batch in batches:
            box.sent(batch, float(attempt))
    assert [box.is_stuck(batch) for batch in batches] == [True, False, False, False, False]
    one = outbox()
    single = add(one, 1, 1)
    for attempt in range(9):
        one.sent(single, float(attempt))
    assert not one.is_stuck(single)


def test_gaps_are_what_is_not_under_way() -> None:
    box = outbox()
    add(box, 5, 9)
    add(box, 1, 2)
    add(box, 10, 12)
    assert box.gap(0, 20) == (2, 4)
    assert box.gap(3, 20) == (3, 4)
    assert box.gap(4, 20) == (12, 20)
    assert box.gap(6, 7) is None
    assert box.gap(12, 12) is None
    assert box.gap(0, 3) == (2, 3)
    assert box.gap(20, 25) == (20, 25)
