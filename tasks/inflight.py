"""What the subscriber holds: messages that are taken and not yet acknowledged, and the tasks that carry their readings.

No I/O and no clock; the whole of the promise's bookkeeping stands here. A message is *settled* when every one of its readings
is committed. Messages are acknowledged in the order in which they came, so a settled one waits for those before it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from streamgauge.queue import Message, Notice, ingest_body
from streamgauge.reading import Reading
from streamgauge.wire import Arrival, RawUplink, Rejected, StoredAnswer
from tasks.lanes import Lanes

TASK_RAW_BYTES = 8 * 2**20
"""A task carries refused payloads and uplinks' messages of about so many bytes at most, or a single one of any size."""


@dataclass(slots=True, kw_only=True)
class Taken:
    """One message.

    Attributes:
        mid: its packet identifier on the connection that it came on; 0 for QoS 0, which is not acknowledged.
        message: topic, source, time of arrival.
        gateway: who waits for a ``stored`` answer, if anybody does; likewise ``batch``.
        open_items: readings, uplinks and refused things that are not committed yet.
        readings: how many readings it held, sound or not; an uplink counts as one.
        dead: how many of them became dead letters so far.
    """

    mid: int
    message: Message
    gateway: str | None
    batch: str | None
    open_items: int
    readings: int
    dead: int

    @property
    def settled(self) -> bool:
        """Whether everything in it is committed."""
        return self.open_items == 0

    def answer(self) -> StoredAnswer | None:
        """What its gateway is told, once it is settled."""
        if self.gateway is None or self.batch is None:
            return None
        return StoredAnswer(self.batch, self.readings - self.dead, self.dead)


@dataclass(slots=True, kw_only=True)
class Task:
    """One task under way.

    Attributes:
        id: the same one however often it is enqueued.
        body: what the worker gets.
        parts: the messages in it, each with how many of its items the task carries.
        senders: whose lanes are closed until it is committed.
        retry_at_s: when it is enqueued again unless something is heard of it, by the caller's clock.
        attempts: how often it was enqueued since something was last known of the queue.
    """

    id: str
    body: dict[str, Any]
    parts: list[tuple[Taken, int]]
    senders: list[str]
    retry_at_s: float = 0.0
    attempts: int = 0


@dataclass(slots=True)
class _Pending:
    taken: Taken
    readings: deque[Reading]
    rejected: deque[Rejected]
    uplinks: deque[RawUplink]


_NO_UPLINKS = deque[RawUplink]()
"""Shared by all messages that hold none, which are nearly all: never added to."""


