"""What QR codes on LoRaWAN devices say."""

import pytest

from streamgauge.lorawan.qr_codes import MAX_CHARACTERS, NotALabel, crc16, read_label

EXAMPLE = "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR:CAF2C"
"""The example of TR005, with every field that there is."""


def test_the_example_of_the_document() -> None:
    label = read_label(EXAMPLE)
    assert (label.join_eui, label.dev_eui) == ("1122334455667788", "AABBCCDDEEFF0011")
    assert (label.vendor_id, label.vendor_profile_id) == ("AABB", "1122")
    assert (label.owner_token, label.serial_number, label.proprietary) == ("AABBCCDDEEFF", "YYWWNNNNNN", "FOOBAR")


def test_the_checksum_is_the_common_one() -> None:
    assert crc16(b"123456789") == 0x4B37


def test_the_least_that_a_label_says() -> None:
    label = read_label(" lw:d0:1122334455667788:aabbccddeeff0011:aabb1122\n")
    assert label.dev_eui == "AABBCCDDEEFF0011"
    assert label.serial_number is None
    assert read_label("LW:D0:00-16-C0-01-FF-FE-00-01:00-16-C0-01-F0-00-12-34:00000001").dev_eui == "0016C001F0001234"


def test_the_draft_that_is_still_printed() -> None:
    label = read_label("URN:DEV:LW:42FFFFFFFFFFFFFF_4242FFFFFFFFFFFF_42FFFF42_V0102_S77_X")
    assert label.dev_eui == "4242FFFFFFFFFFFF"
    assert (label.vendor_id, label.owner_token, label.serial_number) == ("42FF", "0102", "77")


@pytest.mark.parametrize("text", ["24e124713b101234", "24-E1-24-71-3B-10-12-34", "24:E1:24:71:3B:10:12:34 "])
def test_a_dev_eui_alone(text: str) -> None:
    assert read_label(text).dev_eui == "24E124713B101234"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "form"),
        ("https://example.org/?sn=1", "form"),
        ("LW:D0:", "form"),
        ("LW:D0:1122334455667788:AABB", "eui"),
        ("LW:D0:x:AABBCCDDEEFF0011:AABB1122", "eui"),
        ("LW:D0:1122334455667788:AABBCCDDEEFF0011:12", "profile"),
        (EXAMPLE.replace("FOOBAR", "FOOBAZ"), "checksum"),
        ("LW:D0:" + "A" * MAX_CHARACTERS, "form"),
        ("\0" * 16, "form"),
        ("é" * 16, "form"),
    ],
)
def test_what_is_no_label_says_why(text: str, fault: str) -> None:
    with pytest.raises(NotALabel) as refused:
        read_label(text)
    assert refused.value.fault == fault
