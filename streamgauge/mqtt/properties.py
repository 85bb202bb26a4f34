"""MQTT 5 properties of received messages, passed over instead of taken apart.

Nothing here reads a message's properties. paho 2.2 takes them apart for every PUBLISH, with tables of all property names made
anew each time: 105 µs a message instead of 46 µs. And it refuses U+FEFF in a property's text, which MQTT 5 allows (section
1.5.4): one such message would end the connection, come again after it, and end it again. So what stands in the properties'
length is passed over. ``tests/property/test_mqtt_properties.py`` holds the number of bytes against paho's own.
"""

from typing import Any

from paho.mqtt import _packet
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

_MODEL = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]


class PassedOverProperties(Properties):
    """Properties whose tables belong to the class, and which stay empty when those of a PUBLISH are read."""

    types = _MODEL.types
    names = _MODEL.names
    properties = _MODEL.properties

    def __init__(self, packetType: int) -> None:  # noqa: N803 - paho's name
        object.__setattr__(self, "packetType", packetType)

    def clear(self) -> None:
        """Forget every property; a new object has none to look for."""
        if len(self.__dict__) > 1:
            super().clear()  # type: ignore[no-untyped-call]

    def unpack(self, buffer: bytes) -> tuple[Any, int]:
        """Read the properties at the start of a packet's rest: those of a PUBLISH only for how long they are.

        Args:
            buffer: begins with the properties' length (MQTT 5, section 2.2.2.1).

        Returns:
            This object, and how many bytes the properties take.

        Raises:
            MalformedPacket: the length is none, or goes beyond the packet.
        """
        if self.packetType != PacketTypes.PUBLISH:
            return super().unpack(buffer)  # type: ignore[no-any-return, no-untyped-call]
        if buffer and buffer[0] < 0x80:
            length, length_bytes = buffer[0], 1
        else:
            length, length_bytes = VariableByteIntegers.decode(buffer)  # type: ignore[no-untyped-call]
        if length_bytes + length > len(buffer):
            raise MalformedPacket("a PUBLISH that ends within its properties")
        return self, length_bytes + length


def pass_over_properties() -> None:
    """Let paho read messages with ``PassedOverProperties``; calling it again changes nothing."""
    if getattr(_packet, "Properties", None) is Properties:
        setattr(_packet, "Properties", PassedOverProperties)  # noqa: B010 - the name is not exported
