"""The promise's bookkeeping under every sequence of events: nothing acknowledged before its commit, nothing held for ever."""

import base64
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from streamgauge.errors import DeadReason
from streamgauge.queue import Message, Notice
from streamgauge.reading import Reading, from_microseconds
from streamgauge.wire import Arrival, RawUplink, Rejected
from tasks.inflight import Inflight, Taken


class Promise(RuleBasedStateMachine):
    """A model that remembers every item by a number of its own, and what has been committed, told and acknowledged."""

    known_tasks = Bundle("known_tasks")

    @initialize()
    def begin(self) -> None:
        self.inflight = Inflight()
        self.items: dict[int, set[str]] = {}  # message number → its items
        self.taken: dict[int, Taken] = {}
        self.in_tasks: Counter[str] = Counter()
        self.task_items: dict[str, set[str]] = {}
        self.task_messages: dict[str, list[int]] = {}
        self.committed: set[str] = set()
        self.dead: Counter[int] = Counter()
        self.settled: Counter[int] = Counter()
        self.acknowledged: list[int] = []
        self.on_connection: list[int] = []
        self.number = 0

    @rule(
        readings=st.integers(0, 6),
        uplinks=st.integers(0, 2),
        refused=st.lists(st.integers(0, 3), max_size=3),
        named=st.booleans(),
    )
    def take(self, readings: int, uplinks: int, refused: list[int], named: bool) -> None:
        if not readings and not uplinks and not refused:
            refused = [0]
        number = self.number = self.number + 1
        names = [f"r{number}.{place}" for place in range(readings)]
        uplink_names = [f"u{number}.{place}" for place in range(uplinks)]
        dead_names = [f"d{number}.{place}" for place in range(len(refused))]
        arrival = Arrival(
            source="gateway",
            readings=[Reading(device=name, time=from_microseconds(0), level_m=1.0) for name in names],
            rejected=[
                Rejected(DeadReason.BAD_TIME, name, b"", count) for name, count in zip(dead_names, refused, strict=True)
            ],
            uplinks=[RawUplink("tts", name.encode()) for name in uplink_names],
            gateway="g" if named else None,
            batch=str(number) if named else None,
        )
        taken = self.inflight.take(number % 65_535 + 1, Message(str(number), "gateway", 0), arrival)
        assert not taken.settled
        self.items[number] = {*names, *uplink_names, *dead_names}
        self.taken[number] = taken
        self.dead[number] = sum(refused)
        self.on_connection.append(number)
        assert taken.readings == readings + uplinks + sum(refused)

    @rule(target=known_tasks, most=st.integers(1, 9))
    def next_task(self, most: int) -> str:
        task_id = f"task-{len(self.task_items)}"
        waiting, may_travel = self.inflight.pending_items, self.items_that_may_travel()
        task = self.inflight.next_task(task_id, most)
        if task is None:
            assert may_travel == 0
            return "task-of-nobody"
        uplinks = task.body.get("uplinks", ())
        items = [
            *task.body["columns"]["device"],
            *(base64.b64decode(message).decode() for _, _, message in uplinks),
            *(dead[2] for dead in task.body["dead"]),
        ]
        assert 0 < len(items) == min(most, may_travel)
        assert self.inflight.pending_items == waiting - len(items)
        self.in_tasks.update(items)
        self.task_items[task_id] = set(items)
        self.task_messages[task_id] = [int(message[0]) for message in task.body["messages"]]
        # Every item points to its own message.
        indices = [
            *task.body["columns"]["message"],
            *(index for index, _, _ in uplinks),
            *(dead[0] for dead in task.body["dead"]),
        ]
        for item, index in zip(items, indices, strict=True):
            assert item in self.items[int(task.body["messages"][index][0])]
        return task_id

    def sender(self, number: int) -> str:
        return self.taken[number].gateway or str(number)

    def items_that_may_travel(self) -> int:
        """Items in no task yet, of senders that have no task under way."""
        under_way = {
            self.sender(number)
            for task in self.inflight.overdue(float("inf"))
            for number in self.task_messages[task.id]
        }
        return sum(
            len(self.items[number] - set(self.in_tasks))
            for number in self.on_connection
            if self.sender(number) not in under_way
        )

    @rule(task_id=known_tasks, losses=st.lists(st.booleans(), max_size=9))
    def complete(self, task_id: str, losses: list[bool]) -> None:
        under_way = task_id in {task.id for task in self.inflight.overdue(float("inf"))}
        messages = self.task_messages.get(task_id, [])
        sound = {
            index: sum(item.startswith(("r", "u")) for item in self.task_items[task_id] & self.items[number])
            for index, number in enumerate(messages)
        }
        dead = {index: 1 for index, lost in enumerate(losses) if lost and sound.get(index)}
        settled = self.inflight.complete(Notice(task_id, "me", dead))
        if not under_way:
            assert settled == []
            return
        self.committed |= self.task_items[task_id]
        for index, count in dead.items():
            self.dead[messages[index]] += count
        for taken in settled:
            number = int(taken.message.topic)
            self.settled[number] += 1
            assert self.items[number] <= self.committed
            answer = taken.answer()
            if answer is None:
                assert taken.gateway is None
            else:
                assert (answer.batch, answer.dead) == (str(number), self.dead[number])
                assert answer.stored + answer.dead == taken.readings
                assert answer.stored >= 0

    @rule(name=st.text(max_size=5))
    def hear_of_an_unknown_task(self, name: str) -> None:
        assert self.inflight.complete(Notice(name, "me", {0: 3})) == []

    @rule()
    def acknowledge(self) -> None:
        for taken in self.inflight.acknowledgeable():
            number = int(taken.message.topic)
            assert self.items[number] <= self.committed, "acknowledged before it was committed"
            assert number == self.on_connection.pop(0), "acknowledged out of order"
            assert taken.mid == number % 65_535 + 1
            self.acknowledged.append(number)

    @rule()
    def lose_the_connection(self) -> None:
        self.inflight.forget_connection()
        self.on_connection.clear()
        assert self.inflight.messages == self.inflight.pending_items == 0
        assert list(self.inflight.acknowledgeable()) == []

    @rule(now_s=st.floats(1, 1e6))
    def doubt(self, now_s: float) -> None:
        for task in self.inflight.overdue(float("inf")):
            task.retry_at_s = now_s + 30
        assert self.inflight.overdue(now_s) == []
        self.inflight.doubt_all(now_s)
        assert len(self.inflight.overdue(now_s)) == self.inflight.tasks

    @invariant()
    def each_item_is_in_one_task_at_most(self) -> None:
        assert all(count == 1 for count in self.in_tasks.values())
        assert all(count == 1 for count in self.settled.values())
        assert len(self.acknowledged) == len(set(self.acknowledged))
        assert self.inflight.messages == len(self.on_connection)

    def teardown(self) -> None:
        """Once everything is heard of, nothing is held any more."""
        number = 0
        while self.inflight.next_task(f"last-{number}", 3) is not None or self.inflight.tasks:
            number += 1
            for task in self.inflight.overdue(float("inf")):
                self.inflight.complete(Notice(task.id, "me", {}))
        list(self.inflight.acknowledgeable())
        assert self.inflight.messages == self.inflight.tasks == self.inflight.pending_items == 0


Promise.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestPromise = Promise.TestCase
