"""How alarms leave the gateway: to a real HTTP server, to real commands, with everything that goes wrong there."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gateway.alarms.message import Raised
from gateway.alarms.notify import WAITING_MAX, Messenger, retry_after_s
from gateway.alarms.ways_out import OUTPUT_BYTES, NotTold, post, run_command
from gateway.configuration import Alarm, Rule
from gateway.journal import AlarmNote
from gateway.judging.verdict import Verdict
from streamgauge.quality.flags import Flag

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PYTHON = sys.executable


def raised(name: str = "high") -> Raised:
    verdict = Verdict(device="bridge", time=NOW, level_m=1.7, flag=Flag.GOOD)
    bound = Rule(name=name, device="bridge", level_above_m=1.5)
    return Raised.of(bound, verdict, gateway="station-3", raised_at=NOW, is_confirmed=True, is_offline=True)


class Hook:
    """A webhook that answers what a test wants."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.bodies: list[dict[str, object]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alarm"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    running = Hook()
    yield running
    running.stop()


class Told:
    """What a messenger says of its alarms."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.notes: list[AlarmNote] = []

    def outcomes(self) -> list[str]:
        return [note.outcome for note in self.notes]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def messenger(told: Told) -> Iterator[Callable[..., Messenger]]:
    made: list[Messenger] = []

    def make(*alarms: Alarm, **options: object) -> Messenger:
        settings = {"retry": lambda _: 0.01, "timeout_s": 5.0} | options
        made.append(Messenger(alarms, told=told.ids.append, note=told.notes.append, **settings))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def webhook(url: str) -> Alarm:
    return Alarm(kind="webhook", url=url)


def command(program: str) -> Alarm:
    return Alarm(kind="command", argv=(PYTHON, "-c", program))


def test_a_webhook_gets_the_alarm_as_json(hook, messenger, told) -> None:
    messenger(webhook(hook.url)).send(raised())
    until(lambda: told.ids)
    assert hook.bodies == [raised().as_json()]
    assert told.outcomes() == ["delivered"]


def test_what_fails_is_tried_again(hook, messenger, told) -> None:
    hook.statuses = [500, 302, 404]
    messenger(webhook(hook.url)).send(raised())
    until(lambda: told.ids)
    assert told.outcomes() == ["failed", "failed", "failed", "delivered"]
    assert "HTTP 500" in told.notes[0].detail
    assert len(hook.bodies) == 4


def test_a_command_gets_it_on_its_standard_input_and_its_output_is_noted(messenger, told) -> None:
    messenger(command("import json, sys; print('siren for', json.load(sys.stdin)['rule'])")).send(raised())
    until(lambda: told.ids)
    assert told.notes[0].detail == "command: siren for high"


def test_it_is_told_when_every_way_has_taken_it(hook, messenger, told) -> None:
    hook.statuses = [500] * 5
    messenger(webhook(hook.url), command("pass")).send(raised())
    until(lambda: told.ids)
    assert told.outcomes().count("delivered") == 2
    assert told.ids == [raised().id]


def test_a_webhook_that_hangs_does_not_hold_the_siren_back(messenger, told) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        messenger(webhook(url), command("pass"), timeout_s=1.0).send(raised())
        until(lambda: "delivered" in told.outcomes())
        assert told.ids == []


def test_it_is_given_up_in_the_end_and_is_not_told(messenger, told) -> None:
    messenger(command("raise SystemExit(3)"), give_up_after_s=0.05).send(raised())
    until(lambda: "given_up" in told.outcomes())
    assert "exited with 3" in told.notes[-1].detail
    assert told.ids == []


def test_waiting_alarms_are_bounded_and_the_oldest_goes(told) -> None:
    waiting = Messenger([command("pass")], told=told.ids.append, note=told.notes.append)
    for number in range(WAITING_MAX + 1):
        waiting.send(raised(f"r{number}"))
    assert [(note.rule, note.outcome) for note in told.notes] == [("r0", "dropped")]


def test_stopping_does_not_wait_for_what_is_tried_again_later(told) -> None:
    ending = Messenger([command("raise SystemExit(1)")], note=told.notes.append, retry=lambda _: 1_000.0)
    ending.start()
    ending.send(raised())
    until(lambda: told.notes)
    started_s = time.monotonic()
    ending.stop()
    assert time.monotonic() - started_s < 2.0


def test_retries_become_rarer_up_to_a_bound() -> None:
    assert 1.5 <= retry_after_s(1) <= 2.5
    assert 12.0 <= retry_after_s(4) <= 20.0
    assert 90.0 <= retry_after_s(1_000_000) <= 150.0


@pytest.mark.parametrize("argv", [("/no/such/program",), ("/",), ("a\0b",)])
def test_a_command_that_cannot_start_says_so(argv) -> None:
    with pytest.raises(NotTold, match="could not be started"):
        run_command(argv, b"{}", 5.0)


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(60)",
        "import sys, time; sys.stdout.close(); time.sleep(60)",
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
        "while True: print('x' * 1000)",
    ],
    ids=["sleeps", "sleeps behind a closed output", "leaves a child with its output", "prints without end"],
)
def test_a_command_ends_in_time_whatever_it_does(program) -> None:
    started_s = time.monotonic()
    with pytest.raises(NotTold, match="did not end within"):
        run_command((PYTHON, "-c", program), b"{}", 0.5)
    assert time.monotonic() - started_s < 3.0


def test_only_the_beginning_of_a_commands_output_is_kept() -> None:
    assert len(run_command((PYTHON, "-c", "print('x' * 1_000_000)"), b"{}", 10.0)) == OUTPUT_BYTES


def test_a_command_need_not_read() -> None:
    assert run_command(("true",), b"x" * 1_000_000, 5.0) == "exit 0"


def test_a_command_may_read_much() -> None:
    program = "import sys; print(len(sys.stdin.read()))"
    assert run_command((PYTHON, "-c", program), b"x" * 1_000_000, 10.0) == "1000000"


def test_no_shell_reads_the_arguments() -> None:
    assert run_command(("echo", "$(id)", ";", "id"), b"{}", 5.0) == "$(id) ; id"


@pytest.mark.parametrize("url", ["", "http://", "http://127.0.0.1:1/", "http://[::1", "http://127.0.0.1:99999/"])
def test_a_webhook_that_cannot_be_reached_says_so(url) -> None:
    with pytest.raises(NotTold, match="could not be reached"):
        post(url, b"{}", 1.0)
