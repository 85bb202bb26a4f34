"""Child processes that never outlive their owner.

Each child leads a session of its own, so that a Ctrl-C on the terminal reaches only the owner, which then ends its children
in order. Three things keep a child from being left behind: the owner's own stop, the kernel's parent-death signal
(``launch.py``), and the guard (``guard.py``), which also ends the children's children.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parent.parent
LAUNCHER = Path(__file__).resolve().parent / "launch.py"
LOG_START_BYTES = 1 * 2**20
LOG_MAX_BYTES = 20 * 2**20
POLL_S = 0.02
MARK = "STREAMGAUGE_EMBEDDED_OWNER"
"""Variable in the environment of every child and of what it starts, by which they are found when nothing else leads to them."""

# The parent-death signal is sent when the *thread* that forked ends: every fork is done by one that lasts as long as the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


@dataclass(frozen=True)
class Account:
    """An operating-system account to run a program under."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """How one process is started and stopped.

    Attributes:
        argv: program and arguments; never a secret, as every user of the machine can read them.
        env: the whole environment of the process.
        log: file that its standard output and error are appended to.
        cwd: its working directory.
        account: the account to change to, only possible for root.
        stop_signal: asks it to end.
        stop_s: how long it may take before it is killed, in seconds.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    log: Path
    cwd: Path = PROJECT
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 10.0


class Child:
    """A process that was started."""

    def __init__(self, name: str, command: Command, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.command = command
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, which is its session's too."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """``None`` while it runs; negative for a signal."""
        return self._process.poll()

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Ask it to end, wait as long as its command allows (or until ``hurry`` is set), then kill what is left of its family."""
        members = family(self.pid)
        if self._process.poll() is None:
            self._process.send_signal(self.command.stop_signal)
        deadline = time.monotonic() + self.command.stop_s
        while self._process.poll() is None and time.monotonic() < deadline:
            if hurry is not None and hurry.is_set():
                deadline = min(deadline, time.monotonic() + 0.5)
            time.sleep(POLL_S)
        self._kill(members)

    def kill(self) -> None:
        """SIGKILL it and everything that it has started, and wait until all are gone."""
        members = family(self.pid)
        if self._process.poll() is None:
            self._process.kill()
        self._kill(members)

    def _kill(self, members: Sequence[psutil.Process]) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        kill_all({*members, *family(self.pid)})


class Keeper:
    """Starts children, and has a guard that ends them if this process dies without doing so.

    Args:
        guard_fds: file descriptors that the guard holds open too (a lock, which is thus held until everything has ended).
        cancelled: set when the user asks to stop; whoever waits for a child to become ready gives up then.
    """

    def __init__(self, guard_fds: Sequence[int] = (), cancelled: threading.Event | None = None) -> None:
        self._guard_fds = tuple(guard_fds)
        self.cancelled = cancelled or threading.Event()
        self._mark = secrets.token_hex(16)
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_lost = False

    def start(self, name: str, command: Command) -> Child:
        """Start a process; returns as soon as it has been forked."""
        rotate(command.log, LOG_START_BYTES)
        self._tell({})  # the guard is there before its first ward
        process = _spawner.submit(_spawn, command, self._mark).result()
        self._tell({"add": process.pid})
        return Child(name, command, process)

    def forget(self, child: Child) -> None:
        """Tell the guard that a child has ended."""
        self._tell({"drop": child.pid})

    def remove_at_death(self, path: Path) -> None:
        """Have the guard delete a file, should this process be killed."""
        self._tell({"remove": str(path)})

    def guarded(self) -> bool:
        """Whether the guard lives, or is not needed yet."""
        return not self._guard_lost and (self._guard is None or self._guard.poll() is None)

    def close(self) -> None:
        """Dismiss the guard and end what children that ended by themselves may have left. Every child must have been stopped."""
        kill_all(marked(self._mark))
        if self._guard is None or self._guard.stdin is None:
            return
        self._tell({"bye": True})
        with suppress(BrokenPipeError):  # it is gone already, which is what is asked for
            self._guard.stdin.close()
        self._guard.wait()
        self._guard, self._guard_lost = None, False

    def _tell(self, order: Mapping[str, object]) -> None:
        if self._guard is None:
            self._guard = _spawner.submit(_spawn_guard, self._mark, self._guard_fds).result()
        if self._guard.stdin is None or not order:
            return
        try:
            self._guard.stdin.write(json.dumps(order).encode() + b"\n")
            self._guard.stdin.flush()
        except BrokenPipeError:
            self._guard_lost = True  # guarded() tells the supervisor, which then stops everything itself


def launched(argv: Sequence[str], *, account: Account | None, death_signal: signal.Signals | None) -> list[str]:
    """The command line that runs ``argv`` under another account and, if a signal is given, not longer than this process."""
    who = f"{account.uid}:{account.gid}" if account else "-"
    parent, number = (os.getpid(), int(death_signal)) if death_signal else (0, 0)
    return [sys.executable, "-I", "-S", str(LAUNCHER), str(parent), str(number), who, *argv]


def _spawn(command: Command, mark: str) -> subprocess.Popen[bytes]:
    command.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(command.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            launched(command.argv, account=command.account, death_signal=command.stop_signal),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env={**command.env, MARK: mark},
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _spawn_guard(mark: str, pass_fds: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "embedded.guard", mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def family(leader: int) -> list[psutil.Process]:
    """A session's leader, its descendants (whatever session they are in) and everything else in its session; no zombies."""
    found: dict[int, psutil.Process] = {}
    try:
        process = psutil.Process(leader)
        found = {member.pid: member for member in [process, *process.children(recursive=True)]}
    except psutil.NoSuchProcess:
        pass  # the leader is gone; its session may have members left
    for pid in psutil.pids():
        try:
            if pid not in found and os.getsid(pid) == leader:
                found[pid] = psutil.Process(pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return [member for member in found.values() if _lives(member)]


def marked(mark: str) -> list[psutil.Process]:
    """Processes that inherited an owner's mark. Programs that write a title over their environment (Postgres) are missed."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(MARK) == mark and _lives(process):
                found.append(process)
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_all(processes: Iterable[psutil.Process], timeout_s: float = 10.0) -> None:
    """SIGKILL processes and wait until they are gone or zombies of somebody else."""
    left = [process for process in processes if _lives(process)]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    deadline = time.monotonic() + timeout_s
    while any(_lives(process) for process in left) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def rotate(log: Path, limit_bytes: int) -> None:
    """Move a log that is longer than the limit to ``<name>.1``, in place: its writers append and go on at the new beginning."""
    if not log.exists() or log.stat().st_size <= limit_bytes:
        return
    older = log.with_name(log.name + ".1")
    shutil.copyfile(log, older)
    older.chmod(0o600)
    os.truncate(log, 0)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log; empty if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 64 * 2**10))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
