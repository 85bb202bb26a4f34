"""MAC commands against bytes written down by hand from LoRaWAN 1.0.3 (§5)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.lorawan.mac_commands import (
    UPLINK_LENGTHS,
    Request,
    link_margin_db,
    make_device_time_answer,
    make_link_check_answer,
    requests_of,
)


@pytest.mark.parametrize(
    ("commands", "asked"),
    [
        ("", ()),
        ("02", (Request.LINK_CHECK,)),
        ("0d", (Request.DEVICE_TIME,)),
        ("0d02", (Request.DEVICE_TIME, Request.LINK_CHECK)),
        ("0202", (Request.LINK_CHECK,)),
        ("0302", ()),  # LinkADRAns whose status is 2
        ("030702", (Request.LINK_CHECK,)),
        ("0607 0d 0d", (Request.DEVICE_TIME,)),  # DevStatusAns has two bytes
        ("04 0507 06ff0a 0703 08 09 0a03 0d 1007 1103 12 1301 02", (Request.DEVICE_TIME, Request.LINK_CHECK)),
        ("02 80 0d", (Request.LINK_CHECK,)),  # proprietary: of no known length
        ("02 06ff", (Request.LINK_CHECK,)),  # cut off
    ],
)
def test_what_a_device_asks_for(commands: str, asked: tuple[Request, ...]) -> None:
    assert requests_of(bytes.fromhex(commands)) == asked


@given(st.binary(max_size=255))
def test_any_bytes_are_walked_over(commands: bytes) -> None:
    assert len(requests_of(commands)) <= len(Request)


@given(st.lists(st.sampled_from(sorted(UPLINK_LENGTHS)), max_size=8), st.randoms())
def test_a_request_behind_known_commands_is_found(identifiers: list[int], chance: object) -> None:
    before = b"".join(bytes((one,)) + b"\x80" * UPLINK_LENGTHS[one] for one in identifiers)
    assert Request.DEVICE_TIME in requests_of(before + b"\x0d")


@pytest.mark.parametrize(
    ("snr_db", "data_rate", "margin_db"),
    [
        (-7.5, "SF7BW125", 0.0),
        (9.5, "SF7BW125", 17.0),
        (9.5, "SF7BW500", 17.0),
        (-15.0, "SF12BW125", 5.0),
        (-30.0, "SF12BW125", 0.0),
        (None, "SF12BW125", 0.0),
        (5.0, 50_000, 0.0),
    ],
)
def test_the_margin_is_above_the_demodulation_floor(
    snr_db: float | None, data_rate: str | int, margin_db: float
) -> None:
    assert link_margin_db(snr_db, data_rate) == margin_db


def test_a_link_check_answer() -> None:
    assert make_link_check_answer(17.9, 2).hex() == "021102"
    assert make_link_check_answer(300, 400).hex() == "02feff"


def test_a_device_time_answer() -> None:
    at = datetime(2018, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC) - datetime(1980, 1, 6, tzinfo=UTC) + timedelta(seconds=18)
    assert at // timedelta(seconds=1) == 1_198_800_018  # 0x47743c92
    assert make_device_time_answer(at).hex() == "0d" + "923c7447" + "80"
    assert make_device_time_answer(timedelta(microseconds=999_999)).hex() == "0d00000000ff"
