"""What waits in the subscriber, a lane for each sender: first come, first served between lanes, and whole lanes together.

A task reads the past of each station in it. Fifty readings of each of ten stations cost it a fraction of five readings of each
of a hundred, and tasks over different stations do not wait for each other's locks. So what one sender has waiting travels
together. A lane whose oldest message is the oldest of all is served next: no sender waits for ever.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")


@dataclass(slots=True)
class Lanes(Generic[Waiting]):
    """Queues by sender. Take ``oldest`` for its queue, empty it as far as wanted, and ``put_back`` what is left."""

    _queues: dict[str, deque[tuple[int, Waiting]]] = field(default_factory=dict)
    _heads: list[tuple[int, str]] = field(default_factory=list)
    _arrivals: int = 0

    def add(self, sender: str, waiting: Waiting) -> None:
        """Let something wait behind what its sender has waiting already."""
        self._arrivals += 1
        queue = self._queues.get(sender)
        if queue is None:
            self._queues[sender] = queue = deque()
            heapq.heappush(self._heads, (self._arrivals, sender))
        queue.append((self._arrivals, waiting))

    def take_oldest(self) -> tuple[str, deque[tuple[int, Waiting]]]:
        """The lane with the oldest message: its sender and its queue of (order of arrival, what waits).

        Raises:
            IndexError: nothing waits.
        """
        _, sender = heapq.heappop(self._heads)
        return sender, self._queues.pop(sender)

    def put_back(self, sender: str, queue: deque[tuple[int, Waiting]]) -> None:
        """Return a lane that was taken and is not empty."""
        self._queues[sender] = queue
        heapq.heappush(self._heads, (queue[0][0], sender))

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()
        self._heads.clear()

    def __bool__(self) -> bool:
        return bool(self._heads)
