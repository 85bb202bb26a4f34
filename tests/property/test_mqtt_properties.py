"""The subscriber reads MQTT 5 messages exactly as paho does."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tasks.mqtt_properties import SharedTableProperties

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "PayloadFormatIndicator": st.integers(0, 1),
        "MessageExpiryInterval": st.integers(0, 2**32 - 1),
        "ContentType": TEXT,
        "ResponseTopic": TEXT,
        "CorrelationData": st.binary(max_size=20),
        "TopicAlias": st.integers(1, 65_535),
        "UserProperty": st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
    },
)


def packed(values: dict[str, Any]) -> bytes:
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        for one in value if name == "UserProperty" else [value]:
            setattr(properties, name, one)
    return properties.pack()


@given(values=PROPERTIES, tail=st.binary(max_size=10))
def test_properties_are_read_as_paho_reads_them(values: dict[str, Any], tail: bytes) -> None:
    content = packed(values) + tail
    theirs, ours = Properties(PacketTypes.PUBLISH), SharedTableProperties(PacketTypes.PUBLISH)
    assert ours.unpack(content)[1] == theirs.unpack(content)[1]
    assert ours.json() == theirs.json()


@given(content=st.binary(max_size=60))
def test_what_paho_refuses_is_refused(content: bytes) -> None:
    def outcome(properties: Properties) -> Any:
        try:
            return properties.unpack(content)[1], properties.json()
        except Exception as error:  # noqa: BLE001 - whatever the one raises, the other must raise
            return type(error)

    assert outcome(SharedTableProperties(PacketTypes.PUBLISH)) == outcome(Properties(PacketTypes.PUBLISH))


def test_two_objects_share_no_property() -> None:
    first, second = SharedTableProperties(PacketTypes.PUBLISH), SharedTableProperties(PacketTypes.PUBLISH)
    first.ContentType = "application/json"
    assert not hasattr(second, "ContentType")
    first.clear()
    assert not hasattr(first, "ContentType")
