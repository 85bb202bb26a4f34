"""Becomes another program: drops privileges and asks the kernel to end it with its parent, then executes it.

Run as a file by ``embedded.processes`` with the interpreter's ``-I -S``, so it may use the standard library only. It is a
program of its own because code between fork and exec in a process with threads can deadlock.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when its parent ends. Linux only; elsewhere the guard alone cleans up."""


def main() -> None:
    """Arguments: parent's pid, signal at its death, ``uid:gid`` or ``-``, then the program and its arguments."""
    parent, death_signal, account, *argv = sys.argv[1:]
    if account != "-":
        uid, gid = (int(number) for number in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux" and int(parent):
        # After setuid, which clears it. A parent that has died in between is noticed by the changed parent id.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(1)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 (the caller's list, no shell)
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
