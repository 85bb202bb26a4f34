"""What ends a run of the simulator, as sentences for the person who started it."""

from collections.abc import Sequence

from streamgauge.errors import PermanentError, TransientError


class InputFault(PermanentError):
    """A file, a scenario or an argument that cannot be used; every mistake that was found is named.

    Args:
        title: what cannot be used.
        problems: one sentence per mistake, each saying where.
    """

    def __init__(self, title: str, problems: Sequence[str]) -> None:
        super().__init__(f"{title}:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


class Refused(PermanentError):
    """The other side answered, and refuses us: bad credentials, no permission, a request that it cannot take."""


class Unreachable(TransientError):
    """The other side does not answer, or has not answered for too long."""
