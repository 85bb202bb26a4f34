"""The subscriber's ear for workers' notices: one Redis connection that waits inside Redis and wakes the caller's selector."""

import logging
from typing import Any

from redis import Redis, RedisError

from streamgauge.errors import QueueUnavailable
from streamgauge.queue import STORED_KEY, Notice, newest_notice_id, parse_notices

log = logging.getLogger("streamgauge.notices")

READ_COUNT = 200


class NoticeStream:
    """A blocking XREAD that is always under way, on a connection of its own, so that nothing polls.

    Notices are a hint: those that are missed while Redis is away are made up for by enqueuing the tasks again.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._connection: Any = None
        self._last_id = ""

    def open(self) -> None:
        """Connect and begin to wait.

        Raises:
            QueueUnavailable: Redis cannot be reached.
        """
        try:
            if not self._last_id:
                self._last_id = newest_notice_id(self._redis)
            self._connection = self._redis.connection_pool.get_connection()
            self._connection.connect()
            self._wait()
        except RedisError as error:
            self.close()
            raise QueueUnavailable(f"Redis cannot be reached ({error})") from error

    def close(self) -> None:
        """Give the connection up; ``open`` makes a new one and goes on after the last notice that was heard."""
        if self._connection is not None:
            self._connection.disconnect()
            self._redis.connection_pool.release(self._connection)
            self._connection = None

    @property
    def is_open(self) -> bool:
        """Whether it is listening."""
        return self._connection is not None

    def fileno(self) -> int:
        """The socket's number, for a selector. (redis-py has no public name for a connection's socket.)"""
        return int(self._connection._sock.fileno())  # noqa: SLF001

    def read(self) -> list[Notice]:
        """The notices that have come; call it when the selector says so.

        Raises:
            QueueUnavailable: the connection is lost; ``open`` it again.
        """
        try:
            answer = self._connection.read_response()
            last_id, notices = parse_notices(answer)
            self._last_id = last_id or self._last_id
            self._wait()
        except (RedisError, OSError) as error:
            self.close()
            raise QueueUnavailable(f"the connection to Redis is lost ({error})") from error
        return notices

    def _wait(self) -> None:
        self._connection.send_command("XREAD", "COUNT", READ_COUNT, "BLOCK", 0, "STREAMS", STORED_KEY, self._last_id)
