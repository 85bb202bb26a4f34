"""The properties of a received MQTT 5 message are passed over exactly as far as they go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamgauge.mqtt.properties import PassedOverProperties

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=20)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "PayloadFormatIndicator": st.integers(0, 1),
        "MessageExpiryInterval": st.integers(0, 2**32 - 1),
        "ContentType": TEXT,
        "ResponseTopic": TEXT,
        "CorrelationData": st.binary(max_size=20),
        "TopicAlias": st.integers(1, 65_535),
        "UserProperty": st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8),
    },
)


def packed(values: dict[str, Any]) -> bytes:
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        for one in value if name == "UserProperty" else [value]:
            setattr(properties, name, one)
    return properties.pack()


@given(values=PROPERTIES, tail=st.binary(max_size=10))
def test_a_publish_s_properties_take_as_many_bytes_as_paho_reads(values: dict[str, Any], tail: bytes) -> None:
    content = packed(values) + tail
    theirs, ours = Properties(PacketTypes.PUBLISH), PassedOverProperties(PacketTypes.PUBLISH)
    assert ours.unpack(content)[1] == theirs.unpack(content)[1]


@given(content=st.binary(max_size=60))
def test_any_bytes_are_passed_over_or_malformed(content: bytes) -> None:
    try:
        _, length = PassedOverProperties(PacketTypes.PUBLISH).unpack(content)
    except MalformedPacket:
        return
    assert 1 <= length <= len(content)


def test_a_byte_order_mark_in_a_property_is_no_fault() -> None:
    # MQTT 5 section 1.5.4 allows U+FEFF; paho's own reader refuses it.
    text = "\ufeff".encode()
    content = bytes([3 + len(text), 0x03, 0, len(text)]) + text + b"{}"
    with pytest.raises(Exception, match=r"U\+FEFF|BOM|feff"):
        Properties(PacketTypes.PUBLISH).unpack(content)
    assert PassedOverProperties(PacketTypes.PUBLISH).unpack(content)[1] == len(content) - 2


def test_the_properties_of_other_packets_are_read() -> None:
    connack = Properties(PacketTypes.CONNACK)
    connack.MaximumPacketSize = 4_096
    ours = PassedOverProperties(PacketTypes.CONNACK)
    ours.unpack(connack.pack())
    assert ours.MaximumPacketSize == 4_096


def test_two_objects_share_no_property() -> None:
    first, second = PassedOverProperties(PacketTypes.PUBLISH), PassedOverProperties(PacketTypes.PUBLISH)
    first.ContentType = "application/json"
    assert not hasattr(second, "ContentType")
    first.clear()
    assert not hasattr(first, "ContentType")
