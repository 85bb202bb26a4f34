"""Frames against those that others have published and made, both ways, byte for byte."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.lorawan.crypto import DOWNLINK, UPLINK, SessionKeys, derive_session_keys
from streamgauge.lorawan.frames import (
    DataFrame,
    EncryptedJoinAccept,
    FrameFault,
    FrameRefused,
    JoinAccept,
    JoinRequest,
    decrypt,
    join_mic_fits,
    make_downlink,
    make_join_accept,
    make_join_request,
    make_uplink,
    mic_fits,
    open_join_accept,
    parse,
)

RECORDS = Path(__file__).parents[2] / "data"
PUBLISHED = json.loads((RECORDS / "vectors/lorawan_frames.json").read_text())
RECORDED = json.loads((RECORDS / "lorawan/lora_packet.json").read_text())
APP_KEY = bytes.fromhex(RECORDED["app_key"])
KEYS = SessionKeys(bytes(range(16)), bytes(range(16, 32)))


def data_frame(phy: bytes) -> DataFrame:
    frame = parse(phy)
    assert isinstance(frame, DataFrame)
    return frame


def made_again(frame: DataFrame, keys: SessionKeys, f_cnt: int) -> bytes:
    return make_uplink(
        keys,
        frame.dev_addr,
        f_cnt,
        frame.f_port,
        decrypt(frame, keys, f_cnt),
        confirmed=frame.confirmed,
        adr=frame.adr,
        adr_ack_req=frame.adr_ack_req,
        ack=frame.ack,
        f_opts=frame.f_opts,
    )


@pytest.mark.parametrize("vector", PUBLISHED["uplinks"], ids=lambda vector: vector["phy_payload"][:20])
def test_published_uplinks(vector: dict[str, Any]) -> None:
    frame = data_frame(bytes.fromhex(vector["phy_payload"]))
    keys = SessionKeys(bytes.fromhex(vector["nwk_s_key"]), bytes.fromhex(vector["app_s_key"]))
    payload = vector.get("payload_text", "").encode() or bytes.fromhex(vector["payload_hex"])
    assert frame.direction == UPLINK
    assert frame.f_cnt_low == vector.get("f_cnt", 0)
    assert frame.f_port == vector["f_port"]
    assert frame.f_opts.hex() == vector.get("f_opts", "")
    assert frame.dev_addr.hex().upper() == vector.get("dev_addr", frame.dev_addr.hex().upper())
    assert mic_fits(frame, keys.nwk_s_key, frame.f_cnt_low)
    assert decrypt(frame, keys, frame.f_cnt_low) == payload
    assert made_again(frame, keys, frame.f_cnt_low) == frame.phy


@pytest.mark.parametrize("vector", PUBLISHED["join_requests"])
def test_published_join_requests(vector: dict[str, Any]) -> None:
    request = parse(bytes.fromhex(vector["phy_payload"]))
    app_key = bytes.fromhex(vector["app_key"])
    assert isinstance(request, JoinRequest)
    assert join_mic_fits(request, app_key)
    assert not join_mic_fits(request, app_key[::-1])
    assert make_join_request(app_key, request.join_eui, request.dev_eui, request.dev_nonce) == request.phy


@pytest.mark.parametrize("join", RECORDED["joins"], ids=lambda join: join["dev_nonce"])
def test_a_join_as_a_second_implementation_makes_it(join: dict[str, str]) -> None:
    request = parse(bytes.fromhex(join["join_request"]))
    assert isinstance(request, JoinRequest)
    assert request.join_eui.hex().upper() == RECORDED["join_eui"]
    assert request.dev_eui.hex().upper() == RECORDED["dev_eui"]
    assert request.dev_nonce == int(join["dev_nonce"], 16)
    assert join_mic_fits(request, APP_KEY)
    assert make_join_request(APP_KEY, request.join_eui, request.dev_eui, request.dev_nonce) == request.phy
    accept = JoinAccept(
        app_nonce=int(join["app_nonce"], 16),
        net_id=int(join["net_id"], 16),
        dev_addr=bytes.fromhex(join["dev_addr"]),
        dl_settings=0,
        rx_delay_s=1,
        cf_list=bytes.fromhex(join["cf_list"]),
    )
    phy = bytes.fromhex(join["join_accept"])
    assert isinstance(parse(phy), EncryptedJoinAccept)
    assert open_join_accept(APP_KEY, phy) == accept
    assert make_join_accept(APP_KEY, accept) == phy
    keys = derive_session_keys(APP_KEY, accept.app_nonce, accept.net_id, request.dev_nonce)
    assert keys.nwk_s_key.hex().upper() == join["nwk_s_key"]
    assert keys.app_s_key.hex().upper() == join["app_s_key"]


def recorded_keys() -> SessionKeys:
    join = RECORDED["joins"][-1]
    return SessionKeys(bytes.fromhex(join["nwk_s_key"]), bytes.fromhex(join["app_s_key"]))


def test_ten_uplinks_follow_the_second_recorded_join() -> None:
    assert len(RECORDED["uplinks"]) == 10


@pytest.mark.parametrize("uplink", RECORDED["uplinks"], ids=lambda uplink: str(uplink["f_cnt"]))
def test_uplinks_as_a_second_implementation_makes_them(uplink: dict[str, Any]) -> None:
    keys, f_cnt = recorded_keys(), uplink["f_cnt"]
    frame = data_frame(bytes.fromhex(uplink["phy_payload"]))
    assert mic_fits(frame, keys.nwk_s_key, f_cnt)
    assert decrypt(frame, keys, f_cnt).hex().upper() == uplink["payload"]
    flags = {name: uplink.get(name, False) for name in ("confirmed", "adr", "adr_ack_req", "ack")}
    f_opts = bytes.fromhex(uplink.get("f_opts", ""))
    assert {name: getattr(frame, name) for name in flags} == flags
    assert (frame.f_port, frame.f_opts) == (uplink["f_port"], f_opts)
    payload = bytes.fromhex(uplink["payload"])
    made = make_uplink(keys, frame.dev_addr, f_cnt, uplink["f_port"], payload, f_opts=f_opts, **flags)
    assert made == frame.phy


def test_a_downlink_as_a_second_implementation_makes_it() -> None:
    keys, recorded = recorded_keys(), RECORDED["downlink"]
    frame = data_frame(bytes.fromhex(recorded["phy_payload"]))
    assert frame.direction == DOWNLINK
    assert mic_fits(frame, keys.nwk_s_key, recorded["f_cnt"])
    payload = bytes.fromhex(recorded["payload"])
    assert decrypt(frame, keys, recorded["f_cnt"]) == payload
    assert make_downlink(keys, frame.dev_addr, recorded["f_cnt"], recorded["f_port"], payload, ack=True) == frame.phy


def test_a_mere_acknowledgement_has_neither_port_nor_payload() -> None:
    phy = make_downlink(KEYS, bytes(4), 3, ack=True)
    frame = data_frame(phy)
    assert len(phy) == 12
    assert frame.ack
    assert frame.f_port is None
    assert mic_fits(frame, KEYS.nwk_s_key, 3)


@pytest.mark.parametrize(
    "phy", [bytes.fromhex(RECORDED["uplinks"][7]["phy_payload"]), make_join_request(bytes(16), bytes(8), bytes(8), 1)]
)
def test_a_frame_that_is_cut_anywhere_is_refused_or_fails_its_mic(phy: bytes) -> None:
    for length in range(len(phy)):
        try:
            frame = parse(phy[:length])
        except FrameRefused:
            continue
        assert isinstance(frame, DataFrame)
        assert not mic_fits(frame, recorded_keys().nwk_s_key, RECORDED["uplinks"][7]["f_cnt"])


@pytest.mark.parametrize(
    ("phy", "fault"),
    [
        (b"", FrameFault.WRONG_LENGTH),
        (bytes(256), FrameFault.WRONG_LENGTH),
        (b"\xe0" + bytes(20), FrameFault.PROPRIETARY),
        (b"\xc0" + bytes(20), FrameFault.RESERVED_TYPE),
        (b"\x41" + bytes(20), FrameFault.UNKNOWN_VERSION),
        (b"\x00" + bytes(21), FrameFault.WRONG_LENGTH),
        (b"\x20" + bytes(20), FrameFault.WRONG_LENGTH),
        (b"\x40" + bytes(10), FrameFault.WRONG_LENGTH),
        (b"\x40" + bytes(4) + b"\x0f" + bytes(8), FrameFault.OPTIONS_TOO_LONG),
        (b"\x40" + bytes(4) + b"\x01" + bytes(2) + b"\x02" + b"\x00" + bytes(8), FrameFault.OPTIONS_ON_MAC_PORT),
    ],
)
def test_what_is_no_frame_is_refused_with_its_reason(phy: bytes, fault: FrameFault) -> None:
    with pytest.raises(FrameRefused) as refused:
        parse(phy)
    assert refused.value.reason is fault


def test_frames_that_cannot_be_are_not_made() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        make_uplink(KEYS, bytes(4), 1 << 32, 1, b"")
    with pytest.raises(ValueError, match="at most 255"):
        make_uplink(KEYS, bytes(4), 1, 1, bytes(243))
    with pytest.raises(ValueError, match="15 bytes"):
        make_uplink(KEYS, bytes(4), 1, 1, b"", f_opts=bytes(16))
    with pytest.raises(ValueError, match="FPort 0"):
        make_uplink(KEYS, bytes(4), 1, 0, b"\x02", f_opts=b"\x02")
    with pytest.raises(ValueError, match="needs an FPort"):
        make_uplink(KEYS, bytes(4), 1, None, b"\x02")
    with pytest.raises(ValueError, match="DevAddr has 4"):
        make_uplink(KEYS, bytes(5), 1, 1, b"\x02")
    assert len(make_uplink(KEYS, bytes(4), 1, 1, bytes(242))) == 255


def test_another_key_does_not_open_a_join_accept() -> None:
    phy = make_join_accept(APP_KEY, JoinAccept(app_nonce=1, net_id=0, dev_addr=bytes(4)))
    with pytest.raises(FrameRefused) as refused:
        open_join_accept(bytes(16), phy)
    assert refused.value.reason is FrameFault.BAD_MIC
