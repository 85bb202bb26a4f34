"""What can go wrong while processes are started and watched."""

from pathlib import Path

from streamgauge.errors import PermanentError, StreamgaugeError


class CannotStart(PermanentError):
    """Something that ``make up`` needs is missing, taken or refused; the message says what to do."""


class Cancelled(StreamgaugeError):
    """The user asked to stop while something was still starting."""


class PartFailed(PermanentError):
    """A process ended, or did not become ready, although it should run.

    Args:
        name: the part, as the console calls it.
        what: what happened, for example ``ended with exit code 3``.
        log: where its output is.
        tail: the last lines of its output.
    """

    def __init__(self, name: str, what: str, log: Path, tail: str) -> None:
        quoted = "\n".join("    " + line for line in tail.splitlines())
        super().__init__(f"{name} {what}. The end of {log}:\n{quoted or '    (it is empty)'}")
        self.name = name
        self.what = what
