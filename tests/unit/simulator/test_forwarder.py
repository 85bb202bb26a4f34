"""The forwarder without a socket: a clock and a gateway that the test plays."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from simulator.forwarder import (
    AHEAD_S,
    Channel,
    Forwarder,
    ForwarderOptions,
    RfPacket,
    common_horizon_s,
    gps_ms,
)
from simulator.radio_ledger import RadioLedger
from simulator.unanswered import RepeatOptions
from streamgauge.lorawan import gwmp

EUI = bytes.fromhex("AA555A0000000101")
START = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
CHANNEL = Channel(0, 868_100_000, "SF7BW125")


@dataclass
class Fate:
    """What a frame's sender learns."""

    kept_times: int = 0
    dropped_times: int = 0

    def kept(self) -> None:
        self.kept_times += 1

    def dropped(self) -> None:
        self.dropped_times += 1


class Scene:
    """A forwarder, the datagrams that left it, and a clock."""

    def __init__(self, **options: object) -> None:
        self.now_s = 100.0
        self.ledger = RadioLedger()
        self.left: list[gwmp.Packet] = []
        self.forwarder = Forwarder(
            EUI,
            ForwarderOptions(**options),  # type: ignore[arg-type]
            lambda datagram: self.left.append(gwmp.parse(datagram)),
            self.ledger,
            Random(1),
            self.now_s,
        )

    def hear(self, count: int, *, first: int = 0) -> list[Fate]:
        fates = [Fate() for _ in range(count)]
        for number, fate in enumerate(fates, first):
            tmst = self.forwarder.tmst_us(self.now_s)
            packet = RfPacket(number.to_bytes(12, "big"), START, tmst, CHANNEL, -80, 7.5, fate)
            self.forwarder.hear(packet, self.now_s)
        return fates

    def run(self, seconds: float, horizon_s: float = float("inf")) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s += 0.005
            self.forwarder.tick(self.now_s, horizon_s)

    def acknowledge(self, packet: gwmp.PushData) -> None:
        self.forwarder.receive(gwmp.make_push_ack(packet.token), self.now_s)

    @property
    def pushed(self) -> list[gwmp.PushData]:
        return [packet for packet in self.left if isinstance(packet, gwmp.PushData) and packet.receptions]


def numbers(packet: gwmp.PushData) -> list[int]:
    return [int.from_bytes(reception.phy, "big") for reception in packet.receptions]


def test_what_is_heard_together_leaves_together_as_a_packet_forwarder_writes_it() -> None:
    scene = Scene(packets=8)
    scene.hear(20)
    scene.run(0.05)
    assert [numbers(packet) for packet in scene.pushed] == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 20)),
    ]
    reception = scene.pushed[0].receptions[0]
    assert (reception.forwarder, reception.time, reception.frequency_hz) == (EUI, START, 868_100_000)
    assert (reception.data_rate, reception.rssi_dbm, reception.snr_db) == ("SF7BW125", -80, 7.5)
    assert reception.gps_ms == gps_ms(START)


def test_gps_time_is_eighteen_seconds_ahead() -> None:
    assert gps_ms(datetime(1980, 1, 6, tzinfo=UTC) + timedelta(days=20_000)) == 20_000 * 86_400_000 + 18_000


def test_a_datagram_leaves_again_until_it_is_acknowledged_and_no_longer() -> None:
    scene = Scene()
    (fate,) = scene.hear(1)
    scene.run(12.0)
    count = len(scene.pushed)
    assert 4 <= count <= 7  # after 1, 2, 4, 4 s
    assert len({packet.token for packet in scene.pushed}) == 1
    assert not scene.forwarder.is_idle
    scene.acknowledge(scene.pushed[0])
    scene.run(12.0)
    assert len(scene.pushed) == count
    assert (fate.kept_times, fate.dropped_times, scene.forwarder.is_idle) == (1, 0, True)
    assert (scene.ledger.datagrams_repeated, scene.ledger.datagrams_acknowledged) == (count - 1, 1)


def test_repeating_is_bounded_in_time_and_the_loss_is_told() -> None:
    scene = Scene(repeat=RepeatOptions(patience_s=20.0))
    (fate,) = scene.hear(1)
    scene.run(25.0)
    count = len(scene.pushed)
    scene.run(20.0)
    assert len(scene.pushed) == count
    assert (fate.kept_times, fate.dropped_times, scene.forwarder.is_idle) == (0, 1, True)


def test_what_waits_is_bounded_in_number_and_the_oldest_goes() -> None:
    scene = Scene(hold=50, repeat=RepeatOptions(window=1), packets=1)
    fates = scene.hear(100)
    scene.run(0.1)
    assert [fate.dropped_times for fate in fates] == [1] * 50 + [0] * 50


