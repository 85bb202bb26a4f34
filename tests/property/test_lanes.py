"""Lanes: a sender's order is kept, nothing travels twice or waits for ever, and the oldest sender goes first."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tasks.lanes import Lanes

SENDERS = st.sampled_from("abcd")


class LanesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lanes: Lanes[int] = Lanes()
        self.waiting: dict[str, list[int]] = {}
        self.under_way: set[str] = set()
        self.count = 0

    @rule(sender=SENDERS)
    def add(self, sender: str) -> None:
        self.count += 1
        self.lanes.add(sender, self.count)
        self.waiting.setdefault(sender, []).append(self.count)

    def open_lanes(self) -> dict[str, list[int]]:
        return {sender: numbers for sender, numbers in self.waiting.items() if numbers and sender not in self.under_way}

    @precondition(lambda self: self.open_lanes())
    @rule(at_most=st.integers(1, 4))
    def take(self, at_most: int) -> None:
        sender, queue = self.lanes.take_oldest()
        assert sender == min(self.open_lanes(), key=lambda one: self.waiting[one][0])
        taken = [queue.popleft()[1] for _ in range(min(at_most, len(queue)))]
        assert taken == self.waiting[sender][: len(taken)]
        del self.waiting[sender][: len(taken)]
        self.under_way.add(sender)

    @precondition(lambda self: self.under_way)
    @rule(choice=st.randoms(use_true_random=False))
    def release(self, choice) -> None:
        sender = choice.choice(sorted(self.under_way))
        self.under_way.discard(sender)
        self.lanes.release([sender])

    @rule()
    def clear(self) -> None:
        self.lanes.clear()
        self.waiting.clear()

    @invariant()
    def something_may_travel_exactly_if_an_open_lane_has_something(self) -> None:
        assert bool(self.lanes) == bool(self.open_lanes())


TestLanes = LanesMachine.TestCase
