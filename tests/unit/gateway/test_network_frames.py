"""What the network server makes of frames: taken, refused with the reason, recognised as copies."""

from dataclasses import replace
from pathlib import Path

import pytest
from lorawan_field import EAST, WEST, Field, Sensor, abp_device, abp_frame, keys_of, otaa_device

from gateway.radio.heard import JoinAccepted, MacOnly, Refusal, Refused, Repeat, Uplink, outcome
from gateway.radio.sessions import SessionsUnavailable
from streamgauge.lorawan.frames import JoinAccept, make_downlink, make_join_accept, make_join_request
from streamgauge.lorawan.gwmp import Crc

BRIDGE = abp_device()


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path / "sessions.db", [BRIDGE, otaa_device()])


def refusal(heard: object) -> Refusal:
    assert isinstance(heard, Refused)
    assert heard.detail
    return heard.reason


def test_a_genuine_frame_gives_its_payload_and_counter(field: Field) -> None:
    heard = field.hear(abp_frame(BRIDGE, 7, b"\x01\x02", f_port=85))
    assert isinstance(heard, Uplink)
    assert (heard.device, heard.f_port, heard.payload, heard.f_cnt) == ("bridge", 85, b"\x01\x02", 7)
    assert (heard.counter.session, heard.counter.newest, heard.counter.window) == (heard.session, 7, 1)
    assert not heard.late
    assert heard.answer is None
    assert outcome(heard) == "uplink"


def test_what_is_refused_and_why(field: Field) -> None:
    stranger = abp_device(dev_addr=b"\x09\x09\x09\x09")
    wrong_key = replace(BRIDGE, nwk_s_key=bytes(16))
    weir = otaa_device()
    assert weir.app_key
    assert weir.dev_eui
    cases = {
        abp_frame(stranger, 1): Refusal.UNKNOWN_DEV_ADDR,
        abp_frame(wrong_key, 1): Refusal.BAD_MIC,
        make_join_request(weir.app_key, b"JOINEUI1", b"\xff" * 8, 1): Refusal.UNKNOWN_DEV_EUI,
        make_join_request(weir.app_key, b"JOINEUI2", weir.dev_eui, 1): Refusal.WRONG_JOIN_EUI,
        make_join_request(bytes(16), b"JOINEUI1", weir.dev_eui, 1): Refusal.JOIN_BAD_MIC,
        make_downlink(keys_of(BRIDGE), b"\x01\x02\x03\x04", 1, ack=True): Refusal.WRONG_DIRECTION,
        make_join_accept(bytes(16), JoinAccept(app_nonce=1, net_id=0, dev_addr=bytes(4))): Refusal.WRONG_DIRECTION,
        b"\xe0 proprietary": Refusal.PROPRIETARY,
        b"": Refusal.NOT_LORAWAN,
        b"\x40\x01": Refusal.NOT_LORAWAN,
    }
    for phy, reason in cases.items():
        assert refusal(field.hear(phy)) is reason, phy.hex()
    assert refusal(field.hear(abp_frame(BRIDGE, 1), crc=Crc.FAILED)) is Refusal.BAD_CRC
    assert isinstance(field.hear(abp_frame(BRIDGE, 1), crc=Crc.ABSENT), Uplink)


def test_a_frame_that_is_cut_or_altered_anywhere_is_never_taken(field: Field) -> None:
    phy = abp_frame(BRIDGE, 5, bytes(20))
    for place in range(len(phy)):
        assert isinstance(field.hear(phy[:place]), Refused)
        altered = phy[:place] + bytes([phy[place] ^ 0x10]) + phy[place + 1 :]
        assert isinstance(field.hear(altered), Refused)
    assert isinstance(field.hear(phy), Uplink)


def test_each_counter_is_taken_once(field: Field) -> None:
    assert isinstance(field.hear(abp_frame(BRIDGE, 100)), Uplink)
    late = field.hear(abp_frame(BRIDGE, 98))
    assert isinstance(late, Uplink)
    assert late.late
    assert late.counter.newest == 100
    field.pass_time(60)
    assert refusal(field.hear(abp_frame(BRIDGE, 98))) is Refusal.REPLAYED_COUNTER
    assert refusal(field.hear(abp_frame(BRIDGE, 100))) is Refusal.REPLAYED_COUNTER
    assert refusal(field.hear(abp_frame(BRIDGE, 60))) is Refusal.OLD_COUNTER
    ahead = field.hear(abp_frame(BRIDGE, 105))
    assert isinstance(ahead, Uplink)
    assert ahead.missed == 4


