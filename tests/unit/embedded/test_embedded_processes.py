"""Children: started, stopped, killed with their families; logs kept short."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from embedded.processes import Command, Keeper, family, rotate, tail

SLEEP = "import time; time.sleep(600)"
IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
# As Celery's pool does; the second child leaves the session, as Postgres' backends do.
HAS_CHILDREN = """
import os, signal, time
for leaves in (False, True):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if leaves:
            os.setsid()
        time.sleep(600)
print('ready', flush=True)
time.sleep(600)
"""


@pytest.fixture
def keeper():
    made = Keeper()
    yield made
    made.close()


def command(tmp_path, code, **options):
    return Command(
        argv=(sys.executable, "-c", code), env=dict(os.environ), log=tmp_path / "logs" / "child.log", **options
    )


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(processes):
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


def test_a_child_that_listens_ends_at_once(keeper, tmp_path):
    child = keeper.start("sleeper", command(tmp_path, SLEEP))
    assert child.exit_code() is None
    child.stop()
    assert child.exit_code() == -signal.SIGTERM


def test_a_child_that_does_not_listen_is_killed_when_its_time_is_over(keeper, tmp_path):
    child = keeper.start("stubborn", command(tmp_path, IGNORES_TERM, stop_s=0.3))
    wait_for(lambda: "ready" in tail(child.command.log))
    child.stop()
    assert child.exit_code() == -signal.SIGKILL


def test_a_second_signal_shortens_the_wait(keeper, tmp_path):
    child = keeper.start("stubborn", command(tmp_path, IGNORES_TERM, stop_s=60))
    wait_for(lambda: "ready" in tail(child.command.log))
    hurry = threading.Event()
    hurry.set()
    began = time.monotonic()
    child.stop(hurry)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_childs_children_end_with_it(keeper, tmp_path, end):
    child = keeper.start("pool", command(tmp_path, HAS_CHILDREN, stop_s=1))
    wait_for(lambda: "ready" in tail(child.command.log) and len(family(child.pid)) == 3)
    members = family(child.pid)
    getattr(child, end)()
    assert gone(members)


def test_members_of_a_session_are_found_after_their_leader_died(keeper, tmp_path):
    child = keeper.start("pool", command(tmp_path, HAS_CHILDREN))
    wait_for(lambda: len(family(child.pid)) == 3)
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: child.exit_code() is not None)
    assert len(family(child.pid)) >= 1
    child.kill()
    assert family(child.pid) == []


OWNER = """
import os, sys, time
from pathlib import Path
from embedded.processes import Command, Keeper, family
keeper = Keeper()
argv = (sys.executable, '-c', sys.argv[1])
child = keeper.start('pool', Command(argv=argv, env=dict(os.environ), log=Path(sys.argv[2]) / 'c.log'))
keeper.remove_at_death(Path(sys.argv[2]) / 'urls.env')
while len(family(child.pid)) < 3:
    time.sleep(0.02)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_owner_leaves_nothing_behind(tmp_path):
    (tmp_path / "urls.env").touch()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, HAS_CHILDREN, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    everyone = {*family(pid), *psutil.Process(owner.pid).children(recursive=True)}
    assert len(everyone) == 4  # the leader, its two children, the guard
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_for(lambda: gone(everyone))
    assert not (tmp_path / "urls.env").exists()


def test_a_program_that_does_not_exist_ends_with_127_and_says_so(keeper, tmp_path):
    child = keeper.start("missing", Command(argv=("/nonexistent/program",), env={}, log=tmp_path / "m.log"))
    wait_for(lambda: child.exit_code() is not None)
    assert child.exit_code() == 127
    assert "/nonexistent/program" in tail(tmp_path / "m.log")


def test_a_log_that_is_too_long_is_moved_while_its_writer_goes_on(tmp_path):
    log = tmp_path / "part.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 1000)
        rotate(log, limit_bytes=100)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "part.log.1").stat().st_size == 4000


def test_the_tail_of_a_log_is_its_last_lines(tmp_path):
    log = tmp_path / "part.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert tail(log, 2) == "line 99998\nline 99999"
    assert tail(tmp_path / "none.log") == ""
