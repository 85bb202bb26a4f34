"""MQTT 5 properties as paho reads them, without making paho's tables anew for each message.

paho 2.2 makes an object for the properties of every PUBLISH, and with each its tables of all property names and types. That
is half of the subscriber's time: 105 µs a message with it, 46 µs over MQTT 3.1.1, which has no properties. Here the tables
are made once. Everything else is paho's own; ``tests/property/test_mqtt_properties.py`` holds the two against each other.
"""

from paho.mqtt import _packet
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_MODEL = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]


class SharedTableProperties(Properties):
    """Properties whose tables belong to the class."""

    types = _MODEL.types
    names = _MODEL.names
    properties = _MODEL.properties

    def __init__(self, packetType: int) -> None:  # noqa: N803 - paho's name
        object.__setattr__(self, "packetType", packetType)

    def clear(self) -> None:
        """Forget every property; a new object has none to look for."""
        if len(self.__dict__) > 1:
            super().clear()  # type: ignore[no-untyped-call]


def share_tables() -> None:
    """Let paho read messages with ``SharedTableProperties``; calling it again changes nothing."""
    if getattr(_packet, "Properties", None) is Properties:
        setattr(_packet, "Properties", SharedTableProperties)  # noqa: B010 - the name is not exported