def test_counters_roll_over_and_jump(field: Field) -> None:
    for f_cnt in (65_534, 65_535, 65_536, 65_540, 120_000, 260_000, 500_000):
        heard = field.hear(abp_frame(BRIDGE, f_cnt))
        assert isinstance(heard, Uplink), f_cnt
        assert heard.f_cnt == f_cnt
    assert refusal(field.hear(abp_frame(BRIDGE, 3))) is Refusal.OLD_COUNTER


def test_committed_counters_outlive_a_crash(field: Field) -> None:
    frames = [abp_frame(BRIDGE, f_cnt) for f_cnt in range(70_000, 70_004)]
    for phy in frames[:3]:
        field.commit(field.hear(phy))
    field.hear(frames[3])  # heard, but not committed
    field.crash()
    assert [refusal(field.hear(phy)) for phy in frames[:3]] == [Refusal.REPLAYED_COUNTER] * 3
    assert isinstance(field.hear(frames[3]), Uplink)


def test_new_keys_are_a_new_session(tmp_path: Path) -> None:
    field = Field(tmp_path / "sessions.db", [BRIDGE])
    field.commit(field.hear(abp_frame(BRIDGE, 5000)))
    renewed = replace(BRIDGE, app_s_key=bytes(16))
    field.devices = [renewed]
    field.crash()
    assert isinstance(field.hear(abp_frame(renewed, 0)), Uplink)


def test_devices_that_share_a_dev_addr_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    other = abp_device("lock", key=9)
    field = Field(tmp_path / "sessions.db", [BRIDGE, other])
    for device in (other, BRIDGE):
        heard = field.hear(abp_frame(device, 1))
        assert isinstance(heard, Uplink)
        assert heard.device == device.name


@pytest.mark.parametrize(("f_port", "payload"), [(None, b""), (0, b"\x02"), (224, b"\x01"), (255, b"\x01")])
def test_frames_without_an_applications_payload_are_never_uplinks(
    field: Field, f_port: int | None, payload: bytes
) -> None:
    heard = field.hear(abp_frame(BRIDGE, 9, payload, f_port=f_port, confirmed=True))
    assert isinstance(heard, MacOnly)
    assert heard.counter.newest == 9
    assert heard.answer is not None
    assert outcome(heard) == "mac_only"


def test_a_device_that_forgets_its_counter_begins_anew_only_where_it_may(tmp_path: Path) -> None:
    relaxed = abp_device("old", dev_addr=b"\x05\x05\x05\x05", key=3, relax_counter=True)
    field = Field(tmp_path / "sessions.db", [BRIDGE, relaxed])
    for device in (BRIDGE, relaxed):
        field.hear(abp_frame(device, 70_000, b"a"))
    assert refusal(field.hear(abp_frame(BRIDGE, 0))) is Refusal.OLD_COUNTER
    for f_cnt, payload, restarted in ((0, b"b", True), (1, b"c", False), (0, b"d", True)):
        heard = field.hear(abp_frame(relaxed, f_cnt, payload))
        assert isinstance(heard, Uplink)
        assert heard.restarted is restarted
        field.pass_time(20)
    assert refusal(field.hear(abp_frame(relaxed, 0, b"d"))) is Refusal.REPLAYED_COUNTER  # sent again, not begun anew


def test_a_forwarder_that_repeats_frames_does_not_double_those_of_a_device_that_may_begin_anew(tmp_path: Path) -> None:
    relaxed = abp_device("old", dev_addr=b"\x05\x05\x05\x05", key=3, relax_counter=True)
    field = Field(tmp_path / "sessions.db", [relaxed])
    sent = [abp_frame(relaxed, f_cnt, bytes([f_cnt])) for f_cnt in range(100)]
    for phy in sent:
        assert isinstance(field.hear(phy), Uplink)
        field.pass_time(1)
    for phy in sent[-50:]:
        field.pass_time(1)
        assert refusal(field.hear(phy)) is Refusal.REPLAYED_COUNTER


