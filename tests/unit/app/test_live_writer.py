"""The thread that writes: what it hears, whom it lets go, and how it ends. Its turns are made one by one by the test."""

from collections.abc import Collection

import pytest
from wsproto.frame_protocol import FrameProtocol

from app.live.client import HEARD_BYTES, HEARD_FRAMES, HEARD_WINDOW_S, Client, State
from app.live.events import EventLog
from app.live.writer import CLOSING_LIMIT_S, HEARTBEAT_S, PING_S, STALL_LIMIT_S, Writer
from tests.unit.app.live_scene import Browser, browser, event

STEP_S = 0.5


class Thread:
    """A writer whose thread is the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.alive: set[int] | None = None
        self.writer = Writer(EventLog(16), lambda: True, self._check, lambda: self.now)
        self.writer.load([], "0-0", is_whole=True)
        self.turn()

    def _check(self, _sessions: Collection[int]) -> Collection[int]:
        if self.alive is None:
            raise ConnectionError("the database is away")
        return self.alive

    def turn(self) -> None:
        """Two turns: what is asked for in the first is done in the second."""
        for _ in range(2):
            self.writer.wake()
            self.writer.turn()

    def pass_time(self, seconds: float, *reading: Browser) -> None:
        """Time passes; these browsers take and answer what they are sent."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self.turn()
            for one in reading:
                pings = one.pings
                one.read()
                if one.pings > pings:
                    one.say(bytes(one.protocol.pong()))
            self.turn()

    def join(self, *devices: str, buffer_bytes: int = 65_536, session: int | None = None) -> Browser:
        """A browser comes."""
        joined = browser(*devices, now=self.now, buffer_bytes=buffer_bytes, session=session)
        self.writer.join(joined.client)
        self.turn()
        return joined


@pytest.fixture
def thread() -> Thread:
    return Thread()


def text(words: str) -> bytes:
    return bytes(FrameProtocol(client=True, extensions=[]).send_data(words))


def test_it_greets_and_keeps_alive(thread: Thread) -> None:
    one = thread.join()
    one.read()
    assert one.frames == [{"type": "hello", "id": "0-0"}]
    thread.pass_time(max(HEARTBEAT_S, PING_S) * 4, one)
    assert one.kinds.count("heartbeat") >= 3
    assert one.pings >= 3
    assert one.state() is State.FOLLOWING


def test_a_browser_is_greeted_when_the_end_of_the_stream_is_known() -> None:
    thread = Thread.__new__(Thread)
    thread.now = 0.0
    thread.writer = Writer(EventLog(16), lambda: True, lambda found: found, lambda: thread.now)
    one = thread.join()
    assert one.read() == []
    thread.writer.load([event(4, "a")], "4-0", is_whole=False)
    thread.writer.append([event(5, "a")])
    thread.turn()
    assert [frame["type"] for frame in one.read()] == ["hello"]
    thread.writer.append([event(6, "a")])
    thread.pass_time(1.0)
    assert one.levels(one.read()) == [6]


def test_while_redis_is_away_it_says_so_and_afterwards_that_something_may_be_missing(thread: Thread) -> None:
    one = thread.join()
    thread.writer.feed(False)
    thread.turn()
    new = thread.join()
    thread.writer.restart("9-0")
    thread.writer.feed(True)
    thread.turn()
    thread.pass_time(1.0)
    one.read()
    new.read()
    assert [frame.get("fed") for frame in one.frames if frame["type"] == "heartbeat"] == [False, True]
    assert new.kinds[:2] == ["hello", "heartbeat"]
    assert one.kinds.count("gap") == new.kinds.count("gap") == 1


def test_a_browser_that_says_goodbye_is_answered(thread: Thread) -> None:
    one = thread.join()
    one.say(bytes(one.protocol.close(1000)))
    thread.turn()
    one.read()
    assert (one.close_code, one.has_ended, thread.writer.count) == (1000, True, 0)


def test_a_browser_that_is_just_gone_is_forgotten(thread: Thread) -> None:
    one = thread.join()
    one.sock.close()
    thread.turn()
    assert thread.writer.count == 0