def test_a_plain_forwarder_sends_once_and_forgets() -> None:
    scene = Scene(repeat=RepeatOptions(repeats=False))
    fates = scene.hear(3)
    scene.run(10.0)
    assert len(scene.pushed) == 1
    assert [fate.dropped_times for fate in fates] == [1, 1, 1]
    assert scene.forwarder.is_idle


def test_after_an_outage_everything_leaves_in_its_order() -> None:
    scene = Scene(packets=4, repeat=RepeatOptions(window=16, patience_s=300.0))
    fates = []
    for number in range(60):
        fates += scene.hear(1, first=number)
        horizon_s = common_horizon_s([scene.forwarder], scene.now_s)
        scene.run(1.0, horizon_s)
    # While nobody answers, only the oldest second is tried.
    assert {n for packet in scene.pushed for n in numbers(packet)} <= {0, 1}
    taken: list[int] = []
    answered: set[int] = set()
    for _ in range(400):
        scene.run(0.02, common_horizon_s([scene.forwarder], scene.now_s))
        for packet in scene.pushed:
            if packet.token not in answered:
                answered.add(packet.token)
                scene.acknowledge(packet)
                taken += numbers(packet)
    assert taken == list(range(60))
    assert all(fate.kept_times == 1 for fate in fates)


def test_no_forwarder_gets_far_ahead_of_another() -> None:
    ahead, behind = Scene(), Scene()
    pair = [ahead.forwarder, behind.forwarder]
    for scene in (ahead, behind):
        scene.hear(1)
        scene.run(1.0)
    ahead.acknowledge(ahead.pushed[0])
    assert common_horizon_s(pair, 101.0) == pytest.approx(100.0 + AHEAD_S)
    ahead.hear(1, first=1)
    ahead.run(1.0, common_horizon_s(pair, 101.0))
    assert [n for packet in ahead.pushed for n in numbers(packet) if n] == []
    behind.acknowledge(behind.pushed[0])
    ahead.run(0.1, common_horizon_s(pair, 102.0))
    assert [n for packet in ahead.pushed for n in numbers(packet) if n] == [1]


def test_a_forwarder_that_is_never_answered_holds_up_nobody_for_long() -> None:
    heard, unlisted = Scene(), Scene()
    pair = [heard.forwarder, unlisted.forwarder]
    for scene in (heard, unlisted):
        scene.hear(1)
        scene.run(1.0)
    heard.acknowledge(heard.pushed[0])
    assert common_horizon_s(pair, 105.0) < 101.0
    assert common_horizon_s(pair, 115.0) == float("inf")


def test_datagrams_are_not_more_than_a_gateway_takes() -> None:
    scene = Scene(packets=1, datagrams_per_s=100.0, repeat=RepeatOptions(window=10_000))
    for _ in range(400):
        scene.hear(5)
        scene.run(0.01)
        for packet in scene.pushed[-5:]:
            scene.acknowledge(packet)
    assert 380 <= len({packet.token for packet in scene.pushed}) <= 430


def test_it_keeps_the_way_back_open_and_reports() -> None:
    scene = Scene()
    scene.hear(3)
    scene.run(31.0)
    assert 6 <= sum(isinstance(packet, gwmp.PullData) for packet in scene.left) <= 7
    statuses = [packet.status for packet in scene.left if isinstance(packet, gwmp.PushData) and packet.status]
    assert [(status["rxnb"], status["rxok"], status["rxfw"]) for status in statuses] == [(3, 3, 3)]


def transmission(scene: Scene, after_s: float | None) -> gwmp.Transmission:
    tmst = None if after_s is None else scene.forwarder.tmst_us(scene.now_s + after_s)
    return gwmp.Transmission(phy=b"\x20" * 17, frequency_hz=868_100_000, data_rate="SF7BW125", tmst_us=tmst)


@pytest.mark.parametrize(
    ("after_s", "error", "at_s"),
    [(5.0, None, 105.0), (None, None, 100.0), (-0.2, "TOO_LATE", None), (300.0, "TOO_EARLY", None)],
)
def test_a_downlink_is_answered_and_sent_at_its_time(
    after_s: float | None, error: str | None, at_s: float | None
) -> None:
    scene = Scene()
    downlink = scene.forwarder.receive(gwmp.make_pull_resp(4711, transmission(scene, after_s)), scene.now_s)
    assert scene.left == [gwmp.TxAck(4711, EUI, error)]
    assert (None if downlink is None else round(downlink.at_s, 3)) == at_s


@pytest.mark.parametrize(
    "datagram", [b"", b"\x02", b"\x01\x00\x00\x01", b"\x02\x00\x00\x03{}", b"\x02\x00\x00\x09", b"\xff" * 70]
)
def test_nonsense_from_the_gateway_is_counted(datagram: bytes) -> None:
    scene = Scene()
    assert scene.forwarder.receive(datagram, scene.now_s) is None
    assert scene.ledger.datagrams_unreadable == 1
