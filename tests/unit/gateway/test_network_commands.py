"""MAC commands of devices are answered in the first receive window, beside the acknowledgement."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from lorawan_field import EAST, START, WEST, Field, Sensor, abp_device, abp_frame, keys_of, otaa_device

from gateway.radio.frame_time import GPS_EPOCH, GPS_LEAP_S, gps_time_of
from gateway.radio.heard import Answer, Heard, MacOnly, Repeat, Uplink
from streamgauge.lorawan.frames import DataFrame, mic_fits, parse

BRIDGE = abp_device()


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path / "sessions.db", [BRIDGE, otaa_device()])


def told(field: Field, heard: Heard) -> DataFrame:
    """The answer as the device reads it."""
    assert isinstance(heard, Uplink | MacOnly | Repeat)
    frame = parse(field.answer(heard.answer))
    assert isinstance(frame, DataFrame)
    assert mic_fits(frame, keys_of(BRIDGE).nwk_s_key, frame.f_cnt_low)
    return frame


def gps_ms(at: datetime) -> int:
    return (at - GPS_EPOCH + timedelta(seconds=GPS_LEAP_S)) // timedelta(milliseconds=1)


def time_told(frame: DataFrame) -> datetime:
    """By hand from §5.9: identifier, seconds in 32 bits, 1/256 seconds."""
    assert frame.f_opts[0] == 0x0D
    assert len(frame.f_opts) == 6
    gps = timedelta(seconds=int.from_bytes(frame.f_opts[1:5], "little") + frame.f_opts[5] / 256)
    return GPS_EPOCH + gps - timedelta(seconds=18)


def test_a_joined_device_gets_its_link_check_answer_within_rx1(field: Field) -> None:
    sensor = Sensor(otaa_device())
    field.join(sensor)
    heard = field.hear(sensor.uplink(f_opts=b"\x02"), snr_db=2.5, tmst_us=5_000_000)
    assert isinstance(heard, Uplink)
    assert heard.answer
    sent = field.network.make_downlink(heard.answer).transmission
    assert sent.tmst_us == 6_000_000
    assert sensor.takes_downlink(sent.phy)
    frame = parse(sent.phy)
    assert isinstance(frame, DataFrame)
    assert (frame.f_opts.hex(), frame.ack, frame.f_port) == ("020a01", False, None)


def test_the_margin_is_the_best_forwarders_and_all_are_counted(field: Field) -> None:
    phy = abp_frame(BRIDGE, 1, confirmed=True, f_opts=b"\x03\x07\x02")
    heard = field.hear(phy, EAST, snr_db=-5.0)
    field.hear(phy, WEST, snr_db=4.5)
    field.hear(phy, b"deaf....", snr_db=None)
    frame = told(field, heard)
    assert frame.f_opts.hex() == "020c03"
    assert frame.ack


@pytest.mark.parametrize("make", [lambda: {"f_opts": b"\x0d\x02"}, lambda: {"f_port": 0, "payload": b"\x0d\x02"}])
def test_commands_as_options_or_encrypted_on_port_0_are_answered_in_their_order(
    field: Field, make: Callable[[], dict[str, object]]
) -> None:
    frame = told(field, field.hear(abp_frame(BRIDGE, 70_000, **make()), snr_db=0.0))  # type: ignore[arg-type]
    assert len(frame.f_opts) == 9
    assert frame.f_opts[6:].hex() == "020701"


def test_an_applications_payload_is_no_command(field: Field) -> None:
    heard = field.hear(abp_frame(BRIDGE, 1, b"\x02\x0d"))
    assert isinstance(heard, Uplink)
    assert heard.answer is None


def test_the_time_is_gps_time_of_whoever_has_it_else_our_clock_when_the_uplink_ended(field: Field) -> None:
    ours = START + timedelta(seconds=field.now_s)
    heard = field.hear(abp_frame(BRIDGE, 1, f_opts=b"\x0d"))
    field.pass_time(0.3)
    assert time_told(told(field, heard)) == ours
    exact = START + timedelta(seconds=field.now_s, milliseconds=-50)
    phy = abp_frame(BRIDGE, 2, f_opts=b"\x0d")
    heard = field.hear(phy)
    field.hear(phy, WEST, -120.0, gps_ms=gps_ms(exact))
    assert time_told(told(field, heard)) == exact


def test_a_request_that_is_sent_again_gets_its_own_time(field: Field) -> None:
    phy = abp_frame(BRIDGE, 1, f_opts=b"\x0d", confirmed=True)
    field.hear(phy, gps_ms=gps_ms(START + timedelta(seconds=field.now_s)))
    field.pass_time(4)
    again = field.hear(phy)
    assert time_told(told(field, again)) == START + timedelta(seconds=field.now_s)


def test_a_wrong_time_is_told_to_nobody() -> None:
    ours = START
    since_epoch = START - GPS_EPOCH + timedelta(seconds=GPS_LEAP_S)
    assert gps_time_of(None, ours) == since_epoch
    for wrong in (0, 10**30, gps_ms(START + timedelta(days=30))):
        assert gps_time_of(wrong, ours) == since_epoch
    unset = datetime(1970, 1, 1, 0, 1, tzinfo=START.tzinfo)
    assert gps_time_of(None, unset) is None
    assert gps_time_of(gps_ms(START), unset) == since_epoch


def test_an_answer_is_its_uplinks(field: Field) -> None:
    heard = field.hear(abp_frame(BRIDGE, 1, f_opts=b"\x02"))
    assert isinstance(heard, Uplink)
    assert isinstance(heard.answer, Answer)
    assert not heard.answer.acknowledges
