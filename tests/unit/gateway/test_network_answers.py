"""What the network server sends: join-accepts and acknowledgements, where and when, and never a counter twice."""

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lorawan_field import EAST, WEST, Field, Sensor, abp_device, abp_frame, keys_of, otaa_device

from gateway.radio.answers import CannotAnswer, TooLate
from gateway.radio.downlink import Answering
from gateway.radio.heard import JoinAccepted, MacOnly, Refusal, Refused, Repeat, Uplink
from gateway.radio.network import Network
from gateway.radio.receive_udp import NoRoute
from streamgauge.gateway_metrics import DOWNLINKS
from streamgauge.lorawan.frames import DataFrame, JoinAccept, mic_fits, open_join_accept, parse
from streamgauge.lorawan.gwmp import Transmission
from streamgauge.lorawan.regions import REGIONS, sub_band_cf_list

BRIDGE = abp_device()
RECORDED = json.loads((Path(__file__).parents[2] / "data/lorawan/lora_packet.json").read_text())


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path / "sessions.db", [BRIDGE, otaa_device()])


def test_a_join_is_accepted_five_seconds_after_the_request(field: Field) -> None:
    device = otaa_device()
    heard = field.hear(Sensor(device).join_request(), tmst_us=(1 << 32) - 1_000_000)
    assert isinstance(heard, JoinAccepted)
    downlink = field.network.make_downlink(heard.answer)
    assert downlink.forwarder == EAST
    sent = downlink.transmission
    assert (sent.tmst_us, sent.frequency_hz, sent.data_rate) == (4_000_000, 868_100_000, "SF7BW125")
    assert (sent.inverted, sent.has_crc, sent.power_dbm) == (True, False, 14)
    assert device.app_key
    accept = open_join_accept(device.app_key, sent.phy)
    assert accept == JoinAccept(
        app_nonce=accept.app_nonce, net_id=0, dev_addr=heard.dev_addr, dl_settings=0, rx_delay_s=1, cf_list=b""
    )
    assert heard.dev_addr[0] >> 1 == 0


def test_a_join_and_ten_uplinks_are_byte_for_byte_those_of_a_second_implementation(tmp_path: Path) -> None:
    join = RECORDED["joins"][-1]
    device = otaa_device(
        dev_eui=bytes.fromhex(RECORDED["dev_eui"]),
        join_eui=bytes.fromhex(RECORDED["join_eui"]),
        app_key=bytes.fromhex(RECORDED["app_key"]),
    )
    chosen = {25: int(join["dev_addr"], 16), 64: 1}
    field = Field(tmp_path / "sessions.db", [device])
    network = Network(
        [device],
        field.store,
        {},
        cf_list=bytes.fromhex(join["cf_list"]),
        utc_now=lambda: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=int(join["app_nonce"], 16)),
        random_bits=chosen.__getitem__,
    )
    accepted = network.hear(field.reception(bytes.fromhex(join["join_request"])))
    assert isinstance(accepted, JoinAccepted)
    assert network.make_downlink(accepted.answer).transmission.phy.hex().upper() == join["join_accept"]
    for recorded in RECORDED["uplinks"]:
        heard = network.hear(field.reception(bytes.fromhex(recorded["phy_payload"])))
        assert isinstance(heard, Uplink if recorded["f_port"] else MacOnly)
        assert (heard.f_cnt, heard.f_port) == (recorded["f_cnt"], recorded["f_port"])
        assert isinstance(heard, MacOnly) or heard.payload.hex().upper() == recorded["payload"]


def test_a_dev_nonce_is_taken_once_even_after_a_restart(field: Field) -> None:
    sensor = Sensor(otaa_device())
    request = sensor.join_request()
    assert isinstance(field.hear(request), JoinAccepted)
    copy = field.hear(request, WEST)
    assert isinstance(copy, Repeat)
    assert copy.answer is None
    for _ in range(2):
        field.pass_time(60)
        replayed = field.hear(request)
        assert isinstance(replayed, Refused)
        assert replayed.reason is Refusal.REPLAYED_DEV_NONCE
        field.crash()


