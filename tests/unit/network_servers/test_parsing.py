"""What ChirpStack's and The Things Stack's messages are taken for, without a device register."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamgauge import network_servers
from streamgauge.errors import DeadReason, InvalidMessage
from streamgauge.network_servers.uplink import (
    MAX_FIELD_NAME,
    MAX_GATEWAYS,
    Ignored,
    NetworkUplink,
    Reception,
    choose_time,
)
from tests.support.network_messages import Case, load_cases

CASES = load_cases()
AT_THE_DOOR = {"not_json", "not_an_uplink", "bad_device", "bad_time", "encrypted_payload"}
SERVER = datetime(2026, 6, 18, 12, 0, tzinfo=UTC)


def parsed(name: str) -> NetworkUplink:
    uplink = network_servers.parse(CASES[name].network, CASES[name].message)
    assert isinstance(uplink, NetworkUplink)
    return uplink


def changed(name: str, change: Any) -> NetworkUplink | Ignored:
    message = copy.deepcopy(json.loads(CASES[name].message))
    change(message)
    return network_servers.parse(CASES[name].network, json.dumps(message).encode())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_recorded_message_is_taken_for_what_it_is(case: Case) -> None:
    reason = case.expected.get("reason")
    if reason in AT_THE_DOOR:
        with pytest.raises(InvalidMessage, match=case.expected["words"] or None) as caught:
            network_servers.parse(case.network, case.message)
        assert caught.value.reason == reason
        return
    uplink = network_servers.parse(case.network, case.message)
    assert isinstance(uplink, Ignored) == (case.outcome == "ignored")


def test_a_whole_chirpstack_event() -> None:
    assert parsed("chirpstack_normal") == NetworkUplink(
        network="chirpstack",
        dev_eui="70B3D57BA000012F",
        device_name="mbx-weir",
        application="17c82e96-be03-4f38-aef3-f83d48582d97",
        time=datetime(2026, 6, 18, 9, 34, 15, 700111, tzinfo=UTC),
        time_source="gateway",
        f_port=1,
        f_cnt=4711,
        payload=bytes.fromhex("02012f000304d200010bb1"),
        receptions=(Reception(gateway="0016c001f153a14c", rssi_dbm=-91.0, snr_db=7.5),),
    )


def test_a_whole_message_of_the_things_stack() -> None:
    assert parsed("tts_simulated") == NetworkUplink(
        network="tts",
        dev_eui="24E124136D446138",
        device_name="swl-culvert",
        application="water-board",
        time=datetime(2026, 6, 20, 13, 40, tzinfo=UTC),
        time_source="server",
        f_port=85,
        f_cnt=42,
        payload=bytes.fromhex("01755c03770200"),
        receptions=(Reception(gateway="test", rssi_dbm=42.0, snr_db=4.2),),
        simulated=True,
    )


@pytest.mark.parametrize("name", ["chirpstack_zeros_left_out", "tts_zeros_left_out"])
def test_a_key_that_is_missing_is_zero(name: str) -> None:
    uplink = parsed(name)
    assert (uplink.f_cnt, uplink.receptions[0].rssi_dbm, uplink.receptions[0].snr_db) == (0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["chirpstack_encrypted", "tts_encrypted"])
def test_what_may_be_kept_holds_no_key(name: str) -> None:
    case, secrets = CASES[name], (b"0123456789ABCDEF0123456789ABCDEF", b"AQIDBAUGBwgJCgsMDQ4PEA==")
    assert any(secret in case.message for secret in secrets)
    kept = network_servers.without_keys(case.network, case.message)
    assert not any(secret in kept for secret in secrets)
    assert json.loads(kept).keys() == json.loads(case.message).keys()
    assert b"3q2+7w==" in kept


@pytest.mark.parametrize(
    "message", [b"", b"app_s_key joinServerContext", b'["app_s_key", "joinServerContext"]', b'"app_s_key"']
)
def test_what_is_no_message_is_kept_as_it_came(message: bytes) -> None:
    assert {network_servers.without_keys(network, message) for network in network_servers.NETWORKS} == {message}


def test_the_application_s_key_that_comes_with_a_decrypted_payload_is_no_reason_to_refuse() -> None:
    def without_join_server_context(message: dict[str, Any]) -> None:
        message["joinServerContext"] = {}

    assert isinstance(changed("chirpstack_normal", without_join_server_context), NetworkUplink)


def test_gateways_are_bounded_and_the_strongest_are_kept() -> None:
    uplink = parsed("chirpstack_several_gateways")
    assert len(uplink.receptions) == MAX_GATEWAYS
    assert [heard.rssi_dbm for heard in uplink.receptions] == sorted(
        (heard.rssi_dbm for heard in uplink.receptions), reverse=True
    )
    assert uplink.best is not None
    assert uplink.best.gateway == "0016c001f15300ff"


def test_the_name_of_a_gateway_is_cut_to_what_a_reading_may_hold() -> None:
    def rename(message: dict[str, Any]) -> None:
        message["rxInfo"][0]["gatewayId"] = "roof\n" + "g" * 500

    uplink = changed("chirpstack_normal", rename)
    assert isinstance(uplink, NetworkUplink)
    names = list(uplink.signal_by_gateway())
    assert len(names) == 2
    assert all(len(name) == MAX_FIELD_NAME and name.isprintable() for name in names)


@pytest.mark.parametrize(
    ("by_gateway_s", "expected_s", "source"),
    [
        (-0.2, -0.2, "gateway"),
        (-3_600.0, -3_600.0, "gateway"),
        (-3_600.1, 0.0, "server"),
        (59.0, 59.0, "gateway"),
        (61.0, 0.0, "server"),
        (None, 0.0, "server"),
    ],
)
def test_a_gateway_s_time_counts_while_it_is_sane(by_gateway_s: float | None, expected_s: float, source: str) -> None:
    by_gateway = None if by_gateway_s is None else SERVER + timedelta(seconds=by_gateway_s)
    assert choose_time([by_gateway], SERVER) == (SERVER + timedelta(seconds=expected_s), source)


def test_of_several_gateways_a_slow_clock_does_not_win() -> None:
    times = [SERVER - timedelta(minutes=40), SERVER - timedelta(seconds=1), SERVER - timedelta(hours=9)]
    assert choose_time(times, SERVER) == (SERVER - timedelta(seconds=1), "gateway")


@pytest.mark.parametrize(
    ("name", "field", "value", "reason"),
    [
        ("chirpstack_normal", "fPort", 256, DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "fPort", "1", DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "fPort", True, DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "fCnt", -1, DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "fCnt", 2**32, DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "data", ["AQ=="], DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "deviceInfo", "mbx-weir", DeadReason.NOT_AN_UPLINK),
        ("chirpstack_normal", "deviceInfo", {"devEui": "70b3d57ba000012"}, DeadReason.BAD_DEVICE),
        ("chirpstack_normal", "deviceInfo", {"devEui": 12}, DeadReason.BAD_DEVICE),
        ("tts_normal", "end_device_ids", {"device_id": "a", "dev_eui": "x" * 16}, DeadReason.BAD_DEVICE),
        ("tts_normal", "uplink_message", "AQ==", DeadReason.NOT_AN_UPLINK),
        ("tts_normal", "end_device_ids", None, DeadReason.NOT_AN_UPLINK),
    ],
)
def test_a_field_that_is_wrong_is_named(name: str, field: str, value: object, reason: DeadReason) -> None:
    def put(message: dict[str, Any]) -> None:
        message[field] = value

    with pytest.raises(InvalidMessage) as caught:
        changed(name, put)
    assert caught.value.reason is reason
    assert field in caught.value.detail or field == "end_device_ids" or "devEui" in caught.value.detail


@pytest.mark.parametrize(
    "metadata", ["many", 7, [7, None, "x"], [{"rssi": "loud", "gatewayId": "g"}], [{"gatewayId": 9}]]
)
def test_radio_metadata_that_is_odd_costs_no_reading(metadata: object) -> None:
    def put(message: dict[str, Any]) -> None:
        message["rxInfo"] = metadata

    uplink = changed("chirpstack_normal", put)
    assert isinstance(uplink, NetworkUplink)
    assert uplink.receptions == ()


def test_a_frame_is_the_same_however_often_and_whenever_it_is_read() -> None:
    for case in CASES.values():
        if case.outcome in {"decoded", "status"}:
            assert network_servers.parse(case.network, case.message) == network_servers.parse(
                case.network, case.message
            )