def test_a_device_that_sends_one_frame_after_each_power_up_is_heard_every_time(tmp_path: Path) -> None:
    relaxed = abp_device("old", dev_addr=b"\x05\x05\x05\x05", key=3, relax_counter=True)
    field = Field(tmp_path / "sessions.db", [relaxed])
    for payload in (b"a", b"b", b"b", b"c"):
        assert isinstance(field.hear(abp_frame(relaxed, 0, payload)), Uplink), payload
        field.pass_time(600)


def test_copies_of_several_forwarders_are_one_frame_and_the_best_is_told(field: Field) -> None:
    phy = abp_frame(BRIDGE, 1)
    first = field.hear(phy, EAST, -110.0)
    field.pass_time(0.3)
    louder = field.hear(phy, WEST, -90.0)
    assert isinstance(louder, Repeat)
    assert louder.first is first
    assert louder.is_better
    assert not louder.sent_again
    assert louder.device == "bridge"
    same = field.hear(phy, WEST, -90.0)
    assert isinstance(same, Repeat)
    assert not same.is_better
    assert outcome(same) == "copy"


def test_many_frames_of_strangers_do_not_fill_the_memory(field: Field) -> None:
    for number in range(9_000):
        field.hear(number.to_bytes(4, "big") * 4)
    assert len(field.network._copies._by_phy) <= 8_192
    field.pass_time(11)
    field.hear(b"")
    assert len(field.network._copies._by_phy) == 1


def test_a_join_under_way_does_not_silence_the_session_before(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    assert isinstance(field.hear(sensor.uplink()), Uplink)
    old = replace(sensor)
    assert isinstance(field.hear(sensor.join_request()), JoinAccepted)  # the accept is lost on the air
    assert isinstance(field.hear(old.uplink()), Uplink)
    field.join(sensor)
    assert isinstance(field.hear(old.uplink()), Uplink)
    assert isinstance(field.hear(sensor.uplink()), Uplink)
    field.pass_time(61)
    assert refusal(field.hear(old.uplink())) is Refusal.UNKNOWN_DEV_ADDR


def test_frames_that_the_new_sessions_first_has_overtaken_are_taken_for_a_minute(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    field.commit(field.hear(sensor.uplink(b"first")))
    old = replace(sensor)
    overtaken = [old.uplink(bytes((number,)), confirmed=True, f_opts=b"\x02") for number in range(3)]
    field.join(sensor)
    unused = replace(sensor)
    field.join(sensor)
    newer = field.hear(sensor.uplink(b"new"))
    assert isinstance(newer, Uplink)
    assert refusal(field.hear(unused.uplink())) is Refusal.UNKNOWN_DEV_ADDR
    for number, wait_s in ((1, 1), (0, 30)):
        field.pass_time(wait_s)
        late = field.hear(overtaken[number])
        assert isinstance(late, Uplink)
        assert (late.device, late.payload, late.session != newer.session) == ("weir", bytes((number,)), True)
        assert late.answer is None  # the device has forgotten these keys
    field.pass_time(11)
    assert refusal(field.hear(overtaken[0])) is Refusal.REPLAYED_COUNTER
    again = field.hear(sensor.uplink(confirmed=True))
    assert isinstance(again, Uplink)
    assert sensor.takes_downlink(field.answer(again.answer))
    field.pass_time(20)
    assert refusal(field.hear(overtaken[2])) is Refusal.UNKNOWN_DEV_ADDR
    assert isinstance(field.hear(sensor.uplink()), Uplink)


def test_a_session_that_could_not_be_settled_is_not_ended_by_a_frame_of_the_one_before(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_session: str) -> None:
        raise SessionsUnavailable("the test's own")

    sensor = Sensor(otaa_device())
    monkeypatch.setattr(field.store, "prove", fail)
    field.join(sensor)
    assert isinstance(field.hear(sensor.uplink()), Uplink)
    old = replace(sensor)
    field.join(sensor)
    for _ in range(3):
        assert isinstance(field.hear(sensor.uplink()), Uplink)
        assert isinstance(field.hear(old.uplink()), Uplink)
        field.pass_time(25)
    assert refusal(field.hear(old.uplink())) is Refusal.UNKNOWN_DEV_ADDR
    assert isinstance(field.hear(sensor.uplink()), Uplink)
