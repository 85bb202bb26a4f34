"""What a person sees of ``make up``."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table of what runs."""

    name: str
    pid: int | None
    where: str


class Console:
    """Plain lines on standard output; on a terminal the last line is renewed in place.

    A terminal that is closed must not keep anything from being stopped: output that fails is given up for good.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._gone = False
        self._on_status_line = False

    @property
    def terminal(self) -> bool:
        """Whether a person watches."""
        return not self._gone and sys.stdout.isatty()

    def say(self, text: str) -> None:
        """One line, or several."""
        self._write(("\n" if self._on_status_line else "") + text + "\n")
        self._on_status_line = False

    def step(self, text: str) -> None:
        """A step of the start, with the time since its beginning."""
        self.say(f"  {time.monotonic() - self._began:5.1f} s  {text}")

    def status(self, text: str) -> None:
        """The line that tells how it goes."""
        if self.terminal:
            self._write("\r\x1b[K" + text)
            self._on_status_line = True
        else:
            self.say(text)

    def table(self, rows: Sequence[Row]) -> None:
        """What runs where."""
        width = max(len(row.name) for row in rows)
        self.say(f"\n  {'part':<{width}}  process  where")
        for row in rows:
            self.say(f"  {row.name:<{width}}  {row.pid or '-':>7}  {row.where}".rstrip())

    def error(self, text: str) -> None:
        """Why it cannot go on."""
        self.say("\n" + text)

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            self._gone = True
