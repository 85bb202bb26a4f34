"""The packet forwarder's protocol: any bytes in, a packet or a refusal out."""

import base64
import json
import random
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.lorawan import gwmp
from streamgauge.lorawan.gwmp import (
    Crc,
    DatagramFault,
    DatagramRefused,
    PullResp,
    PushData,
    Reception,
    Transmission,
    TxAck,
)

EUI = bytes.fromhex("AA555A0000000101")
TOKEN = st.integers(0, 0xFFFF)
FRAME = bytes(range(60, 92))
KNOWN = (
    gwmp.PushData,
    gwmp.PushAck,
    gwmp.PullData,
    gwmp.PullResp,
    gwmp.PullAck,
    gwmp.TxAck,
)
RECEPTIONS = st.builds(
    Reception,
    phy=st.binary(max_size=255),
    forwarder=st.just(EUI),
    crc=st.sampled_from(Crc),
    tmst_us=st.none() | st.integers(0, 0xFFFF_FFFF),
    time=st.none() | st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    gps_ms=st.none() | st.integers(0, 2**40),
    frequency_hz=st.none() | st.integers(100_000_000, 2_500_000_000),
    channel=st.none() | st.integers(0, 71),
    rf_chain=st.none() | st.integers(0, 1),
    modulation=st.sampled_from([None, "LORA", "FSK"]),
    data_rate=st.sampled_from([None, "SF7BW125", "SF12BW500", 50_000]),
    coding_rate=st.sampled_from([None, "4/5", "4/8"]),
    rssi_dbm=st.none() | st.integers(-140, 0).map(float),
    snr_db=st.none() | st.integers(-250, 150).map(lambda tenths: tenths / 10),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)


def push(*elements: object, token: int = 7) -> bytes:
    return bytes((2, token >> 8, token & 0xFF, 0)) + EUI + json.dumps({"rxpk": elements}).encode()


def parsed(datagram: bytes) -> PushData:
    packet = gwmp.parse(datagram)
    assert isinstance(packet, PushData)
    return packet


def element(**changed: object) -> dict[str, object]:
    return {"tmst": 1, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/5", "rssi": -35, "lsnr": 5.1,
            "size": len(FRAME), "data": base64.b64encode(FRAME).decode()} | changed  # fmt: skip


@settings(max_examples=1000)
@given(
    datagram=st.binary(max_size=100)
    | st.builds(lambda kind, rest: b"\2ab" + bytes([kind]) + rest, st.integers(0, 6), st.binary())
)
def test_any_bytes_are_a_packet_or_refused(datagram: bytes) -> None:
    try:
        packet = gwmp.parse(datagram)
    except DatagramRefused:
        return
    assert isinstance(packet, KNOWN)


def test_every_length_up_to_the_longest_datagram() -> None:
    noise = random.Random(3).randbytes(gwmp.DATAGRAM_MAX_BYTES)
    begun = b"\2\0\1\0" + EUI + b'{"rxpk":[' + b"[" * gwmp.DATAGRAM_MAX_BYTES
    for length in range(gwmp.DATAGRAM_MAX_BYTES + 1):
        for datagram in (noise[:length], begun[:length]):
            with pytest.raises(DatagramRefused):
                gwmp.parse(datagram)


@given(token=TOKEN, receptions=st.lists(RECEPTIONS, min_size=1, max_size=4))
def test_push_data_is_read_as_it_was_made(token: int, receptions: list[Reception]) -> None:
    status = {"time": "2014-01-12 08:59:28 GMT", "rxnb": 2, "temp": 23.2}
    datagram = gwmp.make_push_data(token, EUI, receptions, status)
    assert gwmp.parse(datagram) == PushData(token, EUI, tuple(receptions), (), status)
    for length in range(len(datagram)):
        with pytest.raises(DatagramRefused):
            gwmp.parse(datagram[:length])


@given(
    token=TOKEN,
    transmission=st.builds(
        Transmission,
        phy=st.binary(max_size=255),
        frequency_hz=st.integers(100_000_000, 2_500_000_000),
        data_rate=st.sampled_from(["SF12BW125", 50_000]),
        tmst_us=st.none() | st.integers(0, 0xFFFF_FFFF),
        power_dbm=st.integers(-4, 30),
        rf_chain=st.integers(0, 1),
        antenna=st.none() | st.integers(0, 1),
        inverted=st.booleans(),
        has_crc=st.booleans(),
    ),
)
def test_pull_resp_is_read_as_it_was_made(token: int, transmission: Transmission) -> None:
    assert gwmp.parse(gwmp.make_pull_resp(token, transmission)) == PullResp(token, transmission)


@given(token=TOKEN)
def test_the_small_packets(token: int) -> None:
    assert gwmp.parse(gwmp.make_push_ack(token)) == gwmp.PushAck(token)
    assert gwmp.parse(gwmp.make_pull_ack(token)) == gwmp.PullAck(token)
    assert gwmp.parse(gwmp.make_pull_data(token, EUI)) == gwmp.PullData(token, EUI)
    assert gwmp.parse(gwmp.make_tx_ack(token, EUI)) == TxAck(token, EUI)
    assert gwmp.parse(gwmp.make_tx_ack(token, EUI, "TOO_LATE")) == TxAck(token, EUI, "TOO_LATE")
    assert gwmp.parse(gwmp.make_tx_ack(token, EUI, "NONE")) == TxAck(token, EUI)
    warned = gwmp.make_tx_ack(token, EUI) + b'{"txpk_ack":{"warn":"TX_POWER","value":20}}'
    assert gwmp.parse(warned) == TxAck(token, EUI, None, "TX_POWER")


