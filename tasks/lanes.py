"""What waits in the subscriber, a lane for each sender: order kept within a lane, first come, first served between lanes.

* A lane that has a task under way waits until that is committed. Two workers would otherwise take consecutive readings of one
  station in either order, and the later one would be judged by water of hours ago.
* What one sender has waiting travels together. A task reads the past of each station in it: fifty readings of each of ten
  stations cost it a fraction of five readings of each of a hundred, and tasks over different stations do not wait for each
  other's locks.
* Of the lanes that may travel, the one whose oldest message is the oldest of all goes first: no sender waits for ever.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")


@dataclass(slots=True)
class Lanes(Generic[Waiting]):
    """Queues by sender. ``take_oldest`` gives a queue out and closes its lane, until ``release`` opens it again."""

    _queues: dict[str, deque[tuple[int, Waiting]]] = field(default_factory=dict)
    _heads: list[tuple[int, str]] = field(default_factory=list)
    _closed: set[str] = field(default_factory=set)
    _arrivals: int = 0

    def add(self, sender: str, waiting: Waiting) -> None:
        """Let something wait behind what its sender has waiting already."""
        self._arrivals += 1
        queue = self._queues.setdefault(sender, deque())
        queue.append((self._arrivals, waiting))
        if len(queue) == 1 and sender not in self._closed:
            heapq.heappush(self._heads, (self._arrivals, sender))

    def take_oldest(self) -> tuple[str, deque[tuple[int, Waiting]]]:
        """The open lane with the oldest message: its sender, and its queue of (order of arrival, what waits).

        What the caller leaves in the queue goes on waiting; the lane is closed now.

        Raises:
            IndexError: no open lane has anything waiting.
        """
        _, sender = heapq.heappop(self._heads)
        self._closed.add(sender)
        return sender, self._queues[sender]

    def release(self, senders: Iterable[str]) -> None:
        """Open lanes again."""
        for sender in senders:
            self._closed.discard(sender)
            queue = self._queues.get(sender)
            if queue:
                heapq.heappush(self._heads, (queue[0][0], sender))
            elif queue is not None:
                del self._queues[sender]

    def clear(self) -> None:
        """Forget everything that waits; closed lanes stay closed."""
        self._queues.clear()
        self._heads.clear()

    def __bool__(self) -> bool:
        return bool(self._heads)
