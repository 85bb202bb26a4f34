"""Free ports on loopback."""

import random
import socket
from collections.abc import Callable, Collection

from embedded.errors import CannotStart

LOOPBACK = "127.0.0.1"
ANY_PORTS = range(20_000, 30_000)
"""Below every common range of ephemeral ports: while a server is down, no client's own end can take its port."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now, and nobody does on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def is_free_for_datagrams(port: int) -> bool:
    """Whether a program could receive UDP on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def preferred_or_next(
    preferred: int, *, taken: Collection[int] = (), tries: int = 200, fits: Callable[[int], bool] = is_free
) -> int:
    """The preferred port, or the next one above it that is free and not in ``taken``.

    Args:
        preferred: the first that is tried.
        taken: ports promised to others.
        tries: how many are tried.
        fits: whether a port is free, for TCP by default.

    Raises:
        CannotStart: when none of ``tries`` ports is free.
    """
    for port in range(preferred, min(preferred + tries, 65_536)):
        if port not in taken and fits(port):
            return port
    raise CannotStart(f"No port from {preferred} to {preferred + tries - 1} is free on {LOOPBACK}")


def any_free() -> int:
    """A free port, chosen at random so that test runs side by side do not meet.

    Raises:
        CannotStart: when none was found.
    """
    for _ in range(200):
        port = random.choice(ANY_PORTS)
        if is_free(port):
            return port
    raise CannotStart(f"No port from {ANY_PORTS.start} to {ANY_PORTS.stop - 1} is free on {LOOPBACK}")
