"""A real socket: packet forwarders send whatever they like, and get their acknowledgement when it is due."""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from prometheus_client import REGISTRY

from gateway.radio.receive_udp import FORWARDERS_MAX, NoRoute, UdpReceiver
from streamgauge.lorawan import gwmp
from streamgauge.lorawan.gwmp import Reception, Transmission

EAST, WEST = bytes.fromhex("AA555A0000000101"), bytes.fromhex("AA555A0000000102")
PATIENCE_S = 5.0
Taken = list[tuple[Sequence[Reception], Callable[[], None]]]


def heard(number: int = 1) -> Reception:
    return Reception(phy=number.to_bytes(12, "big"), forwarder=EAST, tmst_us=number, rssi_dbm=-90.0)


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("streamgauge_gateway_datagrams_refused_total", {"reason": reason}) or 0.0


class Forwarder:
    """A packet forwarder's socket."""

    def __init__(self, receiver: UdpReceiver, eui: bytes = EAST) -> None:
        self.eui = eui
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(receiver.address)

    def send(self, datagram: bytes) -> None:
        self.socket.send(datagram)

    def push(self, token: int, *receptions: Reception) -> None:
        self.send(gwmp.make_push_data(token, self.eui, receptions or [heard()]))

    def next(self) -> gwmp.Packet:
        return gwmp.parse(self.socket.recv(65_536))

    def hears_nothing(self) -> bool:
        """Whether no answer is waiting; asked after a later datagram has been answered, so that there is no race."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(65_536)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)
        return False

    def is_answered(self, token: int = 0x7777) -> bool:
        """A round trip: everything sent before has been looked at."""
        self.send(gwmp.make_pull_data(token, self.eui))
        return self.next() == gwmp.PullAck(token)


@contextlib.contextmanager
def listening(
    handle: Callable[[Sequence[Reception], Callable[[], None]], None], **options: object
) -> Iterator[UdpReceiver]:
    receiver = UdpReceiver(("127.0.0.1", 0), handle, **options)  # type: ignore[arg-type]
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


@pytest.fixture
def taken() -> Taken:
    return []


@pytest.fixture
def receiver(taken: Taken) -> Iterator[UdpReceiver]:
    with listening(lambda receptions, done: taken.append((receptions, done)), datagrams_per_s=1e6) as started:
        yield started


def test_a_datagram_is_acknowledged_when_its_frames_are_kept_and_not_before(
    receiver: UdpReceiver, taken: Taken
) -> None:
    forwarder = Forwarder(receiver)
    forwarder.push(0x0102, heard(1), heard(2))
    assert forwarder.is_answered()
    assert forwarder.hears_nothing()
    receptions, done = taken.pop()
    assert [reception.tmst_us for reception in receptions] == [1, 2]
    assert {reception.forwarder for reception in receptions} == {EAST}
    committing = threading.Thread(target=done)
    committing.start()
    assert forwarder.next() == gwmp.PushAck(0x0102)
    committing.join()


def test_a_status_is_acknowledged_at_once(receiver: UdpReceiver, taken: Taken) -> None:
    forwarder = Forwarder(receiver)
    forwarder.send(gwmp.make_push_data(5, EAST, [], {"rxnb": 2}))
    assert forwarder.next() == gwmp.PushAck(5)
    assert not taken


def test_a_bad_element_is_counted_and_its_neighbours_are_taken(receiver: UdpReceiver, taken: Taken) -> None:
    forwarder = Forwarder(receiver)
    before = refused("size_differs")
    elements = [{"data": "AAAA", "size": 3}, {"data": "AAAA", "size": 4}, {"data": "BBBB", "size": 3}]
    forwarder.send(b"\2\0\1\0" + EAST + json.dumps({"rxpk": elements}).encode())
    assert forwarder.is_answered()
    assert len(taken[0][0]) == 2
    assert refused("size_differs") == before + 1


def test_datagrams_of_every_kind_of_nonsense_do_not_stop_it(receiver: UdpReceiver, taken: Taken) -> None:
    forwarder = Forwarder(receiver)
    chance = random.Random(11)
    sound = gwmp.make_push_data(1, EAST, [heard()])
    lengths = [*range(300), *range(300, gwmp.DATAGRAM_MAX_BYTES, 1511), gwmp.DATAGRAM_MAX_BYTES]
    for length in lengths:
        forwarder.send(chance.randbytes(length))
        forwarder.send(
            (b"\2\0\1\0" + EAST + b'{"rxpk":[' + b"[" * length)[: max(length, 12)][: gwmp.DATAGRAM_MAX_BYTES]
        )
        if length % 20 == 0:
            assert forwarder.is_answered()
    for length in range(len(sound)):
        forwarder.send(sound[:length])
    assert forwarder.is_answered()
    assert not taken
    forwarder.push(9)
    assert forwarder.is_answered()
    assert len(taken) == 1


def test_a_handler_that_fails_costs_one_datagram_which_is_not_acknowledged() -> None:
    def fail_on_the_first(receptions: Sequence[Reception], done: Callable[[], None]) -> None:
        if receptions[0].tmst_us == 1:
            raise RuntimeError("the test's own")
        done()

    with listening(fail_on_the_first) as receiver:
        forwarder = Forwarder(receiver)
        forwarder.push(1, heard(1))
        forwarder.push(2, heard(2))
        assert forwarder.next() == gwmp.PushAck(2)
        assert forwarder.is_answered()
        assert forwarder.hears_nothing()


def test_only_allowed_forwarders_are_listened_to(taken: Taken) -> None:
    with listening(lambda receptions, done: taken.append((receptions, done)), allowed=frozenset({WEST})) as receiver:
        stranger, friend = Forwarder(receiver, EAST), Forwarder(receiver, WEST)
        before = refused("unknown_forwarder")
        stranger.push(1)
        stranger.send(gwmp.make_pull_data(1, EAST))
        friend.push(2)
        assert friend.is_answered()
        assert [receptions[0].forwarder for receptions, _ in taken] == [WEST]
        assert stranger.hears_nothing()
        assert refused("unknown_forwarder") == before + 2


def test_a_forwarder_that_sends_too_much_is_held_back_and_others_are_not(taken: Taken) -> None:
    now_s = [0.0]
    with listening(
        lambda receptions, done: taken.append((receptions, done)), datagrams_per_s=2.0, monotonic_s=lambda: now_s[0]
    ) as receiver:
        loud, quiet = Forwarder(receiver, EAST), Forwarder(receiver, WEST)
        for token in range(30):
            loud.push(token)
        assert quiet.is_answered()
        assert len(taken) == 10
        now_s[0] += 1.0
        for token in range(5):
            loud.push(token)
        assert quiet.is_answered()
        assert len(taken) == 12


def test_forwarders_remembered_are_bounded(receiver: UdpReceiver) -> None:
    forwarder = Forwarder(receiver)
    for number in range(FORWARDERS_MAX + 50):
        forwarder.send(gwmp.make_pull_data(1, number.to_bytes(8, "big")))
        assert forwarder.next() == gwmp.PullAck(1)
    assert len(receiver._forwarders) == FORWARDERS_MAX


def test_a_downlink_goes_to_where_the_forwarder_last_asked_from(receiver: UdpReceiver) -> None:
    transmission = Transmission(phy=b"accept", frequency_hz=868_100_000, data_rate="SF7BW125", tmst_us=17)
    with pytest.raises(NoRoute):
        receiver.send_downlink(EAST, transmission)
    forwarder = Forwarder(receiver)
    assert forwarder.is_answered()
    moved = Forwarder(receiver)
    assert moved.is_answered()
    receiver.send_downlink(EAST, transmission)
    packet = moved.next()
    assert isinstance(packet, gwmp.PullResp)
    assert packet.transmission == transmission
    count = "streamgauge_gateway_downlinks_total"
    before = REGISTRY.get_sample_value(count, {"outcome": "too_late"}) or 0.0
    moved.send(gwmp.make_tx_ack(packet.token, EAST, "TOO_LATE"))
    moved.send(gwmp.make_tx_ack(packet.token, EAST, "made up by someone"))
    assert moved.is_answered()
    assert REGISTRY.get_sample_value(count, {"outcome": "too_late"}) == before + 1
    assert forwarder.hears_nothing()


def test_what_is_to_be_done_later_is_done_in_time_and_in_order(receiver: UdpReceiver) -> None:
    order: list[str] = []
    finished = threading.Event()
    began_s = time.monotonic()
    receiver.call_later(0.1, finished.set)
    receiver.call_later(0.05, lambda: order.append("second"))
    receiver.call_later(0.0, lambda: order.append(threading.current_thread().name))
    assert finished.wait(PATIENCE_S)
    assert time.monotonic() - began_s >= 0.1
    assert order == ["udp", "second"]


def test_done_after_the_end_is_harmless(taken: Taken) -> None:
    with listening(lambda receptions, done: taken.append((receptions, done))) as receiver:
        forwarder = Forwarder(receiver)
        forwarder.push(1)
        assert forwarder.is_answered()
    taken[0][1]()
    receiver.call_later(0.0, lambda: None)
    assert forwarder.hears_nothing()
