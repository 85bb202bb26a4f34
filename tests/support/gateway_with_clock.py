"""``python -m tests.support.gateway_with_clock``: the gateway, with the system's clock moved as a file says.

The file that ``TEST_CLOCK_FILE`` names holds seconds; it may be replaced at any time. The monotonic clock runs on, as it does
when a real system's clock is set.
"""

import os
import sys
import time
from pathlib import Path


def move_the_clock() -> None:
    """Let this process's clock be off by what the file says. Call it before anything takes hold of ``time``'s functions."""
    clock_file = Path(os.environ["TEST_CLOCK_FILE"])
    true_time_ns = time.time_ns

    def time_ns() -> int:
        return true_time_ns() + int(float(clock_file.read_text()) * 1e9)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":
    move_the_clock()
    from gateway.__main__ import main

    sys.exit(main(sys.argv[1:]))