@dataclass(slots=True)
class _Load:
    """A task while it is filled."""

    left_items: int
    left_bytes: int
    messages: list[Message] = field(default_factory=list)
    parts: list[tuple[Taken, int]] = field(default_factory=list)
    readings: list[tuple[int, Reading]] = field(default_factory=list)
    rejected: list[tuple[int, Rejected]] = field(default_factory=list)
    uplinks: list[tuple[int, RawUplink]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return self.left_items <= 0 or self.left_bytes <= 0

    def take_from(self, pending: _Pending) -> None:
        """Take as much of one message as fits."""
        index, before = len(self.messages), self.left_items
        while pending.rejected and not self.full:
            self.rejected.append((index, pending.rejected.popleft()))
            self.left_items -= 1
            self.left_bytes -= len(self.rejected[-1][1].payload)
        while pending.uplinks and not self.full:
            self.uplinks.append((index, pending.uplinks.popleft()))
            self.left_items -= 1
            self.left_bytes -= len(self.uplinks[-1][1].message)
        while pending.readings and not self.full:
            self.readings.append((index, pending.readings.popleft()))
            self.left_items -= 1
        self.messages.append(pending.taken.message)
        self.parts.append((pending.taken, before - self.left_items))


@dataclass(slots=True)
class Inflight:
    """The messages and tasks of one subscriber."""

    _order: deque[Taken] = field(default_factory=deque)
    _pending: Lanes[_Pending] = field(default_factory=Lanes)
    _tasks: dict[str, Task] = field(default_factory=dict)
    _pending_items: int = 0
    _pending_bytes: int = 0

    def take(self, mid: int, message: Message, arrival: Arrival) -> Taken:
        """Take a message; its readings wait for the next task. One without readings is settled at once."""
        items = len(arrival.readings) + len(arrival.rejected) + len(arrival.uplinks)
        dead = sum(rejected.readings for rejected in arrival.rejected)
        taken = Taken(
            mid=mid,
            message=message,
            gateway=arrival.gateway,
            batch=arrival.batch,
            open_items=items,
            readings=len(arrival.readings) + len(arrival.uplinks) + dead,
            dead=dead,
        )
        self._order.append(taken)
        if items:
            uplinks = deque(arrival.uplinks) if arrival.uplinks else _NO_UPLINKS
            pending = _Pending(taken, deque(arrival.readings), deque(arrival.rejected), uplinks)
            self._pending.add(arrival.gateway or message.topic, pending)
            self._pending_items += items
            if arrival.rejected or uplinks:
                self._pending_bytes += sum(len(rejected.payload) for rejected in arrival.rejected)
                self._pending_bytes += sum(len(uplink.message) for uplink in uplinks)
        return taken

    def next_task(self, task_id: str, max_items: int) -> Task | None:
        """Put what waits, at most ``max_items`` of it, into a task; ``None`` if nothing waits that may travel now.

        Nothing of a sender travels while a task with earlier readings of that sender is under way.
        """
        if not self._pending:
            return None
        load, senders = _Load(max_items, TASK_RAW_BYTES), list[str]()
        while self._pending and not load.full:
            sender, queue = self._pending.take_oldest()
            senders.append(sender)
            while queue and not load.full:
                _, pending = queue[0]
                load.take_from(pending)
                if not pending.readings and not pending.uplinks and not pending.rejected:
                    queue.popleft()
        self._pending_items -= max_items - load.left_items
        self._pending_bytes -= TASK_RAW_BYTES - load.left_bytes
        body = ingest_body(load.messages, load.readings, load.rejected, load.uplinks)
        self._tasks[task_id] = task = Task(id=task_id, body=body, parts=load.parts, senders=senders)
        return task

    def complete(self, notice: Notice) -> list[Taken]:
        """A worker has committed a task: returns the messages that are settled by it. A notice that repeats is nothing."""
        task = self._tasks.pop(notice.task_id, None)
        if task is None:
            return []
        self._pending.release(task.senders)
        settled = []
        for index, (taken, items) in enumerate(task.parts):
            taken.open_items -= items
            taken.dead += notice.dead.get(index, 0)
            if taken.settled:
                settled.append(taken)
        return settled

    def acknowledgeable(self) -> Iterable[Taken]:
        """Settled messages that nothing unsettled stands before, in order of arrival; each is given out once."""
        while self._order and self._order[0].settled:
            yield self._order.popleft()

    def overdue(self, now_s: float) -> list[Task]:
        """Tasks of which nothing was heard in time, by the caller's clock."""
        return [task for task in self._tasks.values() if task.retry_at_s <= now_s]

    def doubt_all(self, now_s: float) -> None:
        """The queue or its notices were away: nothing is known of any task, so each is enqueued again at once."""
        for task in self._tasks.values():
            task.retry_at_s, task.attempts = now_s, 0

    def forget_connection(self) -> None:
        """The connection is lost: the broker will send unacknowledged messages again, and these can no longer be acknowledged.

        Tasks under way go on, as gateways wait for their answers; what has not been put into a task comes again.
        """
        self._order.clear()
        self._pending.clear()
        self._pending_items = 0
        self._pending_bytes = 0

    @property
    def messages(self) -> int:
        """Messages held unacknowledged."""
        return len(self._order)

    @property
    def tasks(self) -> int:
        """Tasks under way."""
        return len(self._tasks)

    @property
    def pending_bytes(self) -> int:
        """Bytes of refused payloads and of uplinks' messages that wait for a task."""
        return self._pending_bytes

    @property
    def pending_items(self) -> int:
        """Readings, uplinks and refused things that wait for a task."""
        return self._pending_items