def test_a_device_that_lost_its_memory_joins_under_a_new_app_key(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    field.pass_time(60)
    refused = field.hear(Sensor(sensor.device).join_request())
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.REPLAYED_DEV_NONCE
    assert "forget-nonces" in refused.detail
    renewed = otaa_device(app_key=b"another AppKey..")
    field.devices = [renewed]
    field.crash()
    field.join(Sensor(renewed))


def test_a_join_that_cannot_be_kept_is_not_accepted_and_not_held_against_the_device(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Sensor(otaa_device())
    request = sensor.join_request()
    with sqlite3.connect(field.path) as other:
        other.execute("BEGIN IMMEDIATE")
        field.store._database.execute("PRAGMA busy_timeout = 0")
        refused = field.hear(request)
    other.close()
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.SESSIONS_UNAVAILABLE
    assert isinstance(field.hear(request), JoinAccepted)


def test_a_session_outlives_a_crash_right_after_the_accept(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    field.crash()
    heard = field.hear(sensor.uplink())
    assert isinstance(heard, Uplink)
    field.commit(heard)
    field.crash()
    assert isinstance(field.hear(sensor.uplink()), Uplink)


def test_app_nonces_grow_even_if_the_store_was_lost(field: Field) -> None:
    sensor = Sensor(otaa_device())
    nonces = []
    for _ in range(3):
        accepted = field.join(sensor)
        nonces.append(open_join_accept(sensor.device.app_key or b"", accepted.answer.join_accept or b"").app_nonce)
    field.store.close()
    field.path.unlink()
    field.pass_time(300)
    field.start()
    accepted = field.join(sensor)
    nonces.append(open_join_accept(sensor.device.app_key or b"", accepted.answer.join_accept or b"").app_nonce)
    assert nonces == sorted(set(nonces))


def test_a_confirmed_uplink_is_acknowledged_in_rx1_by_who_heard_it_best(field: Field) -> None:
    phy = abp_frame(BRIDGE, 1, confirmed=True)
    heard = field.hear(phy, EAST, -110.0, tmst_us=5_000_000)
    assert isinstance(heard, Uplink)
    assert heard.answer is not None
    field.hear(phy, WEST, -80.0, tmst_us=77_000_000)
    field.hear(phy, b"noclock!", -20.0, tmst_us=None)
    downlink = field.network.make_downlink(heard.answer)
    assert downlink.forwarder == WEST
    assert downlink.transmission.tmst_us == 78_000_000
    frame = parse(downlink.transmission.phy)
    assert isinstance(frame, DataFrame)
    assert frame.ack
    assert frame.dev_addr == BRIDGE.dev_addr
    assert mic_fits(frame, keys_of(BRIDGE).nwk_s_key, 0)


def test_a_device_that_did_not_hear_its_acknowledgement_is_answered_again(field: Field) -> None:
    phy = abp_frame(BRIDGE, 1, confirmed=True)
    field.hear(phy)
    for wait_s in (4, 4, 30):
        field.pass_time(wait_s)
        again = field.hear(phy)
        assert isinstance(again, Repeat | Refused)
        frame = parse(field.answer(again.answer))
        assert isinstance(frame, DataFrame)
        assert frame.ack
    field.hear(abp_frame(BRIDGE, 2))
    field.pass_time(30)
    replayed = field.hear(phy)
    assert isinstance(replayed, Refused)
    assert replayed.answer is None


def test_a_datagram_that_comes_twice_is_no_new_transmission(field: Field) -> None:
    phy = abp_frame(BRIDGE, 1, confirmed=True)
    field.hear(phy, tmst_us=5_000_000)
    field.pass_time(4)
    again = field.hear(phy, tmst_us=5_000_000)
    assert isinstance(again, Repeat)
    assert not again.sent_again
    assert again.answer is None


def test_an_adaptive_device_that_asks_for_any_downlink_gets_one(field: Field) -> None:
    heard = field.hear(abp_frame(BRIDGE, 64, adr=True, adr_ack_req=True))
    assert isinstance(heard, Uplink)
    frame = parse(field.answer(heard.answer))
    assert isinstance(frame, DataFrame)
    assert not frame.ack


def test_downlink_counters_are_never_used_twice(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    for number in range(250):
        heard = field.hear(sensor.uplink(confirmed=True))
        assert isinstance(heard, Uplink)
        field.commit(heard)
        assert sensor.takes_downlink(field.answer(heard.answer))
        if number % 60 == 50:
            field.crash()
    assert sensor.newest_down < 250 + 5 * 100


def test_what_cannot_be_answered_says_why(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    heard = field.hear(sensor.uplink(confirmed=True), tmst_us=None)
    assert isinstance(heard, Uplink)
    assert heard.answer
    with pytest.raises(CannotAnswer, match="does not tell tmst"):
        field.network.make_downlink(heard.answer)
    field.join(sensor)
    assert isinstance(field.hear(sensor.uplink()), Uplink)
    with pytest.raises(CannotAnswer, match="is over"):
        field.answer(heard.answer)


def test_what_the_device_no_longer_listens_for_is_not_made(field: Field) -> None:
    sensor = Sensor(otaa_device())
    request = sensor.join_request()
    accepted = field.hear(request)
    assert isinstance(accepted, JoinAccepted)
    field.pass_time(4.85)
    sensor.take_accept(field.answer(accepted.answer))
    field.pass_time(0.1)
    with pytest.raises(TooLate, match="5 s after"):
        field.answer(accepted.answer)
    phy = sensor.uplink(confirmed=True)
    heard = field.hear(phy)
    assert isinstance(heard, Uplink)
    field.pass_time(0.85)
    field.hear(phy, WEST)
    assert sensor.takes_downlink(field.answer(heard.answer))
    for wait_s in (0.1, 60):
        field.pass_time(wait_s)
        with pytest.raises(TooLate, match="1 s after"):
            field.answer(heard.answer)
    again = field.hear(phy)
    assert isinstance(again, Refused)
    frame = parse(field.answer(again.answer))
    assert isinstance(frame, DataFrame)
    assert frame.f_cnt_low == 1  # what came too late has used no counter


@pytest.mark.parametrize(("waited_s", "outcome"), [(0.2, "no_route"), (1.0, "not_made_in_time")])
def test_answers_that_come_too_late_are_counted(field: Field, waited_s: float, outcome: str) -> None:
    class Receiver:
        def call_later(self, _delay_s: float, action: Callable[[], None]) -> None:
            field.pass_time(waited_s)
            action()

        def send_downlink(self, forwarder: bytes, _transmission: Transmission) -> None:
            DOWNLINKS.labels("no_route").inc()
            raise NoRoute(forwarder.hex())

    before = DOWNLINKS.labels(outcome)._value.get()
    heard = field.hear(abp_frame(BRIDGE, 1, confirmed=True))
    assert isinstance(heard, Uplink)
    assert heard.answer
    Answering(field.network, Receiver()).answer(heard.answer)  # type: ignore[arg-type]
    assert DOWNLINKS.labels(outcome)._value.get() == before + 1


@pytest.mark.parametrize(
    ("region", "uplink", "answer"),
    [
        ("EU868", (868_500_000, "SF12BW125"), (868_500_000, "SF12BW125")),
        ("IN865", (865_062_500, "SF9BW125"), (865_062_500, "SF9BW125")),
        ("AS923", (923_200_000, "SF10BW125"), (923_200_000, "SF10BW125")),
        ("AS923", (923_200_000, "SF7BW250"), (923_200_000, "SF7BW125")),
        ("US915", (902_300_000, "SF10BW125"), (923_300_000, "SF10BW500")),
        ("US915", (904_100_000, "SF7BW125"), (923_900_000, "SF7BW500")),
        ("US915", (904_600_000, "SF8BW500"), (923_900_000, "SF7BW500")),
        ("AU915", (915_200_000, "SF12BW125"), (923_300_000, "SF12BW500")),
        ("AU915", (927_800_000, "SF9BW125"), (927_500_000, "SF9BW500")),
        ("AU915", (915_900_000, "SF8BW500"), (923_300_000, "SF7BW500")),
    ],
)
def test_rx1_of_each_region(region: str, uplink: tuple[int, str], answer: tuple[int, str]) -> None:
    assert REGIONS[region].answer_on(*uplink) == answer


def test_an_uplink_of_another_region_is_not_answered(tmp_path: Path) -> None:
    field = Field(tmp_path / "sessions.db", [BRIDGE], region="US915")
    heard = field.hear(abp_frame(BRIDGE, 1, confirmed=True))
    assert isinstance(heard, Uplink | MacOnly)
    with pytest.raises(CannotAnswer, match="is the region right"):
        field.answer(heard.answer)


def test_the_second_sub_bands_channel_list() -> None:
    assert sub_band_cf_list(2).hex() == "00ff000000000000" + "0200" + "0000000000" + "01"
    assert len(sub_band_cf_list(8)) == 16
    with pytest.raises(ValueError, match="1 to 8"):
        sub_band_cf_list(9)