def test_a_ping_is_answered(thread: Thread) -> None:
    one = thread.join()
    one.say(bytes(one.protocol.ping(b"abc")))
    thread.turn()
    one.sock.setblocking(False)
    assert one.sock.recv(4_096).endswith(b"\x8a\x03abc")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([text("x")] * (HEARD_FRAMES + 1), 1008),
        ([text("x" * 1_000)] * (HEARD_BYTES // 1_000 + 1), 1008),
        ([bytes(FrameProtocol(client=True, extensions=[]).ping())] * (HEARD_FRAMES + 1), 1008),
        ([b"\x81\xff" + b"\x00" * 3 + b"\xff" * 5 + b"mask" + b"x" * 60_000], 1008),
        ([b"\x81\x03abc"], 1002),
        ([b"\xff\xff\xff\xff"], 1002),
        ([b"GET / HTTP/1.1\r\n\r\n"], 1002),
        ([b"\x88\x81mask\x00"], 1002),
    ],
    ids=["words", "bytes", "pings", "gigabytes", "unmasked", "noise", "http", "half a reason"],
)
def test_who_talks_or_speaks_otherwise_is_let_go(thread: Thread, said: list[bytes], code: int) -> None:
    one, other = thread.join(), thread.join()
    for piece in said:
        one.say(piece)
    for _ in range(40):
        thread.turn()
    one.read()
    assert one.close_code == code
    thread.pass_time(CLOSING_LIMIT_S + 2 * STEP_S, other)
    assert (one.state(), thread.writer.count) == (State.CLOSING, 1)
    thread.writer.append([event(1, "a")])
    thread.turn()
    assert other.levels(other.read()) == [1]


def test_who_says_something_now_and_then_stays(thread: Thread) -> None:
    one = thread.join()
    for _ in range(4):
        for _ in range(HEARD_FRAMES // 2):
            one.say(text("still here"))
        for _ in range(HEARD_FRAMES):
            thread.turn()
        thread.pass_time(HEARD_WINDOW_S + STEP_S, one)
    assert one.state() is State.FOLLOWING


def test_who_takes_nothing_any_more_is_let_go_in_the_end(thread: Thread) -> None:
    stalled, other = thread.join(buffer_bytes=4_096), thread.join()
    thread.writer.append([event(1, "a", padding=100_000)])
    thread.turn()
    assert stalled.state() is State.STALLED
    thread.pass_time(STALL_LIMIT_S - 2, other)
    assert thread.writer.count == 2
    thread.pass_time(4, other)
    assert (thread.writer.count, stalled.client.why) == (1, "stalled")


def test_who_takes_a_little_now_and_then_stays(thread: Thread) -> None:
    slow = thread.join(buffer_bytes=4_096)
    thread.writer.append([event(1, "a", padding=100_000)])
    thread.turn()
    for _ in range(6):
        slow.read(12_000)
        thread.pass_time(STALL_LIMIT_S / 2)
        slow.say(bytes(slow.protocol.pong()))
        thread.turn()
    assert thread.writer.count == 1


def test_who_does_not_answer_a_ping_is_let_go(thread: Thread) -> None:
    silent = thread.join()
    thread.pass_time(PING_S + STALL_LIMIT_S - 1)
    assert thread.writer.count == 1
    thread.pass_time(2)
    assert (thread.writer.count, silent.client.why) == (0, "silent")


def test_sockets_end_with_their_session(thread: Thread) -> None:
    one, other, program = thread.join(session=1), thread.join(session=2), thread.join()
    # As long as it is not known, they stay.
    thread.pass_time(61, one, other, program)
    thread.alive = {2}
    for _ in range(100):
        thread.pass_time(2, one, other, program)
        if one.close_code:
            break
    assert (one.close_code, one.client.state) == (4401, State.CLOSING)
    assert other.state() is program.state() is State.FOLLOWING


def test_when_it_stops_everybody_hears_why() -> None:
    answers = iter([True, True])
    writer = Writer(EventLog(16), lambda: next(answers, False), lambda found: found)
    writer.load([], "0-0", is_whole=True)
    one, stalled = browser(), browser(buffer_bytes=4_096)
    for client in (one.client, stalled.client):
        writer.join(client)
    writer.append([event(1, "a", padding=100_000)])
    writer.run()
    one.read()
    assert (one.close_code, one.client.why) == (1001, "stopping")
    assert stalled.client.sock.fileno() == -1
    assert writer.count == 0


def test_a_fault_with_one_browser_is_not_the_others(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = thread.join(), thread.join()
    tell = Client.tell

    def fail_for_one(client: Client, frame: bytes, now: float) -> None:
        if client is bad.client:
            raise RuntimeError("a mistake of ours")
        tell(client, frame, now)

    monkeypatch.setattr(Client, "tell", fail_for_one)
    thread.writer.append([event(1, "a")])
    thread.turn()
    assert good.levels(good.read()) == [1]
    assert (thread.writer.count, bad.client.why) == (1, "failed")
