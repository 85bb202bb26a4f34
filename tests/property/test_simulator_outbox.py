"""The outbox under any course of events: nothing that was added leaves without its answer, and nothing is due for ever."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from simulator.outbox import RECONNECT_SPREAD_S, Outbox, Verdict
from streamgauge.wire import StoredAnswer

ANSWER_WAIT_S, LONGEST_WAIT_S = 10.0, 60.0


class OutboxMachine(RuleBasedStateMachine):
    waiting: Bundle[str] = Bundle("waiting")
    answered: Bundle[str] = Bundle("answered")

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.outbox = Outbox(answer_wait_s=ANSWER_WAIT_S, longest_wait_s=LONGEST_WAIT_S)
        self.model: dict[str, int] = {}
        self.names: set[str] = set()

    @rule(target=waiting, readings=st.integers(1, 500))
    def add(self, readings: int) -> str:
        name = self.outbox.next_name()
        assert name not in self.names
        self.names.add(name)
        self.outbox.add(name, name.encode(), readings, self.now_s)
        self.model[name] = readings
        assert name in {batch.name for batch in self.outbox.due(self.now_s)}
        return name

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(postpone=st.booleans())
    def what_is_due_leaves(self, postpone: bool) -> None:
        for batch in self.outbox.due(self.now_s):
            times_sent = batch.times_sent
            if postpone:
                self.outbox.postpone(batch, self.now_s)
            else:
                self.outbox.sent(batch, self.now_s)
            assert batch.times_sent == times_sent + (not postpone)
            assert 0.75 * ANSWER_WAIT_S <= batch.due_s - self.now_s <= 1.25 * LONGEST_WAIT_S
        assert not self.outbox.due(self.now_s)

    @rule(target=answered, name=consumes(waiting))
    def first_answer(self, name: str) -> str:
        assert self.outbox.answered(StoredAnswer(name, 1, 0)) == (Verdict.FIRST, self.model.pop(name))
        return name

    @rule(name=answered)
    def repeated_answer(self, name: str) -> None:
        assert self.outbox.answered(StoredAnswer(name, 1, 0)) == (Verdict.REPEATED, 0)

    @rule(name=st.text(max_size=40))
    def unknown_answer(self, name: str) -> None:
        assert self.outbox.answered(StoredAnswer(name, 1, 0)) == (Verdict.UNKNOWN, 0)

    @rule(target=waiting)
    def reconnection(self) -> object:
        self.outbox.reconnected(self.now_s)
        assert all(batch.due_s <= self.now_s + RECONNECT_SPREAD_S for batch in self.outbox)
        return multiple()

    @invariant()
    def exactly_the_unanswered_are_kept_in_order(self) -> None:
        assert [(batch.name, batch.readings, batch.payload) for batch in self.outbox] == [
            (name, readings, name.encode()) for name, readings in self.model.items()
        ]
        assert len(self.outbox) == len(self.model)
        next_due_s = self.outbox.next_due_s()
        assert (next_due_s is None) == (not self.model)
        assert next_due_s is None or next_due_s <= self.now_s + 1.25 * LONGEST_WAIT_S


OutboxMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestOutbox = OutboxMachine.TestCase


def test_waits_double_up_to_the_longest() -> None:
    outbox = Outbox(answer_wait_s=1.0, longest_wait_s=10.0, chance=lambda: 0.5)
    outbox.add("a", b"", 1, 0.0)
    waits = []
    for _ in range(6):
        (batch,) = outbox
        outbox.sent(batch, 0.0)
        waits.append(batch.due_s)
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_two_runs_never_share_an_id() -> None:
    names = [Outbox(answer_wait_s=1, longest_wait_s=1).next_name() for _ in range(200)]
    assert len(set(names)) == 200
    assert all(len(name) <= 64 for name in names)