@given(frame=st.binary(max_size=255), url_safe=st.booleans(), padded=st.booleans())
def test_base64_of_either_alphabet_padded_or_not(frame: bytes, url_safe: bool, padded: bool) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(frame).decode()
    packet = parsed(push(element(data=text if padded else text.rstrip("="), size=len(frame))))
    assert packet.receptions[0].phy == frame


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"size": 31}, DatagramFault.SIZE_DIFFERS),
        ({"size": "32"}, DatagramFault.SIZE_DIFFERS),
        ({"size": None}, DatagramFault.SIZE_DIFFERS),
        ({"data": "A"}, DatagramFault.BAD_BASE64),
        ({"data": "AB=C"}, DatagramFault.BAD_BASE64),
        ({"data": "AB CD"}, DatagramFault.BAD_BASE64),
        ({"data": "QUJD€"}, DatagramFault.BAD_BASE64),
        ({"data": 5}, DatagramFault.BAD_BASE64),
        ({"data": "AAAA" * 100, "size": 300}, DatagramFault.FRAME_TOO_LONG),
        ({"stat": 2}, DatagramFault.BAD_ELEMENT),
        ({"stat": "1"}, DatagramFault.BAD_ELEMENT),
    ],
)
def test_a_bad_element_does_not_take_its_neighbours_along(changed: dict[str, object], reason: DatagramFault) -> None:
    packet = parsed(push(element(tmst=1), element(**changed), "nonsense", element(tmst=2)))
    assert [reception.tmst_us for reception in packet.receptions] == [1, 2]
    assert [(refused.place, refused.reason) for refused in packet.refused] == [
        (1, reason),
        (2, DatagramFault.BAD_ELEMENT),
    ]


@settings(max_examples=300)
@given(
    garbage=st.dictionaries(
        st.sampled_from(
            ["time", "tmms", "tmst", "freq", "chan", "rfch", "stat", "modu", "datr", "codr", "rssi", "lsnr", "rsig"]
        ),
        JSON,
    )
)
def test_metadata_of_any_kind_never_costs_a_neighbour(garbage: dict[str, object]) -> None:
    text = orjson.dumps({"rxpk": [element(**garbage), element()]}, option=orjson.OPT_NON_STR_KEYS)
    packet = parsed(b"\2\0\1\0" + EUI + text)
    assert packet.receptions[-1].phy == FRAME
    assert len(packet.receptions) + len(packet.refused) == 2


@given(content=JSON)
def test_any_json_is_a_packet_or_refused(content: object) -> None:
    for header in (b"\2\0\1\0" + EUI, b"\2\0\1\3", b"\2\0\1\5" + EUI):
        for text in (
            orjson.dumps(content),
            orjson.dumps({"rxpk": content, "stat": content, "txpk": content, "txpk_ack": content}),
        ):
            try:
                gwmp.parse(header + text)
            except DatagramRefused:
                continue


def test_what_the_protocols_documents_print() -> None:
    v14 = {
        "time": "2013-03-31T16:21:17.528002Z", "tmst": 3512348611, "chan": 2, "rfch": 0, "freq": 866.349812, "stat": 1,
        "modu": "LORA", "datr": "SF7BW125", "codr": "4/6", "rssi": -35, "lsnr": 5.1, "size": 32,
        "data": "-DS4CGaDCdG+48eJNM3Vai-zDpsR71Pn9CPA9uCON84",
    }  # fmt: skip
    v16 = {
        "jver": 2, "time": "2013-03-31T16:21:17.530974Z", "tmst": 3512348514, "freq": 869.1, "stat": 1, "modu": "LORA",
        "datr": "SF7BW125", "codr": "4/5", "size": 16, "data": "VEVTVF9QQUNLRVRfMTIzNA==",
        "rsig": [
            {"ant": 0, "chan": 9, "rssic": -90, "lsnr": -3, "ftime": 123456, "rssis": -90, "foff": -7089, "ftstat": 0},
            {"ant": 1, "chan": 9, "rssic": -89, "lsnr": -2.8, "ftime": 123489, "rssis": -90, "foff": -7089, "ftstat": 0},
        ],
    }  # fmt: skip
    fsk = {
        "time": "2013-03-31T16:21:17.530974Z", "tmst": 3512348514, "chan": 9, "rfch": 1, "freq": 869.1, "stat": -1,
        "modu": "FSK", "datr": 50000, "rssi": -75, "size": 16, "data": "VEVTVF9QQUNLRVRfMTIzNA==",
    }  # fmt: skip
    lora, antennas, failed = parsed(push(v14, v16, fsk)).receptions
    assert (lora.frequency_hz, lora.rssi_dbm, lora.snr_db, lora.crc) == (866_349_812, -35.0, 5.1, Crc.OK)
    assert lora.time == datetime(2013, 3, 31, 16, 21, 17, 528002, tzinfo=UTC)
    assert (antennas.antenna, antennas.rssi_dbm, antennas.snr_db, antennas.channel) == (1, -89.0, -2.8, 9)
    assert antennas.phy == b"TEST_PACKET_1234"
    assert (failed.crc, failed.modulation, failed.data_rate) == (Crc.FAILED, "FSK", 50_000)
    assert parsed(push(v14 | {"stat": 0})).receptions[0].crc is Crc.ABSENT


def test_a_terminating_zero_after_the_json_is_borne() -> None:
    assert parsed(push(element()) + b"\0").receptions[0].phy == FRAME
